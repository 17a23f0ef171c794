"""The launcher's end of the control connections: who has joined, who waits, who has left in order.

Rules of this file:
- Nothing but a nonce is told to a process that has not proved the job's secret; its frames are limited to a few
  kilobytes. Whoever sends anything malformed is cut off.
- The first claimant of a rank keeps it, for the whole job. The table of records goes out once, to all, when the
  last rank has published.
- Where these ranks are only a part of the job, what concerns the others is passed up to the rendezvous service
  (``launch.part``), and what it says is delivered: the table comes from there.
"""

from __future__ import annotations

import hmac
import os
import selectors
import socket
from collections.abc import Callable, Collection
from typing import Final, Protocol

from fmi_mpi.bootstrap.wire import RANK_LIMIT, SIGNAL_LIMIT, UNPROVEN_LIMIT, Decoder, Message, WireError, encode, proof

__all__ = ["Control", "Watcher"]

_CHUNK: Final = 1 << 16
_UPWARD: Final = frozenset({"publish", "wait", "who", "finalized"})


class Watcher(Protocol):
    """Who wants to know what the ranks say."""

    def on_abort(self, rank: int, code: int, message: str) -> None:
        """A rank wants the job ended with this exit code."""

    def on_failure(self, rank: int, code: int) -> None:
        """A rank is about to exit with this code, of an error that it has shown."""

    def on_hangup(self, rank: int) -> None:
        """A rank's connection ended although it has not finalised."""


class _Peer:
    """A control connection; ``rank`` is -1 until proved."""

    __slots__ = ("decoder", "nonce", "out", "pid", "rank", "socket")

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self.rank = -1
        self.pid = 0
        self.nonce = os.urandom(16).hex()
        self.decoder = Decoder(UNPROVEN_LIMIT)
        self.out = bytearray()


