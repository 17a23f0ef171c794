"""One rank of any system: runs what the benchmark asks for, and sleeps in between.

    python -m benchmarks.fmi_paper.rank SYSTEM SOCKET

Rules of this file:
- Each operation is stamped when a rank begins and ends it; clocks are the machine's, so stamps of all ranks compare.
- Where a rank could run ahead of others, all meet before the operation, past the system under test.
"""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, fields
from multiprocessing.connection import Client
from typing import Any

import numpy as np

from benchmarks.fmi_paper.polling import Keys, Pauses, Polling, RedisKeys, fixed, growing
from benchmarks.fmi_paper.trees import Trees, connect

__all__ = ["PIECES", "Piece"]

KMEANS = 85  # doubles that LambdaML's k-means reduces an epoch
_SPIN = 1e-3  # seconds
_PAUSES: dict[str, tuple[Pauses, Pauses]] = {
    "redis": (fixed(1e-3), growing(5e-5, 1.5, 1e-3)),
    "s3": (fixed(0.1), growing(1e-3, 1.5, 0.1)),
    "dynamodb": (fixed(0.1), growing(1e-3, 1.5, 0.1)),
}
"""Of FMI (of LambdaML on DynamoDB), and tuned."""

Turn = Callable[[int], object]


@dataclass(frozen=True)
class Piece:
    """An operation.

    ``prepare(comm, nbytes)`` makes the buffers and returns what does it once, given the number of the turn.
    ``meet``: ranks meet before each turn. ``per``: operations in a turn. ``least``: turns in a round.
    """

    prepare: Callable[[Any, int], Turn]
    meet: bool = True
    per: int = 1
    least: int = 3


