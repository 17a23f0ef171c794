"""A connection to the relay on its way: dialled, greeted, let in, joined with the peer's, and proved to be the peer's.

Rules of this file:
- Nothing blocks: ``advance`` goes as far as the socket lets it. Any irregularity is OSError, EOFError or Denied.
- The lower of two ranks says hello, as who connects does on a direct connection (``channels.tcp.handshake``); the proofs
  are made for another job id, so that none can be carried from here to a direct connection or back; and for yet another
  one if what follows is encrypted, for both ends must do so.
"""

from __future__ import annotations

import errno
import hmac
import os
import socket

from fmi_mpi.bootstrap.base import Relay
from fmi_mpi.bootstrap.relaying import (
    CALL,
    GREETING_SIZE,
    JOINED,
    PARK,
    REASONS,
    nonce_of,
    request,
)
from fmi_mpi.bootstrap.relaying import NONCE_SIZE as CALL_SIZE
from fmi_mpi.channels.tcp.handshake import (
    CHALLENGE_SIZE,
    HELLO_SIZE,
    NONCE_SIZE,
    PROOF_SIZE,
    hello,
    proof,
    read_hello,
)

__all__ = ["Denied", "Line", "addresses_of"]

_Address = tuple[int, tuple[object, ...]]


class Denied(Exception):
    """The relay or the peer does not want this; the text says why."""


def addresses_of(relay: Relay) -> list[_Address]:
    """Return families and addresses of the relay; raises OSError."""
    found = socket.getaddrinfo(relay[0], relay[1], type=socket.SOCK_STREAM)
    return [(int(family), address) for family, _, _, _, address in found]


class Line:
    """One connection.

    Args:
        relay: where it goes. address: one of its addresses.
        job, secret: of the job.
        proc: this process. peer: whom to call; itself to be told of calls.
        encrypt: what follows is encrypted.
    """

    def __init__(
        self, relay: Relay, address: _Address, job: str, secret: bytes, proc: int, peer: int, encrypt: bool
    ) -> None:
        self.peer = peer
        self.call = b""
        """What the relay calls the call of the peer that this one was joined with."""
        self.nonces = b""
        """Those of both ends, once the peer is proved."""
        self.answered = False
        """The relay has greeted."""
        self.parked = False
        self._relay = relay
        plain, encrypted = f"{job}\0relay", f"{job}\0relay, encrypted"
        self._job, self._otherwise = (encrypted, plain) if encrypt else (plain, encrypted)
        self._secret = secret
        self._proc = proc
        self._nonce = os.urandom(NONCE_SIZE)
        self._data = b""
        self._want = GREETING_SIZE
        self._stage = self._on_greeting
        self._connecting = True
        self.sock = socket.socket(address[0], socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        error = self.sock.connect_ex(address[1])
        if error not in (0, errno.EINPROGRESS):
            self.sock.close()
            raise OSError(error, os.strerror(error))

    def advance(self) -> bool:
        """Go on; True when the line is parked, or the peer proved. Raises OSError, EOFError, Denied."""
        if self._connecting:
            error = self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if error:
                raise OSError(error, os.strerror(error))
            self._connecting = False
        while not (self.parked or self.nonces):
            try:
                data = self.sock.recv(self._want - len(self._data))
            except BlockingIOError:
                return False
            if not data:
                raise EOFError("the relay closed the connection")
            self._data += data
            if len(self._data) == self._want:
                data, self._data = self._data, b""
                self._stage(data)
        return True

    def _next(self, stage: object, want: int) -> None:
        self._stage, self._want = stage, want  # type: ignore[assignment]

    def _on_greeting(self, data: bytes) -> None:
        nonce = nonce_of(data)
        if nonce is None:
            raise EOFError("what answers there is no relay")
        self.answered = True
        kind = PARK if self.peer == self._proc else CALL
        self.sock.send(request(self._relay[2], nonce, kind, self._proc, self.peer))
        if kind == PARK:
            self.parked = True
        else:
            self._next(self._on_answer, 1)

    def _on_answer(self, data: bytes) -> None:
        if data[0] != JOINED:
            raise Denied(REASONS.get(data[0], "the relay says what is no answer"))
        self._next(self._on_joined, CALL_SIZE)

    def _on_joined(self, data: bytes) -> None:
        self.call = data
        if self._proc < self.peer:
            self.sock.send(hello(self._job, self._proc, self.peer, self._nonce))
            self._next(self._on_challenge, CHALLENGE_SIZE)
        else:
            self._next(self._on_hello, HELLO_SIZE)

    def _on_hello(self, data: bytes) -> None:
        known = read_hello(data, self._job, self._proc)
        if read_hello(data, self._otherwise, self._proc) is not None:
            raise Denied("the peer has FMI_ENCRYPT set otherwise; all ranks must have the same")
        if known is None or known[0] != self.peer:
            raise EOFError("not the peer that was called")
        nonces = known[1] + self._nonce
        self.sock.send(self._nonce + proof(self._secret, b"accept", self._job, self._proc, self.peer, nonces))
        self._nonce = nonces
        self._next(self._on_proof, PROOF_SIZE)

    def _on_challenge(self, data: bytes) -> None:
        nonces = self._nonce + data[:NONCE_SIZE]
        expected = proof(self._secret, b"accept", self._job, self.peer, self._proc, nonces)
        self._check(expected, data[NONCE_SIZE:])
        self.sock.send(proof(self._secret, b"connect", self._job, self._proc, self.peer, nonces))
        self.nonces = nonces

    def _on_proof(self, data: bytes) -> None:
        self._check(proof(self._secret, b"connect", self._job, self.peer, self._proc, self._nonce), data)
        self.nonces = self._nonce

    def _check(self, expected: bytes, given: bytes) -> None:
        if not hmac.compare_digest(expected, given):
            raise Denied("who was joined with this process does not know the job's key")