class Control:
    """The control server of one job.

    Args:
        path: of the listening socket, in a private directory.
        job, secret, size: of the job.
        selector: the launcher's; entries carry a callable without arguments as data.
        ranks: that are here, if not all. upstream: then takes what concerns the others.
    """

    def __init__(
        self,
        path: str,
        job: str,
        secret: bytes,
        size: int,
        selector: selectors.BaseSelector,
        watcher: Watcher,
        ranks: Collection[int] = (),
        upstream: Callable[[Message], None] | None = None,
    ) -> None:
        self._job = job
        self._secret = secret
        self._size = size
        self._selector = selector
        self._watcher = watcher
        self._local = ranks or range(size)
        self._upstream = upstream
        self._connections: set[_Peer] = set()
        self._claims: dict[int, _Peer] = {}
        self._records: dict[int, object] = {}
        self._waiting: set[int] = set()
        self._gone: set[int] = set()
        self._told = False
        self._finalized: set[int] = set()
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        self._listener.bind(path)
        self._listener.listen(max(128, size))
        selector.register(self._listener, selectors.EVENT_READ, self._accept)

    def pid(self, rank: int) -> int:
        """Return the number of the process that claimed the rank, 0 if none has."""
        return self._claims[rank].pid if rank in self._claims else 0

    def has_joined(self, rank: int) -> bool:
        """Tell whether a process has claimed the rank."""
        return rank in self._claims

    def missing(self) -> list[int]:
        """Return the ranks that have not published their record."""
        return sorted(set(self._local) - set(self._records))

    def has_finalized(self, rank: int) -> bool:
        """Tell whether the rank has finalised, so that its end is no failure."""
        return rank in self._finalized

    def settle(self, rank: int) -> None:
        """The rank's process has ended: take what it had still said, and tell those who wait for it in vain."""
        peer = self._claims.get(rank)
        while peer in self._connections and self._receive(peer):
            pass
        if rank not in self._records:
            self._gone.add(rank)
            if self._upstream is not None:
                self._upstream({"type": "absent", "rank": rank})
            self._tell_waiting()

    def tell(self, message: Message) -> None:
        """Send a message to all ranks that are connected."""
        data = encode(message)
        for peer in [peer for peer in self._claims.values() if peer in self._connections]:
            self._send(peer, data)

    def deliver(self, message: Message) -> None:
        """Pass on what the service says: to all, or to the rank that it names."""
        kind = message["type"]
        if kind in ("table", "lost"):
            self.tell(message)
            return
        peer = self._claims.get(message["to"] if kind == "signal" else message["rank"])
        if peer in self._connections:
            self._send(peer, encode(message))

    def close(self) -> None:
        """Close all connections and the listening socket. Idempotent."""
        for peer in list(self._connections):
            self._drop(peer)
        if self._listener.fileno() >= 0:
            self._selector.unregister(self._listener)
            self._listener.close()

    # -- connections ---------------------------------------------------------------------------------------------

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except OSError:
            return
        connection.setblocking(False)
        peer = _Peer(connection)
        self._connections.add(peer)
        self._selector.register(connection, selectors.EVENT_READ, lambda: self._serve(peer))
        self._send(peer, encode({"type": "hello", "nonce": peer.nonce}))

    def _serve(self, peer: _Peer) -> None:
        if peer.out:
            self._send(peer, b"")
        if peer in self._connections:
            self._receive(peer)

    def _receive(self, peer: _Peer) -> bool:
        """Take and handle one piece; False if there is none now, or the connection has ended."""
        try:
            data = peer.socket.recv(_CHUNK)
            if data:
                peer.decoder.feed(data)
                while peer in self._connections and (message := peer.decoder.next()) is not None:
                    self._handle(peer, message)
                return True
        except BlockingIOError:
            return False
        except (OSError, WireError, KeyError, TypeError, ValueError):
            pass
        self._drop(peer)
        if peer.rank >= 0 and peer.rank not in self._finalized:
            self._watcher.on_hangup(peer.rank)
        return False

    def _send(self, peer: _Peer, data: bytes) -> None:
        peer.out += data
        try:
            while peer.out:
                del peer.out[: peer.socket.send(peer.out)]
        except BlockingIOError:
            pass
        except OSError:
            peer.out.clear()  # what the peer had still said is read before its end is seen
        mask = selectors.EVENT_READ | (selectors.EVENT_WRITE if peer.out else 0)
        key = self._selector.get_key(peer.socket)
        if key.events != mask:
            self._selector.modify(peer.socket, mask, key.data)

    def _drop(self, peer: _Peer) -> None:
        if peer in self._connections:
            self._connections.discard(peer)
            self._selector.unregister(peer.socket)
            peer.socket.close()

    # -- messages ------------------------------------------------------------------------------------------------

    def _handle(self, peer: _Peer, message: Message) -> None:
        kind = message["type"]
        if self._upstream is not None and peer.rank >= 0 and kind in _UPWARD:
            self._upstream({**message, "rank": peer.rank})
        if peer.rank < 0:
            self._claim(peer, message)
        elif kind == "publish":
            self._publish(peer.rank, message["record"])
        elif kind == "wait":
            self._waiting.add(peer.rank)
            self._tell_waiting()
        elif kind == "who":
            if self._upstream is None:
                self._send(peer, encode({"type": "missing", "ranks": self.missing()}))
        elif kind == "signal":
            self._pass_on(peer.rank, int(message["rank"]), message["data"])
        elif kind == "abort":
            self._watcher.on_abort(peer.rank, int(message["code"]), str(message["message"]))
        elif kind == "failed":
            self._watcher.on_failure(peer.rank, int(message["code"]))
        elif kind == "finalized":
            self._finalized.add(peer.rank)
        else:
            raise WireError(f"unknown message {kind!r}")

    def _claim(self, peer: _Peer, message: Message) -> None:
        if message["type"] != "claim":
            raise WireError("the first message must be a claim")
        rank, pid = int(message["rank"]), int(message["pid"])
        expected = proof(self._secret, peer.nonce, self._job, rank)
        if rank not in self._local or not hmac.compare_digest(expected, str(message["proof"])):
            self._send(peer, encode({"type": "refuse", "reason": f"its secret is not that of job {self._job}"}))
            raise WireError("the claim is not proved")
        if rank in self._claims:
            self._send(peer, encode({"type": "leave"}))
            self._drop(peer)
            return
        peer.rank, peer.pid = rank, pid
        peer.decoder.limit = RANK_LIMIT
        self._claims[rank] = peer
        self._send(peer, encode({"type": "welcome"}))

    def _publish(self, rank: int, record: object) -> None:
        self._records.setdefault(rank, record)
        if len(self._records) == self._size:
            self.tell({"type": "table", "records": [self._records[rank] for rank in range(self._size)]})

    def _pass_on(self, source: int, rank: int, data: object) -> None:
        """Carry a signal from one rank to another, if that is there."""
        frame = encode({"type": "signal", "rank": source, "data": data})
        if len(frame) > SIGNAL_LIMIT or not isinstance(data, dict):
            raise WireError(f"a signal is an object of at most {SIGNAL_LIMIT} bytes")
        peer = self._claims.get(rank)
        if peer in self._connections:
            self._send(peer, frame)
        elif self._upstream is not None and rank not in self._local:
            self._upstream({"type": "signal", "rank": source, "to": rank, "data": data})

    def _tell_waiting(self) -> None:
        """If a rank is gone without publishing, tell one who waits for the table that it never comes.

        Its error ends the others; told to all, it would be shown by all.
        """
        if not self._gone or self._told or self._upstream is not None:
            return
        ranks = ", ".join(map(str, sorted(self._gone)))
        reason = f"rank {ranks} exited without joining; every rank must import MPI and start with the same job"
        data = encode({"type": "incomplete", "ranks": sorted(self._gone), "reason": reason})
        for rank in sorted(self._waiting):
            if (peer := self._claims[rank]) in self._connections:
                self._told = True
                self._send(peer, data)
                return
