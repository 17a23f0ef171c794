"""Pools whose workers are processes: the thread of the master that hands out tasks and takes in results.

Rules of this file:
- A worker has one call at a time. One that is free is in ``Workers.idle``, which pools may share; a pool's calls and
  their answers carry its own tag.
- Only pickling of the task itself fails a task at once; all other failures come as answers.
- The thread makes MPI calls that do not block, and sleeps in between while something runs, at most for the back-off.
"""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import threading
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Executor
from contextlib import contextmanager
from typing import Any

from fmi_mpi import MPI
from fmi_mpi.futures import _workers
from fmi_mpi.futures._base import Pool, Task, ThreadPool, close_all
from fmi_mpi.futures._workers import (
    CALL,
    MAIN_RUN_NAME,
    PREPARE,
    STOP,
    Preparation,
    RemoteTraceback,
    comm_split,
    share_main,
)
from fmi_mpi.util import pkl5

__all__ = [
    "MAIN_RUN_NAME",
    "ProcessPool",
    "RemoteTraceback",
    "Serialized",
    "SharedPool",
    "SharedWorkers",
    "Workers",
    "comm_split",
    "serialized",
    "setup_mpi_threads",
    "spawn_pool",
    "split_pool",
]


# -- settings ----------------------------------------------------------------------------------------------------------


class Serialized:
    """A context in which one thread at a time is, if there is a lock; without one, any number."""

    def __init__(self) -> None:
        self.lock: threading.Lock | None = None

    @contextmanager
    def __call__(self) -> Iterator[None]:
        lock = self.lock
        if lock is None:
            yield
        else:
            with lock:
                yield


serialized = Serialized()


def setup_mpi_threads() -> None:
    """Look at the thread level once: below MULTIPLE, pools make their MPI calls one at a time."""
    level = MPI.Query_thread()
    if level < MPI.THREAD_MULTIPLE and serialized.lock is None:
        serialized.lock = threading.Lock()
    if level < MPI.THREAD_SERIALIZED:
        warnings.warn(
            "fmi_mpi.futures calls MPI from threads of its own, but the thread level asked for is lower than SERIALIZED",
            RuntimeWarning,
            stacklevel=3,
        )


def flag_option(options: Mapping[str, Any], name: str, variable: str) -> bool:
    """Return an option that is a flag, or that of its variable; warns of a text that is none."""
    value = options.get(name)
    if value is not None:
        return bool(value)
    text = os.environ.get(variable, "no").strip()
    if text.lower() in ("1", "y", "yes", "true", "on"):
        return True
    if text.lower() not in ("", "0", "n", "no", "false", "off"):
        warnings.warn(f"{variable}={text!r} is neither true nor false; taken as false", RuntimeWarning, stacklevel=4)
    return False


def backoff_option(options: Mapping[str, Any]) -> float:
    """Return the longest pause in seconds."""
    value = options.get("backoff")
    return float(os.environ.get("MPI4PY_FUTURES_BACKOFF", 0.001) if value is None else value)


# -- workers -----------------------------------------------------------------------------------------------------------


class Workers:
    """The processes at the other end of an inter-communicator.

    Args:
        comm: to the workers; freed when they are stopped.
    """

    def __init__(self, comm: MPI.Intercomm) -> None:
        self._comm = comm
        self.size = comm.Get_remote_size()
        self.idle = deque(range(self.size))
        self._prepared = False
        self._preparing = threading.Lock()
        self._last_tag = comm.Get_attr(MPI.TAG_UB) or 32767
        self._tags = itertools.count()

    @property
    def comm(self) -> MPI.Intercomm:
        """Communicator to the workers, for messages."""
        return self._comm

    def new_tag(self) -> int:
        """Return the tag of a pool."""
        return next(self._tags) % self._last_tag

    def take(self) -> int | None:
        """Take a worker that is free, None if there is none."""
        try:
            return self.idle.popleft()
        except IndexError:
            return None

    def prepare(self, preparation: Preparation) -> None:
        """Prepare all workers, once; the first pool's options count."""
        with self._preparing:
            if self._prepared:
                return
            self._prepared = True
            self.tell(PREPARE, preparation)
            if preparation.use_pkl5:
                self._comm = pkl5.Intercomm(self._comm)

    def tell(self, kind: int, content: Any = None) -> None:
        """Send all workers a message that has no answer."""
        with serialized():
            requests = [self._comm.isend((kind, content), rank, 0) for rank in range(self.size)]
        for request in requests:
            _wait(request)

    def stop(self) -> None:
        """End the workers' service and the connection; collective with them."""
        self.tell(STOP)
        with serialized():
            self._comm.Disconnect()


