"""Memory for payloads, and payloads in several views."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fmi_mpi.engine.frames import FrameError
from fmi_mpi.engine.operations import Payload

__all__ = ["OutOfMemory", "allocate", "first_bytes", "joined"]

_NOTHING = memoryview(b"")
_PAGEWISE = 1 << 16  # from here on, memory that need not be zeroed first is worth a numpy call


class OutOfMemory(FrameError, MemoryError):
    """There is less memory than a message needs; if a peer has announced it, it is not to be believed."""


def allocate(nbytes: int) -> memoryview:
    """Return fresh writable memory; raises OutOfMemory."""
    if nbytes < _PAGEWISE:
        return memoryview(bytearray(nbytes))
    try:
        return np.empty(nbytes, np.uint8).data
    except (MemoryError, ValueError):  # ValueError: more than there are addresses
        raise OutOfMemory(f"{nbytes} bytes are announced, more than there is memory for") from None


def joined(payload: Payload) -> memoryview:
    """Return a payload as one view, copying only if it is in several."""
    if payload is None:
        return _NOTHING
    if isinstance(payload, memoryview):
        return payload
    return payload[0] if len(payload) == 1 else memoryview(b"".join(payload))


def first_bytes(payload: Payload, nbytes: int) -> Payload:
    """Return the first ``nbytes`` of a payload without copying."""
    if payload is None or isinstance(payload, memoryview):
        return None if payload is None else payload[:nbytes]
    views: list[memoryview] = []
    views_in: Sequence[memoryview] = payload
    for view in views_in:
        if nbytes <= 0:
            break
        views.append(view[:nbytes])
        nbytes -= len(view)
    return views
