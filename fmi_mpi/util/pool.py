"""The interface of ``multiprocessing.pool`` on the executors of ``fmi_mpi.futures``.

Rules of this file:
- A pool uses its executor's ``submit``, ``map`` and ``starmap`` only; an asynchronous result holds a future.
- A result is there when its callback has returned. One of a pool that was terminated stays away: ``get`` raises
  TimeoutError.
"""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from concurrent.futures import CancelledError, Future
from typing import Any, Self

from fmi_mpi import futures
from fmi_mpi.futures._base import call_each, chunks

__all__ = ["ApplyResult", "AsyncResult", "MapResult", "Pool", "ThreadPool"]

Callback = Callable[[Any], object]
_CHUNKS_PER_WORKER = 4


class AsyncResult:
    """What becomes of a call.

    Args:
        future: of the result.
        callback: called with the result.
        error_callback: called with the exception.
    """

    def __init__(
        self, future: Future[Any], callback: Callback | None = None, error_callback: Callback | None = None
    ) -> None:
        self._future = future
        self._callback = callback
        self._error_callback = error_callback
        self._event = threading.Event()
        future.add_done_callback(self._done)

    def _done(self, future: Future[Any]) -> None:
        try:
            if not future.cancelled():
                error = future.exception()
                if error is None:
                    if self._callback is not None:
                        self._callback(future.result())
                elif self._error_callback is not None:
                    self._error_callback(error)
        finally:
            self._event.set()

    def get(self, timeout: float | None = None) -> Any:
        """Wait for the result and return it.

        Args:
            timeout: seconds to wait; TimeoutError beyond.
        """
        self._event.wait(timeout)
        if not self._event.is_set():
            raise TimeoutError
        try:
            return self._future.result()
        except CancelledError:
            raise TimeoutError("the pool was terminated before the call") from None

    def wait(self, timeout: float | None = None) -> None:
        """Wait until there is a result, or for ``timeout`` seconds."""
        self._event.wait(timeout)

    def ready(self) -> bool:
        """Tell whether there is a result."""
        return self._event.is_set()

    def successful(self) -> bool:
        """Tell whether the call returned; raises ValueError if there is no result yet."""
        if not self.ready():
            raise ValueError(f"{self!r} not ready")
        return not self._future.cancelled() and self._future.exception() is None


class ApplyResult(AsyncResult):
    """What becomes of ``apply_async``."""


class MapResult(AsyncResult):
    """What becomes of ``map_async`` and ``starmap_async``."""


