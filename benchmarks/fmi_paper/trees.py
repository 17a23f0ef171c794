"""FMI's direct collectives as a baseline: trees and recursive doubling over plain sockets.

Rules of this file:
- Each step sends, then receives, both blocking; a message is its bytes, without a frame: both sides know the length.
- What two ranks send to each other at once must fit into the sockets' buffers, as in FMI.
- Names and arguments are mpi4py's as far as the pieces use them; reductions are sums.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping

import numpy as np

__all__ = ["Trees", "connect"]

_HOST = "127.0.0.1"


def connect(rank: int, size: int, meeting: socket.socket) -> dict[int, socket.socket]:
    """Return a socket to every other rank; ``meeting`` is a listener that all inherit, where rank 0 tells all ports."""
    peers: dict[int, socket.socket] = {}
    ports = np.zeros(size, "i8")
    with socket.create_server((_HOST, 0), backlog=size) as own:
        if rank == 0:
            for _ in range(1, size):
                peer, port = _accept(meeting, peers)
                ports[peer] = port
            for sock in peers.values():
                sock.sendall(ports)
        else:
            hello = np.array([rank, own.getsockname()[1]])
            peers[0] = socket.create_connection(meeting.getsockname())
            peers[0].sendall(hello)
            _receive(peers[0], ports)
            for peer in range(1, rank):
                peers[peer] = socket.create_connection((_HOST, int(ports[peer])))
                peers[peer].sendall(hello)
            for _ in range(rank + 1, size):
                _accept(own, peers)
    for sock in peers.values():
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return peers


def _accept(listener: socket.socket, peers: dict[int, socket.socket]) -> tuple[int, int]:
    sock, _ = listener.accept()
    hello = np.empty(2, "i8")
    _receive(sock, hello)
    peers[int(hello[0])] = sock
    return int(hello[0]), int(hello[1])


def _receive(sock: socket.socket, into: np.ndarray) -> None:
    """Fill an array."""
    done = sock.recv_into(into, 0, socket.MSG_WAITALL)
    while done < into.nbytes:
        count = sock.recv_into(memoryview(into).cast("B")[done:])
        if not count:
            raise EOFError("the other rank has left")
        done += count


class Trees:
    """A rank with a socket to each of ``peers``, all the others."""

    def __init__(self, rank: int, peers: Mapping[int, socket.socket]) -> None:
        self._rank = rank
        self._size = len(peers) + 1
        self._peers = peers
        self._half = 1 << self._size.bit_length() - 1  # the greatest power of two among the numbers of ranks
        self._token = np.zeros(1, "i1")

    def Get_rank(self) -> int:
        return self._rank

    def Get_size(self) -> int:
        return self._size

    def Send(self, data: np.ndarray, dest: int) -> None:
        self._peers[dest].sendall(data)

    def Recv(self, into: np.ndarray, source: int) -> None:
        _receive(self._peers[source], into)

    def Barrier(self) -> None:
        self.Allreduce(self._token, self._token)

    def Bcast(self, data: np.ndarray, root: int) -> None:
        relative, size = (self._rank - root) % self._size, self._size
        mask = 1
        while mask < size and not relative & mask:
            mask *= 2
        if relative:
            self.Recv(data, (relative - mask + root) % size)
        while mask := mask // 2:
            if relative + mask < size:
                self.Send(data, (relative + mask + root) % size)

    def Reduce(self, out: np.ndarray, into: np.ndarray | None, root: int) -> None:
        relative, size = (self._rank - root) % self._size, self._size
        total = out.copy() if into is None else into
        total[:] = out
        part = np.empty_like(out)
        mask = 1
        while mask < size and not relative & mask:
            if relative + mask < size:
                self.Recv(part, (relative + mask + root) % size)
                total += part
            mask *= 2
        if relative:
            self.Send(total, (relative - mask + root) % size)

    def Gather(self, out: np.ndarray, into: np.ndarray | None, root: int) -> None:
        relative, size, count = (self._rank - root) % self._size, self._size, len(out)
        blocks = np.empty(size * count, out.dtype)  # of the ranks from this one on
        blocks[:count] = out
        mask = 1
        while mask < size and not relative & mask:
            if relative + mask < size:
                end = min(relative + 2 * mask, size) - relative
                self.Recv(blocks[mask * count : end * count], (relative + mask + root) % size)
            mask *= 2
        if relative:
            held = min(relative + mask, size) - relative
            self.Send(blocks[: held * count], (relative - mask + root) % size)
        elif into is not None:
            into[:] = np.roll(blocks, root * count)

    def Scatter(self, out: np.ndarray | None, into: np.ndarray, root: int) -> None:
        relative, size, count = (self._rank - root) % self._size, self._size, len(into)
        mask = 1
        while mask < size and not relative & mask:
            mask *= 2
        if out is not None and not relative:
            blocks = np.roll(out, -root * count)  # of the ranks from this one on
        else:
            blocks = np.empty((min(relative + mask, size) - relative) * count, into.dtype)
            self.Recv(blocks, (relative - mask + root) % size)
        while mask := mask // 2:
            if relative + mask < size:
                end = min(relative + 2 * mask, size) - relative
                self.Send(blocks[mask * count : end * count], (relative + mask + root) % size)
        into[:] = blocks[:count]

    def Allreduce(self, out: np.ndarray, into: np.ndarray) -> None:
        rank, half = self._rank, self._half
        into[:] = out
        part = np.empty_like(out)
        if rank >= half:  # beyond a power of two: a partner does its work
            self.Send(into, rank - half)
            self.Recv(into, rank - half)
            return
        if rank + half < self._size:
            self.Recv(part, rank + half)
            into += part
        mask = 1
        while mask < half:
            self.Send(into, rank ^ mask)
            self.Recv(part, rank ^ mask)
            into += part
            mask *= 2
        if rank + half < self._size:
            self.Send(into, rank + half)

    def Scan(self, out: np.ndarray, into: np.ndarray) -> None:
        into[:] = out
        part = np.empty_like(out)
        mask = 1
        while mask < self._size:
            if self._rank + mask < self._size:
                self.Send(into, self._rank + mask)
            if self._rank >= mask:
                self.Recv(part, self._rank - mask)
                into += part
            mask *= 2
