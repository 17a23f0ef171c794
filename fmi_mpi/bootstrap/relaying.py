"""How a rank asks the relay of a rendezvous service for a connection: fixed-size messages over TCP.

Rules of this file:
- The relay greets with a nonce. The request proves membership with an HMAC over that nonce, the job's tag and both ranks,
  by a key that the service gives to the job's members. The relay remembers nobody: the key follows from its own secret
  and the tag.
- ``PARK``: tell me who calls me; answered by the calling ranks and the nonces of their calls. ``CALL``: join me with that
  rank's call; answered by one byte, and after ``JOINED`` by the nonce of the other's call and by whatever it writes. By the
  nonces a rank knows whether it has been joined with the call that it is told of, or is called anew.
- The relay is not trusted: the ranks prove the job's key to each other through it (``channels.relay``).
"""

from __future__ import annotations

import hmac
import struct
from dataclasses import dataclass
from typing import Final

__all__ = [
    "CALL",
    "CALLER",
    "GREETING_SIZE",
    "JOINED",
    "NONCE_SIZE",
    "PARK",
    "REASONS",
    "REQUEST_SIZE",
    "TAG_SIZE",
    "Request",
    "greeting",
    "nonce_of",
    "read_request",
    "request",
]

PARK: Final = 1
CALL: Final = 2

JOINED: Final = 1
REASONS: Final = {
    2: "the relay does not let this job in; was its service started with another key?",
    3: "the job has sent as much through the relay as the service allows (--max-relay)",
    4: "the peer has not come to the relay",
    5: "the relay is full",
}
"""Answers to a request that mean no."""

TAG_SIZE: Final = 16
NONCE_SIZE: Final = 16
CALLER: Final = struct.Struct(f">I{NONCE_SIZE}s")
_MAGIC: Final = b"FMI-RLY1"
_REQUEST: Final = struct.Struct(">8sB3xII16s32s")
REQUEST_SIZE: Final = _REQUEST.size
GREETING_SIZE: Final = len(_MAGIC) + NONCE_SIZE


@dataclass(frozen=True)
class Request:
    """What a rank asks for; ``tag`` stands for its job."""

    kind: int
    rank: int
    peer: int
    tag: bytes
    code: bytes

    def proves(self, key: bytes, nonce: bytes) -> bool:
        """Tell whether the sender holds the job's key for the relay."""
        return hmac.compare_digest(self.code, _code(key, nonce, self.kind, self.rank, self.peer, self.tag))


def greeting(nonce: bytes) -> bytes:
    """Return what the relay says first."""
    return _MAGIC + nonce


def nonce_of(data: bytes) -> bytes | None:
    """Return the nonce of a greeting, None if it is none."""
    return data[len(_MAGIC) :] if data.startswith(_MAGIC) and len(data) == GREETING_SIZE else None


def request(credential: bytes, nonce: bytes, kind: int, rank: int, peer: int) -> bytes:
    """Return a request; ``credential`` is what the service gave the job's members: the job's tag and the key."""
    tag, key = credential[:TAG_SIZE], credential[TAG_SIZE:]
    return _REQUEST.pack(_MAGIC, kind, rank, peer, tag, _code(key, nonce, kind, rank, peer, tag))


def read_request(data: bytes) -> Request | None:
    """Return a request, None if it is none."""
    magic, kind, rank, peer, tag, code = _REQUEST.unpack(data)
    if magic != _MAGIC or kind not in (PARK, CALL) or (kind == CALL and rank == peer):
        return None
    return Request(kind, rank, peer, tag, code)


def _code(key: bytes, nonce: bytes, kind: int, rank: int, peer: int, tag: bytes) -> bytes:
    return hmac.digest(key, b"fmi_mpi relay|%b|%d|%d|%d|%b" % (nonce, kind, rank, peer, tag), "sha256")
