"""What pools of every kind share: the queue of tasks, the thread that serves it, and an orderly end.

Rules of this file:
- A pool belongs to one executor and knows it by a weak reference: with the executor gone, the queue closes.
- The thread ends when the queue is closed and empty and nothing runs any more; at exit Python closes all queues and waits.
- A broken queue fails what is in it and refuses more.
"""

from __future__ import annotations

import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import BrokenExecutor, Executor, Future
from dataclasses import dataclass, field
from itertools import islice
from queue import SimpleQueue
from typing import Any

from fmi_mpi import MPI

__all__ = [
    "Pool",
    "Task",
    "TaskQueue",
    "ThreadPool",
    "call_each",
    "chunks",
    "close_all",
    "comm_of_workers",
    "set_comm_of_workers",
]


@dataclass(slots=True)
class Task:
    """A call to be made, and the future of its result."""

    future: Future[Any]
    fn: Callable[..., Any]
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)


class TaskQueue:
    """Tasks in the order of submission.

    Takes no lock, so that the finalizer of an executor may close it whatever its thread is doing: ``SimpleQueue`` is
    reentrant, and a deque's ends are atomic.
    """

    def __init__(self) -> None:
        self._tasks: deque[Task] = deque()
        self._wake: SimpleQueue[None] = SimpleQueue()
        self._closed = False
        self._error: str | None = None

    def __len__(self) -> int:
        return len(self._tasks)

    @property
    def finished(self) -> bool:
        """Is closed and empty."""
        return self._closed and not self._tasks

    @property
    def broken(self) -> bool:
        """Refuses tasks because workers are unusable."""
        return self._error is not None

    def check(self) -> None:
        """Raise BrokenExecutor if the queue is broken."""
        if self._error is not None:
            raise BrokenExecutor(self._error)

    def put(self, task: Task) -> None:
        """Add a task; raises BrokenExecutor if the queue is broken."""
        self.check()
        self._tasks.append(task)
        self._wake.put(None)
        if self._error is not None:  # broken meanwhile, perhaps emptied before this task came
            self.fail(self._error)

    def pop(self) -> Task:
        """Take the first task; raises LookupError if there is none."""
        return self._tasks.popleft()

    def get(self) -> Task | None:
        """Wait for a task and take it; None when the queue is closed and empty."""
        while True:
            self.wait()
            try:
                return self._tasks.popleft()
            except IndexError:
                if self._closed:
                    return None

    def wait(self) -> None:
        """Wait until there is a task or the queue is closed."""
        while not self._tasks and not self._closed:
            self._wake.get()
        if self._closed:
            self._wake.put(None)  # for the next that waits

    def close(self) -> None:
        """Let the pool end when all is done."""
        self._closed = True
        self._wake.put(None)

    def cancel(self) -> None:
        """Cancel all tasks."""
        for task in self._drain():
            if task.future.cancel():
                task.future.set_running_or_notify_cancel()

    def fail(self, error: str) -> None:
        """Break the queue: all tasks, and all to come, get BrokenExecutor."""
        self._error = self._error or error
        self.close()
        for task in self._drain():
            if task.future.set_running_or_notify_cancel():
                task.future.set_exception(BrokenExecutor(error))

    def _drain(self) -> Iterator[Task]:
        while self._tasks:
            try:
                yield self._tasks.popleft()
            except IndexError:
                return


class Pool:
    """The workers of an executor, served by a thread.

    Args:
        executor: whose pool it is.
        initializer: called by each worker before its first task, or None.
        initargs: its arguments.
    """

    def __init__(self, executor: Executor, initializer: Callable[..., Any] | None, initargs: tuple[Any, ...]) -> None:
        self.queue = TaskQueue()
        self.event = threading.Event()
        self.size = 0
        self._initializer = initializer
        self._initargs = initargs
        queue = self.queue
        self._executor = weakref.ref(executor, lambda _: queue.close())
        self.thread = threading.Thread(target=self._main, name=f"{type(self).__name__} manager")
        _pools.add(self)
        self.thread.start()

    @property
    def num_workers(self) -> int:
        """Number of workers once there are any; 0 when they are unusable."""
        self.event.wait()
        return 0 if self.queue.broken else self.size

    def cancel(self) -> None:
        """Cancel the tasks that have not been handed out."""
        self.queue.cancel()

    def close(self) -> None:
        """Let the pool end when all tasks are done."""
        self.queue.close()

    def join(self) -> None:
        """Wait for the end of the pool."""
        self.thread.join()

    def _main(self) -> None:
        try:
            self._run()
        except BaseException as error:
            self.queue.fail(f"{type(error).__name__}: {error}")
        finally:
            self.event.set()

    def _run(self) -> None:
        """Start the workers, set the event when they can take tasks, and serve the queue to its end."""
        raise NotImplementedError


class ThreadPool(Pool):
    """Workers that are threads of this process."""

    def __init__(
        self,
        executor: Executor,
        initializer: Callable[..., Any] | None,
        initargs: tuple[Any, ...],
        size: int,
    ) -> None:
        self._threads = size
        super().__init__(executor, initializer, initargs)

    def _run(self) -> None:
        self.size = self._threads
        others = [threading.Thread(target=self._work) for _ in range(self.size - 1)]
        for thread in others:
            thread.start()
        self.event.set()
        self._work()
        for thread in others:
            thread.join()

    def _work(self) -> None:
        _local.comm = MPI.COMM_SELF
        try:
            if self._initializer is not None:
                self._initializer(*self._initargs)
        except BaseException:
            self.queue.fail("initializer failed")
            return
        while (task := self.queue.get()) is not None:
            _call(task)
            del task  # whoever waits for tasks must not keep the last one's result alive


def _call(task: Task) -> None:
    future = task.future
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = task.fn(*task.args, **task.kwargs)
    except BaseException as error:
        future.set_exception(error)
    else:
        future.set_result(result)


# -- calls in chunks -----------------------------------------------------------------------------------------------------


def chunks(iterable: Iterable[Iterable[Any]], size: int) -> Iterator[list[Iterable[Any]]]:
    """Cut an iterable into lists of up to ``size`` items."""
    items = iter(iterable)
    while chunk := list(islice(items, size)):
        yield chunk


def call_each(fn: Callable[..., Any], chunk: Iterable[Iterable[Any]]) -> list[Any]:
    """Return the results of calls with tuples of arguments."""
    return [fn(*args) for args in chunk]


# -- the workers' communicator -----------------------------------------------------------------------------------------

_local = threading.local()
_comm: MPI.Intracomm | None = None


def set_comm_of_workers(comm: MPI.Intracomm | None) -> None:
    """Make this process one of the workers that a communicator joins, or none."""
    global _comm
    _comm = comm


def comm_of_workers() -> MPI.Intracomm:
    """Return the communicator of the workers that this process or thread is one of; raises RuntimeError for others."""
    comm = getattr(_local, "comm", _comm)
    if comm is None:
        raise RuntimeError("communicator is not accessible: this is not a worker")
    found: MPI.Intracomm = comm
    return found


# -- the end of the program --------------------------------------------------------------------------------------------

_pools: weakref.WeakSet[Pool] = weakref.WeakSet()


def close_all() -> None:
    """Let all pools end when their tasks are done, and wait for that."""
    pools = list(_pools)
    for pool in pools:
        pool.close()
    for pool in pools:
        pool.join()


# Python waits for threads at exit, but first calls this, which no public function offers.
threading._register_atexit(close_all)  # type: ignore[attr-defined]
