"""Channels whose connections come and go under the frames of each peer: what TCP between hosts and the relay share.

Rules of this file:
- Each peer has a session, which outlives its connections (``channels.resume``). How a connection comes about is the
  channel's own business; it hands each new one to ``_attach``, and is asked by ``_reach`` for another.
- A connection that ends is renewed for FMI_RECONNECT seconds. Half-open ones are noticed by keep-alive while nothing is
  sent, otherwise by what the kernel tells of unanswered retransmissions; a peer that merely does not read answers those.
- A channel that is in use stays attended, so that it answers while the program computes.
- Who closes says so; then the peer is ``lost`` at once.
"""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final, Generic, TypeVar

from fmi_mpi.channels.base import Path, Payload, Receiver, Salvage
from fmi_mpi.channels.registry import Membership
from fmi_mpi.channels.resume import Session
from fmi_mpi.channels.tcp.connection import Connection
from fmi_mpi.channels.tcp.loop import READ, WRITE, Loop
from fmi_mpi.engine.frames import FrameError

__all__ = ["Lasting", "Peer", "is_dead", "keep_alive"]

_BUFFER: Final = 1 << 18
_IDLE, _INTERVAL, _COUNT = 5, 2, 3  # keep-alive: seconds until the first probe, between probes; probes
_CHECK: Final = 1.0  # seconds between looks at connections with unacknowledged frames
_UNANSWERED: Final = 3  # retransmissions or window probes, and
_SILENCE: Final = 3000  # milliseconds since the peer's last sign of life, after which a connection is dead
_INFO: Final = struct.Struct("=8B13I")  # struct tcp_info as far as tcpi_last_ack_recv


def keep_alive(sock: socket.socket) -> None:
    """Have the kernel find out within seconds that an idle connection's other end is gone."""
    for option, value in (
        (socket.TCP_KEEPIDLE, _IDLE),
        (socket.TCP_KEEPINTVL, _INTERVAL),
        (socket.TCP_KEEPCNT, _COUNT),
    ):
        sock.setsockopt(socket.IPPROTO_TCP, option, value)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)


def is_dead(sock: socket.socket) -> bool:
    """Tell whether what is sent over a connection has not been answered for so long that it never will be."""
    try:
        info = _INFO.unpack(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _INFO.size))
    except OSError:
        return False
    return bool(max(info[2], info[3]) >= _UNANSWERED and info[20] >= _SILENCE)


class Peer:
    """What this end knows of a peer."""

    def __init__(self, number: int, receiver: Receiver, again: Callable[[Any], None]) -> None:
        self.number = number
        self.session = Session(number, receiver, lambda: again(self))
        self.connection: Connection | None = None
        self.broken = ""  # why the last connection ended
        self.since = 0.0  # when
        self.gone = False


P = TypeVar("P", bound=Peer)


