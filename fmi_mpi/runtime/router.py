"""The router: picks the channel for each frame to a peer.

Rules of this file:
- Only the sender routes. The receiver takes frames from whatever channel they come by.
- Channels are opened when the job is joined; addresses of peers are asked for on the first frame to anyone.
- The first channel of the preference list that reaches a peer carries all frames to it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from fmi_mpi.bootstrap.base import Bootstrap
from fmi_mpi.channels.base import Address, Channel, Path, Payload
from fmi_mpi.errors import AbortError

__all__ = ["HOST", "Router"]

HOST = "host"
"""The entry of a rank's record that tells its host; the others are channels."""


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
    ) -> None:
        self.bootstrap = bootstrap
        self.channels = channels
        self.join_timeout = join_timeout
        self.routes: dict[int, Channel] = {}
        self.records: Sequence[dict[str, Address]] = ()
        self._lost = lost
        self._aborted = aborted
        self._routed = routed
        self._joined = joined

    def publish(self, host: str) -> None:
        """Make this process's addresses known, and the key of its host."""
        addresses = {channel.name: channel.address() for channel in self.channels}
        self.bootstrap.publish({HOST: {"key": host}, **addresses})

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

    def _route(self, peer: int) -> Channel | None:
        record = self.table()[peer]
        for channel in self.channels:
            if channel.name in record and channel.reachable(record[channel.name]):
                self.routes[peer] = channel
                self._routed(peer, channel.path(peer))
                return channel
        offered = ", ".join(name for name in record if name != HOST) or "none"
        own = ", ".join(channel.name for channel in self.channels)
        self._lost(peer, f"no common channel: it offers {offered}, this rank has {own}; see --channels")
        return None
