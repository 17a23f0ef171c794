"""Direct TCP between hosts: through NATs, and through outages without losing a frame.

Rules of this file:
- What outlives a connection, and how it ends, is in ``channels.lasting``; here is how two processes meet.
- Each pair meets anew for each connection (``tcp.punch``). The epoch counts the meetings: both ends go on with the higher
  one that either has heard of.
- Frames wait in the session until both ends have met; meetings with several peers overlap.
- A first meeting has no deadline until the peer takes part, for it may be busy outside of MPI: the job's control knows
  whether it lives. Once a process takes part it stays attended.
- When a meeting is hopeless, the peer is ``lost`` at once.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final

from fmi_mpi.bootstrap.reflector import Endpoint, Inquiry
from fmi_mpi.channels.base import Address, Capabilities, Receiver
from fmi_mpi.channels.ciphers import require
from fmi_mpi.channels.lasting import Lasting, Peer
from fmi_mpi.channels.registry import Membership
from fmi_mpi.channels.tcp.connection import Connection
from fmi_mpi.channels.tcp.greeting import Greeting
from fmi_mpi.channels.tcp.loop import READ
from fmi_mpi.channels.tcp.punch import Attempt, Place, listen, read_place
from fmi_mpi.channels.tcp.sealed import SealedConnection

__all__ = ["DistantChannel"]

_ANSWER: Final = 2.0  # seconds for the reflector to answer
_TRY: Final = 3.0  # seconds for one attempt once the peer takes part
_REFUSED: Final = 1.0  # seconds, if somebody answers with RST all the time
_MANY: Final = 10  # times
_TRIES: Final = 3  # attempts at the first meeting
_REMIND: Final = 0.5  # seconds between signals of one attempt


class _Peer(Peer):
    """What this end knows of a peer."""

    place: Place | None = None
    epoch = 0  # of the meeting under way, or the last one
    attempt: Attempt | None = None
    tried = 0  # attempts since the last connection


class DistantChannel(Lasting[_Peer]):
    """See ``channels.base.Channel`` and ``Signalled``."""

    name = "tcp"
    capabilities = Capabilities(latency=3.4e-4, bandwidth=4e8)

    def __init__(self, membership: Membership, receiver: Receiver) -> None:
        if membership.settings.encrypt:
            require()
        super().__init__(membership, receiver)
        self._listener: socket.socket | None = None
        self._inquiry: Inquiry | None = None
        self._reflectors: list[Endpoint] = []
        self._place: Place | None = None

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

    def close(self) -> None:
        super().close()
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        if self._inquiry is not None:
            self._inquiry.close()

    # -- channels.lasting.Lasting --------------------------------------------------------------------------------

    def _new_peer(self, number: int) -> _Peer:
        return _Peer(number, self._receiver, self._write_again)

    def _reach(self, one: _Peer) -> None:
        if one.attempt is None:
            self._meet(one, one.epoch + 1)

    def _is_connecting(self, one: _Peer) -> bool:
        return one.attempt is not None

    def _stop_connecting(self, one: _Peer) -> None:
        if one.attempt is not None:
            one.attempt.close()
            one.attempt = None

    def _say_over(self, one: _Peer, reason: str) -> None:
        self._job.signal(self.name, one.number, {"epoch": one.epoch, "over": reason})

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

    # -- meeting -------------------------------------------------------------------------------------------------

    def _greet(self, peer: int, epoch: int) -> Greeting:
        job = self._job
        return Greeting(job.job, job.secret, job.proc, peer, epoch, int(job.settings.encrypt))

    def _meet(self, one: _Peer, epoch: int) -> Attempt:
        """Begin a meeting, instead of the one under way."""
        self._attend()
        self._stop_connecting(one)
        one.epoch = epoch
        one.tried += 1
        attempt = one.attempt = Attempt(self._loop, self._greet, one.number, epoch, partial(self._met, one))
        assert self._place is not None
        if epoch == 1:
            self._signal(one, self._place, epoch)
            attempt.use(self._place)
            if one.place is not None:
                attempt.expect(one.place, False)
        else:
            ready = partial(self._remind, one, attempt)
            attempt.use_fresh(self._place.private[0], self._reflectors, ready)
        self._loop.at(_REMIND, lambda: self._keep_reminding(one, attempt))
        return attempt

    def _signal(self, one: _Peer, place: Place, epoch: int) -> None:
        self._job.signal(self.name, one.number, {"epoch": epoch, **place.record()})

    def _remind(self, one: _Peer, attempt: Attempt) -> None:
        if one.attempt is attempt and attempt.place is not None:
            self._signal(one, attempt.place, attempt.epoch)

    def _keep_reminding(self, one: _Peer, attempt: Attempt, waited: float = 0.0) -> None:
        """Say again where this end is, until both have met or time is up."""
        if one.attempt is not attempt or self._has_expired(one, attempt.reason):
            return
        if waited < (_TRY if attempt.refusals < _MANY else _REFUSED):
            self._remind(one, attempt)
            waited += _REMIND if attempt.answered or one.broken else 0.0
            self._loop.at(_REMIND, lambda: self._keep_reminding(one, attempt, waited))
        elif one.broken or one.tried < _TRIES:
            self._meet(one, one.epoch + 1)
        else:
            remedy = "name another channel behind it, such as --channels tcp,redis://..."
            self._give_up(one, f"no direct connection in {_TRIES} attempts: {attempt.reason}; {remedy}")

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
                self._lose(one, f"rank {peer} has given up: {data['over']}")
        elif place is not None and (epoch > one.epoch or one.attempt is not None):
            if epoch > one.epoch:
                self._join(one, epoch)
            if one.attempt is not None:
                first = not one.attempt.answered
                one.attempt.expect(place, first)

    def _join(self, one: _Peer, epoch: int) -> Attempt:
        """The peer has begun a meeting: what there was before is over."""
        if one.connection is not None:
            self._break(one, "the peer has found the connection broken")
        return self._meet(one, epoch)

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
            attempt = self._meet(one, 1)
        if attempt is None or attempt.epoch != epoch:
            self._loop.drop(sock)
            return
        self._loop.forget(sock.fileno())
        attempt.adopt(sock, greeting)

    def _met(self, one: _Peer, sock: socket.socket, greeting: Greeting) -> None:
        """The peer has proved the key, and one socket is chosen."""
        one.attempt = None
        one.tried = 0
        job = self._job
        if job.settings.encrypt:
            self._attach(one, SealedConnection(sock, one.number, job.secret, greeting.nonces, job.proc))
        else:
            self._attach(one, Connection(sock, one.number))


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
