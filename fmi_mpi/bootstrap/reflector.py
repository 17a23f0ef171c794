"""Asking a reflector at which public endpoint this process is seen: the wire, and the client.

Rules of this file:
- A request is a magic word and a nonce, an answer the magic word, the nonce and the endpoint that the request came from,
  XORed with the nonce, for some routers rewrite addresses that they find in packets.
- Sizes are fixed; whatever is not exactly that is no answer. An answer is believed only as a hint: who connects to an
  endpoint proves the job's key there.
- A reflector listens on two ports of one host. A NAT that shows this process's one port as two is symmetric: nobody else
  can reach that port, so nobody need try.
"""

from __future__ import annotations

import contextlib
import errno
import hmac
import ipaddress
import os
import select
import socket
import struct
import time
from collections.abc import Sequence
from typing import Final

__all__ = ["ANSWER_SIZE", "REQUEST_SIZE", "Endpoint", "Inquiry", "answer", "is_request", "read_answer", "request"]

Endpoint = tuple[str, int]

_MAGIC: Final = b"FMI-RFL1"
_NONCE: Final = 18
_REQUEST: Final = struct.Struct(f">8s{_NONCE}s")
_ANSWER: Final = struct.Struct(f">8s{_NONCE}s{_NONCE}s")
_SEEN: Final = struct.Struct(">16sH")
REQUEST_SIZE: Final = _REQUEST.size
ANSWER_SIZE: Final = _ANSWER.size


def request(nonce: bytes) -> bytes:
    """Return the request with this nonce (18 bytes)."""
    return _REQUEST.pack(_MAGIC, nonce)


def is_request(data: bytes) -> bool:
    """Tell whether these bytes are a request, whole and nothing else."""
    return len(data) == REQUEST_SIZE and data.startswith(_MAGIC)


def answer(data: bytes, seen: Endpoint) -> bytes:
    """Return the answer to a request that came from ``seen`` (a numeric address)."""
    nonce = data[len(_MAGIC) :]
    address = ipaddress.ip_address(seen[0].partition("%")[0])
    packed = address.packed if address.version == 6 else bytes(10) + b"\xff\xff" + address.packed
    return _ANSWER.pack(_MAGIC, nonce, _xor(_SEEN.pack(packed, seen[1]), nonce))


def read_answer(data: bytes, nonce: bytes) -> Endpoint | None:
    """Return the endpoint that an answer to the request with this nonce tells; None if it is no such answer."""
    if len(data) != ANSWER_SIZE:
        return None
    magic, echoed, hidden = _ANSWER.unpack(data)
    if magic != _MAGIC or not hmac.compare_digest(echoed, nonce):
        return None
    packed, port = _SEEN.unpack(_xor(hidden, nonce))
    address = ipaddress.IPv6Address(packed)
    return (str(address.ipv4_mapped or address), port) if port else None


def _xor(data: bytes, key: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(data, key, strict=True))


class _Question:
    """One connection to one port of the reflector."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.nonce = os.urandom(_NONCE)
        self.asked = False
        self.data = b""


class Inquiry:
    """Asks all ports of the reflector at once, from one port of this host.

    Args:
        reflectors: numeric addresses and ports; none: nothing is asked.
        port: the own port, bound with SO_REUSEPORT by whoever else uses it.

    The connections stay open until ``close``: as long as they live, so does the NAT's idea of the port.
    """

    def __init__(self, reflectors: Sequence[Endpoint], port: int) -> None:
        self.seen: list[Endpoint] = []
        self.failure = "" if reflectors else "there is no reflector"
        self._asked = len(reflectors)
        self._questions: dict[int, _Question] = {}
        for reflector in reflectors:
            family = socket.AF_INET6 if ":" in reflector[0] else socket.AF_INET
            sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
            self._questions[sock.fileno()] = _Question(sock)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            try:
                sock.bind(("", port))
                error = sock.connect_ex(reflector)
            except OSError as failed:
                error = failed.errno or errno.EINVAL
            if error not in (0, errno.EINPROGRESS):
                self._fail(reflector, error)

    @property
    def done(self) -> bool:
        """Everything is known that will be."""
        return bool(self.failure) or len(self.seen) == self._asked

    @property
    def public(self) -> Endpoint | None:
        """The endpoint that others see, with port 0 if that is another for each of them; None if unknown."""
        if not self.done or self.failure:
            return None
        return (self.seen[0][0], 0) if self.symmetric else self.seen[0]

    @property
    def symmetric(self) -> bool:
        """The NAT shows this port as another to everybody."""
        return len(set(self.seen)) > 1

    def descriptors(self) -> list[int]:
        """Return what to watch, for POLLIN and, as long as ``wants_write``, for POLLOUT."""
        return list(self._questions)

    def wants_write(self, fd: int) -> bool:
        """The connection of this descriptor is not made yet."""
        return not self._questions[fd].asked

    def advance(self, fd: int) -> None:
        """A descriptor is ready."""
        question = self._questions.get(fd)
        if question is None:
            return
        try:
            if not question.asked:
                error = question.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if error:
                    raise OSError(error, os.strerror(error))
                question.sock.send(request(question.nonce))
                question.asked = True
                return
            data = question.sock.recv(ANSWER_SIZE + 1 - len(question.data))
        except BlockingIOError:
            return
        except OSError as error:
            self._fail(None, error.errno or errno.EIO)
            self._hang_up(fd)
            return
        question.data += data
        seen = read_answer(question.data, question.nonce)
        if seen is not None and not self.done:
            self.seen.append(seen)
        elif not data or len(question.data) >= ANSWER_SIZE:
            if not self.done:
                self._fail(None, errno.EPROTO)
            self._hang_up(fd)

    def wait(self, seconds: float) -> None:
        """Go on until ``done``, for at most so many seconds."""
        deadline = time.monotonic() + seconds
        while not self.done:
            poll = select.poll()
            for fd in self._questions:
                poll.register(fd, select.POLLOUT if self.wants_write(fd) else select.POLLIN)
            ready = poll.poll(max(0.0, deadline - time.monotonic()) * 1000)
            for fd, _ in ready:
                self.advance(fd)
            if not ready and not self.done:
                self.failure = f"the reflector does not answer within {seconds:g} s"

    def close(self) -> None:
        """Hang up."""
        for fd in list(self._questions):
            self._hang_up(fd)

    def _fail(self, reflector: Endpoint | None, error: int) -> None:
        where = f" at {reflector[0]}:{reflector[1]}" if reflector else ""
        self.failure = self.failure or f"cannot ask the reflector{where}: {os.strerror(error)}"

    def _hang_up(self, fd: int) -> None:
        with contextlib.suppress(OSError):
            self._questions.pop(fd).sock.close()
