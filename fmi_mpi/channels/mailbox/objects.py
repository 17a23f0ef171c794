"""An object in a mailbox: 64 bytes of head, then its body.

Rules of this file:
- The head ends with 32 bytes that show who has made the object; ``sealed`` has those of encrypted ones.
- Here it is a keyed BLAKE2b code over the rest of it and over the body (a long body's SHA-256, which is twice
  as fast). The key belongs to one mailbox of one job: who can write into the store but does not know the job's secret
  can neither make an object nor move one into another mailbox.
- The objects from one process to another are numbered from 0 on, so that one put twice is known.
- Nothing of an object is used before its code is found right.
"""

from __future__ import annotations

import hashlib
import hmac
import struct
from collections.abc import Sequence
from typing import Final

__all__ = ["ACK", "BYE", "FRAME", "HEAD", "HELLO", "MORE", "PROVEN", "SHELVED", "Head", "Sealer", "read_head"]

HEAD: Final = 64
FRAME: Final = 0x464D_4F01  # a frame's header and the beginning of its payload, or all of it
MORE: Final = 0x464D_4F02  # what follows of the payload
ACK: Final = 0x464D_4F03  # nothing but how much has been consumed
BYE: Final = 0x464D_4F04  # the sender leaves the job
HELLO: Final = 0x464D_4F05  # the name of the sender's own mailbox
SHELVED: Final = 0x464D_4F06  # a block of an object on a shelf

_KINDS: Final = frozenset((FRAME, MORE, ACK, BYE, HELLO, SHELVED))
_CODE: Final = 32
PROVEN: Final = HEAD - _CODE
"""Bytes of the head that tell something, which the rest of it proves."""
_PREFIX: Final = struct.Struct("<IIQQQ")  # kind, sender, number, length of the body, bytes consumed
_LONG: Final = 1 << 12
assert _PREFIX.size == PROVEN

Head = tuple[int, int, int, int, int]
"""(kind, sender, number, length, consumed)"""


def read_head(head: bytes | bytearray | memoryview) -> Head | None:
    """Return what a head says, not yet to be believed; None if it is none."""
    if len(head) < HEAD:
        return None
    fields: Head = _PREFIX.unpack_from(head)
    return fields if fields[0] in _KINDS else None


class Sealer:
    """Makes and checks the objects of one mailbox.

    Args:
        secret: the job's key. job: its id. box: the mailbox's name.
    """

    __slots__ = ("_key",)

    def __init__(self, secret: bytes, job: str, box: str) -> None:
        self._key = hmac.digest(secret, b"|".join((b"fmi mailbox", job.encode(), box.encode())), "sha256")

    def seal(
        self, kind: int, sender: int, number: int, consumed: int, body: Sequence[bytes | memoryview]
    ) -> list[bytes | memoryview]:
        """Return the parts of an object with this body, given in parts; the first one is the head."""
        length = sum(map(len, body))
        prefix = _PREFIX.pack(kind, sender, number, length, consumed)
        seal, body = self._seal(prefix, body, length)
        return [prefix + seal, *body]

    def open(self, head: memoryview, body: memoryview) -> memoryview | None:
        """Return what the body says if a member of the job has made this object, else None.

        That lies where the body is if that can be written to; what is there after None is not to be used.
        """
        code = self._code(head[:PROVEN], (body,), len(body))
        return body if hmac.compare_digest(code, head[PROVEN:HEAD]) else None

    def _seal(
        self, prefix: bytes, body: Sequence[bytes | memoryview], length: int
    ) -> tuple[bytes, Sequence[bytes | memoryview]]:
        """Return the rest of the head and the body as it is to be stored, of the same length."""
        return self._code(prefix, body, length), body

    def _code(self, prefix: bytes | memoryview, body: Sequence[bytes | memoryview], length: int) -> bytes:
        code = hashlib.blake2b(prefix, key=self._key, digest_size=_CODE)
        if length <= _LONG:
            for part in body:
                code.update(part)
        else:
            digest = hashlib.sha256()
            for part in body:
                digest.update(part)
            code.update(digest.digest())
        return code.digest()
