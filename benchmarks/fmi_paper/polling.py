"""FMI's, and LambdaML's, collectives over a store as a baseline: an object a message, its receiver polls.

Rules of this file:
- A key is communicator, source, destination and counter; a broadcast has one object for all.
- A root gets the others' objects one after another; allreduce is a reduce and a broadcast; a barrier lists. FMI lists the
  whole store, this only the barrier's own objects. For the scan each rank gets what all ranks below have put.
- ``fixed`` pauses are FMI's; ``growing`` ones are the best that polling can do.
- Names and arguments are mpi4py's as far as the pieces use them; reductions are sums.
"""

from __future__ import annotations

import itertools
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

import numpy as np

from fmi_mpi.channels.mailbox.store import Usage
from fmi_mpi.channels.redis.resp import pack

__all__ = ["Keys", "Pauses", "Polling", "RedisKeys", "fixed", "growing"]

Pauses = Callable[[], Iterable[float]]
"""Gives the seconds between the attempts to get an object."""


def fixed(pause: float) -> Pauses:
    """Wait equally long each time."""
    return lambda: itertools.repeat(pause)


def growing(first: float, factor: float, last: float) -> Pauses:
    """Wait longer each time."""

    def pauses() -> Iterable[float]:
        pause = first
        while True:
            yield pause
            pause = min(factor * pause, last)

    return pauses


class Keys(Protocol):
    """The part of ``channels.mailbox.keys.Keys`` that is used."""

    usage: Usage

    def put(self, key: str, parts: Sequence[bytes | memoryview], length: int) -> None: ...

    def get(self, key: str) -> bytes | None: ...

    def find(self, prefix: str) -> Sequence[object]: ...

    def remove(self, keys: Sequence[str]) -> None: ...


class RedisKeys:
    """The shortest way to a Redis server: one blocking connection, commands packed by hand."""

    def __init__(self, port: int) -> None:
        self.usage = Usage()
        self._sock = socket.create_connection(("127.0.0.1", port))
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._answers = self._sock.makefile("rb", 1 << 16)

    def put(self, key: str, parts: Sequence[bytes | memoryview], length: int) -> None:
        self._sock.sendall(pack("SET", key, b"".join(parts)))
        self._answers.readline()
        self.usage.count("put", length)

    def get(self, key: str) -> bytes | None:
        self._sock.sendall(pack("GET", key))
        length = int(self._answers.readline()[1:])
        if length < 0:
            self.usage.count("empty_get")
            return None
        self.usage.count("get", 0, length)
        return self._answers.read(length + 2)[:-2]

    def find(self, prefix: str) -> Sequence[object]:
        self._sock.sendall(pack("KEYS", prefix + "*"))
        self.usage.count("list")
        return [self._answers.readline() for _ in range(2 * int(self._answers.readline()[1:]))][1::2]

    def remove(self, keys: Sequence[str]) -> None:
        if keys:
            self._sock.sendall(pack("DEL", *keys))
            self._answers.readline()


class Polling:
    """A rank of ``size``.

    Args:
        job: what all keys begin with. pauses: between attempts.
    """

    def __init__(self, keys: Keys, rank: int, size: int, job: str, pauses: Pauses) -> None:
        self._keys = keys
        self._rank = rank
        self._size = size
        self._job = job
        self._pauses = pauses
        self._counters: Counter[object] = Counter()
        self._made: list[str] = []

    @property
    def usage(self) -> Usage:
        return self._keys.usage

    def clear(self) -> None:
        """Remove all that this rank has put; FMI does so at the end."""
        self._keys.remove(self._made)
        self._made.clear()

    def Get_rank(self) -> int:
        return self._rank

    def Get_size(self) -> int:
        return self._size

    def Send(self, data: np.ndarray, dest: int) -> None:
        self._put(data, self._key(self._rank, dest))

    def Recv(self, into: np.ndarray, source: int) -> None:
        into[:] = self._get(into.dtype, self._key(source, self._rank))

    def Barrier(self) -> None:
        prefix = f"{self._key('barrier')}/"
        self._put(np.zeros(1, "i1"), f"{prefix}{self._rank}")
        for pause in self._pauses():
            if len(self._keys.find(prefix)) == self._size:
                return
            time.sleep(pause)

    def Bcast(self, data: np.ndarray, root: int) -> None:
        key = self._key(root, "all")
        if self._rank == root:
            self._put(data, key)
        else:
            data[:] = self._get(data.dtype, key)

    def Reduce(self, out: np.ndarray, into: np.ndarray | None, root: int) -> None:
        if into is None:
            self.Send(out, root)
            return
        into[:] = out
        part = np.empty_like(out)
        for peer in self._others():
            self.Recv(part, peer)
            into += part

    def Gather(self, out: np.ndarray, into: np.ndarray | None, root: int) -> None:
        if into is None:
            self.Send(out, root)
            return
        blocks = into.reshape(self._size, -1)
        blocks[root] = out
        for peer in self._others():
            self.Recv(blocks[peer], peer)

    def Scatter(self, out: np.ndarray | None, into: np.ndarray, root: int) -> None:
        if out is None:
            self.Recv(into, root)
            return
        blocks = out.reshape(self._size, -1)
        for peer in self._others():
            self.Send(blocks[peer], peer)
        into[:] = blocks[root]

    def Allreduce(self, out: np.ndarray, into: np.ndarray) -> None:
        self.Reduce(out, None if self._rank else into, 0)
        self.Bcast(into, 0)

    def Scan(self, out: np.ndarray, into: np.ndarray) -> None:
        keys = [self._key(peer, "above") for peer in range(self._size)]
        into[:] = out
        if self._rank < self._size - 1:
            self._put(out, keys[self._rank])
        for key in keys[: self._rank]:
            into += self._get(out.dtype, key)

    def _others(self) -> Iterable[int]:
        return (peer for peer in range(self._size) if peer != self._rank)

    def _key(self, *names: object) -> str:
        """Return the key for the next message of this kind."""
        self._counters[names] += 1
        return f"{self._job}/{'_'.join(map(str, names))}_{self._counters[names]}"

    def _put(self, data: np.ndarray, key: str) -> None:
        self._keys.put(key, (memoryview(data).cast("B"),), data.nbytes)
        self._made.append(key)

    def _get(self, dtype: np.dtype, key: str) -> np.ndarray:
        for pause in self._pauses():
            data = self._keys.get(key)
            if data is not None:
                return np.frombuffer(data, dtype)
            time.sleep(pause)
        raise AssertionError("pauses have no end")