def _wait(request: Any) -> None:
    pause = 0.0
    while True:
        with serialized():
            if request.test()[0]:
                return
        time.sleep(pause)
        pause = min(2 * pause or 1e-6, 1e-3)


class ProcessPool(Pool):
    """Workers that are processes.

    Args:
        executor: whose pool it is.
        initializer: called by each worker before its first task, or None.
        initargs: its arguments.
        options: of the executor.
        find: returns the workers; called by the pool's thread.
        shared: other pools use the workers, too, and this one leaves them running.
        import_main: the workers import the main module, unless the options say otherwise.
    """

    def __init__(
        self,
        executor: Executor,
        initializer: Callable[..., Any] | None,
        initargs: tuple[Any, ...],
        options: Mapping[str, Any],
        find: Callable[[], Workers],
        shared: bool,
        import_main: bool,
    ) -> None:
        setup_mpi_threads()
        share_main()
        self._find = find
        self._shared = shared
        self._preparation = Preparation.of(options, import_main)
        self._preparation.use_pkl5 = flag_option(options, "use_pkl5", "MPI4PY_FUTURES_USE_PKL5")
        self._backoff = backoff_option(options)
        self._running: dict[int, tuple[Task | None, Any]] = {}
        """worker -> its task, None for the initializer, and the request that sends it"""
        self._initialized: set[int] = set()
        super().__init__(executor, initializer, initargs)

    def _run(self) -> None:
        self._workers = self._find()
        self.size = self._workers.size
        self._tag = self._workers.new_tag()
        try:
            self._workers.prepare(self._preparation)
            if not self._shared and self._initializer is not None:
                for rank in range(self.size):
                    self._workers.idle.remove(rank)
                    self._initialize(rank)
                self._serve(lambda: bool(self._running))
            self.event.set()
            self._serve(lambda: bool(self._running) or not self.queue.finished)
        finally:
            if not self._shared:
                self._workers.stop()

    def _serve(self, going_on: Callable[[], bool]) -> None:
        """Take in answers and hand out tasks."""
        pause = 0.0
        while going_on():
            try:
                moved = self._take_in()
                moved = self._hand_out() or moved
            except BaseException as error:
                self._give_up(error)
                raise
            if moved:
                pause = 0.0
            elif self._running or self.queue:
                time.sleep(pause)
                pause = min(2 * pause or 1e-6, self._backoff)
            elif going_on():
                self.queue.wait()

    def _hand_out(self) -> bool:
        handed = False
        while self.queue and (rank := self._workers.take()) is not None:
            handed = True
            if self._initializer is not None and rank not in self._initialized:
                self._initialize(rank)
            elif not self._start(rank):
                self._workers.idle.appendleft(rank)
        return handed

    def _start(self, rank: int) -> bool:
        """Send a worker the next task; False if that takes no worker."""
        try:
            task = self.queue.pop()
        except LookupError:
            return False
        if not task.future.set_running_or_notify_cancel():
            return False
        try:
            with serialized():
                request = self._workers.comm.isend((CALL, (task.fn, task.args, task.kwargs)), rank, self._tag)
        except MPI.Exception:
            raise
        except BaseException as error:
            task.future.set_exception(error)
            return False
        self._running[rank] = task, request
        return True

    def _initialize(self, rank: int) -> None:
        try:
            with serialized():
                request = self._workers.comm.isend((CALL, (self._initializer, self._initargs, {})), rank, self._tag)
        except BaseException:
            self._workers.idle.append(rank)
            raise
        self._running[rank] = None, request

    def _take_in(self) -> bool:
        """Take in the answers that have come."""
        taken = False
        status = MPI.Status()
        while self._running:
            with serialized():
                if not self._workers.comm.iprobe(MPI.ANY_SOURCE, self._tag, status):
                    break
                rank = status.Get_source()
                try:
                    answer = self._workers.comm.recv(None, rank, self._tag)
                except MPI.Exception:
                    raise
                except BaseException as error:
                    answer = False, error, ""
            task, request = self._running.pop(rank)
            _wait(request)
            self._workers.idle.append(rank)
            self._settle(task, rank, *answer)
            taken = True
        return taken

    def _settle(self, task: Task | None, rank: int, good: bool, outcome: Any, text: str = "") -> None:
        if task is None:
            self._initialized.add(rank)
            if not good:
                self.queue.fail("initializer failed")
        elif good:
            task.future.set_result(outcome)
        else:
            if text:
                outcome.__cause__ = RemoteTraceback(text)
            task.future.set_exception(outcome)

    def _give_up(self, error: BaseException) -> None:
        """Fail what runs: nothing more will be heard of it."""
        for task, _ in self._running.values():
            if task is not None:
                task.future.set_exception(error)
        self._running.clear()


