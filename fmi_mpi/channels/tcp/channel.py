"""The direct TCP channel: one authenticated connection per pair, made on first use.

Rules of this file:
- One listening socket per process, on the loopback address unless the job spans hosts.
- Frames to a peer that is not connected yet wait (``channels.waiting``).
- When two processes connect to each other at once, the connection that the lower number started is kept.
- A connection that ends, or whose bytes are not frames, means ``lost``: the peer cannot be trusted or is gone.
"""

from __future__ import annotations

import contextlib
import errno
import hmac
import os
import select
import socket
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial

from fmi_mpi.channels.base import Address, Capabilities, Path, Payload, Receiver
from fmi_mpi.channels.tcp.connection import Connection
from fmi_mpi.channels.tcp.handshake import (
    CHALLENGE_SIZE,
    HELLO_SIZE,
    NONCE_SIZE,
    PROOF_SIZE,
    hello,
    proof,
    read_hello,
)
from fmi_mpi.channels.waiting import Waiting
from fmi_mpi.engine.frames import FrameError

__all__ = ["TcpChannel"]

_BUFFER = 1 << 18
_SOCKET_BUFFER = 1 << 22
_BACKLOG = 1024
_DIALS = 8
_STRANGERS = 64
"""Polls between looks at the listening socket while nobody is connecting."""
_FEW = 8
"""Connections up to which the kernel answers poll(2) sooner than epoll_wait(2)."""
_READ = select.EPOLLIN
_WRITE = select.EPOLLOUT


@lru_cache(maxsize=1)
def _may_buffer() -> bool:
    """Tell whether sockets get the buffers they ask for; where not, the kernel's own choice is better."""
    limits = []
    for name in ("rmem_max", "wmem_max"):
        try:
            with open(f"/proc/sys/net/core/{name}", encoding="ascii") as file:
                limits.append(int(file.read()))
        except (OSError, ValueError):
            return False
    return min(limits) >= _SOCKET_BUFFER


