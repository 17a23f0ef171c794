"""The executors: ``MPIPoolExecutor`` and its kin.

Rules of this file:
- An executor gets its pool with the first task, or by ``bootup``; a shut-down one takes no tasks.
- ``map`` and ``starmap`` submit at once, or as far as ``buffersize`` lets them, and cancel what is left when their iterator ends early.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent import futures
from concurrent.futures import Executor, as_completed
from itertools import islice
from typing import Any, ClassVar, Self

from fmi_mpi import MPI
from fmi_mpi.futures import _core
from fmi_mpi.futures._base import Pool, Task, ThreadPool, call_each, chunks, comm_of_workers
from fmi_mpi.futures._workers import serve

__all__ = ["MPICommExecutor", "MPIPoolExecutor", "ProcessPoolExecutor", "ThreadPoolExecutor", "get_comm_workers"]


class MPIPoolExecutor(Executor):
    """Executor of calls by MPI processes.

    Args:
        max_workers: number of processes to start, by default as MPI4PY_FUTURES_MAX_WORKERS or the MPI universe says,
            or 1. All executors of a job that runs under ``-m fmi_mpi.futures`` share its processes.
        initializer: called by each worker before its first task.
        initargs: its arguments.
        kwargs: python_exe, python_args, mpi_info (for processes to start); globals, main, path, wdir, env (what the
            worker prepares); use_pkl5, backoff.

    Raises:
        ValueError: ``max_workers`` is less than 1.
        TypeError: the initializer cannot be called.
    """

    Future: ClassVar[type[futures.Future[Any]]] = futures.Future

    def __init__(
        self,
        max_workers: int | None = None,
        initializer: Callable[..., Any] | None = None,
        initargs: Iterable[Any] = (),
        **kwargs: Any,
    ) -> None:
        if max_workers is not None:
            max_workers = int(max_workers)
            if max_workers <= 0:
                raise ValueError(f"expecting 1 worker or more, got {max_workers}")
        if initializer is not None and not callable(initializer):
            raise TypeError(f"expecting an initializer that can be called, got {type(initializer).__name__}")
        self._size = max_workers
        self._initializer = initializer
        self._initargs = initargs
        self._options = kwargs
        self._shutdown = False
        self._pool: Pool | None = None
        self._lock = threading.Lock()

    @staticmethod
    def _make_pool(executor: MPIPoolExecutor) -> Pool:
        shared = _core.SharedPool
        if shared is not None:
            return shared.pool(executor, executor._initializer, tuple(executor._initargs), executor._options)
        return _spawn_pool(executor)

    def _bootstrap(self, purpose: str) -> Pool:
        """Return the pool, a new one at first; raises RuntimeError after shutdown."""
        with self._lock:
            if self._shutdown:
                raise RuntimeError(f"cannot {purpose} after shutdown")
            if self._pool is None:
                self._pool = self._make_pool(self)
            return self._pool

    @property
    def num_workers(self) -> int:
        """Number of workers; 0 after shutdown or when they cannot be used."""
        return 0 if self._shutdown else self._bootstrap("count workers").num_workers

    @property
    def _max_workers(self) -> int:
        return self.num_workers

    def bootup(self, wait: bool = True) -> Self:
        """Start the workers now rather than with the first task.

        Args:
            wait: return only when they can take tasks.
        """
        pool = self._bootstrap("bootup")
        pool.queue.check()
        if wait:
            pool.event.wait()
        return self

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> futures.Future[Any]:
        """Have a call made and return the future of its result.

        Raises:
            RuntimeError: the executor is shut down.
            BrokenExecutor: the initializer has failed.
        """
        pool = self._bootstrap("submit")
        with self._lock:
            if self._shutdown:
                raise RuntimeError("cannot submit after shutdown")
            future = self.Future()
            pool.queue.put(Task(future, fn, args, kwargs))
            return future

    def map(
        self,
        fn: Callable[..., Any],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
        buffersize: int | None = None,
        unordered: bool = False,
    ) -> Iterator[Any]:
        """Return an iterator over the results of calls with the items of iterables.

        Args:
            fn: what to call.
            iterables: one for each argument.
            timeout: seconds from now until the last result is there; TimeoutError beyond.
            chunksize: calls in one task.
            buffersize: tasks ahead of the iterator; None for all at once.
            unordered: results as they come, not in order.
        """
        return self.starmap(fn, zip(*iterables, strict=False), timeout, chunksize, buffersize, unordered)

    def starmap(
        self,
        fn: Callable[..., Any],
        iterable: Iterable[Iterable[Any]],
        timeout: float | None = None,
        chunksize: int = 1,
        buffersize: int | None = None,
        unordered: bool = False,
    ) -> Iterator[Any]:
        """Return an iterator over the results of calls with tuples of arguments; see ``map``."""
        if chunksize < 1:
            raise ValueError(f"chunksize must be 1 or more, got {chunksize}")
        if buffersize is not None:
            if not isinstance(buffersize, int):
                raise TypeError(f"buffersize must be an integer or None, not {type(buffersize).__name__}")
            if buffersize < 1:
                raise ValueError(f"buffersize must be 1 or more or None, got {buffersize}")
            if unordered:
                raise ValueError("buffersize is for results in order")
        end = None if timeout is None else time.monotonic() + timeout
        submitted = (self.submit(call_each, fn, chunk) for chunk in chunks(iterable, chunksize))
        first = deque(islice(submitted, buffersize))
        results = _unordered(first, end) if unordered else _ordered(first, submitted, end)
        return (each for chunk in results for each in chunk)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more tasks and free the workers when all are done.

        Args:
            wait: return only then.
            cancel_futures: cancel the tasks that have not been handed out.
        """
        with self._lock:
            self._shutdown = True
            pool = self._pool
        if pool is None:
            return
        if cancel_futures:
            pool.cancel()
        pool.close()
        if wait:
            pool.join()
            self._pool = None


