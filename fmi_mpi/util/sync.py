"""Synchronisation of processes: taking turns, counters, mutexes, condition variables and semaphores.

Rules of this file:
- Objects are made and freed by all processes of a communicator; freeing one that the process holds releases it first.
- State is numbers in windows (``_Cells``), changed by atomic one-sided operations only. A process that waits, waits for a
  number of its own to change: nobody polls another process.
- Objects are for processes, not threads: what a process holds is known to it, not to the window.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from array import array
from collections.abc import Callable, Sequence
from operator import index
from typing import Any, Self, TypeVar

from fmi_mpi import MPI

__all__ = ["Condition", "Counter", "Mutex", "Semaphore", "Sequential"]

_T = TypeVar("_T")
_LONGEST_PAUSE = 1e-3


class _Cells:
    """Numbers in a window, in one epoch of shared access from the making to the end; a collective object.

    Args:
        name: of what the numbers are for, said in errors after the end.
        typecode: type of the numbers, a code of ``array``.
        own: first values of this process's numbers.
    """

    def __init__(self, name: str, typecode: str, own: Sequence[Any], comm: MPI.Intracomm, info: MPI.Info) -> None:
        self._name = name
        self._typecode = typecode
        self._datatype = MPI.Datatype.fromcode(typecode)
        self.rank = comm.Get_rank()
        values = array(typecode, own)
        self._window: MPI.Win | None = MPI.Win.Allocate(
            len(values) * values.itemsize, values.itemsize, info=info, comm=comm
        )
        self._window.Lock_all()
        if values:
            self._window.tomemory()[:] = values.tobytes()
            self._window.Sync()
        comm.Barrier()

    def window(self) -> MPI.Win:
        """Return the window; raises RuntimeError after the end."""
        if self._window is None:
            raise RuntimeError(f"{self._name} already freed")
        return self._window

    def fetch(self, rank: int, cell: int, value: Any = 0, op: MPI.Op = MPI.NO_OP) -> Any:
        """Combine a number with a value and return what it was."""
        window = self.window()
        given, found = array(self._typecode, [value]), array(self._typecode, [0])
        window.Fetch_and_op([given, 1, self._datatype], [found, 1, self._datatype], rank, cell, op)
        window.Flush(rank)
        return found[0]

    def exchange(self, rank: int, cell: int, expected: int, value: int) -> bool:
        """Set a number if it is what is expected, and tell whether it was."""
        window = self.window()
        given, compared, found = (array(self._typecode, [number]) for number in (value, expected, 0))
        window.Compare_and_swap(
            [given, 1, self._datatype], [compared, 1, self._datatype], [found, 1, self._datatype], rank, cell
        )
        window.Flush(rank)
        return bool(found[0] == expected)

    def put(self, rank: int, cell: int, value: int) -> None:
        """Set a number."""
        self.fetch(rank, cell, value, MPI.REPLACE)

    def wait_change(self, cell: int, old: int) -> int:
        """Wait until a number of this process is no longer the old one, and return it."""
        pause = 0.0
        while (value := self.fetch(self.rank, cell)) == old:
            time.sleep(pause)
            pause = min(2 * pause or 1e-6, _LONGEST_PAUSE)
        return int(value)

    def free(self) -> None:
        """Free the window, together with all processes."""
        if self._window is not None:
            window, self._window = self._window, None
            window.Unlock_all()
            window.Free()


class Sequential:
    """The processes of a communicator run a block one after another, in rank order.

    Args:
        comm: whose processes take turns.
        tag: of the messages by which the turn passes on.
    """

    def __init__(self, comm: MPI.Intracomm, tag: int = 0) -> None:
        self._comm = comm
        self._tag = tag

    def __enter__(self) -> Self:
        self.begin()
        return self

    def __exit__(self, *exc: object) -> None:
        self.end()

    def begin(self) -> None:
        """Wait for the end of the process before."""
        if rank := self._comm.Get_rank():
            self._comm.Recv((None, 0, MPI.BYTE), rank - 1, self._tag)

    def end(self) -> None:
        """Let the next process begin."""
        following = self._comm.Get_rank() + 1
        if following < self._comm.Get_size():
            self._comm.Send((None, 0, MPI.BYTE), following, self._tag)


class Counter:
    """A number that all processes draw from, each value once.

    Args:
        start: first value.
        step: distance of values.
        typecode: type of the number, a code of ``array``.
        comm: whose processes count.
        info: hints for the window.
        root: rank of the process that keeps the number.
    """

    def __init__(
        self,
        start: float = 0,
        step: float = 1,
        *,
        typecode: str = "i",
        comm: MPI.Intracomm = MPI.COMM_WORLD,
        info: MPI.Info = MPI.INFO_NULL,
        root: int = 0,
    ) -> None:
        self._step = step
        self._root = root
        self._cells = _Cells("counter", typecode, [start] if comm.Get_rank() == root else [], comm, info)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Any:
        return self.next()

    def next(self, incr: float | None = None) -> Any:
        """Return the value and go on by ``incr``, by default the step."""
        return self._cells.fetch(self._root, 0, self._step if incr is None else incr, MPI.SUM)

    def free(self) -> None:
        """End the counter; collective."""
        self._cells.free()


class _Acquired(ABC):
    """Held within a ``with`` block."""

    @abstractmethod
    def acquire(self, blocking: bool = True) -> bool:
        """Begin to hold it."""

    @abstractmethod
    def release(self) -> None:
        """End holding it."""

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(self, *exc: object) -> None:
        self.release()


class Mutex(_Acquired):
    """At most one process holds it; those that wait for it get it in the order of their coming.

    The queue lock of Mellor-Crummey and Scott (1991): rank 0 has the last in the queue, each process its follower.

    Args:
        recursive: the holder may acquire it again and has to release it as often.
        comm: whose processes exclude each other.
        info: hints for the window.
    """

    _FOLLOWER, _BLOCKED, _LAST = range(3)
    _NOBODY = -1

    def __init__(
        self,
        *,
        recursive: bool = False,
        comm: MPI.Intracomm = MPI.COMM_WORLD,
        info: MPI.Info = MPI.INFO_NULL,
    ) -> None:
        self._recursive = bool(recursive)
        self._comm = comm
        self._count = 0
        self._cells = _Cells("mutex", "i", [self._NOBODY, 0, self._NOBODY], comm, info)

    def acquire(self, blocking: bool = True) -> bool:
        """Acquire the mutex and tell whether it is held now.

        Args:
            blocking: wait for it; otherwise return False at once if another process holds it.

        Raises:
            RuntimeError: it is held and not recursive, or freed.
        """
        self._cells.window()
        if self._count:
            if not self._recursive:
                raise RuntimeError("cannot acquire already held mutex")
            self._count += 1
            return True
        if not self._enqueue(blocking):
            return False
        self._count = 1
        return True

    def release(self) -> None:
        """Release the mutex once; raises RuntimeError if it is not held, or freed."""
        self._require("release")
        self._count -= 1
        if not self._count:
            self._dequeue()

    def locked(self) -> bool:
        """Tell whether this process holds the mutex."""
        return self.count() > 0

    def count(self) -> int:
        """Return how often this process has acquired the mutex."""
        self._cells.window()
        return self._count

    def free(self) -> None:
        """End the mutex; collective."""
        self._release_all()
        self._cells.free()

    def _require(self, action: str) -> None:
        if not self.locked():
            raise RuntimeError(f"cannot {action} unheld mutex")

    def _release_all(self) -> int:
        """Release the mutex however often it was acquired, and return how often."""
        count, self._count = self._count, 0
        if count:
            self._dequeue()
        return count

    def _restore(self, count: int) -> None:
        self._enqueue(True)
        self._count = count

    def _enqueue(self, blocking: bool) -> bool:
        cells, me = self._cells, self._cells.rank
        cells.put(me, self._FOLLOWER, self._NOBODY)
        if not blocking:
            return cells.exchange(0, self._LAST, self._NOBODY, me)
        cells.put(me, self._BLOCKED, 1)
        before = cells.fetch(0, self._LAST, me, MPI.REPLACE)
        if before != self._NOBODY:
            cells.put(before, self._FOLLOWER, me)
            cells.wait_change(self._BLOCKED, 1)
        return True

    def _dequeue(self) -> None:
        cells, me = self._cells, self._cells.rank
        follower = cells.fetch(me, self._FOLLOWER)
        if follower == self._NOBODY:
            if cells.exchange(0, self._LAST, me, self._NOBODY):
                return
            follower = cells.wait_change(self._FOLLOWER, self._NOBODY)  # one has come and is about to say so
        cells.put(follower, self._BLOCKED, 0)


class Condition(_Acquired):
    """Processes that hold a mutex wait until others notify them, in the order of their coming.

    Args:
        mutex: to be held; None makes one of its own.
        recursive: of its own mutex.
        comm: of its own mutex.
        info: hints for the windows.
    """

    # Rank 0 has the queue of waiting ranks: position of the first, length, and one place a process, used in circles.
    _ASLEEP, _FIRST, _LENGTH, _PLACES = range(4)

    def __init__(
        self,
        mutex: Mutex | None = None,
        *,
        recursive: bool = True,
        comm: MPI.Intracomm = MPI.COMM_WORLD,
        info: MPI.Info = MPI.INFO_NULL,
    ) -> None:
        self._own = mutex is None
        self._mutex = Mutex(recursive=recursive, comm=comm, info=info) if mutex is None else mutex
        comm = self._mutex._comm
        self._size = comm.Get_size()
        queue = [0] * (2 + self._size) if comm.Get_rank() == 0 else []
        self._cells = _Cells("condition", "i", [0, *queue], comm, info)

    def acquire(self, blocking: bool = True) -> bool:
        """Acquire the mutex and tell whether it is held now."""
        self._cells.window()
        return self._mutex.acquire(blocking)

    def release(self) -> None:
        """Release the mutex once."""
        self._cells.window()
        self._mutex.release()

    def locked(self) -> bool:
        """Tell whether this process holds the mutex."""
        return self._mutex.locked()

    def wait(self) -> bool:
        """Release the mutex, sleep until notified, acquire it as before, and return True.

        Raises:
            RuntimeError: the mutex is not held, or the condition freed.
        """
        self._require("wait on")
        cells = self._cells
        cells.put(cells.rank, self._ASLEEP, 1)
        length = cells.fetch(0, self._LENGTH, 1, MPI.SUM)
        cells.put(0, self._place(cells.fetch(0, self._FIRST) + length), cells.rank)
        count = self._mutex._release_all()
        cells.wait_change(self._ASLEEP, 1)
        self._mutex._restore(count)
        return True

    def wait_for(self, predicate: Callable[[], _T]) -> _T:
        """Wait until a function returns something true, and return that."""
        self._require("wait on")
        while not (result := predicate()):
            self.wait()
        return result

    def notify(self, n: int = 1) -> int:
        """Wake up to ``n`` processes that wait, and return how many were woken.

        Raises:
            RuntimeError: the mutex is not held, or the condition freed.
        """
        self._require("notify on")
        cells = self._cells
        woken = min(n, cells.fetch(0, self._LENGTH))
        if woken <= 0:
            return 0
        cells.fetch(0, self._LENGTH, -woken, MPI.SUM)
        first = cells.fetch(0, self._FIRST)
        cells.put(0, self._FIRST, (first + woken) % self._size)
        for number in range(first, first + woken):
            cells.put(cells.fetch(0, self._place(number)), self._ASLEEP, 0)
        return int(woken)

    def notify_all(self) -> int:
        """Wake all processes that wait, and return how many they were."""
        return self.notify(self._size)

    def free(self) -> None:
        """End the condition, and its own mutex; collective."""
        self._mutex._release_all()
        self._cells.free()
        if self._own:
            self._mutex.free()

    def _place(self, number: int) -> int:
        return self._PLACES + number % self._size

    def _require(self, action: str) -> None:
        self._cells.window()
        self._mutex._require(action)


class Semaphore(_Acquired):
    """A number of permits that processes acquire and release.

    Args:
        value: permits at first, 0 or more.
        bounded: releasing more than were acquired is an error.
        comm: whose processes share the permits.
        info: hints for the windows.
    """

    def __init__(
        self,
        value: int = 1,
        *,
        bounded: bool = True,
        comm: MPI.Intracomm = MPI.COMM_WORLD,
        info: MPI.Info = MPI.INFO_NULL,
    ) -> None:
        self._most = index(value)
        if self._most < 0:
            raise ValueError(f"initial value must be non-negative, got {value}")
        self._bounded = bool(bounded)
        self._counter = Counter(self._most, comm=comm, info=info)
        self._condition = Condition(recursive=False, comm=comm, info=info)

    def acquire(self, blocking: bool = True) -> bool:
        """Take a permit and tell whether there was one.

        Args:
            blocking: wait for one; otherwise return False if there is none.
        """
        with self._condition:
            while not self._counter.next(0):
                if not blocking:
                    return False
                self._condition.wait()
            self._counter.next(-1)
        return True

    def release(self, n: int = 1) -> None:
        """Give permits back.

        Args:
            n: how many, 1 or more.

        Raises:
            ValueError: there are fewer than 1, or a bounded semaphore would have more than at first.
        """
        if n < 1:
            raise ValueError(f"increment must be one or more, got {n}")
        with self._condition:
            if self._bounded and self._counter.next(0) + n > self._most:
                raise ValueError("semaphore released too many times")
            self._counter.next(n)
            self._condition.notify(n)

    def free(self) -> None:
        """End the semaphore; collective."""
        self._counter.free()
        self._condition.free()
