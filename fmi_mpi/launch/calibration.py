"""What the ranks of ``fmi-mpi calibrate`` run: they measure the one channel that their job has.

Rules of this file:
- Medians, after warming up; as many turns as fit a short time, and a few at least. All ranks take the same number. Each
  figure is the least of several medians: what else runs on the machine can only add to it.
- Between two ranks: messages there and back, and bursts. All ranks together: a barrier and an allreduce, which no rank
  leaves before all have come; their messages are counted by the algorithms' own formulas.
- Rank 0 writes what was measured, as JSON, to the path given.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np

from fmi_mpi import MPI
from fmi_mpi.channels.base import Channel
from fmi_mpi.coll.cost import Frames
from fmi_mpi.coll.registry import ALGORITHMS
from fmi_mpi.runtime.process import world

__all__ = ["BURST", "main", "seconds_of"]

_ONE_WAY: Final = (8, 1 << 10, 1 << 13, 1 << 16, 1 << 19, 1 << 22)
_TOGETHER: Final = (8, 1 << 13, 1 << 16, 1 << 19)
BURST: Final = 16
"""Messages sent at once to measure what each of them takes of its sender and receiver."""
_BUDGET: Final = 0.03  # seconds for each median
_SERIES: Final = 3  # medians
_LEAST: Final = 5
_MOST: Final = 1000


def seconds_of(comm: MPI.Intracomm, turn: Callable[[], object]) -> float:
    """Return the time of a turn, the longest of all ranks'."""
    return min(_median(comm, turn) for _ in range(_SERIES))


def _median(comm: MPI.Intracomm, turn: Callable[[], object]) -> float:
    start = time.perf_counter()
    for _ in range(_LEAST):
        turn()
    mean = comm.allreduce((time.perf_counter() - start) / _LEAST, MPI.MAX)
    times = []
    for _ in range(int(min(max(_BUDGET / mean, _LEAST), _MOST))):
        start = time.perf_counter()
        turn()
        times.append(time.perf_counter() - start)
    median: float = comm.allreduce(statistics.median(times), MPI.MAX)
    return median


def _exchange(comm: MPI.Intracomm, sends: int, nbytes: int) -> Callable[[], None]:
    """Return a turn: rank 0 sends so many messages at once, rank 1 answers with one."""
    first = comm.rank == 0
    there = [np.zeros(nbytes, np.uint8) for _ in range(sends)]
    back = np.zeros(nbytes, np.uint8)

    def turn() -> None:
        if first:
            requests = [comm.Isend(data, 1) for data in there]
            comm.Recv(back, 1)
        else:
            requests = [comm.Irecv(data, 0) for data in there]
        MPI.Request.Waitall(requests)
        if not first:
            comm.Send(back, 0)

    return turn


def _ping(comm: MPI.Intracomm, nbytes: int) -> Callable[[], None]:
    """Return a turn: a message there and one back."""
    data = np.zeros(nbytes, np.uint8)
    peer = 1 - comm.rank

    def first() -> None:
        comm.Send(data, peer)
        comm.Recv(data, peer)

    def second() -> None:
        comm.Recv(data, peer)
        comm.Send(data, peer)

    return second if comm.rank else first


def _together(comm: MPI.Intracomm, board: bool) -> list[tuple[Frames, float]]:
    """Return what collectives send, and their seconds."""
    barrier = ALGORITHMS["barrier"]["shared" if board else "dissemination"].cost()
    allreduce = ALGORITHMS["allreduce"]["shared" if board else "recursive_doubling"].cost()
    assert barrier is not None
    assert allreduce is not None
    found: list[tuple[Any, float]] = [(barrier(comm.size, 0), seconds_of(comm, comm.Barrier))]
    for nbytes in _TOGETHER:
        send, recv = np.zeros(nbytes // 8), np.zeros(nbytes // 8)
        turn = lambda send=send, recv=recv: comm.Allreduce(send, recv)  # noqa: E731
        found.append((allreduce(comm.size, nbytes), seconds_of(comm, turn)))
    return found


def main(argv: Sequence[str]) -> None:
    """Measure; ``argv`` is the path to write to."""
    comm = MPI.COMM_WORLD
    channel: Any = _only(world().channels)
    for _ in range(_LEAST):
        comm.Barrier()
    measured: dict[str, Any] = {
        "channel": channel.name,
        "ranks": comm.size,
        "board": bool(channel.capabilities.publish),
        "store": hasattr(channel, "usage"),
    }
    if comm.size == 2:
        seconds_of(comm, _ping(comm, 8))
        measured["one_way"] = [(nbytes, seconds_of(comm, _ping(comm, nbytes)) / 2) for nbytes in _ONE_WAY]
        measured["burst"] = seconds_of(comm, _exchange(comm, BURST, 8))
    measured["together"] = _together(comm, measured["board"])
    if comm.rank == 0:
        with open(argv[0], "w", encoding="utf-8") as file:
            json.dump(measured, file)


def _only(channels: Sequence[Channel]) -> Channel:
    (channel,) = channels
    return channel


if __name__ == "__main__":
    main(sys.argv[1:])
