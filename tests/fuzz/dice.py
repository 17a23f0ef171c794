"""Decisions out of the bytes that a fuzzer gives: it learns which byte leads where."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

__all__ = ["Dice"]

T = TypeVar("T")
_CORNERS = (0, 1, 63, 64, 65, 1 << 16, (1 << 31) - 1, 1 << 31, (1 << 32) - 1, 1 << 32, (1 << 63) - 1, (1 << 64) - 1)


class Dice:
    """Reads ``data`` from its beginning; when it is used up all decisions are the first one."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def __bool__(self) -> bool:
        """Some is left."""
        return self._at < len(self._data)

    def bytes(self, size: int) -> bytes:
        taken = self._data[self._at : self._at + size]
        self._at += size
        return taken

    def below(self, limit: int) -> int:
        """Return a number below ``limit``, which is 256 at most."""
        taken = self.bytes(1)
        return taken[0] % limit if taken else 0

    def choice(self, things: Sequence[T]) -> T:
        return things[self.below(len(things))]

    def unsigned(self, bits: int) -> int:
        """Return a number of so many bits: mostly a small one, else one near a corner, or any."""
        way = self.below(8)
        if way < 5:
            return self.below(8)
        if way == 5:
            return self.choice(_CORNERS) & ((1 << bits) - 1)
        return int.from_bytes(self.bytes(bits // 8), "little")

    def signed(self, bits: int) -> int:
        number = self.unsigned(bits)
        return number - (1 << bits) if number >> (bits - 1) else number

    def piece(self, longest: int = 200) -> bytes:
        """Return some of the bytes themselves."""
        return self.bytes(min(self.below(256), longest))
