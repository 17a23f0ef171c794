"""A process that belongs to no job: a world of size 1."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from fmi_mpi.bootstrap.base import Event, Identity, Record, Relay

__all__ = ["SingletonBootstrap"]


class SingletonBootstrap:
    """The meeting place of one: nothing to wait for and nobody to tell."""

    directory: str | None = None
    spans_hosts = False
    reflectors: Sequence[tuple[str, int]] = ()
    relay: Relay | None = None

    def __init__(self) -> None:
        self.identity = Identity(f"singleton-{os.getpid()}-{os.urandom(4).hex()}", 0, 1, os.urandom(32))
        self._record: Record = {}

    def publish(self, record: Record) -> None:
        """Keep the record for ``table``."""
        self._record = record

    def table(self, timeout: float) -> Sequence[Record]:
        """Return this process's own record; ``timeout`` (seconds) is not needed."""
        return [self._record]

    def fileno(self) -> int:
        """Return -1: there is no control."""
        return -1

    def events(self) -> Sequence[Event]:
        """Return nothing: nobody sends news."""
        return ()

    def signal(self, rank: int, message: Record) -> None:
        """Do nothing: there is no other rank."""

    def abort(self, code: int, message: str) -> None:
        """Say why; the caller exits by itself."""
        if message:
            print(f"fmi_mpi: {message}", file=sys.stderr, flush=True)

    def failed(self, code: int) -> None:
        """Nobody else has to end."""

    def finalized(self) -> None:
        """Do nothing: nobody watches."""

    def close(self) -> None:
        """Do nothing."""