def _one_way(comm: Any, nbytes: int) -> Turn:
    data = np.ones(nbytes // 8)
    rank, peer = comm.Get_rank(), 1 - comm.Get_rank()

    def turn(number: int) -> None:
        for sender in (0, 1):
            if rank == sender:
                comm.Send(data, peer)
            else:
                comm.Recv(data, peer)

    return turn


def _barrier(comm: Any, nbytes: int) -> Turn:
    return lambda number: comm.Barrier()


def _bcast(comm: Any, nbytes: int) -> Turn:
    data, size = np.ones(nbytes // 8), comm.Get_size()
    return lambda number: comm.Bcast(data, root=number % size)


def _to_root(name: str, blocks: bool) -> Callable[[Any, int], Turn]:
    def prepare(comm: Any, nbytes: int) -> Turn:
        size, rank, call = comm.Get_size(), comm.Get_rank(), getattr(comm, name)
        out, into = np.ones(nbytes // 8), np.empty(nbytes // 8 * (size if blocks else 1))
        return lambda number: call(out, into if number % size == rank else None, root=number % size)

    return prepare


def _scatter(comm: Any, nbytes: int) -> Turn:
    size, rank = comm.Get_size(), comm.Get_rank()
    out, into = np.ones(nbytes // 8 * size), np.empty(nbytes // 8)
    return lambda number: comm.Scatter(out if number % size == rank else None, into, root=number % size)


def _for_all(name: str) -> Callable[[Any, int], Turn]:
    def prepare(comm: Any, nbytes: int) -> Turn:
        call, out, into = getattr(comm, name), np.ones(nbytes // 8), np.empty(nbytes // 8)
        return lambda number: call(out, into)

    return prepare


PIECES = {
    "one way": Piece(_one_way, meet=False, per=2),
    "barrier": Piece(_barrier, meet=False),
    "bcast": Piece(_bcast),
    "gather": Piece(_to_root("Gather", True)),
    "scatter": Piece(_scatter),
    "reduce": Piece(_to_root("Reduce", False)),
    "allreduce": Piece(_for_all("Allreduce"), meet=False),
    "scan": Piece(_for_all("Scan")),
    "kmeans": Piece(_for_all("Allreduce"), meet=False, least=10),
}
"""In the order of the report."""


class _Gate:
    """Where all ranks meet: a file of the numbers of the turns that they have come to."""

    def __init__(self, path: str, rank: int, size: int) -> None:
        with open(path, "ab") as file:
            file.truncate(8 * size)
        self._turns = np.asarray(np.memmap(path, np.int64, "r+", shape=(size,)))
        self._rank = rank
        self._turn = 0

    def meet(self) -> None:
        self._turn += 1
        self._turns[self._rank] = self._turn
        end = time.perf_counter() + _SPIN
        while self._turns.min() < self._turn:
            if time.perf_counter() < end:
                os.sched_yield()
            else:
                time.sleep(2e-4)


def _keys(channel: str) -> Keys:
    """Return the store, by the package's own clients; to Redis, whose client does not poll, a short way."""
    url = os.environ["PAPER_URL"]
    if channel == "redis":
        return RedisKeys(int(url.rpartition(":")[2].partition("/")[0]))
    from fmi_mpi.channels import dynamodb, s3
    from fmi_mpi.config import Settings

    keys: Keys = {"s3": s3, "dynamodb": dynamodb}[channel].open_keys(url, Settings())  # type: ignore[attr-defined]
    return keys


def _join(system: str, job: str) -> Any:
    """Return the communicator of a system: fmi_mpi, "fmi CHANNEL" or "tuned CHANNEL"; ``job`` is no other job's name."""
    if system == "fmi_mpi":
        from fmi_mpi import MPI

        return MPI.COMM_WORLD
    rank, size = int(os.environ["PEER_RANK"]), int(os.environ["PEER_SIZE"])
    way, channel = system.split()
    if channel == "tcp":
        return Trees(rank, connect(rank, size, socket.socket(fileno=int(os.environ["PEER_FD"]))))
    return Polling(_keys(channel), rank, size, job, _PAUSES[channel][way == "tuned"])


def _usage(comm: Any) -> dict[str, float]:
    """Return the processor's seconds so far, and what the store, if there is one, has been asked, by kind."""
    usage = getattr(comm, "usage", None)
    if usage is None and not isinstance(comm, Trees):
        from fmi_mpi.runtime.process import world

        usage = getattr(world().channels[0], "usage", None)
    counts = {one.name: getattr(usage, one.name) for one in fields(usage) if one.name[0] != "_"} if usage else {}
    return {"cpu": time.process_time(), **counts}


def serve(system: str, path: str) -> None:
    """Answer orders (piece, bytes, turns) with stamps, and "usage" with what was asked of the store, until None comes."""
    comm = _join(system, os.path.basename(os.path.dirname(path)))
    comm.Barrier()
    rank, size = comm.Get_rank(), comm.Get_size()
    cores = sorted(os.sched_getaffinity(0))
    if size <= len(cores) and len(_usage(comm)) == 1:  # without a store
        os.sched_setaffinity(0, {cores[rank]})
    gate = _Gate(path + ".gate", rank, size)
    prepared: tuple[str, int] | None = None
    turn: Turn = _nothing
    with Client(path, "AF_UNIX") as control:
        control.send(rank)
        while (order := control.recv()) is not None:
            name, nbytes, turns = order
            if name == "usage":
                control.send(_usage(comm))
                if isinstance(comm, Polling):
                    comm.clear()
                continue
            if prepared != (name, nbytes):
                turn, prepared = PIECES[name].prepare(comm, nbytes), (name, nbytes)
            control.send(_run(turn, turns, gate if PIECES[name].meet else None))


def _nothing(number: int) -> None:
    """The turn before the first order."""


def _run(turn: Turn, turns: int, gate: _Gate | None) -> list[tuple[float, float]]:
    """Return the stamps of all turns."""
    now = time.perf_counter
    stamps = []
    for number in range(turns):
        begun = now()
        if gate is not None:
            gate.meet()
        turn(number)
        stamps.append((begun, now()))
    return stamps


if __name__ == "__main__":
    serve(sys.argv[1], sys.argv[2])
