"""Meeting in a private directory: for ranks of one host whose launcher is not ours (mpirun, mpiexec, srun).

Rules of this file:
- ``claim.N`` names the process that is rank N, ``rank.N`` is its record, ``finalized.N`` says that its end is no
  failure, ``closed.N`` that it does not need the directory any more.
- ``signal.N.X`` is a message to rank N; names X sort in the order of sending. Who reads it removes it.
- Whoever claims first makes the job's ``secret``. Claims and departures happen under the directory's lock.
- A living claimant keeps its rank: another process with that rank is its child and is told so. A dead one that
  left in order belongs to an earlier program of the same launch, which is waited for. When no claimant lives, the
  directory is left over and taken down.
- The last to leave removes the directory.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Sequence
from typing import Final

from fmi_mpi.bootstrap import private
from fmi_mpi.bootstrap.base import Event, Identity, Record, Relay
from fmi_mpi.errors import AbortError, BootstrapError

__all__ = ["DirectoryBootstrap", "RankTaken"]

_PAUSE: Final = 0.002  # seconds between two looks while waiting: at first
_LONGEST_PAUSE: Final = 0.05
_NEWS_INTERVAL: Final = 0.2  # seconds between two looks at who lives
_CLAIM_TIMEOUT: Final = 60.0
_END_OTHERS: Final = 'sleep 0.5; kill -TERM "$@" 2>/dev/null'


class RankTaken(BootstrapError):
    """Another living process has this rank already: this one is a child that inherited the environment."""


class DirectoryBootstrap:
    """The meeting place of a job that another launcher has started; see ``bootstrap.base.Bootstrap``.

    Args:
        key: names the job among the user's jobs on this host.
        rank, size: this process's place.
        launcher: name of the launcher, for messages.

    Raises RankTaken, BootstrapError.
    """

    def __init__(self, key: str, rank: int, size: int, launcher: str) -> None:
        self._launcher = launcher
        self._rank = rank
        self._size = size
        self._pid = os.getpid()
        self._closed = False
        self._path = private.path_of(key)
        self._lost: set[int] = set()
        self._looked = 0.0
        self._signals = 0
        self._kept: list[Event] = []
        self.spans_hosts = False
        self.reflectors: Sequence[tuple[str, int]] = ()
        self.relay: Relay | None = None
        self.directory: str | None = self._path
        secret = self._enter()
        self.identity = Identity(key, rank, size, bytes.fromhex(secret))

    def publish(self, record: Record) -> None:
        """Write this rank's record where the others read it."""
        private.write(self._path, f"rank.{self._rank}", json.dumps(record))

    def table(self, timeout: float) -> Sequence[Record]:
        """Return every rank's record, waiting at most ``timeout`` seconds.

        Raises BootstrapError naming the missing ranks, at once if one of them has died; AbortError if the job ends.
        """
        deadline = time.monotonic() + timeout
        pause = _PAUSE
        while True:
            present = self._names()
            missing = [rank for rank in range(self._size) if f"rank.{rank}" not in present]
            if not missing:
                return [json.loads(private.read(self._path, f"rank.{rank}")) for rank in range(self._size)]
            self._raise_if_hopeless(missing)
            if time.monotonic() > deadline:
                raise BootstrapError(
                    f"rank {self._rank} of {self._size}: not all ranks joined the job within {timeout:g} s; missing: "
                    f"{', '.join(map(str, missing))}. Every process that {self._launcher} starts must import MPI; "
                    "FMI_JOIN_TIMEOUT sets the time to wait"
                )
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    def fileno(self) -> int:
        """Return -1: nothing here can be watched."""
        return -1

    def events(self) -> Sequence[Event]:
        """Return signals, and whether a rank has aborted the job or died; looks five times a second at most."""
        kept, self._kept = self._kept, []
        return [*kept, *self._look()]

    def _look(self) -> Sequence[Event]:
        now = time.monotonic()
        if self._closed or now - self._looked < _NEWS_INTERVAL:
            return ()
        self._looked = now
        text = private.read(self._path, "abort")
        if text:
            return (Event(**json.loads(text)),)
        news = self._take_signals()
        dead = [rank for rank in range(self._size) if rank not in self._lost and self._died(rank)]
        self._lost.update(dead)
        news.extend(Event("lost", rank, f"rank {rank} died without finalizing") for rank in dead)
        return news

    def signal(self, rank: int, message: Record) -> None:
        """Leave a message where the other rank looks five times a second."""
        if not self._closed and os.getpid() == self._pid:
            self._signals += 1
            name = f"signal.{rank}.{self._signals:012}.{self._rank}"
            private.write(self._path, name, json.dumps(message))

    def abort(self, code: int, message: str) -> None:
        """Say so, for the launcher may not; see ``_end``."""
        reason = f": {message}" if message else ""
        message = f"rank {self._rank} called MPI_Abort(MPI_COMM_WORLD, {code}){reason}"
        if not self._closed and os.getpid() == self._pid:
            print(f"fmi_mpi: {message}", file=sys.stderr, flush=True)
        self._end(code, message)

    def failed(self, code: int) -> None:
        """End the others; what has happened is on the screen already."""
        self._end(code, f"rank {self._rank} exited with code {code}")

    def _end(self, code: int, message: str) -> None:
        """Tell the other ranks, and terminate those that have not noticed half a second later."""
        if self._closed or os.getpid() != self._pid:
            return
        event = {"kind": "abort", "rank": self._rank, "message": message, "code": code}
        private.write(self._path, "abort", json.dumps(event))
        others = [self._claimant(rank) for rank in range(self._size) if rank != self._rank]
        pids = [key.split()[0] for key in others if key and private.alive(key)]
        if pids:
            null = [(os.POSIX_SPAWN_OPEN, fd, os.devnull, os.O_RDWR, 0) for fd in (0, 1, 2)]
            shell = ["sh", "-c", _END_OTHERS, "sh", *pids]
            os.posix_spawn("/bin/sh", shell, os.environ, file_actions=null, setsid=True)

    def finalized(self) -> None:
        """Leave in order: from now on this process's end is not news."""
        if os.getpid() == self._pid and not self._closed:
            private.write(self._path, f"finalized.{self._rank}", "")

    def close(self) -> None:
        """Leave; the last one removes the directory. Idempotent."""
        if self._closed or os.getpid() != self._pid:
            return
        self._closed = True
        with private.locked(self._path) as held:
            if not held or self._claimant(self._rank) != private.process_key(self._pid):
                return
            private.write(self._path, f"closed.{self._rank}", "")
            if not any(self._stays(rank) for rank in range(self._size)):
                private.remove(self._path)

    # -- the directory -------------------------------------------------------------------------------------------

    def _enter(self) -> str:
        """Claim the rank and return the job's secret."""
        private.sweep()
        deadline = time.monotonic() + _CLAIM_TIMEOUT
        while True:
            private.create(self._path)
            with private.locked(self._path) as held:
                if held and self._claim():
                    return self._secret()
            if time.monotonic() > deadline:
                raise BootstrapError(
                    f"rank {self._rank}: an earlier program of this {self._launcher} still runs on other ranks "
                    f"({self._path}); programs of one launch follow each other only when all ranks have ended the first"
                )
            time.sleep(_PAUSE)

    def _claim(self) -> bool:
        """Claim the rank, holding the lock; False if the directory must vanish first. Raises RankTaken."""
        owner = self._claimant(self._rank)
        if not owner:
            private.write(self._path, f"claim.{self._rank}", private.process_key(self._pid))
            return True
        if private.alive(owner):
            raise RankTaken(f"rank {self._rank} is taken by process {owner.split()[0]}")
        if not any(self._stays(rank) for rank in range(self._size)):
            private.remove(self._path)
        elif not self._has("closed", self._rank):
            raise BootstrapError(f"rank {self._rank} of this {self._launcher} has died; start the job again")
        return False

    def _secret(self) -> str:
        secret = private.read(self._path, "secret")
        if not secret:
            secret = os.urandom(32).hex()
            private.write(self._path, "secret", secret)
        return secret

    def _claimant(self, rank: int) -> str:
        return private.read(self._path, f"claim.{rank}")

    def _names(self) -> set[str]:
        try:
            return set(os.listdir(self._path))
        except FileNotFoundError:
            raise BootstrapError(f"rank {self._rank}: {self._path} has vanished; the job has ended") from None

    def _take_signals(self) -> list[Event]:
        news = []
        for name in sorted(self._names()):
            parts = name.split(".")
            if parts[:2] == ["signal", str(self._rank)] and len(parts) == 4:
                news.append(Event("signal", int(parts[3]), data=json.loads(private.read(self._path, name))))
                os.unlink(os.path.join(self._path, name))
        return news

    def _has(self, mark: str, rank: int) -> bool:
        return os.path.exists(os.path.join(self._path, f"{mark}.{rank}"))

    def _died(self, rank: int) -> bool:
        owner = self._claimant(rank)
        left = self._has("finalized", rank) or self._has("closed", rank)
        return bool(owner) and not private.alive(owner) and not left

    def _stays(self, rank: int) -> bool:
        """Tell whether a rank still needs the directory."""
        owner = self._claimant(rank)
        return bool(owner) and private.alive(owner) and not self._has("closed", rank)

    def _raise_if_hopeless(self, missing: Sequence[int]) -> None:
        for event in self._look():
            if event.kind == "signal":
                self._kept.append(event)
            elif event.kind == "abort":
                raise AbortError(f"rank {self._rank} was joining, but the job ends: {event.message}", event.code)
        dead = [rank for rank in missing if rank in self._lost]
        if dead:
            raise BootstrapError(f"rank {self._rank} waits in vain: rank {dead[0]} died before it had joined the job")
