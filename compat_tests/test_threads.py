"""Threads: MPI_THREAD_MULTIPLE from several threads at once, each on its own tags, communicator or requests."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from compat_tests.support import neighbours, values

THREADS = 4


def in_threads(work: Callable[[int], Any], at_once: bool = True) -> list[Any]:
    """Run work(number) in several threads, at once or in turn, and return the results; an exception in any is raised."""
    results: dict[int, Any] = {}
    errors: list[BaseException] = []

    def body(number: int) -> None:
        try:
            results[number] = work(number)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=body, args=[number], daemon=True) for number in range(THREADS)]
    for thread in threads:
        thread.start()
        if not at_once:
            thread.join()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return [results[number] for number in range(THREADS)]


def test_level(MPI: Any, record: Any) -> None:
    record(MPI.Query_thread() == MPI.THREAD_MULTIPLE, MPI.Is_thread_main())
    record(in_threads(lambda _number: MPI.Is_thread_main()))


@pytest.mark.parametrize("size", [4, 200_000])
def test_rings_by_tag(MPI: Any, comm: Any, size: int, record: Any) -> None:
    before, after = neighbours(comm)

    def ring(number: int) -> Any:
        for turn in range(5):
            target = bytearray(size)
            comm.Sendrecv(values("B", size, turn + number), after, number, target, before, number)
            assert target == values("B", size, turn + number).tobytes()
        return target

    record(in_threads(ring))


def test_objects_by_tag(MPI: Any, comm: Any, record: Any) -> None:
    before, after = neighbours(comm)

    def ring(number: int) -> Any:
        return [comm.sendrecv([number, turn], after, number, None, before, number) for turn in range(5)]

    record(in_threads(ring))


def test_collectives_by_communicator(MPI: Any, comm: Any, record: Any) -> None:
    comms = [comm.Dup() for _ in range(THREADS)]

    def work(number: int) -> Any:
        mine = comms[number]
        total = np.zeros(300)
        for _ in range(5):
            mine.Allreduce(values("d", 300, number), total)
            mine.Barrier()
        return total, mine.allgather((mine.Get_rank(), number))

    # Threads of MPICH that make communicators at once can keep each other from running for minutes, with many on a core.
    record(in_threads(work, at_once=MPI.__name__.startswith("fmi_mpi")))
    for one in comms:
        one.Free()


def test_one_waits_while_another_sends(MPI: Any, comm: Any, record: Any) -> None:
    """A blocked receive of one thread does not keep another from sending what it waits for."""
    rank = comm.Get_rank()

    def work(number: int) -> Any:
        if number % 2 == 0:
            target = np.zeros(3)
            comm.Recv(target, rank, number)
            return target
        comm.Ssend(values("d", 3, number), rank, number - 1)
        return None

    record(in_threads(work))


def test_matched_probes_share_the_work(MPI: Any, comm: Any, record: Any) -> None:
    """Several threads take messages by matched probe: each is taken once."""
    before, after = neighbours(comm)
    count = 5 * THREADS
    sends = [comm.isend(number, after, 1) for number in range(count)]
    shares = in_threads(lambda _number: [comm.mprobe(before, 1).recv() for _ in range(5)])
    MPI.Request.waitall(sends)
    record(sorted(item for share in shares for item in share))


def test_requests_across_threads(MPI: Any, comm: Any, record: Any) -> None:
    """Requests started in one thread complete in others."""
    before, after = neighbours(comm)
    targets = np.zeros((THREADS, 10))
    requests = [comm.Irecv(targets[number], before, number) for number in range(THREADS)]
    in_threads(lambda number: comm.Send(values("d", 10, number), after, number))
    in_threads(lambda number: requests[number].Wait())
    record(targets)


def test_communicators_made_in_threads(MPI: Any, comm: Any, record: Any) -> None:
    comms = [comm.Dup() for _ in range(THREADS)]

    def work(number: int) -> Any:
        made = comms[number].Split(0, -comms[number].Get_rank())
        result = made.Get_rank(), made.allreduce(number)
        made.Free()
        return result

    # Threads of MPICH that make communicators at once can keep each other from running for minutes, with many on a core.
    record(in_threads(work, at_once=MPI.__name__.startswith("fmi_mpi")))
    for one in comms:
        one.Free()