# -- where workers come from -------------------------------------------------------------------------------------------


class SharedWorkers:
    """The workers of a job that was started by ``python -m fmi_mpi.futures``, for all executors of its master.

    Args:
        workers: None if the process has none; tasks then run in threads.
    """

    def __init__(self, workers: Workers | None) -> None:
        self._workers = workers

    def pool(
        self,
        executor: Executor,
        initializer: Callable[..., Any] | None,
        initargs: tuple[Any, ...],
        options: Mapping[str, Any],
    ) -> Pool:
        """Return a new pool of the workers."""
        workers = self._workers
        if workers is None:
            return ThreadPool(executor, initializer, initargs, 1)
        return ProcessPool(executor, initializer, initargs, options, lambda: workers, True, True)

    def stop(self) -> None:
        """Wait for all pools, and end the workers."""
        close_all()
        if self._workers is not None:
            self._workers.stop()


SharedPool: SharedWorkers | None = None
"""The workers that all executors share; None where each has its own."""


def split_pool(
    executor: Executor,
    initializer: Callable[..., Any] | None,
    initargs: tuple[Any, ...],
    options: Mapping[str, Any],
    comm: MPI.Intercomm,
) -> Pool:
    """Return a pool of the processes at the other end of a communicator, which run the same program."""
    workers = Workers(comm)
    return ProcessPool(executor, initializer, initargs, options, lambda: workers, False, False)


def spawn_pool(
    executor: Executor,
    initializer: Callable[..., Any] | None,
    initargs: tuple[Any, ...],
    options: Mapping[str, Any],
    size: int | None,
) -> Pool:
    """Return a pool of new processes.

    Args:
        size: number of processes; None takes it from MPI4PY_FUTURES_MAX_WORKERS or the size of the universe.

    Raises:
        NotImplementedError: MPI cannot start processes, or the options ask for a server in another job.
        RuntimeError: this is a worker that runs the main module.
    """
    if options.get("service") is not None:
        raise NotImplementedError(
            "an executor cannot use the workers of a server in another job: processes connect within one job only; "
            "run the program by 'python -m fmi_mpi.futures' on all ranks"
        )
    spawn = getattr(MPI.COMM_SELF, "Spawn", None)
    if spawn is None:
        raise NotImplementedError(
            "an executor starts workers by Comm.Spawn, which is not there; run the program by "
            "'python -m fmi_mpi.futures' on all ranks, or use MPICommExecutor"
        )
    if _workers.importing_main:
        raise RuntimeError(
            "the main module starts workers while a worker imports it; "
            "put what only the master should do under: if __name__ == '__main__':"
        )
    number = size or _default_size()

    def find() -> Workers:
        info = MPI.Info.Create(dict(options.get("mpi_info") or ()))
        command = options.get("python_exe") or sys.executable
        arguments = [*_interpreter_flags(options.get("python_args")), "-m", f"{__package__}.server"]
        with serialized():
            try:
                return Workers(spawn(command, arguments, number, info, 0))
            finally:
                info.Free()

    return ProcessPool(executor, initializer, initargs, options, find, False, True)


def _default_size() -> int:
    text = os.environ.get("MPI4PY_FUTURES_MAX_WORKERS")
    if text is not None:
        return int(text)
    universe = MPI.COMM_WORLD.Get_attr(MPI.UNIVERSE_SIZE) or 0
    return max(1, universe - MPI.COMM_WORLD.Get_size())


def _interpreter_flags(more: str | Iterable[str] | None) -> list[str]:
    own: list[str] = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]
    return [*own, *(more.split() if isinstance(more, str) else more or ())]
