"""What the engine hands frames to whose kinds it does not know itself."""

from __future__ import annotations

from typing import Protocol

__all__ = ["Arrival", "Extension", "RawHeader"]

RawHeader = bytes | bytearray | memoryview


class Arrival:
    """Base of the tokens that an extension's ``begin`` returns."""

    def arrived(self) -> None:
        """The payload is complete."""
        raise NotImplementedError


class Extension(Protocol):
    """Takes frames of kinds that the engine does not know; see ``channels.base.Receiver``."""

    def frame(self, peer: int, header: RawHeader, payload: memoryview) -> None: ...

    def begin(self, peer: int, header: RawHeader) -> tuple[memoryview, Arrival]: ...

    def lost(self, peer: int) -> None: ...
