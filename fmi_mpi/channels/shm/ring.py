"""What sender and receiver of a ring agree on.

Rules of this file:
- An entry starts at a multiple of 64 bytes. It is a frame (header, then payload) or a control entry; the word that is
  the ``length`` of a frame's header tells them apart, as no payload is as long as a control entry's code.
- A frame of up to a chunk is written and announced at once, and does not wrap: PAD skips the ring's end. A longer one
  is announced chunk by chunk, while the receiver already copies, and its payload goes on at the ring's beginning.
- No chunk takes more than a quarter of the ring, and a receiver holds back less than a quarter of what it
  has consumed: so a sender that waits for room always gets it.
"""

from __future__ import annotations

from typing import Final

from fmi_mpi.engine.frames import HEADER_SIZE

__all__ = [
    "ADDRESS",
    "CODE",
    "DESCRIPTOR",
    "DIRECT_ALWAYS",
    "DIRECT_FROM",
    "LENGTH",
    "LINE",
    "PAD",
    "REGIONS",
    "chunk_size",
    "most_regions",
    "padded",
]

LINE: Final = 64
assert HEADER_SIZE == LINE

LENGTH: Final = 5  # word of a header: payload bytes, or a code
CODE: Final = 1 << 62
PAD: Final = CODE | 1  # nothing up to the end of the ring
DESCRIPTOR: Final = CODE | 2  # where the payload lies; the frame's header follows, then, of several regions, all
REGIONS: Final = 6  # word of a descriptor: number of regions
ADDRESS: Final = 0  # word of a descriptor: address of the only region

_CHUNK: Final = 64 << 10
DIRECT_FROM: Final = (64 << 10) + 1
"""Payload bytes from which copying between address spaces beats two copies through the ring, where that is quick ..."""
DIRECT_ALWAYS: Final = (1 << 20) + 1
"""... and from which it does everywhere."""


def padded(nbytes: int) -> int:
    """Return the bytes that ``nbytes`` take in a ring."""
    return (nbytes + LINE - 1) & -LINE


def chunk_size(ring: int) -> int:
    """Return the most payload bytes that are announced at once."""
    return min(_CHUNK, ring // 4 - LINE)


def most_regions(ring: int) -> int:
    """Return how many regions a descriptor may have."""
    return (ring // 4 - 2 * LINE) // 16
