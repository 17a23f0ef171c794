"""mpi4py.util.sync: turns, counters, mutexes, conditions, semaphores, and what is not allowed with them."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import pytest

from compat_tests.support import COMMS, outcome

everywhere = pytest.mark.parametrize("comm", COMMS, indirect=True)


@pytest.fixture
def sync(MPI: Any) -> Any:
    return importlib.import_module(f"{MPI.__name__.partition('.')[0]}.util.sync")


@everywhere
def test_sequential(sync: Any, comm: Any, record: Any) -> None:
    counter = sync.Counter(comm=comm)
    with sync.Sequential(comm, 7):
        record(next(counter))
    counter.free()


@everywhere
@pytest.mark.parametrize("typecode", "hHiIlLqQfd")
def test_counter(sync: Any, comm: Any, typecode: str, record: Any) -> None:
    root = comm.Get_size() - 1
    counter = sync.Counter(3, 2, typecode=typecode, comm=comm, root=root)
    drawn = [counter.next() for _ in range(3)]
    record(sorted(one for some in comm.allgather(drawn) for one in some), iter(counter) is counter)
    comm.Barrier()
    record(counter.next(0))
    comm.Barrier()
    if comm.Get_rank() == 0:
        counter.next(5)
    comm.Barrier()
    record(counter.next(0))
    counter.free()
    counter.free()


@everywhere
@pytest.mark.parametrize("recursive", [False, True])
def test_mutex_excludes(sync: Any, comm: Any, recursive: bool, record: Any) -> None:
    """A number that is read and then written, which only exclusion makes come out right."""
    mutex, counter = sync.Mutex(recursive=recursive, comm=comm), sync.Counter(comm=comm)
    for _ in range(10):
        with mutex:
            seen = counter.next(0)
            assert counter.next(1) == seen
    comm.Barrier()
    record(counter.next(0), mutex.locked(), mutex.count())
    comm.Barrier()
    mutex.acquire()
    mutex.free()  # lets the next one have it
    counter.free()


@everywhere
def test_mutex_without_waiting(sync: Any, comm: Any, record: Any) -> None:
    mutex = sync.Mutex(comm=comm)
    held = mutex.acquire(blocking=False)
    record(sum(comm.allgather(held)), mutex.locked() == held)
    if held:
        mutex.release()
    mutex.free()


@everywhere
@pytest.mark.parametrize("given", [False, True])
def test_condition(sync: Any, comm: Any, given: bool, record: Any) -> None:
    """The others wait in a queue; rank 0 wakes one and then all of them."""
    mutex = sync.Mutex(comm=comm) if given else None
    condition = sync.Condition(mutex, comm=comm)
    ready = sync.Counter(comm=comm)
    rank, others = comm.Get_rank(), comm.Get_size() - 1
    if rank:
        with condition:
            ready.next()
            record(condition.wait(), condition.locked())
    else:
        while ready.next(0) < others:
            pass
        with condition:
            first = condition.notify()
            record(first, condition.notify_all(), condition.notify(), condition.notify(0))
            record(condition.wait_for(lambda: "at once"))
    condition.free()
    ready.free()
    if mutex is not None:
        mutex.free()


@everywhere
@pytest.mark.parametrize("bounded", [False, True])
def test_semaphore(sync: Any, comm: Any, bounded: bool, record: Any) -> None:
    size = comm.Get_size()
    semaphore = sync.Semaphore(max(1, size - 1), bounded=bounded, comm=comm)
    held = semaphore.acquire(blocking=False)
    record(sum(comm.allgather(held)))
    if held:
        semaphore.release()
    for _ in range(3):
        with semaphore:
            pass
    comm.Barrier()
    record(type(error_of(semaphore.release)).__name__)
    semaphore.free()


def error_of(function: Callable[[], Any]) -> Exception | None:
    try:
        function()
    except Exception as error:
        return error
    return None


def freed(thing: Any) -> Any:
    thing.free()
    return thing


def held(thing: Any) -> Any:
    thing.acquire()
    return thing


MAKERS: dict[str, Callable[[Any, Any], Any]] = {
    "counter": lambda sync, comm: sync.Counter(comm=comm),
    "mutex": lambda sync, comm: sync.Mutex(comm=comm),
    "recursive mutex": lambda sync, comm: sync.Mutex(recursive=True, comm=comm),
    "condition": lambda sync, comm: sync.Condition(comm=comm),
    "semaphore": lambda sync, comm: sync.Semaphore(comm=comm),
}
MISTAKES: dict[tuple[str, str], Callable[[Any], Any]] = {
    ("counter", "freed"): lambda counter: freed(counter).next(),
    ("counter", "text"): lambda counter: counter.next("x"),
    ("counter", "fraction"): lambda counter: counter.next(1.5),
    ("mutex", "acquired twice"): lambda mutex: held(mutex).acquire(),
    ("mutex", "tried twice"): lambda mutex: held(mutex).acquire(False),
    ("mutex", "not held"): lambda mutex: mutex.release(),
    ("mutex", "freed, acquire"): lambda mutex: freed(mutex).acquire(),
    ("mutex", "freed, release"): lambda mutex: freed(mutex).release(),
    ("mutex", "freed, locked"): lambda mutex: freed(mutex).locked(),
    ("recursive mutex", "freed, count"): lambda mutex: freed(mutex).count(),
    ("recursive mutex", "not held"): lambda mutex: mutex.release(),
    ("condition", "wait"): lambda condition: condition.wait(),
    ("condition", "wait_for"): lambda condition: condition.wait_for(lambda: False),
    ("condition", "notify"): lambda condition: condition.notify(),
    ("condition", "notify_all"): lambda condition: condition.notify_all(),
    ("condition", "freed, acquire"): lambda condition: freed(condition).acquire(),
    ("condition", "freed, wait"): lambda condition: freed(condition).wait(),
    ("semaphore", "no release"): lambda semaphore: semaphore.release(0),
    ("semaphore", "too many"): lambda semaphore: semaphore.release(),
    ("semaphore", "freed"): lambda semaphore: freed(semaphore).acquire(),
}


@pytest.mark.parametrize("comm", ["self"], indirect=True)
@pytest.mark.parametrize(("kind", "mistake"), MISTAKES)
def test_mistakes(MPI: Any, sync: Any, comm: Any, kind: str, mistake: str, record: Any) -> None:
    thing = MAKERS[kind](sync, comm)
    record(outcome(MPI, MISTAKES[kind, mistake], thing))
    thing.free()


def test_mistakes_in_making(MPI: Any, sync: Any, comm: Any, record: Any) -> None:
    record(outcome(MPI, sync.Counter, typecode="x", comm=comm), outcome(MPI, sync.Mutex, comm=MPI.COMM_NULL))
    record(*(outcome(MPI, sync.Semaphore, value, comm=comm) for value in (-1, "1")))
