"""The other side of a channel under test: numbered frames, and a receiver that keeps what it is told.

Rules of this file:
- What a channel must never do to its receiver is an AssertionError here.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Final

from fmi_mpi.engine.frames import EAGER, KINDS, FrameError, pack_header, unpack_header

__all__ = ["Recorder", "bytes_of", "header_of"]

_LONGEST: Final = 1 << 26


class Recorder:
    """A receiver that keeps what it is told.

    ``frames``: (peer, number, payload) of each, when complete. ``freed``: numbers of frames sent from here whose
    memory is free. ``gone``: (peer, reason) of each loss. ``on_frame`` and ``on_freed`` are called besides.
    """

    def __init__(self) -> None:
        self.frames: list[tuple[int, int, bytes]] = []
        self.freed: list[int] = []
        self.gone: list[tuple[int, str]] = []
        self.on_frame: Callable[[int, int], None] = lambda peer, number: None
        self.on_freed: Callable[[int], None] = lambda number: None

    def frame(self, peer: int, header: bytes | bytearray | memoryview, payload: memoryview) -> None:
        number, length = self._read(peer, header)
        assert length == len(payload), f"a header says {length} bytes, the payload has {len(payload)}"
        self._keep(peer, number, payload)

    def begin(self, peer: int, header: bytes | bytearray | memoryview) -> tuple[memoryview, object]:
        number, length = self._read(peer, header)
        sink = memoryview(bytearray(length))
        return sink, (number, sink)

    def end(self, peer: int, token: object) -> None:
        assert isinstance(token, tuple)
        self._keep(peer, *token)

    def sent(self, token: object) -> None:
        assert isinstance(token, int)
        assert token not in self.freed, "a send completed twice"
        self.freed.append(token)
        self.on_freed(token)

    def lost(self, peer: int, reason: str) -> None:
        assert reason, "a loss without a reason"
        self.gone.append((peer, reason))

    def _read(self, peer: int, header: bytes | bytearray | memoryview) -> tuple[int, int]:
        fields = unpack_header(header)
        if fields[0] not in KINDS or fields[8] > _LONGEST:
            raise FrameError("not a frame")
        assert all(peer != other for other, _ in self.gone), "a frame came after the peer was lost"
        return fields[7], fields[8]

    def _keep(self, peer: int, number: int, payload: memoryview) -> None:
        self.frames.append((peer, number, bytes(payload)))
        self.on_frame(peer, number)


def header_of(number: int, length: int) -> bytes:
    """Return a header for a payload of ``length`` bytes that a ``Recorder`` will call ``number``."""
    return pack_header(EAGER, 0, 0, 0, 0, 0, 0, number, length, 0, 0)


def bytes_of(number: int, length: int) -> memoryview:
    """Return the payload of frame ``number``."""
    return memoryview(bytearray(random.Random(number).randbytes(length)))
