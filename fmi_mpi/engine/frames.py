"""The frame header: what precedes every payload on every channel.

Rules of this file:
- A header is exactly 64 bytes. Smaller headers shift the payload against page-aligned receive buffers so
  that kernel copies collapse on some CPUs; 64 ran at full speed everywhere it was measured.
- ``word`` joins magic, version and kind, so that one comparison validates all three.
- ``length`` is the number of payload bytes that follow in this frame and is checked before memory is taken.
"""

from __future__ import annotations

import struct
from typing import Final

__all__ = [
    "ACCUMULATE",
    "ACK",
    "CLEAR",
    "COMPLETE",
    "CREDIT",
    "DATA",
    "DONE",
    "EAGER",
    "FETCH",
    "FLAG_OUT_OF_BAND",
    "FLAG_SYNC",
    "FLUSH",
    "GET",
    "HEADER_SIZE",
    "KINDS",
    "LAYOUT",
    "LOCK",
    "POST",
    "PUT",
    "REQUEST",
    "ROUTE",
    "SWAP",
    "UNLOCK",
    "WORD",
    "FrameError",
    "pack_header",
    "unpack_header",
]

HEADER_SIZE: Final = 64

# word, flags, origin, credit: u32; source, tag: i32; context, sequence, length, message, argument: u64.
_HEADER: Final = struct.Struct("<IIIIiiQQQQQ")
assert _HEADER.size == HEADER_SIZE

WORD: Final = 0x464D_0100  # "FM", version 1, kind in the low byte

EAGER: Final = WORD | 1  # envelope and whole payload
REQUEST: Final = WORD | 2  # rendezvous: envelope only; argument = payload length, message = sender's id
CLEAR: Final = WORD | 3  # rendezvous: receiver is ready; message = sender's id, argument = receiver's id
DATA: Final = WORD | 4  # rendezvous: the payload; argument = receiver's id
ACK: Final = WORD | 5  # a synchronous eager message was matched; message = sender's id
CREDIT: Final = WORD | 6  # nothing but returned credit

# One-sided communication (engine.onesided). Requests to a target are numbered per (origin, window); message = number
# of the operation that the answer completes, argument = address, source = layout (0: a run of bytes).
LAYOUT: Final = WORD | 16  # a datatype of the target's memory; source = its number from now on
PUT: Final = WORD | 17
GET: Final = WORD | 18  # payload: how many bytes; answered with DATA
ACCUMULATE: Final = WORD | 19  # tag = code of operation and type
FETCH: Final = WORD | 20  # accumulate; answered with the previous DATA
SWAP: Final = WORD | 21  # payload: new value, then the one to compare with; answered with the previous DATA
LOCK: Final = WORD | 22  # tag = 1 if exclusive; answered with DONE when granted
UNLOCK: Final = WORD | 23
FLUSH: Final = WORD | 24  # answered with DONE
POST: Final = WORD | 25  # the origin exposes its window to the receiver
COMPLETE: Final = WORD | 26  # the origin's accesses to the exposed window are over
DONE: Final = WORD | 27  # an answer; message = number of the operation, tag = error class

ROUTE: Final = WORD | 32  # a channel is given up (runtime.handover); message = its number, argument = frames taken

KINDS: Final = {
    EAGER: "EAGER",
    REQUEST: "REQUEST",
    CLEAR: "CLEAR",
    DATA: "DATA",
    ACK: "ACK",
    CREDIT: "CREDIT",
    LAYOUT: "LAYOUT",
    PUT: "PUT",
    GET: "GET",
    ACCUMULATE: "ACCUMULATE",
    FETCH: "FETCH",
    SWAP: "SWAP",
    LOCK: "LOCK",
    UNLOCK: "UNLOCK",
    FLUSH: "FLUSH",
    POST: "POST",
    COMPLETE: "COMPLETE",
    DONE: "DONE",
    ROUTE: "ROUTE",
}

FLAG_SYNC: Final = 1  # the sender wants an ACK when the message is matched
FLAG_OUT_OF_BAND: Final = 2  # a pickled message whose large buffers follow the pickle (data.pickling)

Header = tuple[int, int, int, int, int, int, int, int, int, int, int]
"""(word, flags, origin, credit, source, tag, context, sequence, length, message, argument)"""


class FrameError(Exception):
    """The bytes are not a frame that this version understands; the connection cannot be trusted further."""


pack_header = _HEADER.pack
unpack_header = _HEADER.unpack_from


def describe(header: Header) -> str:
    """Return a header in words, for error messages and traces."""
    word, flags, origin, credit, source, tag, context, sequence, length, message, argument = header
    kind = KINDS.get(word, f"unknown word {word:#x}")
    return (
        f"{kind} flags={flags} origin={origin} credit={credit} source={source} tag={tag} context={context:#x} "
        f"sequence={sequence} length={length} message={message} argument={argument}"
    )
