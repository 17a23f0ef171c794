"""Direct TCP between hosts: through NATs, and through outages without losing a frame.

Rules of this file:
- Each pair has a session, which outlives its connections (``channels.resume``), and meets anew for each of them
  (``tcp.punch``). The epoch counts the meetings: both ends go on with the higher one that either has heard of.
- Frames wait in the session until both ends have met; meetings with several peers overlap.
- A connection that ends is renewed for FMI_RECONNECT seconds. Half-open ones are noticed by keep-alive while nothing is
  sent, otherwise by what the kernel tells of unanswered retransmissions; a peer that merely does not read answers those.
- A first meeting has no deadline until the peer takes part, for it may be busy outside of MPI: the job's control knows
  whether it lives. Once a process takes part it stays attended, so that it answers while it computes.
- Who closes says so; then, and when a meeting is hopeless, the peer is ``lost`` at once.
"""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final

from fmi_mpi.bootstrap.reflector import Endpoint, Inquiry
from fmi_mpi.channels.base import Address, Capabilities, Path, Payload, Receiver, Salvage
from fmi_mpi.channels.registry import Membership
from fmi_mpi.channels.resume import Session
from fmi_mpi.channels.tcp.connection import Connection
from fmi_mpi.channels.tcp.greeting import Greeting
from fmi_mpi.channels.tcp.loop import READ, WRITE, Loop
from fmi_mpi.channels.tcp.punch import Attempt, Place, listen, read_place
from fmi_mpi.channels.tcp.sealed import SealedConnection, require
from fmi_mpi.engine.frames import FrameError

__all__ = ["DistantChannel"]

_BUFFER: Final = 1 << 18
_ANSWER: Final = 2.0  # seconds for the reflector to answer
_TRY: Final = 3.0  # seconds for one attempt once the peer takes part
_TRIES: Final = 3  # attempts at the first meeting
_REMIND: Final = 0.5  # seconds between signals of one attempt
_IDLE, _INTERVAL, _COUNT = 5, 2, 3  # keep-alive: seconds until the first probe, between probes; probes
_CHECK: Final = 1.0  # seconds between looks at connections with unacknowledged frames
_UNANSWERED: Final = 3  # retransmissions or window probes, and
_SILENCE: Final = 3000  # milliseconds since the peer's last sign of life, after which a connection is dead
_INFO: Final = struct.Struct("=8B13I")  # struct tcp_info as far as tcpi_last_ack_recv


class _Peer:
    """What this end knows of a peer."""

    def __init__(self, number: int, receiver: Receiver, again: Callable[[_Peer], None]) -> None:
        self.session = Session(number, receiver, lambda: again(self))
        self.place: Place | None = None
        self.epoch = 0  # of the meeting under way, or the last one
        self.attempt: Attempt | None = None
        self.tried = 0  # attempts since the last connection
        self.connection: Connection | None = None
        self.broken = ""  # why the last connection ended
        self.since = 0.0  # when
        self.gone = False