class Lasting(Generic[P]):
    """The part of a ``channels.base.Channel`` that sessions and their connections are."""

    name: str

    def __init__(self, membership: Membership, receiver: Receiver) -> None:
        self._job = membership
        self._receiver = receiver
        self._reconnect = membership.settings.reconnect
        self._loop = Loop(membership.after)
        self._buffer = memoryview(bytearray(_BUFFER))
        self._peers: dict[int, P] = {}
        self._writers: set[P] = set()
        self._attended = False
        self._checking = False
        self._closed = False

    # -- what a channel adds -------------------------------------------------------------------------------------

    def _new_peer(self, number: int) -> P:
        """Return what is known of a peer at first."""
        raise NotImplementedError

    def _reach(self, one: P) -> None:
        """Begin to make a connection, unless that is under way."""
        raise NotImplementedError

    def _is_connecting(self, one: P) -> bool:
        """A connection is being made."""
        raise NotImplementedError

    def _stop_connecting(self, one: P) -> None:
        """Give that up, if it is under way."""
        raise NotImplementedError

    def _say_over(self, one: P, reason: str) -> None:
        """Tell the other end, if that can be told, that this end does not connect any more."""

    # -- channels.base.Channel -----------------------------------------------------------------------------------

    def send(self, peer: int, header: bytes, payload: Payload, token: object) -> bool:
        """See ``channels.base.Channel.send``."""
        one = self._peer(peer)
        if one.gone:
            return False
        payload, free = one.session.keep(header, payload, token)
        if one.session.greeted:
            self._write(one, header, payload)
        elif one.connection is None:
            self._reach(one)
        return free

    def path(self, peer: int) -> Path:
        """See ``channels.base.Channel.path``."""
        return partial(self.send, peer)

    def poll(self) -> bool:
        """See ``channels.base.Channel.poll``."""
        moved = self._loop.turn()
        if self._writers:
            for one in tuple(self._writers):
                self._flush(one)
        return moved

    def arm(self) -> bool:
        """See ``channels.base.Channel.arm``: the kernel shows everything."""
        return True

    def disarm(self) -> None:
        """See ``channels.base.Channel.disarm``."""

    def descriptors(self) -> Sequence[tuple[int, int]]:
        """See ``channels.base.Channel.descriptors``."""
        return ((self._loop.fileno(), select.POLLIN),)

    def pending(self) -> bool:
        """See ``channels.base.Channel.pending``."""
        return bool(self._writers) or any(
            not one.gone and not one.session.greeted and not one.session.idle for one in self._peers.values()
        )

    def close(self) -> None:
        """See ``channels.base.Channel.close``."""
        self._closed = True
        for one in self._peers.values():
            connection = one.connection
            if connection is not None and not connection.queue:
                with contextlib.suppress(OSError):
                    connection.send(one.session.bye(), None, None)
                    connection.sock.shutdown(socket.SHUT_WR)
            elif self._is_connecting(one):
                self._say_over(one, "it has closed")
            self._part(one)
            one.gone = True
        self._writers.clear()
        self._loop.close()
        if self._attended:
            self._attended = False
            self._job.attend(False)

    def departed(self, peer: int) -> bool:
        """See ``channels.base.Salvaging``."""
        return self._peer(peer).session.left

    def salvage(self, peer: int) -> Salvage:
        """Give a peer up, if that has not happened yet, and return what another channel needs to go on."""
        one = self._peer(peer)
        if not one.gone:
            self._say_over(one, "another channel takes over")
            self._part(one)
            one.gone = True
        return one.session.salvage()

    # -- connections ---------------------------------------------------------------------------------------------

    def _peer(self, number: int) -> P:
        one = self._peers.get(number)
        if one is None:
            one = self._peers[number] = self._new_peer(number)
            one.gone = self._closed
        return one

    def _attend(self) -> None:
        if not self._attended:
            self._attended = True
            self._job.attend(True)

    def _attach(self, one: P, connection: Connection) -> None:
        """There is a connection, whose other end has proved the key: first of all tell what has come before."""
        one.broken = ""
        one.connection = connection
        sock = connection.sock
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        keep_alive(sock)
        self._loop.watch(sock.fileno(), READ, lambda mask: self._turn(one, mask))
        self._write(one, one.session.greeting(), None)

    def _turn(self, one: P, mask: int) -> None:
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
            if one.connection is connection:  # else what it caused to be written has ended it, and the rest comes again
                self._lose(one, str(error))
            return
        except OSError as error:
            self._end(one, f"the connection broke: {error.strerror or error}")
            return
        if one.connection is not connection:
            return
        if session.left:
            self._lose(one, "the connection was closed")
            return
        due = session.due()
        if due is not None:
            self._write(one, due, None)

    def _write(self, one: P, header: bytes, payload: Payload) -> None:
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

    def _write_again(self, one: P) -> None:
        """The peer has told what it has got: the rest."""
        for header, payload, _ in one.session.unacknowledged():
            self._write(one, header, payload)

    def _flush(self, one: P) -> None:
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
            if is_dead(connection.sock):
                self._end(one, "the connection is dead: nothing that is sent is answered")
            elif not self._checking:
                self._checking = True
                self._loop.at(_CHECK, self._check)

    # -- ends ----------------------------------------------------------------------------------------------------

    def _break(self, one: P, reason: str) -> None:
        """The connection is of no use any more."""
        self._hang_up(one)
        one.broken, one.since = reason, time.monotonic()

    def _end(self, one: P, reason: str) -> None:
        """The connection has ended: unless the peer has left, make another."""
        if one.session.left or not self._reconnect:
            self._lose(one, reason)
            return
        self._break(one, reason)
        self._reach(one)

    def _has_expired(self, one: P, why: str) -> bool:
        """See that it does not take too long to renew a connection; True if it has, and the peer is given up.

        Args:
            why: the last attempt has failed.
        """
        if not one.broken or time.monotonic() - one.since <= self._reconnect:
            return False
        how = f"and could not be renewed within {self._reconnect:g} s: {why}"
        self._give_up(one, f"{one.broken}, {how}; FMI_RECONNECT sets how long to try")
        return True

    def _give_up(self, one: P, reason: str) -> None:
        self._say_over(one, reason)
        self._lose(one, reason)

    def _hang_up(self, one: P) -> None:
        """Close the connection, if there is one."""
        if one.connection is not None:
            self._loop.drop(one.connection.sock)
            one.connection = None
        one.session.cut()
        self._writers.discard(one)

    def _part(self, one: P) -> None:
        """Close what there is between the two."""
        self._stop_connecting(one)
        self._hang_up(one)

    def _lose(self, one: P, reason: str) -> None:
        self._part(one)
        if not one.gone:
            one.gone = True
            self._receiver.lost(one.number, f"{self.name}: {reason}")
