"""Redis as a key store that is asked and answers (``mailbox.keys``), as far as a meeting needs it.

Rules of this file:
- One blocking connection, made on first use and again after an error; every request is repeated for ``patience``.
- Objects expire after the store's ``ttl``.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Collection, Sequence
from typing import Any

from fmi_mpi.channels.base import ChannelError
from fmi_mpi.channels.mailbox.backoff import Passing, persist
from fmi_mpi.channels.mailbox.keys import Found
from fmi_mpi.channels.mailbox.store import Usage
from fmi_mpi.channels.redis.resp import Incomplete, ProtocolError, ReplyError, pack, parse
from fmi_mpi.channels.redis.url import RIGHTS, Server

__all__ = ["RedisKeys"]

_CHUNK = 1 << 16
_BATCH = 1000
_TIMEOUT = 5.0  # seconds for the server to answer
_PASSING = ("LOADING", "BUSY", "TRYAGAIN", "CLUSTERDOWN", "MASTERDOWN", "READONLY")


class RedisKeys:
    """See ``channels.mailbox.keys.Keys``.

    Args:
        server: where it is.
    """

    name = "redis"
    piece = 1 << 20
    span = 1 << 20
    threads = 1

    def __init__(self, server: Server) -> None:
        self.label = server.label
        self.usage = Usage()
        self._server = server
        self._sock: socket.socket | None = None
        self._buffer = bytearray()
        self._closing = threading.Event()

    def check(self) -> None:
        """See that the server answers and lets this process in; raises ChannelError."""
        self._ask("PING")

    def put(self, key: str, parts: Sequence[bytes | memoryview], length: int) -> None:
        """Make, or replace, an object."""
        self._ask("SET", self._name(key), b"".join(parts), "EX", str(self._server.ttl))

    def put_new(self, key: str, parts: Sequence[bytes | memoryview], length: int) -> bool:
        """Make an object unless there is one."""
        made = self._ask("SET", self._name(key), b"".join(parts), "NX", "EX", str(self._server.ttl))
        return made is not None

    def find(self, prefix: str, after: str = "") -> Sequence[Found]:
        """Return all objects whose keys begin so and come after ``after``, sorted by key."""
        names: set[bytes] = set()
        cursor = "0"
        while True:
            place, found = self._ask("SCAN", cursor, "MATCH", self._name(prefix) + "*", "COUNT", str(_BATCH))
            names.update(found)
            cursor = place.decode()
            if cursor == "0":
                break
        keys = sorted(name.decode().removeprefix(self._name("")) for name in names)
        keys = [key for key in keys if key > after]
        bodies = []
        for start in range(0, len(keys), _BATCH):
            bodies += self._ask("MGET", *map(self._name, keys[start : start + _BATCH]))
        return [Found(key, len(body), body) for key, body in zip(keys, bodies) if body is not None]

    def fetch(self, key: str, start: int, into: memoryview) -> bool:
        """Fill ``into`` with the object's bytes from ``start`` on."""
        data = self._ask("GETRANGE", self._name(key), str(start), str(start + len(into) - 1))
        if len(data) < len(into):
            return False
        into[:] = data
        return True

    def get(self, key: str) -> bytes | None:
        """Return a whole object; None if there is none."""
        body: bytes | None = self._ask("GET", self._name(key))
        return body

    def remove(self, keys: Collection[str]) -> None:
        """Remove objects."""
        if keys:
            self._ask("DEL", *map(self._name, keys))

    def close(self) -> None:
        """Close the connection. Idempotent."""
        if self._sock is not None:
            self._sock.close()
            self._sock = None
        self._buffer.clear()

    # -- the connection ------------------------------------------------------------------------------------------

    def _name(self, key: str) -> str:
        return f"fmi/{key}"

    def _ask(self, *words: str | bytes) -> Any:
        """Return the answer to a command; raises ChannelError."""

        def attempt() -> Any:
            try:
                if self._sock is None:
                    self._connect()
                return self._exchange(pack(*words))
            except (OSError, EOFError, ProtocolError) as error:
                self.close()
                raise Passing(f"redis: {self.label} cannot be reached: {error}") from None

        answer = persist(attempt, self._server.patience, self._closing)
        if isinstance(answer, ReplyError):
            remedy = f"; let this user use {RIGHTS}" if answer.code == "NOPERM" else ""
            raise ChannelError(f"redis: {self.label} refuses {words[0]!s}: {answer}{remedy}")
        return answer

    def _connect(self) -> None:
        server = self._server
        sock = socket.create_connection((server.host, server.port), _TIMEOUT)
        if server.tls is not None:
            sock = server.tls.wrap_socket(sock, server_hostname=server.host)
        self._sock = sock
        for command in server.greeting():
            answer = self._exchange(command)
            if isinstance(answer, ReplyError):
                raise ChannelError(f"redis: {self.label} does not let this process in: {answer}")

    def _exchange(self, command: bytes) -> Any:
        assert self._sock is not None
        self._sock.sendall(command)
        while True:
            try:
                answer, end = parse(self._buffer, 0, len(self._buffer))
            except Incomplete:
                data = self._sock.recv(_CHUNK)
                if not data:
                    raise EOFError("the server closed the connection") from None
                self._buffer += data
                continue
            del self._buffer[:end]
            if isinstance(answer, ReplyError) and answer.code in _PASSING:
                raise Passing(f"redis: {self.label}: {answer}")
            return answer
