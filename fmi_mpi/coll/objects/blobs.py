"""Blobs: serialised objects, of lengths that only the sender knows.

Rules of this file:
- A blob to send is a sequence of views, sent as one message, and the message's flags. A received one is one view.
- Tree algorithms put several blobs in one message: u64 count, then u64 length and flags of each, then the blobs, all
  padded to 64 bytes, so that out-of-band buffers keep their alignment. Packing copies nothing that is large.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import Any, Final

from fmi_mpi.coll.steps import Recv, Schedule, Send

__all__ = [
    "Blob",
    "Dumps",
    "Loads",
    "Received",
    "as_blob",
    "exchange_value",
    "pack",
    "receive",
    "receive_value",
    "send_value",
    "unpack",
]

Blob = tuple[Sequence[memoryview], int]
Received = tuple[memoryview, int]
Dumps = Callable[[Any], Blob]
Loads = Callable[[memoryview, int], Any]

_ALIGN: Final = 64
_PADDING: Final = memoryview(bytes(_ALIGN))
_JOIN_BYTES: Final = 16 << 10
_JOIN_VIEWS: Final = 256
"""Messages with fewer bytes or more views than these are joined: handling the views would cost more."""


def as_blob(received: Received) -> Blob:
    """Return a received blob as one to send on."""
    view, flags = received
    return (view,), flags


def pack(blobs: Sequence[Blob]) -> Sequence[memoryview]:
    """Return the views of one message that holds ``blobs``."""
    header: list[int] = [len(blobs)]
    body: list[memoryview] = []
    total = 0
    for parts, flags in blobs:
        nbytes = sum(map(len, parts))
        header += (nbytes, flags)
        body += parts
        if nbytes % _ALIGN:
            body.append(_PADDING[nbytes % _ALIGN :])
        total += nbytes
    head = struct.pack(f"<{len(header)}Q", *header)
    views = [memoryview(head.ljust(-(-len(head) // _ALIGN) * _ALIGN, b"\0")), *body]
    if total < _JOIN_BYTES or len(views) > _JOIN_VIEWS:
        return (memoryview(b"".join(views)),)
    return views


def unpack(message: memoryview) -> list[Received]:
    """Return the blobs of a message made by ``pack``, as views into it."""
    (count,) = struct.unpack_from("<Q", message)
    header = struct.unpack_from(f"<{2 * count}Q", message, 8)
    first = -(-(8 + 16 * count) // _ALIGN) * _ALIGN
    blobs: list[Received] = []
    for nbytes, flags in zip(header[::2], header[1::2]):
        blobs.append((message[first : first + nbytes], flags))
        first += -(-nbytes // _ALIGN) * _ALIGN
    return blobs


def receive(step: Recv) -> Received:
    """Return what a completed receive of unknown length brought."""
    assert step.data is not None
    return step.data, step.flags


def send_value(peer: int, value: Any, dumps: Dumps) -> Send:
    """Return the step that sends a Python value."""
    parts, flags = dumps(value)
    return Send(peer, parts, flags)


def receive_value(peer: int, loads: Loads) -> Schedule[Any]:
    """Receive a Python value."""
    step = Recv(peer)
    yield step
    return loads(*receive(step))


def exchange_value(peer: int, value: Any, dumps: Dumps, loads: Loads) -> Schedule[Any]:
    """Send a Python value to a peer that sends one too, and return the peer's."""
    step = Recv(peer)
    yield send_value(peer, value, dumps), step
    return loads(*receive(step))
