"""Mutual proof of the job's key on a socket that neither end need have accepted, and the choice of one socket of several.

Rules of this file:
- Where both ends connect to each other at once there is no accepting side: both say hello, both prove. Who was connected
  to is silent until the other's hello is read and fits, so a stranger learns nothing.
- A proof is an HMAC-SHA256 over a label, the job, both process numbers in the direction of the proof, the epoch (how often
  the two have met) and both nonces: it holds for this pair, direction, meeting and socket, cannot be replayed or reflected.
- Of the sockets that are proved the lower number chooses one, and says so by another HMAC: to use it at once, or after a
  probe. A probe is 128 KiB each way that both ends can compute, for there are paths that lose what follows the first
  16 to 64 KiB.
- Sizes are fixed: nothing is allocated for a stranger. No socket here; bytes in, bytes out.
"""

from __future__ import annotations

import hmac
import os
import struct
from typing import Final

from fmi_mpi.channels.tcp.handshake import NONCE_SIZE, PROOF_SIZE, job_digest, proof

__all__ = ["HELLO_SIZE", "PROBE_SIZE", "Greeting", "GreetingError"]

_HELLO: Final = struct.Struct("<8s16sIIII16s")
_MAGIC: Final = b"FMI-MEET"
HELLO_SIZE: Final = _HELLO.size
PROBE_SIZE: Final = 1 << 17


class GreetingError(Exception):
    """What has come is not what a peer of this job would say; the socket is of no use."""


class Greeting:
    """One end of a socket on its way to become a connection.

    Args:
        job, secret: the job's id and its key. proc: this process.
        peer, epoch: whom to meet and for how manyth time; -1, 0: whoever says hello first.
        flags: what both ends must have alike.

    ``want`` is how many bytes ``feed`` wants next, in all; 0: none. ``out`` holds what is to be sent.
    """

    def __init__(self, job: str, secret: bytes, proc: int, peer: int = -1, epoch: int = 0, flags: int = 0) -> None:
        self.peer = peer
        self.epoch = epoch
        self.out = b""
        self.proved = False
        self.chosen = False
        self.ready = False
        self.want = HELLO_SIZE
        self.nonces = b""  # the lower number's first
        self._job = job
        self._secret = secret
        self._proc = proc
        self._flags = flags
        self._nonce = os.urandom(NONCE_SIZE)
        self._stage = "hello"
        if peer >= 0:
            self._hello()

    @staticmethod
    def claim(data: bytes) -> tuple[int, int] | None:
        """Return (process number, epoch) that a hello claims, before anything is proved; None if it is none."""
        if len(data) != HELLO_SIZE or not data.startswith(_MAGIC):
            return None
        fields = _HELLO.unpack(data)
        return fields[2], fields[4]

    @property
    def decides(self) -> bool:
        """This end chooses."""
        return self._proc < self.peer

    def feed(self, data: bytes) -> None:
        """Take exactly the bytes wanted; raises GreetingError."""
        getattr(self, "_on_" + self._stage)(data)

    def choose(self, probe: bool) -> None:
        """Choose this socket, of those that are proved."""
        self.out += self._proof(b"probe" if probe else b"use", self._proc, self.peer)
        self._choose(probe)

    def _hello(self) -> None:
        self.out += _HELLO.pack(
            _MAGIC, job_digest(self._job), self._proc, self.peer, self.epoch, self._flags, self._nonce
        )

    def _proof(self, label: bytes, sender: int, receiver: int) -> bytes:
        return proof(self._secret, b"%s %d" % (label, self.epoch), self._job, sender, receiver, self.nonces)

    def _on_hello(self, data: bytes) -> None:
        magic, digest, sender, receiver, epoch, flags, nonce = _HELLO.unpack(data)
        if magic != _MAGIC or digest != job_digest(self._job) or receiver != self._proc:
            raise GreetingError("whoever is there is no peer of this job")
        if sender == self._proc or (self.peer >= 0 and (sender, epoch) != (self.peer, self.epoch)):
            raise GreetingError("another process is there, or from another meeting")
        if flags != self._flags:
            raise GreetingError("the other end has FMI_ENCRYPT set otherwise; all ranks must have the same")
        if self.peer < 0:
            self.peer, self.epoch = sender, epoch
            self._hello()
        self.nonces = self._nonce + nonce if self._proc < sender else nonce + self._nonce
        self.out += self._proof(b"meet", self._proc, self.peer)
        self._stage, self.want = "proof", PROOF_SIZE

    def _on_proof(self, data: bytes) -> None:
        if not hmac.compare_digest(data, self._proof(b"meet", self.peer, self._proc)):
            raise GreetingError("the other end does not know the job's key")
        self.proved = True
        self._stage, self.want = "choice", 0 if self.decides else PROOF_SIZE

    def _on_choice(self, data: bytes) -> None:
        if hmac.compare_digest(data, self._proof(b"use", self.peer, self._proc)):
            self._choose(False)
        elif hmac.compare_digest(data, self._proof(b"probe", self.peer, self._proc)):
            self._choose(True)
        else:
            raise GreetingError("the other end's choice is not proved")

    def _choose(self, probe: bool) -> None:
        self.chosen = True
        self.ready = not probe
        self._stage, self.want = "probe", PROBE_SIZE if probe else 0
        if probe:
            self.out += self._noise(self._proc, self.peer)

    def _on_probe(self, data: bytes) -> None:
        if data != self._noise(self.peer, self._proc):
            raise GreetingError("the path changes what is sent over it")
        self.ready, self.want = True, 0

    def _noise(self, sender: int, receiver: int) -> bytes:
        return self._proof(b"noise", sender, receiver) * (PROBE_SIZE // PROOF_SIZE)
