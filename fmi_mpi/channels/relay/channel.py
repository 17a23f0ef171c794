"""The relay channel: a stream for each pair that needs it, joined by the rendezvous service.

Rules of this file:
- One parked connection tells who calls; a pair's stream is made by two calls, one from each end, on first use and again
  when it breaks, be it by an outage or because the service was started again: sessions outlive it (``channels.lasting``).
- A call that is not the one that the present stream was joined with means that the peer has lost the stream. It is kept
  until another is proved.
- Whatever the relay says is believed as far as it may try: it cannot take anything away for good but the way itself.
"""

from __future__ import annotations

import random
import socket
import time
from collections.abc import Mapping
from typing import Final

from fmi_mpi.bootstrap.base import Relay
from fmi_mpi.bootstrap.relaying import CALLER
from fmi_mpi.channels.base import Address, Capabilities, ChannelError, Receiver
from fmi_mpi.channels.ciphers import require
from fmi_mpi.channels.lasting import Lasting, Peer, is_dead, keep_alive
from fmi_mpi.channels.registry import Membership
from fmi_mpi.channels.relay.line import Denied, Line, addresses_of
from fmi_mpi.channels.relay.sealed import SealedConnection
from fmi_mpi.channels.tcp.loop import READ
from fmi_mpi.channels.tcp.sealed import SealedConnection as EncryptedConnection

__all__ = ["RelayChannel"]

_PAUSE: Final = 0.05  # seconds between attempts to connect to the relay, at first; up to twice that
_LONGEST_PAUSE: Final = 1.0
_GROWTH: Final = 2.0
_ANSWER: Final = 3.0  # seconds for the relay to answer
_SILENCE: Final = 10_000  # ms without an answer after which the parked connection is given up
_CHECK: Final = 1.0  # seconds between looks at calls that are under way


class _Peer(Peer):
    """What this end knows of a peer; of this process itself: of its parked connection."""

    line: Line | None = None
    call = b""  # the peer's call that the present stream was joined with
    attempts = 0  # since there was a stream
    reason = ""  # why the last one has failed


class RelayChannel(Lasting[_Peer]):
    """See ``channels.base.Channel``.

    Args:
        relay: where the relay is, and what lets this job in.

    Raises ChannelError, ConfigError.
    """

    name = "relay"
    capabilities = Capabilities(latency=1e-4, bandwidth=3e8)

    def __init__(self, membership: Membership, relay: Relay, receiver: Receiver) -> None:
        super().__init__(membership, receiver)
        self._encrypt = membership.settings.encrypt
        if self._encrypt:
            require()
        self._relay = relay
        self._label = f"{relay[0]}:{relay[1]}"
        try:
            self._addresses = addresses_of(relay)
        except OSError as error:
            raise ChannelError(f"relay: {self._label} is not known: {error.strerror or error}") from None
        self._own = self._new_peer(membership.proc)
        self._callers = b""

    # -- channels.base.Channel -----------------------------------------------------------------------------------

    def address(self) -> Address:
        if self._own.line is None:
            self._dial(self._own)
        return {"relay": self._relay[2][:16].hex()}

    def reachable(self, address: Address) -> bool:
        return bool(address["relay"] == self._relay[2][:16].hex())

    def connect(self, peers: Mapping[int, Address]) -> None:
        pass

    def close(self) -> None:
        self._stop_connecting(self._own)
        super().close()

    # -- channels.lasting.Lasting --------------------------------------------------------------------------------

    def _new_peer(self, number: int) -> _Peer:
        return _Peer(number, self._receiver, self._write_again)

    def _reach(self, one: _Peer) -> None:
        self._attend()
        if one.line is None:
            self._dial(one)

    def _is_connecting(self, one: _Peer) -> bool:
        return one.line is not None

    def _stop_connecting(self, one: _Peer) -> None:
        if one.line is not None:
            self._loop.drop(one.line.sock)
            one.line = None

    # -- lines ---------------------------------------------------------------------------------------------------

    def _dial(self, one: _Peer) -> None:
        """Call a peer; to call oneself is to be told of calls."""
        address = self._addresses[one.attempts % len(self._addresses)]
        one.attempts += 1
        try:
            job = self._job
            line = Line(self._relay, address, job.job, job.secret, job.proc, one.number, self._encrypt)
        except OSError as error:
            self._fail(one, f"{self._label} cannot be reached: {error.strerror or error}")
            return
        keep_alive(line.sock)
        if one is self._own:
            line.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _SILENCE)
        one.line = line
        self._loop.watch(line.sock.fileno(), READ, lambda _: self._advance(one, line))
        self._loop.at(_CHECK, lambda: self._look_at(one, line, time.monotonic()))

    def _advance(self, one: _Peer, line: Line) -> None:
        try:
            if line.parked:
                self._hear(line)
            elif line.advance():
                one.attempts = 0
                if line.nonces:
                    self._establish(one, line)
        except Denied as denial:
            if one is self._own:
                self._fail(one, str(denial))
            else:
                self._lose(one, str(denial))
        except (OSError, EOFError) as error:
            self._fail(one, f"{self._label}: {error}")

    def _look_at(self, one: _Peer, line: Line, begun: float) -> None:
        """See whether a line that is under way may still come to something."""
        if one.line is not line or line.parked:
            return
        if not line.answered and time.monotonic() - begun > _ANSWER:
            self._fail(one, f"{self._label} does not answer")
        elif is_dead(line.sock):
            self._fail(one, f"{self._label} does not answer any more")
        elif not self._has_expired(one, one.reason or "the peer does not come to the relay"):
            self._loop.at(_CHECK, lambda: self._look_at(one, line, begun))

    def _fail(self, one: _Peer, reason: str) -> None:
        """A line has ended before it was of use: unless there is a stream, another attempt soon."""
        self._stop_connecting(one)
        one.reason = reason
        if one is not self._own:
            if one.connection is not None:
                return
            if not self._reconnect:
                self._lose(one, reason)
                return
            if not one.broken:
                self._break(one, "there is no stream yet")
            if self._has_expired(one, reason):
                return
        pause = min(_LONGEST_PAUSE, _PAUSE * _GROWTH ** min(one.attempts, 10)) * (1 + random.random())
        self._loop.at(pause, lambda: None if one.line or one.connection or one.gone else self._dial(one))

    def _hear(self, line: Line) -> None:
        """Take who calls."""
        try:
            data = line.sock.recv(1 << 12)
        except BlockingIOError:
            return
        if not data:
            raise EOFError("the relay closed the connection")
        self._callers += data
        while len(self._callers) >= CALLER.size:
            peer, call = CALLER.unpack_from(self._callers)
            self._callers = self._callers[CALLER.size :]
            if 0 <= peer < self._job.size and peer != self._job.proc:
                one = self._peer(peer)
                if one.line is None and one.call != call and not one.gone:
                    self._reach(one)

    def _establish(self, one: _Peer, line: Line) -> None:
        """The peer has proved the key: frames may flow, first those that it has not got."""
        self._loop.forget(line.sock.fileno())
        one.line = None
        self._hang_up(one)
        one.call = line.call
        kind = EncryptedConnection if self._encrypt else SealedConnection
        self._attach(one, kind(line.sock, one.number, self._job.secret, line.nonces, self._job.proc))
