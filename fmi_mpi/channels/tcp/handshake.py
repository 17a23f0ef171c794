"""Mutual proof of the job's key, before any frame is read.

Rules of this file:
- Three messages: the connecting side's hello, the accepting side's challenge with its proof, the connecting
  side's proof. Frames may follow the last one at once.
- A proof is an HMAC-SHA256 over a label, both nonces, the job and both process numbers: it proves the key for
  this pair, this direction and this connection, and cannot be replayed or reflected.
- Sizes are fixed, so nothing is allocated for a stranger.
"""

from __future__ import annotations

import hashlib
import hmac
import struct

__all__ = ["CHALLENGE_SIZE", "HELLO_SIZE", "NONCE_SIZE", "PROOF_SIZE", "hello", "job_digest", "proof", "read_hello"]

NONCE_SIZE = 16
PROOF_SIZE = 32
_HELLO = struct.Struct("<8s16sII16s")
_MAGIC = b"FMI-MPI1"
HELLO_SIZE = _HELLO.size
CHALLENGE_SIZE = NONCE_SIZE + PROOF_SIZE


def job_digest(job: str) -> bytes:
    """Return what stands for a job's id in a hello."""
    return hashlib.sha256(job.encode()).digest()[:16]


def hello(job: str, proc: int, peer: int, nonce: bytes) -> bytes:
    """Return the first message of the connecting process ``proc`` to ``peer``."""
    return _HELLO.pack(_MAGIC, job_digest(job), proc, peer, nonce)


def read_hello(data: bytes, job: str, proc: int) -> tuple[int, bytes] | None:
    """Return (process number, nonce) of a hello meant for this job and process, else None."""
    magic, digest, sender, receiver, nonce = _HELLO.unpack(data)
    if magic != _MAGIC or digest != job_digest(job) or receiver != proc or sender == proc:
        return None
    return sender, nonce


def proof(secret: bytes, label: bytes, job: str, sender: int, receiver: int, nonces: bytes) -> bytes:
    """Return the proof that ``sender`` gives to ``receiver`` for a connection with these nonces."""
    message = b"|".join((label, job.encode(), b"%d>%d" % (sender, receiver), nonces))
    return hmac.digest(secret, message, "sha256")
