"""The relay channel: a stream for each pair that needs it, joined by the rendezvous service.

Rules of this file:
- One parked connection tells who calls; a pair's stream is made on first use by two calls, one from each end.
- Frames for a peer that has not answered yet wait (``channels.waiting``).
- The parked connection is made again when it breaks. A stream that breaks is a lost peer: what was in the relay is gone.
"""

from __future__ import annotations

import contextlib
import select
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from fmi_mpi.bootstrap.base import Relay
from fmi_mpi.bootstrap.relaying import CALLER
from fmi_mpi.channels.base import Address, Capabilities, ChannelError, Path, Payload, Receiver
from fmi_mpi.channels.relay.line import Denied, Line, addresses_of
from fmi_mpi.channels.relay.sealed import BUFFER_SIZE, SealedConnection
from fmi_mpi.channels.waiting import Waiting
from fmi_mpi.engine.frames import FrameError

__all__ = ["RelayChannel"]

_ATTEMPTS = 8
_PAUSE = 1.0  # seconds between attempts to park
_READ = select.EPOLLIN
_WRITE = select.EPOLLOUT
_REMEDY = (
    "ranks that can connect directly need no relay (--channels tcp,relay), and a store survives its server's restart"
)


class RelayChannel:
    """See ``channels.base.Channel``.

    Args:
        proc: this process's number in the job.
        job: the job's id. secret: its key.
        relay: where the relay is, and what lets this job in.
        receiver: takes frames and news.
        attend: told True when ``poll`` must be called though no call waits, False when that is over.

    Raises ChannelError.
    """

    name = "relay"
    capabilities = Capabilities(latency=1e-4, bandwidth=3e8)

    def __init__(
        self,
        proc: int,
        job: str,
        secret: bytes,
        relay: Relay,
        receiver: Receiver,
        attend: Callable[[bool], None],
    ) -> None:
        self.proc = proc
        self.job = job
        self._secret = secret
        self._relay = relay
        self._receiver = receiver
        self._label = f"{relay[0]}:{relay[1]}"
        try:
            self._addresses = addresses_of(relay)
        except OSError as error:
            raise ChannelError(f"relay: {self._label} is not known: {error.strerror or error}") from None
        self._attempts: dict[int, int] = {}
        self._epoll = select.epoll()
        self._buffer = memoryview(bytearray(BUFFER_SIZE))
        self._entries: dict[int, Line | SealedConnection] = {}
        self._lines: dict[int, Line] = {}
        self._connections: dict[int, SealedConnection] = {}
        self._waiting = Waiting(receiver, attend)
        self._writers: set[SealedConnection] = set()
        self._gone: set[int] = set()
        self._callers = b""
        self._park_at = float("inf")
        self._closed = False

    # -- channels.base.Channel -----------------------------------------------------------------------------------

    def address(self) -> Address:
        if self.proc not in self._lines:
            self._dial(self.proc)
        return {"relay": self._relay[2][:16].hex()}

    def reachable(self, address: Address) -> bool:
        return bool(address["relay"] == self._relay[2][:16].hex())

    def connect(self, peers: Mapping[int, Address]) -> None:
        pass

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
            self._epoll.modify(connection.sock, _READ | _WRITE)
        return done

    def path(self, peer: int) -> Path:
        return partial(self.send, peer)

    def poll(self) -> bool:
        if time.monotonic() >= self._park_at:
            self._park_at = float("inf")
            self._dial(self.proc)
        events = self._epoll.poll(0)
        for fd, mask in events:
            entry = self._entries.get(fd)
            if isinstance(entry, SealedConnection):
                if mask & _WRITE:
                    self._write(entry)
                if mask & ~_WRITE and self._entries.get(fd) is entry:
                    self._read(entry)
            elif entry is not None:
                self._advance(entry)
        return bool(events)

    def arm(self) -> bool:
        """Let senders of small frames to peers that have not answered go on; what arrives the kernel shows."""
        return not (self._waiting and self._waiting.release())

    def disarm(self) -> None:
        pass

    def descriptors(self) -> Sequence[tuple[int, int]]:
        return ((self._epoll.fileno(), select.POLLIN),)

    def pending(self) -> bool:
        return bool(self._writers or self._waiting)

    def close(self) -> None:
        self._closed = True
        for entry in self._entries.values():
            entry.sock.close()
        self._entries.clear()
        self._lines.clear()
        self._connections.clear()
        self._waiting.clear()
        self._writers.clear()
        if not self._epoll.closed:
            self._epoll.close()

    # -- waiting for the peer ------------------------------------------------------------------------------------

    def _send_later(self, peer: int, header: bytes, payload: Payload, token: object) -> bool:
        if peer in self._gone or self._closed:
            return False
        self._waiting.add(peer, header, payload, token)
        if peer not in self._lines:
            self._dial(peer)
        return False

    # -- lines ---------------------------------------------------------------------------------------------------

    def _dial(self, peer: int) -> None:
        """Call a peer; to call oneself is to be told of calls."""
        attempt = self._attempts[peer] = self._attempts.get(peer, -1) + 1
        address = self._addresses[attempt % len(self._addresses)]
        try:
            line = Line(self._relay, address, self.job, self._secret, self.proc, peer)
        except OSError as error:
            self._fail(peer, f"{self._label} cannot be reached: {error.strerror or error}")
            return
        self._lines[peer] = line
        self._entries[line.sock.fileno()] = line
        self._epoll.register(line.sock, _READ)

    def _advance(self, line: Line) -> None:
        try:
            if line.parked:
                self._hear(line)
            elif line.advance() and line.keys is not None:
                self._establish(line, line.keys)
        except Denied as denial:
            self._unregister(line)
            self._attempts[line.peer] = _ATTEMPTS
            self._fail(line.peer, str(denial))
        except (OSError, EOFError) as error:
            self._unregister(line)
            self._fail(line.peer, f"{self._label}: {error}")

    def _fail(self, peer: int, reason: str) -> None:
        """A line has ended before it was of use: another attempt, or the peer is lost."""
        if peer == self.proc:
            self._park_at = time.monotonic() + _PAUSE
        elif self._attempts[peer] < _ATTEMPTS:
            self._dial(peer)
        else:
            self._lose(peer, reason)

    def _hear(self, line: Line) -> None:
        """Take who calls."""
        try:
            data = line.sock.recv(1 << 12)
        except BlockingIOError:
            return
        if not data:
            raise EOFError("the relay closed the connection")
        self._attempts[self.proc] = -1
        self._callers += data
        while len(self._callers) >= CALLER.size:
            (peer,) = CALLER.unpack_from(self._callers)
            self._callers = self._callers[CALLER.size :]
            if peer not in self._connections and peer not in self._lines and peer not in self._gone:
                self._dial(peer)

    def _establish(self, line: Line, keys: tuple[bytes, bytes]) -> None:
        """The peer has proved the key: frames may flow, first those that waited."""
        del self._lines[line.peer]
        connection = SealedConnection(line.sock, line.peer, *keys)
        self._entries[line.sock.fileno()] = connection
        self._connections[line.peer] = connection
        self._waiting.send(line.peer, self.send)
        self._waiting.settle(self.pending())

    def _unregister(self, entry: Line | SealedConnection) -> None:
        self._entries.pop(entry.sock.fileno(), None)
        if isinstance(entry, Line):
            self._lines.pop(entry.peer, None)
        with contextlib.suppress(OSError, ValueError):
            self._epoll.unregister(entry.sock)
        entry.sock.close()

    # -- frames --------------------------------------------------------------------------------------------------

    def _write(self, connection: SealedConnection) -> None:
        try:
            connection.flush(self._receiver)
        except OSError as error:
            self._drop(connection, f"the connection broke: {error.strerror or error}")
            return
        if not connection.queue and connection in self._writers:
            self._writers.discard(connection)
            self._epoll.modify(connection.sock, _READ)
            self._waiting.settle(self.pending())

    def _read(self, connection: SealedConnection) -> None:
        try:
            connection.read(self._buffer, self._receiver)
        except EOFError:
            self._drop(connection, f"the peer, or the relay at {self._label}, is gone; {_REMEDY}")
        except FrameError as error:
            self._drop(connection, str(error))
        except OSError as error:
            self._drop(connection, f"the connection broke: {error.strerror or error}; {_REMEDY}")

    def _drop(self, connection: SealedConnection, reason: str) -> None:
        self._connections.pop(connection.peer, None)
        self._writers.discard(connection)
        self._unregister(connection)
        self._lose(connection.peer, reason)

    def _lose(self, peer: int, reason: str) -> None:
        self._waiting.drop(peer)
        self._waiting.settle(self.pending())
        if peer not in self._gone:
            self._gone.add(peer)
            self._receiver.lost(peer, f"relay: {reason}")
