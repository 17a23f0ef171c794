"""A connection whose bytes nobody else can read or change: AES-256-GCM, by the package ``cryptography``.

Rules of this file:
- The stream of frames, headers and all, goes in records: u32 length, then so many bytes, of which the last 16 are the tag.
  The length is authenticated, and checked before memory is taken. A record holds at most 64 KiB of the stream, so no more
  than that is held twice.
- Keys come from the job's key by HKDF with the nonces of both ends: one for each direction of each connection. The
  nonce of a record is its number, so records cannot be replayed, left out or put in another order.
- What is not genuine raises FrameError: the connection cannot be trusted further.
"""

from __future__ import annotations

import socket
import struct
from collections import deque
from typing import Any, Final

from fmi_mpi.channels.base import Payload, Receiver
from fmi_mpi.channels.ciphers import derive
from fmi_mpi.channels.tcp.connection import Connection
from fmi_mpi.engine.frames import HEADER_SIZE, FrameError

__all__ = ["SealedConnection"]

_RECORD: Final = 1 << 16
_TAG: Final = 16
_LENGTH: Final = struct.Struct(">I")
_length_at: Final = struct.Struct("<40xQ").unpack_from


def _cipher(secret: bytes, nonces: bytes, sender: int, receiver: int) -> Any:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    return AESGCM(derive(secret, nonces, b"fmi_mpi tcp %d>%d" % (sender, receiver)))


class SealedConnection(Connection):
    """A ``Connection`` to ``peer`` that encrypts.

    Args:
        secret: the job's key. nonces: of both ends, in an order that both know. proc: this process.
    """

    __slots__ = ("_ahead", "_in", "_opened", "_out", "_plain", "_record", "_sealed")

    def __init__(self, sock: socket.socket, peer: int, secret: bytes, nonces: bytes, proc: int) -> None:
        super().__init__(sock, peer)
        self._out = _cipher(secret, nonces, proc, peer)
        self._in = _cipher(secret, nonces, peer, proc)
        self._sealed = self._opened = 0  # records so far
        self._plain: deque[memoryview] = self.queue  # type: ignore[assignment]
        self._record = memoryview(b"")  # what the kernel has not taken of the last one
        self._ahead = bytearray()  # what has come of records that are not complete

    def send(self, header: bytes, payload: Payload, token: object) -> bool:
        """See ``Connection.send``; ``token`` must be None, for nobody is told when queued frames are out."""
        waiting = bool(self._plain)
        self._plain.append(memoryview(header))
        if payload is not None:
            self._plain.extend(
                view for view in ((payload,) if isinstance(payload, memoryview) else payload) if len(view)
            )
        if not waiting:
            self._push()
        return not self._plain

    def flush(self, receiver: Receiver) -> bool:
        """See ``Connection.flush``."""
        return self._push()

    def _push(self) -> bool:
        """Seal and write what the kernel takes; the queue is empty when all is out. True if anything went out."""
        moved = False
        try:
            while self._plain:
                if not self._record:
                    self._record = self._seal()
                while self._record:
                    self._record = self._record[self.sock.send(self._record) :]
                    moved = True
                self._plain.popleft()
        except BlockingIOError:
            pass
        return moved

    def _seal(self) -> memoryview:
        """Return a record of what is first in the queue, where one view of what it takes remains until it is out."""
        pieces, size = [], 0
        while self._plain and size < _RECORD:
            view = self._plain.popleft()
            piece = view[: _RECORD - size]
            pieces.append(piece)
            size += len(piece)
            if len(piece) < len(view):
                self._plain.appendleft(view[len(piece) :])
        self._plain.appendleft(memoryview(b""))
        length = _LENGTH.pack(size + _TAG)
        sealed = self._out.encrypt(self._sealed.to_bytes(12, "big"), b"".join(pieces), length)
        self._sealed += 1
        return memoryview(length + sealed)

    def read(self, buffer: memoryview, receiver: Receiver) -> bool:
        """See ``Connection.read``."""
        try:
            count = self.sock.recv_into(buffer)
        except BlockingIOError:
            return False
        if not count:
            raise EOFError
        self._ahead += buffer[:count]
        at = 0
        while len(self._ahead) - at >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._ahead, at)
            if not _TAG < length <= _RECORD + _TAG:
                raise FrameError(f"a record of {length} bytes cannot be")
            end = at + _LENGTH.size + length
            if len(self._ahead) < end:
                break
            self._take(memoryview(self._open(at, end)), receiver)
            at = end
        del self._ahead[:at]
        return True

    def _open(self, at: int, end: int) -> bytes:
        from cryptography.exceptions import InvalidTag

        body = at + _LENGTH.size
        try:
            nonce = self._opened.to_bytes(12, "big")
            plain: bytes = self._in.decrypt(nonce, bytes(self._ahead[body:end]), bytes(self._ahead[at:body]))
        except InvalidTag:
            raise FrameError("what has come was not sealed by the peer, or not for this place") from None
        self._opened += 1
        return plain

    def _take(self, data: memoryview, receiver: Receiver) -> None:
        """Hand over what is complete of the stream that goes on with ``data``."""
        while len(data):
            if self.sink is not None:
                data = self._fill(data, receiver)
                continue
            if self.rest or len(data) < HEADER_SIZE:
                missing = HEADER_SIZE - len(self.rest)
                self.rest += bytes(data[:missing])
                data = data[missing:]
                if len(self.rest) < HEADER_SIZE:
                    return
                header, self.rest = memoryview(self.rest), b""
            else:
                header, data = data[:HEADER_SIZE], data[HEADER_SIZE:]
            (length,) = _length_at(header)
            if length <= len(data):
                receiver.frame(self.peer, header, data[:length])
                data = data[length:]
            else:
                self.sink, self.token = receiver.begin(self.peer, header)

    def _fill(self, data: memoryview, receiver: Receiver) -> memoryview:
        """Put what there is into the sink; returns what does not belong there."""
        assert self.sink is not None
        count = min(len(data), len(self.sink))
        self.sink[:count] = data[:count]
        self.sink = self.sink[count:]
        if not len(self.sink):
            self.sink = None
            token, self.token = self.token, None
            receiver.end(self.peer, token)
        return data[count:]
