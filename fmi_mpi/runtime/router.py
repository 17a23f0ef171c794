"""The router: picks the channel for each frame to a peer.

Rules of this file:
- Only the sender routes. The receiver takes frames from whatever channel they come by.
- Channels are opened when the job is joined; addresses of peers are asked for on the first frame to anyone.
- The first channel of the preference list that reaches a peer carries the frames to it; but long ones take a later one
  that is slower to begin with and faster in the end: the engine puts envelopes back into order. With a policy the
  model says which is the best one for short and for long ones.
- A channel that loses a peer hands over to the next one that reaches it (runtime.handover), unless the peer has left. One
  that cannot, but carries nothing to the peer, is done without.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from math import ceil
from typing import Any, cast

from fmi_mpi.bootstrap.base import Bootstrap
from fmi_mpi.channels.base import Address, Capabilities, Channel, Path, Payload, Salvaging
from fmi_mpi.engine.frames import DATA, EAGER, unpack_header
from fmi_mpi.errors import AbortError
from fmi_mpi.runtime.handover import Handover, Handovers, number_of

__all__ = ["HOST", "Best", "Router"]

HOST = "host"
"""The entry of a rank's record that tells its host; the others are channels."""


Best = Callable[[tuple[str, ...], int], str]
"""Tells which of some channels, in order of preference, is to carry a message of so many bytes."""

_SHORT, _LONG = 1 << 6, 1 << 26
"""Bytes of a payload that is short, or long, by any measure."""