def _spawn_pool(executor: MPIPoolExecutor) -> Pool:
    return _core.spawn_pool(
        executor, executor._initializer, tuple(executor._initargs), executor._options, executor._size
    )


class ProcessPoolExecutor(MPIPoolExecutor):
    """Executor whose workers are always processes of its own."""

    _make_pool = staticmethod(_spawn_pool)


class ThreadPoolExecutor(MPIPoolExecutor):
    """Executor of calls by threads of this process."""

    @staticmethod
    def _make_pool(executor: MPIPoolExecutor) -> Pool:
        size = executor._size or int(os.environ.get("MPI4PY_FUTURES_MAX_WORKERS", 1))
        return ThreadPool(executor, executor._initializer, tuple(executor._initargs), size)


class MPICommExecutor:
    """Context in which one process of a communicator has an executor whose workers are all others.

    Args:
        comm: the processes, by default COMM_WORLD; a single one runs tasks in a thread.
        root: rank of the process with the executor; the others get None.
        kwargs: as for ``MPIPoolExecutor``.

    Raises:
        ValueError: an inter-communicator, or a root that is not a rank.
    """

    def __init__(self, comm: MPI.Intracomm | None = None, root: int = 0, **kwargs: Any) -> None:
        comm = MPI.COMM_WORLD if comm is None else comm
        if comm.Is_inter():
            raise ValueError("expecting an intracommunicator")
        if not 0 <= root < comm.Get_size():
            raise ValueError(f"root {root} is not a rank of a communicator of {comm.Get_size()}")
        self._comm = comm
        self._root = root
        self._options = kwargs
        self._executor: MPIPoolExecutor | None = None
        self._entered = False

    def __enter__(self) -> MPIPoolExecutor | None:
        if self._entered:
            raise RuntimeError("the context is already entered")
        self._entered = True
        if self._comm.Get_size() == 1:
            self._executor = ThreadPoolExecutor(1, **self._options)
        elif _core.SharedPool is not None and self._root == 0:
            self._executor = MPIPoolExecutor(**self._options)
        else:
            inter, workers = _core.comm_split(self._comm, self._root)
            if workers:
                try:
                    serve(inter, workers)
                finally:
                    inter.Disconnect()
                    workers.Free()
            else:
                self._executor = _SplitExecutor(inter, self._options)
        return self._executor

    def __exit__(self, *exc: object) -> bool:
        executor, self._executor = self._executor, None
        self._entered = False
        if executor is not None:
            executor.shutdown(wait=True)
            return False
        return True


class _SplitExecutor(MPIPoolExecutor):
    """Executor of the processes at the other end of a communicator, which wait for it from the start."""

    def __init__(self, comm: MPI.Intercomm, options: dict[str, Any]) -> None:
        super().__init__(**options)
        self._pool = _core.split_pool(self, self._initializer, tuple(self._initargs), self._options, comm)


def get_comm_workers() -> MPI.Intracomm:
    """Return the communicator of all workers, to a task that runs in one; raises RuntimeError elsewhere."""
    return comm_of_workers()


# -- map ---------------------------------------------------------------------------------------------------------------


def _remaining(end: float | None) -> float | None:
    return None if end is None else end - time.monotonic()


def _ordered(
    pending: deque[futures.Future[Any]], more: Iterator[futures.Future[Any]], end: float | None
) -> Iterator[list[Any]]:
    try:
        while pending:
            result = pending[0].result(_remaining(end))
            del pending[0]
            pending.extend(islice(more, 1))
            yield result
    finally:
        for future in pending:
            future.cancel()


def _unordered(submitted: Iterable[futures.Future[Any]], end: float | None) -> Iterator[list[Any]]:
    waiting = set(submitted)
    try:
        for future in as_completed(waiting.copy(), _remaining(end)):
            waiting.remove(future)
            yield future.result()
    finally:
        for future in waiting:
            future.cancel()
