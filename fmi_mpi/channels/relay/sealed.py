"""A stream of frames through somebody who is not trusted: each frame carries codes made with a key of this direction.

Rules of this file:
- A frame is header, code, payload; the code (BLAKE2b, 16 bytes) is over a counter, the header and the payload. A long
  payload has a code of its own behind it, and the one behind the header is over the header only: so a length is proved
  before memory is taken for it, and the payload still goes straight to where it belongs.
- The counter makes a frame that was left out, repeated or moved show. A code that is wrong ends the stream.
"""

from __future__ import annotations

import hmac
import socket
import struct
from hashlib import blake2b

from fmi_mpi.channels.base import Payload, Receiver
from fmi_mpi.channels.tcp.connection import Connection
from fmi_mpi.channels.tcp.handshake import proof
from fmi_mpi.engine.frames import HEADER_SIZE, FrameError

__all__ = ["BUFFER_SIZE", "SealedConnection"]

_CODE_SIZE = 16
_HEAD_SIZE = HEADER_SIZE + _CODE_SIZE
_SHORT = 1 << 14
"""Payload bytes up to which a frame has one code."""
BUFFER_SIZE = 1 << 18
_length_at = struct.Struct("<40xQ").unpack_from
_counter = struct.Struct("<Q").pack


class SealedConnection(Connection):
    """A connection to ``peer`` through the relay.

    Args:
        secret: the job's key. nonces: of both ends, in an order that both know. proc: this process.
    """

    __slots__ = ("_inward", "_outward", "_received", "_seen", "_sent", "_tail")

    def __init__(self, sock: socket.socket, peer: int, secret: bytes, nonces: bytes, proc: int) -> None:
        super().__init__(sock, peer)
        self._outward = proof(secret, b"seal", "relay", proc, peer, nonces)
        self._inward = proof(secret, b"seal", "relay", peer, proc, nonces)
        self._sent = 0
        self._received = 0
        self._seen: blake2b | None = None  # what has come of a long payload
        self._tail = False  # a long payload is complete but for its code

    def send(self, header: bytes, payload: Payload, token: object) -> bool:
        """Write a frame, or queue what does not fit."""
        views = [payload] if isinstance(payload, memoryview) else list(payload or ())
        length = sum(map(len, views))
        code = self._code(self._outward, self._sent)
        code.update(header)
        self._sent += 1
        if length > _SHORT:
            own = self._code(self._outward, self._sent)
            self._sent += 1
            for view in views:
                own.update(view)
            views.append(memoryview(own.digest()))
        else:
            for view in views:
                code.update(view)
        return super().send(header + code.digest(), views, token)

    def read(self, buffer: memoryview, receiver: Receiver) -> bool:
        """Read once and hand over what is complete and proved; raises EOFError, FrameError."""
        if self.sink is not None:
            return self._fill(receiver)
        start = len(self.rest)
        buffer[:start] = self.rest
        try:
            count = self.sock.recv_into(buffer[start:])
        except BlockingIOError:
            return False
        if not count:
            raise EOFError
        end = start + count
        position = 0
        while self.sink is None:
            after = (
                self._finish(buffer, position, end, receiver)
                if self._tail
                else self._take(buffer, position, end, receiver)
            )
            if after == position:
                break
            position = after
        self.rest = bytes(buffer[position:end])
        return True

    def _take(self, buffer: memoryview, position: int, end: int, receiver: Receiver) -> int:
        """Take the frame at ``position``, or the beginning of a long one; return where the rest is."""
        body = position + _HEAD_SIZE
        if body > end:
            return position
        header = buffer[position : position + HEADER_SIZE]
        (length,) = _length_at(header)
        given = buffer[position + HEADER_SIZE : body]
        code = self._code(self._inward, self._received)
        code.update(header)
        if length <= _SHORT:
            after = body + length
            if after > end:
                return position
            code.update(buffer[body:after])
            self._check(code, given)
            receiver.frame(self.peer, header, buffer[body:after])
            return int(after)
        self._check(code, given)
        sink, self.token = receiver.begin(self.peer, header)
        self._seen = self._code(self._inward, self._received)
        have = min(end - body, length)
        sink[:have] = buffer[body : body + have]
        self._seen.update(sink[:have])
        if have < length:
            self.sink = sink[have:]
        else:
            self._tail = True
        return int(body + have)

    def _fill(self, receiver: Receiver) -> bool:
        sink = self.sink
        assert sink is not None and self._seen is not None
        try:
            count = self.sock.recv_into(sink)
        except BlockingIOError:
            return False
        if not count:
            raise EOFError
        self._seen.update(sink[:count])
        if count < len(sink):
            self.sink = sink[count:]
        else:
            self.sink, self._tail = None, True
        return True

    def _finish(self, buffer: memoryview, position: int, end: int, receiver: Receiver) -> int:
        """Take the code behind a long payload."""
        after = position + _CODE_SIZE
        if after > end:
            return position
        assert self._seen is not None
        self._check(self._seen, buffer[position:after])
        self._tail, self._seen = False, None
        token, self.token = self.token, None
        receiver.end(self.peer, token)
        return after

    def _check(self, code: blake2b, given: memoryview) -> None:
        if not hmac.compare_digest(code.digest(), given):
            raise FrameError("what came through the relay is not what the peer has sent")
        self._received += 1

    @staticmethod
    def _code(key: bytes, number: int) -> blake2b:
        code = blake2b(key=key, digest_size=_CODE_SIZE)
        code.update(_counter(number))
        return code
