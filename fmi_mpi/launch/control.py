"""The launcher's end of the control connections: who has joined, who waits, who leaves.

Rules of this file:
- Nothing is told to a process that has not proved the job's secret; its frames are limited to a few kilobytes.
- The first claimant of a rank wins. The table of records goes out once, to all, when the last rank has published.
"""

from __future__ import annotations

import contextlib
import hmac
import os
import selectors
import socket
from collections.abc import Callable

from fmi_mpi.bootstrap.wire import RANK_LIMIT, UNPROVEN_LIMIT, Decoder, Message, WireError, encode, proof

__all__ = ["Control"]

_CHUNK = 1 << 16


class _Peer:
    """A control connection; ``rank`` is -1 until proved."""

    __slots__ = ("decoder", "nonce", "out", "rank", "sock")

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.rank = -1
        self.nonce = os.urandom(16).hex()
        self.decoder = Decoder(UNPROVEN_LIMIT)
        self.out = bytearray()


class Control:
    """The control server of one job.

    Args:
        path: of the listening socket, in a private directory.
        job, secret, size: of the job.
        selector: the launcher's; entries carry a callable (mask) as data.
        aborted: called with (rank, code, message) when a rank calls Abort.
    """

    def __init__(
        self,
        path: str,
        job: str,
        secret: bytes,
        size: int,
        selector: selectors.BaseSelector,
        aborted: Callable[[int, int, str], None],
    ) -> None:
        self._job = job
        self._secret = secret
        self._size = size
        self._selector = selector
        self._aborted = aborted
        self._peers: dict[int, _Peer] = {}
        self._all: set[_Peer] = set()
        self._records: dict[int, object] = {}
        self._waiting: set[int] = set()
        self._table: bytes = b""
        self.joined: set[int] = set()
        self.finalized: set[int] = set()
        self.ended: set[int] = set()
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        self._listener.bind(path)
        self._listener.listen(1024)
        selector.register(self._listener, selectors.EVENT_READ, self._accept)

    def tell(self, message: Message) -> None:
        """Send a message to all ranks that have joined."""
        data = encode(message)
        for peer in list(self._peers.values()):
            self._send(peer, data)

    def exited(self, rank: int) -> str:
        """A rank's process has ended; returns what is wrong with that for the others, or nothing."""
        self.ended.add(rank)
        if rank in self.joined and rank not in self.finalized:
            return f"rank {rank} exited without finalizing"
        if rank not in self.joined:
            return self._blame()
        return ""

    def close(self) -> None:
        """Close all connections."""
        for peer in list(self._all):
            self._drop(peer)
        with contextlib.suppress(KeyError):
            self._selector.unregister(self._listener)
        self._listener.close()

    def _blame(self) -> str:
        """Say who is missing for good, if anybody waits for them."""
        absent = sorted(self.ended - self.joined)
        if not absent or not self._waiting:
            return ""
        ranks = ", ".join(map(str, absent))
        return (
            f"rank {ranks} exited without joining while rank {min(self._waiting)} waits; "
            "does every rank import fmi_mpi (or mpi4py with --alias-mpi4py)?"
        )

    # -- connections -----------------------------------------------------------------------------------------------

    def _accept(self, mask: int) -> None:
        try:
            sock, _ = self._listener.accept()
        except OSError:
            return
        sock.setblocking(False)
        peer = _Peer(sock)
        self._all.add(peer)
        self._selector.register(sock, selectors.EVENT_READ, lambda mask: self._serve(peer, mask))
        self._send(peer, encode({"type": "hello", "nonce": peer.nonce}))

    def _serve(self, peer: _Peer, mask: int) -> None:
        try:
            if mask & selectors.EVENT_WRITE:
                self._flush(peer)
            if mask & selectors.EVENT_READ:
                data = peer.sock.recv(_CHUNK)
                if not data:
                    raise ConnectionError
                peer.decoder.feed(data)
                while peer in self._all:
                    message = peer.decoder.next()
                    if message is None:
                        break
                    self._handle(peer, message)
        except BlockingIOError:
            return
        except (OSError, WireError, KeyError, TypeError, ValueError):
            self._drop(peer)

    def _handle(self, peer: _Peer, message: Message) -> None:
        kind = message["type"]
        if peer.rank < 0:
            if kind != "claim":
                raise WireError("the first message must be a claim")
            self._claim(peer, message)
        elif kind == "publish":
            self._records[peer.rank] = message["record"]
            self._publish()
        elif kind == "wait":
            self._waiting.add(peer.rank)
            if self._table:
                self._send(peer, self._table)
            else:
                self._tell_absence()
        elif kind == "missing":
            missing = sorted(set(range(self._size)) - set(self._records))
            self._send(peer, encode({"type": "missing", "ranks": missing}))
        elif kind == "abort":
            self._aborted(peer.rank, int(message["code"]), str(message["message"]))
        elif kind == "finalized":
            self.finalized.add(peer.rank)

    def _claim(self, peer: _Peer, message: Message) -> None:
        rank = int(message["rank"])
        expected = proof(self._secret, peer.nonce, self._job, rank)
        if not 0 <= rank < self._size or not hmac.compare_digest(expected, str(message["proof"])):
            raise WireError("the claim is not proved")
        if rank in self.joined:
            self._send(peer, encode({"type": "leave", "reason": f"rank {rank} is taken"}))
            return
        peer.rank = rank
        peer.decoder.limit = RANK_LIMIT
        self.joined.add(rank)
        self._peers[rank] = peer
        self._send(peer, encode({"type": "welcome"}))

    def _publish(self) -> None:
        if len(self._records) == self._size and not self._table:
            records = [self._records[rank] for rank in range(self._size)]
            self._table = encode({"type": "table", "records": records})
            for rank in self._waiting:
                if rank in self._peers:
                    self._send(self._peers[rank], self._table)

    def _tell_absence(self) -> None:
        reason = self._blame()
        if reason:
            self.tell({"type": "incomplete", "ranks": sorted(self.ended - self.joined), "reason": reason})

    def _send(self, peer: _Peer, data: bytes) -> None:
        peer.out += data
        try:
            self._flush(peer)
        except OSError:
            self._drop(peer)

    def _flush(self, peer: _Peer) -> None:
        while peer.out:
            try:
                del peer.out[: peer.sock.send(peer.out)]
            except BlockingIOError:
                break
        mask = selectors.EVENT_READ | (selectors.EVENT_WRITE if peer.out else 0)
        if self._selector.get_key(peer.sock).events != mask:
            self._selector.modify(peer.sock, mask, self._selector.get_key(peer.sock).data)

    def _drop(self, peer: _Peer) -> None:
        if peer in self._all:
            self._all.discard(peer)
            if self._peers.get(peer.rank) is peer:
                del self._peers[peer.rank]
            self._selector.unregister(peer.sock)
            peer.sock.close()
