"""The control connection between a rank and its launcher: framed JSON, and the proof that opens it.

Rules of this file:
- A frame is a big-endian u32 length and that many bytes of UTF-8 JSON: one object with a string "type".
- A length is checked against a limit before memory is taken; anything malformed raises WireError, after
  which the connection is closed.
- Both ends use ``Decoder``; it never blocks and knows no socket.

Messages to the rank: hello(nonce), welcome(), leave(), refuse(reason), table(records), incomplete(ranks, reason),
missing(ranks), abort(rank, code, message), lost(rank, message), signal(rank, data).
Messages from the rank: claim(rank, pid, proof), publish(record), wait(), who(), signal(rank, data), abort(code, message),
failed(code), finalized().
"""

from __future__ import annotations

import hmac
import json
import struct
from typing import Any, Final

__all__ = [
    "RANK_LIMIT",
    "SERVER_LIMIT",
    "SIGNAL_LIMIT",
    "UNPROVEN_LIMIT",
    "Decoder",
    "Message",
    "WireError",
    "encode",
    "proof",
]

Message = dict[str, Any]

UNPROVEN_LIMIT: Final = 4 << 10
"""Bytes in one frame from a process that has not yet proved the job's secret."""
RANK_LIMIT: Final = 1 << 20
"""Bytes in one frame from a rank."""
SIGNAL_LIMIT: Final = 8 << 10
"""Bytes of a signal from one rank to another."""
SERVER_LIMIT: Final = 256 << 20
"""Bytes in one frame from the launcher; the largest is the table of all records."""

_LENGTH: Final = struct.Struct(">I")


class WireError(Exception):
    """The bytes are not a control frame; the connection cannot be trusted further."""


def proof(secret: bytes, nonce: str, job: str, rank: int) -> str:
    """Return the HMAC-SHA256 (hex) by which a process shows that it may be ``rank`` of ``job``."""
    return hmac.digest(secret, f"fmi_mpi claim\0{nonce}\0{job}\0{rank}".encode(), "sha256").hex()


def encode(message: Message) -> bytes:
    """Return the frame of a message."""
    body = json.dumps(message, separators=(",", ":")).encode()
    return _LENGTH.pack(len(body)) + body


class Decoder:
    """Turns received bytes into messages.

    Args:
        limit: bytes that one frame may have; may be raised once the peer has proved itself.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._buffer = bytearray()

    def feed(self, data: bytes) -> None:
        """Take bytes as they came from the socket."""
        self._buffer += data

    def next(self) -> Message | None:
        """Return the next whole message, or None if more bytes are needed; raises WireError."""
        buffer = self._buffer
        if len(buffer) < _LENGTH.size:
            return None
        (length,) = _LENGTH.unpack_from(buffer)
        if length > self.limit:
            raise WireError(f"a control frame of {length} bytes is longer than the {self.limit} allowed")
        end = _LENGTH.size + length
        if len(buffer) < end:
            return None
        body = bytes(buffer[_LENGTH.size : end])
        del buffer[:end]
        try:
            message = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise WireError(f"a control frame is not JSON: {error}") from None
        if not isinstance(message, dict) or not isinstance(message.get("type"), str):
            raise WireError("a control frame is not an object with a type")
        return message
