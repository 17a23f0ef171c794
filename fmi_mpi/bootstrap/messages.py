"""Messages of the rendezvous service on the wire: JSON, compressed where that pays.

Rules of this file:
- zmq frames, limits, encrypts and authenticates what is sent; here are only the bytes of one message.
- What comes from the service is unpacked up to a limit. What comes from a member is never compressed (``launch.
  rendezvous.messages`` reads it).

Messages to a member: welcome(ticket, address, reflectors, relay), leave(ranks), refuse(reason), unknown(), noted(of),
table(records), incomplete(ranks, reason), missing(ranks), abort(rank, code, message), lost(rank, message),
signal(rank, to, data), collector(here), sources(ranks), output(rank, number, pieces, last), printed(rank, number),
ended(code), metrics(text), ping().
"""

from __future__ import annotations

import json
import zlib
from typing import Any, Final

from fmi_mpi.bootstrap.wire import SERVER_LIMIT, WireError

__all__ = ["Message", "decode", "encode"]

Message = dict[str, Any]

_LONG: Final = 1 << 12
"""Bytes from which a message is compressed: a table of a thousand similar records shrinks to a tenth."""


def encode(message: Message, *, compress: bool = False) -> bytes:
    """Return the bytes of a message; those of a long one compressed if the receiver expects that."""
    body = json.dumps(message, separators=(",", ":")).encode()
    return zlib.compress(body, 1) if compress and len(body) > _LONG else body


def decode(data: bytes) -> Message:
    """Return the message that the service has sent; raises WireError."""
    try:
        if not data.startswith(b"{"):
            stream = zlib.decompressobj()
            data = stream.decompress(data, SERVER_LIMIT)
            if not stream.eof:
                raise ValueError("it is longer than a message may be, or cut off")
        message = json.loads(data)
    except (ValueError, RecursionError, zlib.error) as error:
        raise WireError(f"the service sent what is no message: {error}") from None
    if not isinstance(message, dict) or not isinstance(message.get("type"), str):
        raise WireError("the service sent an object without a type")
    return message
