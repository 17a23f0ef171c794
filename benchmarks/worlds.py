"""A running job of one peer, whose ranks wait for orders on a socket of their own.

Rules of this file:
- While another peer is measured, these ranks are blocked in the kernel and in no MPI call.
- An order that is not answered in time, or a rank that ends, is a ``PeerError`` with the end of the job's output.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import tempfile
import time
from multiprocessing.connection import Connection, wait
from types import TracebackType
from typing import Any

from benchmarks.peers import ROOT, Peer

__all__ = ["PeerError", "World"]

_START = 30.0  # seconds, and one more a rank
_ANSWER = 60.0
_FAREWELL = 15.0


class PeerError(Exception):
    """The peer has failed or hangs."""


class World:
    """``size`` ranks of ``peer``; ``started`` is the time in seconds from the command to the last rank's readiness."""

    def __init__(self, peer: Peer, size: int) -> None:
        self.peer = peer
        self.size = size
        self._directory = tempfile.TemporaryDirectory(prefix="fmi-bench-")
        path = f"{self._directory.name}/orders"
        self._output = open(f"{self._directory.name}/output", "w+b")  # noqa: SIM115
        self._ranks: list[Connection] = []
        self._processes: list[subprocess.Popen[bytes]] = []
        began = time.perf_counter()
        with socket.socket(socket.AF_UNIX) as listener, socket.create_server(("127.0.0.1", 0)) as meeting:
            listener.bind(path)
            listener.listen(size)
            self._start(path, meeting)
            try:
                self._greet(listener)
            except BaseException:
                self.close()
                raise
        self.started = time.perf_counter() - began

    def __enter__(self) -> World:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def measure(self, piece: str, nbytes: int, rounds: int) -> float | None:
        """Have all ranks run a loop; return the slowest one's figure, None if the peer has no such thing."""
        figures = self.ask(piece, nbytes, rounds)
        return None if None in figures else max(figures)

    def ask(self, piece: str, nbytes: int = 0, rounds: int = 0) -> list[Any]:
        """Have all ranks run a loop; return what each has answered, in any order."""
        for rank in self._ranks:
            rank.send((piece, nbytes, rounds))
        answers: list[Any] = []
        waiting, end = set(self._ranks), time.monotonic() + _ANSWER
        while waiting:
            ready = wait(waiting, max(0.0, end - time.monotonic()))
            if not ready:
                raise PeerError(f"{self.peer.name} hangs in {piece}, {nbytes} B, {self.size} ranks{self._words()}")
            for rank in ready:
                try:
                    answers.append(rank.recv())  # type: ignore[union-attr]
                except (EOFError, OSError):
                    raise PeerError(f"{self.peer.name} died in {piece}, {nbytes} B{self._words()}") from None
            waiting -= set(ready)  # type: ignore[arg-type]
        return answers

    def close(self) -> None:
        """End the job, by force if need be. Idempotent."""
        for rank in self._ranks:
            with contextlib.suppress(OSError):
                rank.send(None)
            rank.close()
        self._ranks.clear()
        end = time.monotonic() + _FAREWELL
        for process in self._processes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, end - time.monotonic()))
        for number in (signal.SIGTERM, signal.SIGKILL):
            for process in self._processes:
                if process.poll() is None:
                    os.killpg(process.pid, number)
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        process.wait(3)
        self._output.close()
        self._directory.cleanup()

    def _start(self, path: str, meeting: socket.socket) -> None:
        env = {name: value for name, value in os.environ.items() if not name.startswith(("FMI_", "PMI", "OMPI_"))}
        env |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", **self.peer.env}
        for rank in [0] if self.peer.launcher else range(self.size):
            env |= {"PEER_RANK": str(rank), "PEER_SIZE": str(self.size), "PEER_FD": str(meeting.fileno())}
            self._processes.append(
                subprocess.Popen(
                    self.peer.command(self.size, path),
                    env=env,
                    cwd=ROOT,
                    stdin=subprocess.DEVNULL,
                    stdout=self._output,
                    stderr=subprocess.STDOUT,
                    pass_fds=() if self.peer.launcher else (meeting.fileno(),),
                    start_new_session=True,
                )
            )

    def _greet(self, listener: socket.socket) -> None:
        """Wait until every rank has said its number."""
        listener.settimeout(0.2)
        end = time.monotonic() + _START + self.size
        while len(self._ranks) < self.size:
            try:
                self._ranks.append(Connection(listener.accept()[0].detach()))
                self._ranks[-1].recv()
            except TimeoutError:
                if time.monotonic() > end or any(process.poll() is not None for process in self._processes):
                    raise PeerError(f"{self.peer.name} does not start with {self.size} ranks{self._words()}") from None

    def _words(self) -> str:
        """Return the end of what the job has printed."""
        self._output.seek(0)
        text = self._output.read().decode(errors="replace").strip()
        return ":\n" + text[-2000:] if text else ""