def _socket(host: str) -> socket.socket:
    """Return a socket for a numeric address; accepted sockets inherit its buffers."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    if _may_buffer():
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _SOCKET_BUFFER)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SOCKET_BUFFER)
    return sock


class _Handshake:
    """A socket on its way to become a connection."""

    __slots__ = ("data", "nonce", "peer", "sock", "stage", "want")

    def __init__(self, sock: socket.socket, peer: int, stage: str, want: int) -> None:
        self.sock = sock
        self.peer = peer
        self.stage = stage
        self.want = want
        self.nonce = os.urandom(NONCE_SIZE)
        self.data = b""


class TcpChannel:
    """See ``channels.base.Channel``.

    Args:
        proc: this process's number in the job.
        job: the job's id. secret: its key.
        receiver: takes frames and news.
        attend: told True when ``poll`` must be called though no call waits, False when that is over.
        host: address to listen on.
    """

    name = "tcp"
    capabilities = Capabilities(latency=1e-5, bandwidth=3e9)

    def __init__(
        self,
        proc: int,
        job: str,
        secret: bytes,
        receiver: Receiver,
        attend: Callable[[bool], None],
        host: str = "127.0.0.1",
    ) -> None:
        self.proc = proc
        self.job = job
        self._secret = secret
        self._receiver = receiver
        self._host = host
        self._listener: socket.socket | None = None
        self._epoll = select.epoll()
        self._few = select.poll()
        self._ask: Callable[[float], list[tuple[int, int]]] | None = None
        self._buffer = memoryview(bytearray(_BUFFER))
        self._peers: dict[int, Address] = {}
        self._connections: dict[int, Connection] = {}
        self._waiting = Waiting(receiver, attend)
        self._by_fd: dict[int, Connection | _Handshake | None] = {}
        self._writers: set[Connection] = set()
        self._armed = False
        self._dials: dict[int, int] = {}
        self._gone: set[int] = set()
        self._idle = 1

    # -- channels.base.Channel -----------------------------------------------------------------------------------

    def address(self) -> Address:
        if self._listener is None:
            self._listener = _socket(self._host)
            self._listener.bind((self._host, 0))
            self._listener.listen(_BACKLOG)
            self._register(self._listener, None, _READ)
        return {"host": self._host, "port": self._listener.getsockname()[1]}

    def reachable(self, address: Address) -> bool:
        return True

    def connect(self, peers: Mapping[int, Address]) -> None:
        self._peers.update(peers)

    def send(self, peer: int, header: bytes, payload: Payload, token: object) -> bool:
        connection = self._connections.get(peer)
        if connection is None:
            return self._send_later(peer, header, payload, token)
        try:
            done = connection.send(header, payload, token)
        except OSError as error:
            self._drop(connection, f"sending failed: {error.strerror or error}")
            return False
        if not done:
            self._writers.add(connection)
            if self._armed:
                self._epoll.modify(connection.sock, _READ | _WRITE)
        return done

    def path(self, peer: int) -> Path:
        return partial(self.send, peer)

    def poll(self) -> bool:
        moved = self._write() if self._writers else False
        ask = self._ask
        self._idle -= 1
        if not self._idle:
            self._idle = _STRANGERS
            ask = self._epoll.poll
        elif ask is None:
            return moved
        events = ask(0)
        if not events:
            return moved
        for fd, mask in events:
            entry = self._by_fd.get(fd)
            if type(entry) is Connection:
                if mask & ~_WRITE:
                    self._read(entry)
            elif type(entry) is _Handshake:
                self._shake(entry)
            elif fd in self._by_fd:
                self._accept()
        return True

    def arm(self) -> bool:
        """Ask to be woken when there is room again; what has arrived the kernel keeps readable."""
        if self._waiting and self._waiting.release():
            return False
        self._armed = True
        for connection in self._writers:
            self._epoll.modify(connection.sock, _READ | _WRITE)
        return True

    def disarm(self) -> None:
        self._armed = False
        self._idle = 1
        for connection in self._writers:
            self._epoll.modify(connection.sock, _READ)

    def descriptors(self) -> Sequence[tuple[int, int]]:
        return ((self._epoll.fileno(), select.POLLIN),)

    def pending(self) -> bool:
        return bool(self._writers or self._waiting)

    def close(self) -> None:
        for entry in list(self._by_fd.values()):
            if entry is not None:
                entry.sock.close()
        if self._listener is not None:
            self._listener.close()
        self._by_fd.clear()
        self._connections.clear()
        self._waiting.clear()
        self._writers.clear()
        if not self._epoll.closed:
            self._epoll.close()

    # -- connections ---------------------------------------------------------------------------------------------

    def _register(self, sock: socket.socket, entry: Connection | _Handshake | None, mask: int) -> None:
        self._by_fd[sock.fileno()] = entry
        self._epoll.register(sock, mask)
        self._take_stock()

    def _take_stock(self) -> None:
        """Choose how to ask for arrivals: not at all while nobody is here, by the shorter way if all are connected."""
        connected = len(self._connections)
        if connected > _FEW or len(self._by_fd) > connected + 1:
            self._ask = self._epoll.poll
        else:
            self._ask = self._few.poll if connected else None

    def _unregister(self, sock: socket.socket) -> None:
        fd = sock.fileno()
        if fd in self._by_fd:
            del self._by_fd[fd]
            with contextlib.suppress(OSError):
                self._epoll.unregister(sock)
            with contextlib.suppress(KeyError):
                self._few.unregister(sock)
            self._take_stock()
        sock.close()

    def _send_later(self, peer: int, header: bytes, payload: Payload, token: object) -> bool:
        """Queue a frame for a peer that is not connected yet, and start connecting."""
        if peer in self._gone:
            return False
        if self._waiting.add(peer, header, payload, token) and not self._is_coming(peer):
            self._dial(peer)
        return False

    def _dial(self, peer: int) -> None:
        address = self._peers.get(peer)
        if address is None:
            self._lose(peer, f"process {peer} has no address; it does not offer this channel")
            return
        sock = _socket(address["host"])
        shake = _Handshake(sock, peer, "connecting", CHALLENGE_SIZE)
        error = sock.connect_ex((address["host"], address["port"]))
        if error not in (0, errno.EINPROGRESS):
            sock.close()
            self._lose(peer, f"cannot connect to {address['host']}:{address['port']}: {os.strerror(error)}")
            return
        self._register(sock, shake, _WRITE)

    def _accept(self) -> None:
        assert self._listener is not None
        try:
            sock, _ = self._listener.accept()
        except OSError:
            return
        sock.setblocking(False)
        self._register(sock, _Handshake(sock, -1, "hello", HELLO_SIZE), _READ)

    def _shake(self, shake: _Handshake) -> None:
        """Advance a handshake; any irregularity ends the socket, a lost dial ends the peer."""
        try:
            if shake.stage == "connecting":
                error = shake.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if error:
                    raise OSError(error, os.strerror(error))
                shake.sock.send(hello(self.job, self.proc, shake.peer, shake.nonce))
                shake.stage = "challenge"
                self._epoll.modify(shake.sock, _READ)
                return
            data = shake.sock.recv(shake.want - len(shake.data))
            if not data:
                raise EOFError("closed during the handshake")
            shake.data += data
            if len(shake.data) == shake.want:
                data, shake.data = shake.data, b""
                getattr(self, "_on_" + shake.stage)(shake, data)
        except BlockingIOError:
            return
        except (OSError, EOFError) as error:
            stage, peer = shake.stage, shake.peer
            self._unregister(shake.sock)
            if stage in ("connecting", "challenge") and not self._is_coming(peer):
                self._dial_again(peer, stage, error)

    def _is_coming(self, peer: int) -> bool:
        """The peer is connected, or its own connection to us is on its way."""
        return peer in self._connections or any(
            type(entry) is _Handshake and entry.peer == peer for entry in self._by_fd.values()
        )

    def _dial_again(self, peer: int, stage: str, error: Exception) -> None:
        """A dial ended without a connection.

        A peer that has a dial of its own under way closes ours. Then its connection is about to arrive; should it
        have died instead, another dial finds out.
        """
        self._dials[peer] = self._dials.get(peer, 0) + 1
        if stage == "challenge" and self._dials[peer] < _DIALS:
            self._dial(peer)
        else:
            self._lose(peer, f"cannot connect: {error}")

    def _on_hello(self, shake: _Handshake, data: bytes) -> None:
        known = read_hello(data, self.job, self.proc)
        if known is None:
            raise EOFError("not a peer of this job")
        peer, nonce = known
        own = next((e for e in self._by_fd.values() if type(e) is _Handshake and e.peer == peer), None)
        if peer in self._connections or (own is not None and self.proc < peer):
            raise EOFError("the other connection is kept")
        nonces = nonce + shake.nonce
        shake.sock.send(shake.nonce + proof(self._secret, b"accept", self.job, self.proc, peer, nonces))
        shake.peer, shake.nonce, shake.stage, shake.want = peer, nonces, "proof", PROOF_SIZE

    def _on_challenge(self, shake: _Handshake, data: bytes) -> None:
        nonces = shake.nonce + data[:NONCE_SIZE]
        expected = proof(self._secret, b"accept", self.job, shake.peer, self.proc, nonces)
        if not hmac.compare_digest(data[NONCE_SIZE:], expected):
            raise EOFError("the peer does not know the job's key")
        shake.sock.send(proof(self._secret, b"connect", self.job, self.proc, shake.peer, nonces))
        self._establish(shake)

    def _on_proof(self, shake: _Handshake, data: bytes) -> None:
        expected = proof(self._secret, b"connect", self.job, shake.peer, self.proc, shake.nonce)
        if not hmac.compare_digest(data, expected):
            raise EOFError("the peer does not know the job's key")
        for entry in list(self._by_fd.values()):
            if type(entry) is _Handshake and entry is not shake and entry.peer == shake.peer:
                self._unregister(entry.sock)
        self._establish(shake)

    def _establish(self, shake: _Handshake) -> None:
        """The peer has proved the key: frames may flow, first those that waited."""
        sock, peer = shake.sock, shake.peer
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection = Connection(sock, peer)
        self._by_fd[sock.fileno()] = connection
        self._connections[peer] = connection
        self._few.register(sock, select.POLLIN)
        self._take_stock()
        self._waiting.send(peer, self.send)
        self._waiting.settle(self.pending())

    def _write(self) -> bool:
        """Go on with what is queued; asking the kernel each time is faster than waiting until a third is free."""
        moved = False
        for connection in tuple(self._writers):
            try:
                if connection.flush(self._receiver):
                    moved = True
            except OSError as error:
                self._drop(connection, f"the connection broke: {error.strerror or error}")
            else:
                if not connection.queue:
                    self._writers.discard(connection)
                    if self._armed:
                        self._epoll.modify(connection.sock, _READ)
                    self._waiting.settle(self.pending())
        return moved

    def _read(self, connection: Connection) -> None:
        try:
            connection.read(self._buffer, self._receiver)
        except EOFError:
            self._drop(connection, "the connection was closed")
        except FrameError as error:
            self._drop(connection, str(error))
        except OSError as error:
            self._drop(connection, f"the connection broke: {error.strerror or error}")

    def _drop(self, connection: Connection, reason: str) -> None:
        self._connections.pop(connection.peer, None)
        self._writers.discard(connection)
        self._unregister(connection.sock)
        self._lose(connection.peer, reason)

    def _lose(self, peer: int, reason: str) -> None:
        self._waiting.drop(peer)
        self._waiting.settle(self.pending())
        if peer not in self._gone:
            self._gone.add(peer)
            self._receiver.lost(peer, f"tcp: {reason}")