class Pool:
    """MPI processes that make calls.

    Args:
        processes: number of workers; None leaves it to the executor.
        initializer: called by each worker before its first call.
        initargs: its arguments.
        kwargs: for the executor; ``maxtasksperchild`` and ``context`` of multiprocessing have no effect.
    """

    Executor: type[futures.Executor] = futures.MPIPoolExecutor

    def __init__(
        self,
        processes: int | None = None,
        initializer: Callable[..., Any] | None = None,
        initargs: Iterable[Any] = (),
        **kwargs: Any,
    ) -> None:
        for name in ("maxtasksperchild", "context"):
            if kwargs.pop(name, None) is not None:
                warnings.warn(f"argument {name!r} is not supported", stacklevel=2)
        make: Callable[..., Any] = self.Executor
        self._executor: Any = make(processes, initializer=initializer, initargs=initargs, **kwargs)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def apply(self, func: Callable[..., Any], args: Iterable[Any] = (), kwds: Mapping[str, Any] = {}) -> Any:
        """Call and return the result."""
        return self.apply_async(func, args, kwds).get()

    def apply_async(
        self,
        func: Callable[..., Any],
        args: Iterable[Any] = (),
        kwds: Mapping[str, Any] = {},
        callback: Callback | None = None,
        error_callback: Callback | None = None,
    ) -> ApplyResult:
        """Start a call."""
        return ApplyResult(self._executor.submit(func, *args, **kwds), callback, error_callback)

    def map(self, func: Callable[[Any], Any], iterable: Iterable[Any], chunksize: int | None = None) -> list[Any]:
        """Return the results of calls with each item.

        Args:
            func: what to call.
            iterable: its arguments.
            chunksize: calls in one task; None makes four tasks a worker.
        """
        return self.map_async(func, iterable, chunksize).get()  # type: ignore[no-any-return]

    def map_async(
        self,
        func: Callable[[Any], Any],
        iterable: Iterable[Any],
        chunksize: int | None = None,
        callback: Callback | None = None,
        error_callback: Callback | None = None,
    ) -> MapResult:
        """Start calls with each item."""
        return self._start(func, [(item,) for item in iterable], chunksize, callback, error_callback)

    def imap(self, func: Callable[[Any], Any], iterable: Iterable[Any], chunksize: int = 1) -> Iterator[Any]:
        """Return an iterator over the results of calls with each item."""
        return self._executor.map(func, iterable, chunksize=chunksize)  # type: ignore[no-any-return]

    def imap_unordered(self, func: Callable[[Any], Any], iterable: Iterable[Any], chunksize: int = 1) -> Iterator[Any]:
        """Return an iterator over the results of calls with each item, as they come."""
        return self._executor.map(func, iterable, chunksize=chunksize, unordered=True)  # type: ignore[no-any-return]

    def starmap(
        self, func: Callable[..., Any], iterable: Iterable[Iterable[Any]], chunksize: int | None = None
    ) -> list[Any]:
        """Return the results of calls with each tuple of arguments."""
        return self.starmap_async(func, iterable, chunksize).get()  # type: ignore[no-any-return]

    def starmap_async(
        self,
        func: Callable[..., Any],
        iterable: Iterable[Iterable[Any]],
        chunksize: int | None = None,
        callback: Callback | None = None,
        error_callback: Callback | None = None,
    ) -> MapResult:
        """Start calls with each tuple of arguments."""
        return self._start(func, iterable, chunksize, callback, error_callback)

    def istarmap(
        self, func: Callable[..., Any], iterable: Iterable[Iterable[Any]], chunksize: int = 1
    ) -> Iterator[Any]:
        """Return an iterator over the results of calls with each tuple of arguments."""
        return self._executor.starmap(func, iterable, chunksize=chunksize)  # type: ignore[no-any-return]

    def istarmap_unordered(
        self, func: Callable[..., Any], iterable: Iterable[Iterable[Any]], chunksize: int = 1
    ) -> Iterator[Any]:
        """Return an iterator over the results of calls with each tuple of arguments, as they come."""
        return self._executor.starmap(func, iterable, chunksize=chunksize, unordered=True)  # type: ignore[no-any-return]

    def close(self) -> None:
        """Take no more calls."""
        self._executor.shutdown(wait=False)

    def terminate(self) -> None:
        """Take no more calls and make none of those that have not begun."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    def join(self) -> None:
        """Wait until the workers have ended; no calls are taken from now on."""
        self._executor.shutdown(wait=True)

    def _start(
        self,
        func: Callable[..., Any],
        iterable: Iterable[Iterable[Any]],
        chunksize: int | None,
        callback: Callback | None,
        error_callback: Callback | None,
    ) -> MapResult:
        if chunksize is None:
            calls = iterable if isinstance(iterable, Sized) else list(iterable)
            chunksize = max(1, -(-len(calls) // (_CHUNKS_PER_WORKER * max(1, self._executor.num_workers))))
            iterable = calls
        elif chunksize < 1:
            raise ValueError(f"chunksize must be 1 or more, got {chunksize}")
        submitted = [self._executor.submit(call_each, func, chunk) for chunk in chunks(iterable, chunksize)]
        flat = futures.compose(futures.collect(submitted), lambda lists: [each for one in lists for each in one])
        return MapResult(flat, callback, error_callback)


class ThreadPool(Pool):
    """Threads of this process that make calls.

    Args:
        processes: number of threads; None is one a core.
        initializer: called by each thread before its first call.
        initargs: its arguments.
        kwargs: as for ``Pool``.
    """

    Executor = futures.ThreadPoolExecutor

    def __init__(
        self,
        processes: int | None = None,
        initializer: Callable[..., Any] | None = None,
        initargs: Iterable[Any] = (),
        **kwargs: Any,
    ) -> None:
        super().__init__(os.cpu_count() if processes is None else processes, initializer, initargs, **kwargs)