class Router:
    """Routes of one process.

    Args:
        bootstrap: where addresses are exchanged.
        channels: in order of preference.
        join_timeout: seconds to wait for the addresses of all ranks.
        lost: told when no channel reaches a peer.
        aborted: told the exit code of a job that ends before all have joined.
        routed: told the short path to a peer once its channel is chosen.
        joined: told once when the addresses of all ranks are known.
        sent: told that a frame is out (channels.base.Receiver).
        resume: told of a frame that was cut off and comes again (engine.links.Links.resume).
        best: None without a policy.
    """

    def __init__(
        self,
        bootstrap: Bootstrap,
        channels: Sequence[Channel],
        join_timeout: float,
        lost: Callable[[int, str], None],
        aborted: Callable[[int], None],
        routed: Callable[[int, Path], None],
        joined: Callable[[], None],
        sent: Callable[[object], None],
        resume: Callable[[int, tuple[bytes, memoryview, object]], None],
        best: Best | None = None,
    ) -> None:
        self.bootstrap = bootstrap
        self.channels = channels
        self.join_timeout = join_timeout
        self.routes: dict[int, Channel | Handover] = {}
        self.handovers = Handovers(bootstrap.identity.rank, self._asked, sent, self._handed_over)
        self.records: Sequence[dict[str, Address]] = ()
        self._lost = lost
        self._aborted = aborted
        self._routed = routed
        self._joined = joined
        self._resume = resume
        self._best = best
        self._barred: set[tuple[str, int]] = set()
        self._carriers: dict[int, tuple[Channel, ...]] = {}

    def publish(self, host: str, cores: int, stamp: int = 0) -> None:
        """Make this process known: its addresses, the key of its host, and how it chooses.

        ``cores``: a bit for each core of the host that it may use. ``stamp``: see ``runtime.policy``.
        """
        addresses = {channel.name: channel.address() for channel in self.channels}
        self.bootstrap.publish({HOST: {"key": host, "cores": f"{cores:x}", "stamp": stamp}, **addresses})

    def emit(self, peer: int, header: bytes, payload: Payload, token: object) -> bool:
        """Hand a frame to the peer's channel; see ``engine.engine.Emit``."""
        channel = self.routes.get(peer) or self._route(peer)
        if channel is None:
            return False
        return channel.send(peer, header, payload, token)

    def table(self) -> Sequence[dict[str, Address]]:
        """Return all ranks' addresses, waiting for ranks that have not joined yet; raises BootstrapError."""
        if not self.records:
            try:
                self.records = self.bootstrap.table(self.join_timeout)
            except AbortError as error:
                self._aborted(error.code)
                raise
            for channel in self.channels:
                channel.connect(
                    {proc: record[channel.name] for proc, record in enumerate(self.records) if channel.name in record}
                )
            self._joined()
        return self.records

    def failed(self, channel: Channel, peer: int, reason: str) -> bool:
        """A channel has lost a peer: False if no other can take over."""
        return (channel.name, peer) in self._barred or self._hand_over(channel, peer, reason) is not None

    def without(self, channel: Channel, peer: int) -> str:
        """Return the names of the channels to a peer that do not need this one, which has failed; empty if it is missed."""
        if peer not in self._carriers:
            self._take(peer)
        carriers = self._carriers.get(peer, ())
        return "" if channel in carriers else " and ".join(carrier.name for carrier in carriers)

    def _hand_over(self, old: Channel, peer: int, reason: str) -> Handover | None:
        """Bar a channel for a peer and begin to hand over to the next one, if there is one and the old one can."""
        self._barred.add((old.name, peer))
        reaching = self._reaching(peer)
        if not reaching or not hasattr(old, "salvage") or cast(Salvaging, old).departed(peer):
            return None
        handover = Handover(peer, old, reaching[0], reason)
        if handover.begun is not None:
            self._resume(peer, handover.begun)
        self.routes[peer] = handover
        self._routed(peer, partial(handover.send, peer))
        self.handovers.add(handover)
        return handover

    def _asked(self, peer: int, number: int) -> Handover | None:
        """A peer has given up a channel that works here."""
        for channel in self.channels:
            if number_of(channel.name) == number and (channel.name, peer) not in self._barred:
                return self._hand_over(channel, peer, "the other end has given it up")
        return None

    def _handed_over(self, handover: Handover) -> None:
        """Another channel carries the frames to a peer now."""
        if self.routes[handover.peer] is handover:
            self._take(handover.peer)

    def _reaching(self, peer: int) -> list[Channel]:
        """Return the channels that reach a peer, in order of preference."""
        record = self.table()[peer]
        return [
            channel
            for channel in self.channels
            if channel.name in record
            and (channel.name, peer) not in self._barred
            and channel.reachable(record[channel.name])
        ]

    def _route(self, peer: int) -> Channel | None:
        found = self._take(peer)
        if found is None:
            offered = ", ".join(name for name in self.table()[peer] if name != HOST) or "none"
            own = ", ".join(channel.name for channel in self.channels)
            why = "".join(f"; {obstacle}" for obstacle in self._obstacles(peer))
            self._lost(peer, f"no common channel: it offers {offered}, this rank has {own}{why}; see --channels")
        return found

    def _obstacles(self, peer: int) -> list[str]:
        """Return why channels that both have do not reach the peer, of those that can tell."""
        record = self.table()[peer]
        shared = [channel for channel in self.channels if channel.name in record and hasattr(channel, "obstacle")]
        return [f"{channel.name}: {cast(Any, channel).obstacle(record[channel.name])}" for channel in shared]

    def _take(self, peer: int) -> Channel | None:
        """Choose the channel to a peer; None if none reaches it."""
        reaching = self._reaching(peer)
        if not reaching:
            return None
        first, other, length = self._shared_out(reaching)
        self.routes[peer] = first
        self._carriers[peer] = (first,) if other is None else (first, other)
        path = first.path(peer)
        self._routed(peer, path if other is None else partial(_by_length, path, other.path(peer), length))
        return first

    def _shared_out(self, reaching: Sequence[Channel]) -> tuple[Channel, Channel | None, int]:
        """Return the channel for short payloads, the one for long ones if that is another, and from what length on."""
        if self._best is None:
            first = reaching[0]
            for other in reaching[1:]:
                if (length := _crossover(first.capabilities, other.capabilities)) > 0:
                    return first, other, length
            return first, None, 0
        named = {channel.name: channel for channel in reaching}
        names = tuple(named)
        short, long, length = self._best(names, _SHORT), self._best(names, _LONG), _LONG
        if short == long:
            return named[short], None, 0
        while self._best(names, length >> 1) == long:
            length >>= 1
        return named[short], named[long], length


def _crossover(first: Capabilities, other: Capabilities) -> int:
    """Return the length of payload from which on the other channel is faster; 0 if it is always so, or never."""
    gain = 1 / first.bandwidth - 1 / other.bandwidth
    wait = other.latency - first.latency
    return ceil(wait / gain) if gain > 0 < wait else 0


def _by_length(first: Path, other: Path, limit: int, header: bytes, payload: Payload, token: object) -> bool:
    """Send a frame by the one way or, if its payload is long and its order is told by the frame, by the other."""
    if payload is None or unpack_header(header)[0] not in (EAGER, DATA):
        return first(header, payload, token)
    length = len(payload) if type(payload) is memoryview else sum(map(len, payload))
    return (first if length < limit else other)(header, payload, token)
