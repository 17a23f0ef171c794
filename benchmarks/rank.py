"""One rank of any peer: runs the loops that the benchmark asks for, and sleeps in between without a call to MPI.

python -m benchmarks.rank MODULE SOCKET
"""

from __future__ import annotations

import os
import sys
import time
from importlib import import_module
from multiprocessing.connection import Client
from typing import Any

from benchmarks.pieces import PIECES, Loop


def serve(MPI: Any, path: str) -> None:
    """Answer orders (piece, bytes, rounds) with seconds a round, or a message, until None comes."""
    comm = MPI.COMM_WORLD
    comm.Barrier()
    cores = sorted(os.sched_getaffinity(0))
    if comm.Get_size() <= len(cores):
        os.sched_setaffinity(0, {cores[comm.Get_rank()]})
    pieces = {piece.name: piece for piece in PIECES}
    prepared: tuple[str, int] | None = None
    loop: Loop = _nothing
    with Client(path, "AF_UNIX") as control:
        control.send(comm.Get_rank())
        while (order := control.recv()) is not None:
            name, nbytes, rounds = order
            piece = pieces[name]
            if not all(hasattr(comm, need) for need in piece.needs):
                control.send(None)
                continue
            if prepared != (name, nbytes):
                loop = _nothing  # frees the buffers
                loop = piece.prepare(MPI, comm, nbytes)
                prepared = (name, nbytes)
            comm.Barrier()
            began = time.perf_counter()
            figure = loop(rounds)
            elapsed = time.perf_counter() - began
            control.send(elapsed / rounds if figure is None else figure)


def _nothing(rounds: int) -> None:
    """The loop before the first order."""


if __name__ == "__main__":
    serve(import_module(sys.argv[1]), sys.argv[2])