class DistantChannel:
    """See ``channels.base.Channel`` and ``Signalled``."""

    name = "tcp"
    capabilities = Capabilities(latency=3.4e-4, bandwidth=4e8)

    def __init__(self, membership: Membership, receiver: Receiver) -> None:
        if membership.settings.encrypt:
            require()
        self._job = membership
        self._receiver = receiver
        self._reconnect = membership.settings.reconnect
        self._loop = Loop(membership.after)
        self._buffer = memoryview(bytearray(_BUFFER))
        self._peers: dict[int, _Peer] = {}
        self._writers: set[_Peer] = set()
        self._listener: socket.socket | None = None
        self._inquiry: Inquiry | None = None
        self._reflectors: list[Endpoint] = []
        self._place: Place | None = None
        self._attended = False
        self._checking = False

    # -- channels.base.Channel -----------------------------------------------------------------------------------

    def address(self) -> Address:
        if self._place is None:
            self._place = self._look_around()
        return self._place.record()

    def reachable(self, address: Address) -> bool:
        return not self.obstacle(address)

    def obstacle(self, address: Address) -> str:
        """Say why a peer with this address cannot be reached; empty if that cannot be told without trying."""
        other = read_place(address)
        if other is None or self._place is None:
            return "the two ranks do not agree on what an address is; all must run the same version"
        return self._place.obstacle(other)

    def connect(self, peers: Mapping[int, Address]) -> None:
        for number, address in peers.items():
            if number != self._job.proc:
                self._peer(number).place = read_place(address)
        self._attend()

    def send(self, peer: int, header: bytes, payload: Payload, token: object) -> bool:
        one = self._peer(peer)
        if one.gone:
            return False
        payload, free = one.session.keep(header, payload, token)
        if one.session.greeted:
            self._write(one, header, payload)
        elif one.connection is None and one.attempt is None:
            self._meet(peer, one, one.epoch + 1)
        return free

    def path(self, peer: int) -> Path:
        return partial(self.send, peer)

    def poll(self) -> bool:
        moved = self._loop.turn()
        if self._writers:
            for one in tuple(self._writers):
                self._flush(one)
        return moved

    def arm(self) -> bool:
        return True

    def disarm(self) -> None:
        pass

    def descriptors(self) -> Sequence[tuple[int, int]]:
        return ((self._loop.fileno(), select.POLLIN),)

    def pending(self) -> bool:
        return bool(self._writers) or any(
            not one.gone and not one.session.greeted and not one.session.idle for one in self._peers.values()
        )

    def close(self) -> None:
        for number, one in self._peers.items():
            if one.connection is not None and not one.connection.queue:
                with contextlib.suppress(OSError):
                    one.connection.sock.send(one.session.bye())
                    one.connection.sock.shutdown(socket.SHUT_WR)
            elif one.attempt is not None:
                self._job.signal(self.name, number, {"epoch": one.epoch, "over": "it has closed"})
            self._part(one)
            one.gone = True
        if self._listener is not None:
            self._loop.drop(self._listener)
            self._listener = None
        if self._inquiry is not None:
            self._inquiry.close()
        self._writers.clear()
        self._loop.close()
        if self._attended:
            self._attended = False
            self._job.attend(False)

    def salvage(self, peer: int) -> Salvage:
        """Give a peer up, if that has not happened yet, and return what another channel needs to go on."""
        one = self._peer(peer)
        if not one.gone:
            self._job.signal(self.name, peer, {"epoch": one.epoch, "over": "another channel takes over"})
            self._part(one)
            one.gone = True
        return one.session.salvage()

    # -- places --------------------------------------------------------------------------------------------------

    def _look_around(self) -> Place:
        """Open this process's port, and ask how it is seen."""
        reflectors = self._reflectors = _resolved(self._job.reflectors)
        private = _own_address(reflectors)
        family = socket.AF_INET6 if ":" in private else socket.AF_INET
        for _ in range(2):  # a NAT that has given the port to another host looks symmetric: a second port tells
            listener = listen(family)
            inquiry = Inquiry(reflectors, listener.getsockname()[1])
            inquiry.wait(_ANSWER)
            if not inquiry.symmetric:
                break
            if self._listener is None:
                self._listener, self._inquiry = listener, inquiry
        if self._listener is not None:
            self._listener.close()
        if self._inquiry is not None:
            self._inquiry.close()
        self._listener, self._inquiry = listener, inquiry
        self._loop.watch(listener.fileno(), READ, self._accept)
        return Place((private, listener.getsockname()[1]), inquiry.public, inquiry.symmetric)

    def _peer(self, number: int) -> _Peer:
        one = self._peers.get(number)
        if one is None:
            one = self._peers[number] = _Peer(number, self._receiver, self._write_again)
        return one

    def _attend(self) -> None:
        if not self._attended:
            self._attended = True
            self._job.attend(True)

    # -- meeting -------------------------------------------------------------------------------------------------

    def _greet(self, peer: int, epoch: int) -> Greeting:
        job = self._job
        return Greeting(job.job, job.secret, job.proc, peer, epoch, int(job.settings.encrypt))

    def _meet(self, number: int, one: _Peer, epoch: int) -> Attempt:
        """Begin a meeting, instead of the one under way."""
        self._attend()
        if one.attempt is not None:
            one.attempt.close()
        one.epoch = epoch
        one.tried += 1
        attempt = one.attempt = Attempt(self._loop, self._greet, number, epoch, partial(self._met, number, one))
        assert self._place is not None
        if epoch == 1:
            self._signal(number, self._place, epoch)
            attempt.use(self._place)
            if one.place is not None:
                attempt.expect(one.place, False)
        else:
            ready = partial(self._remind, number, one, attempt)
            attempt.use_fresh(self._place.private[0], self._reflectors, ready)
        self._loop.at(_REMIND, lambda: self._keep_reminding(number, one, attempt))
        return attempt

    def _signal(self, number: int, place: Place, epoch: int) -> None:
        self._job.signal(self.name, number, {"epoch": epoch, **place.record()})

    def _remind(self, number: int, one: _Peer, attempt: Attempt) -> None:
        if one.attempt is attempt and attempt.place is not None:
            self._signal(number, attempt.place, attempt.epoch)

    def _keep_reminding(self, number: int, one: _Peer, attempt: Attempt, waited: float = 0.0) -> None:
        """Say again where this end is, until both have met or time is up."""
        if one.attempt is not attempt:
            return
        now = time.monotonic()
        if one.broken and now - one.since > self._reconnect:
            how = f"and could not be renewed within {self._reconnect:g} s: {attempt.reason}"
            self._give_up(number, one, f"{one.broken}, {how}; FMI_RECONNECT sets how long to try")
        elif waited < _TRY:
            self._remind(number, one, attempt)
            waited += _REMIND if attempt.answered or one.broken else 0.0
            self._loop.at(_REMIND, lambda: self._keep_reminding(number, one, attempt, waited))
        elif one.broken or one.tried < _TRIES:
            self._meet(number, one, one.epoch + 1)
        else:
            remedy = "name another channel behind it, such as --channels tcp,redis://..."
            self._give_up(number, one, f"no direct connection in {_TRIES} attempts: {attempt.reason}; {remedy}")

    def _give_up(self, number: int, one: _Peer, reason: str) -> None:
        self._job.signal(self.name, number, {"epoch": one.epoch, "over": reason})
        self._lose(number, one, reason)

    def signalled(self, peer: int, data: Mapping[str, Any]) -> None:
        """The peer takes part in a meeting, or gives up."""
        epoch = data.get("epoch")
        one = self._peer(peer)
        if self._place is None or not isinstance(epoch, int) or epoch < one.epoch:
            return
        if one.gone:
            if "over" not in data:
                self._job.signal(self.name, peer, {"epoch": epoch, "over": "it has lost this rank before"})
            return
        place = read_place(data)
        if "over" in data:
            if one.connection is None or epoch > one.epoch:
                self._lose(peer, one, f"rank {peer} has given up: {data['over']}")
        elif place is not None and (epoch > one.epoch or one.attempt is not None):
            if epoch > one.epoch:
                self._join(peer, one, epoch)
            if one.attempt is not None:
                first = not one.attempt.answered
                one.attempt.expect(place, first)

    def _join(self, number: int, one: _Peer, epoch: int) -> Attempt:
        """The peer has begun a meeting: what there was before is over."""
        if one.connection is not None:
            self._break(one, "the peer has found the connection broken")
        return self._meet(number, one, epoch)

    def _accept(self, mask: int) -> None:
        """Somebody has come to this process's own port: see who it is."""
        assert self._listener is not None
        with contextlib.suppress(OSError):
            sock, _ = self._listener.accept()
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._loop.watch(sock.fileno(), READ, lambda _: self._identify(sock))

    def _identify(self, sock: socket.socket) -> None:
        """Read who a visitor says he is, and let the meeting with him go on with the socket."""
        try:
            greeting = self._greet(-1, 0)
            said = sock.recv(greeting.want, socket.MSG_PEEK)
            if said and len(said) < greeting.want:
                return
            claimed = Greeting.claim(said)
        except BlockingIOError:
            return
        except OSError:
            claimed = None
        if claimed is None or not 0 <= claimed[0] < self._job.size or claimed[0] == self._job.proc:
            self._loop.drop(sock)
            return
        number, epoch = claimed
        one = self._peer(number)
        attempt = one.attempt
        if attempt is None and one.epoch == 0 and epoch == 1 and not one.gone and self._place is not None:
            attempt = self._meet(number, one, 1)
        if attempt is None or attempt.epoch != epoch:
            self._loop.drop(sock)
            return
        self._loop.forget(sock.fileno())
        attempt.adopt(sock, greeting)

    # -- connections ---------------------------------------------------------------------------------------------

    def _met(self, number: int, one: _Peer, sock: socket.socket, greeting: Greeting) -> None:
        """The peer has proved the key, and one socket is chosen: first of all tell what has come before."""
        one.attempt = None
        one.tried = 0
        one.broken = ""
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for option, value in (
            (socket.TCP_KEEPIDLE, _IDLE),
            (socket.TCP_KEEPINTVL, _INTERVAL),
            (socket.TCP_KEEPCNT, _COUNT),
        ):
            sock.setsockopt(socket.IPPROTO_TCP, option, value)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        job = self._job
        if job.settings.encrypt:
            one.connection = SealedConnection(sock, number, job.secret, greeting.nonces, job.proc)
        else:
            one.connection = Connection(sock, number)
        self._loop.watch(sock.fileno(), READ, lambda mask: self._turn(one, mask))
        self._write(one, one.session.greeting(), None)

    def _turn(self, one: _Peer, mask: int) -> None:
        """A connection has something to say, or room."""
        if mask & WRITE:
            self._flush(one)
        connection = one.connection
        if connection is None or not mask & ~WRITE:
            return
        session = one.session
        try:
            connection.read(self._buffer, session)
        except EOFError:
            self._end(one, "the connection was closed")
            return
        except FrameError as error:
            self._lose(connection.peer, one, str(error))
            return
        except OSError as error:
            self._end(one, f"the connection broke: {error.strerror or error}")
            return
        if one.connection is not connection:
            return
        if session.left:
            self._lose(connection.peer, one, "the connection was closed")
            return
        due = session.due()
        if due is not None:
            self._write(one, due, None)

    def _write(self, one: _Peer, header: bytes, payload: Payload) -> None:
        connection = one.connection
        if connection is None:
            return
        try:
            done = connection.send(header, payload, None)
        except OSError as error:
            self._end(one, f"the connection broke: {error.strerror or error}")
            return
        if not done:
            self._writers.add(one)
            self._loop.watch(connection.sock.fileno(), READ | WRITE, lambda mask: self._turn(one, mask))
        if not self._checking:
            self._checking = True
            self._loop.at(_CHECK, self._check)

    def _write_again(self, one: _Peer) -> None:
        """The peer has told what it has got: the rest."""
        for header, payload, _ in one.session.unacknowledged():
            self._write(one, header, payload)

    def _flush(self, one: _Peer) -> None:
        connection = one.connection
        if connection is None:
            self._writers.discard(one)
            return
        try:
            connection.flush(one.session)
        except OSError as error:
            self._end(one, f"the connection broke: {error.strerror or error}")
            return
        if not connection.queue:
            self._writers.discard(one)
            self._loop.watch(connection.sock.fileno(), READ, lambda mask: self._turn(one, mask))

    def _check(self) -> None:
        """Look for connections whose other end does not answer any more."""
        self._checking = False
        for one in list(self._peers.values()):
            connection = one.connection
            if connection is None or (one.session.idle and not connection.queue):
                continue
            with contextlib.suppress(OSError):
                info = _INFO.unpack(connection.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _INFO.size))
                if max(info[2], info[3]) >= _UNANSWERED and info[20] >= _SILENCE:
                    self._end(one, "the connection is dead: nothing that is sent is answered")
                    continue
            if not self._checking:
                self._checking = True
                self._loop.at(_CHECK, self._check)

    def _break(self, one: _Peer, reason: str) -> None:
        """The connection is of no use any more."""
        self._part(one)
        one.broken, one.since = reason, time.monotonic()

    def _end(self, one: _Peer, reason: str) -> None:
        """The connection has ended: unless the peer has left, make another."""
        connection = one.connection
        assert connection is not None
        if one.session.left or not self._reconnect:
            self._lose(connection.peer, one, reason)
            return
        self._break(one, reason)
        self._meet(connection.peer, one, one.epoch + 1)

    def _part(self, one: _Peer) -> None:
        """Close what there is between the two."""
        if one.attempt is not None:
            one.attempt.close()
            one.attempt = None
        if one.connection is not None:
            self._loop.drop(one.connection.sock)
            one.connection = None
        one.session.cut()
        self._writers.discard(one)

    def _lose(self, number: int, one: _Peer, reason: str) -> None:
        self._part(one)
        if not one.gone:
            one.gone = True
            self._receiver.lost(number, f"tcp: {reason}")


def _resolved(reflectors: Sequence[Endpoint]) -> list[Endpoint]:
    """Return the reflectors by number; none if their name is not known."""
    found: list[Endpoint] = []
    with contextlib.suppress(OSError):
        for host, port in reflectors:
            address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][4]
            found.append((str(address[0]), port))
    return found if len(found) == len(reflectors) else []


def _own_address(reflectors: Sequence[Endpoint]) -> str:
    """Return the address from which this host reaches others; nothing is sent to find out."""
    host = reflectors[0][0] if reflectors else "192.0.2.1"
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as sock:
        with contextlib.suppress(OSError):
            sock.connect((host, 9))
        found = str(sock.getsockname()[0])
    return found if found not in ("0.0.0.0", "::") else "::1" if ":" in found else "127.0.0.1"
