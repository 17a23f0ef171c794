"""Objects that nobody but the job's members can read: bodies encrypted by AES-256-GCM.

Rules of this file:
- What a head tells stays readable and is authenticated with the body: an object that is given another number, sender or
  length, or cut short, is not genuine. An object of another mailbox or shelf is not either, for the key is another one.
- A body keeps its length, for the tag stands in the head: ranges of a block, windows and the bill are as without.
- The last 32 bytes of the head are salt (8), nonce (8), tag (16). A nonce is used once with a key: each sealer has a
  key of its own, made with a salt that it draws at random, and its nonces count its objects. The number of an
  object would not do for one: a retried invocation of a rank, which begins to count anew, has the same mailboxes before it.
- A key is remembered only after it has opened something, so strangers' salts fill no memory.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence
from typing import Any, Final

from fmi_mpi.channels.ciphers import derive
from fmi_mpi.channels.mailbox.objects import HEAD, PROVEN, Sealer

__all__ = ["CipherSealer"]

_TAIL: Final = struct.Struct("<8sQ16s")
_NONCE: Final = 12
_SALT: Final = 8


class CipherSealer(Sealer):
    """See ``objects.Sealer``."""

    __slots__ = ("_info", "_keys", "_salt", "_sealed", "_secret")

    def __init__(self, secret: bytes, job: str, box: str) -> None:
        self._secret = secret
        self._info = b"|".join((b"fmi_mpi mailbox", job.encode(), box.encode()))
        self._salt = os.urandom(_SALT)
        self._sealed = 0
        self._keys: dict[bytes, Any] = {}

    def open(self, head: memoryview, body: memoryview) -> memoryview | None:
        """See ``objects.Sealer.open``."""
        from cryptography.exceptions import InvalidTag

        salt, nonce, tag = _TAIL.unpack(head[PROVEN:HEAD])
        key = self._key_of(salt)
        decryptor = self._cipher(key, nonce, tag).decryptor()
        decryptor.authenticate_additional_data(bytes(head[:PROVEN]))
        plain = memoryview(bytearray(len(body))) if body.readonly else body
        decryptor.update_into(body, plain)
        try:
            decryptor.finalize()
        except InvalidTag:
            return None
        self._keys[salt] = key
        return plain

    def _seal(
        self, prefix: bytes, body: Sequence[bytes | memoryview], length: int
    ) -> tuple[bytes, Sequence[bytes | memoryview]]:
        nonce, self._sealed = self._sealed, self._sealed + 1
        key = self._keys[self._salt] = self._key_of(self._salt)
        encryptor = self._cipher(key, nonce).encryptor()
        encryptor.authenticate_additional_data(prefix)
        sealed = [encryptor.update(part) for part in body]
        encryptor.finalize()
        return _TAIL.pack(self._salt, nonce, encryptor.tag), sealed

    def _key_of(self, salt: bytes) -> Any:
        from cryptography.hazmat.primitives.ciphers.algorithms import AES256

        return self._keys.get(salt) or AES256(derive(self._secret, salt, self._info))

    @staticmethod
    def _cipher(key: Any, nonce: int, tag: bytes | None = None) -> Any:
        from cryptography.hazmat.primitives.ciphers import Cipher
        from cryptography.hazmat.primitives.ciphers.modes import GCM

        return Cipher(key, GCM(nonce.to_bytes(_NONCE, "big"), tag))
