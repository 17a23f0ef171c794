"""Output on its way between the launchers of one job: to the one that has rank 0, which prints it all.

Rules of this file:
- What is sent are whole lines. One message is under way at a time; the next goes when that one has been printed. What the
  ranks print meanwhile waits, and from ``_FULL`` bytes on their pipes are not read: a slow reader slows the ranks, and at
  the reader's end there is one message of each launcher at most.
- Messages are numbered: one that is said again, after a break, is not printed twice.
- Until it is known whether the launcher of rank 0 prints (a rank 0 that no launcher of ours has started does not), output
  waits; then it goes there, or is printed here. What cannot be delivered is printed here in the end, and that is said.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from fmi_mpi.bootstrap.messages import Message
from fmi_mpi.launch.output import Lines, Reader, Sink

__all__ = ["Collector", "Forward"]

_PIECES: Final = 1 << 15
"""Bytes of one message: with the escapes of JSON, at most six times as many on the wire."""
_OVERHEAD: Final = 32
_FULL: Final = 1 << 18

_Sinks = Sequence[Sink]
"""Standard output and error, by stream - 1."""


class _Outlet:
    """Where one output stream of one rank goes."""

    def __init__(self, forward: Forward, rank: int, stream: int, sink: Sink, prefix: bytes) -> None:
        self.lines = Lines(prefix)
        self._forward = forward
        self._rank = rank
        self._stream = stream
        self._sink = sink

    def write(self, data: bytes) -> None:
        if self._forward.here:
            self.print(data)
        else:
            self._forward.add(self._rank, self._stream, data)

    def print(self, data: bytes) -> None:
        self._sink.write(self.lines.take(data))

    def is_full(self) -> bool:
        return self._sink.is_full() if self._forward.here else self._forward.is_full()

    def pause(self, reader: Reader) -> None:
        (self._sink if self._forward.here else self._forward).pause(reader)


class Forward:
    """What the ranks of this launcher print, on its way to the launcher of rank 0.

    Args:
        source: the first of these ranks.
        say: says a message to the service, now and whenever it may have forgotten.
    """

    def __init__(self, source: int, say: Callable[[Message], None]) -> None:
        self.here = False
        """Output is printed here."""
        self.done = False
        """Everything has been printed somewhere, and there will be no more."""
        self._source = source
        self._say = say
        self._outlets: dict[tuple[int, int], _Outlet] = {}
        self.directed = False
        """It is known where output goes."""
        self._there = False
        self._waiting: deque[tuple[int, int, bytearray]] = deque()
        self._size = 0
        self._sent: list[tuple[int, int, bytes]] = []
        self._number = 0
        self._message: Message | None = None
        self._paused: list[Reader] = []
        self._ended = False

    def outlet(self, rank: int, stream: int, sink: Sink, prefix: bytes) -> _Outlet:
        """Return where this stream of this rank goes; if that is here: to ``sink``, with a prefix for each line."""
        outlet = self._outlets[rank, stream] = _Outlet(self, rank, stream, sink, prefix)
        return outlet

    def add(self, rank: int, stream: int, data: bytes) -> None:
        """Send this."""
        last = self._waiting[-1] if self._waiting else None
        if last is not None and last[:2] == (rank, stream) and len(last[2]) < _PIECES:
            last[2].extend(data)
        else:
            self._waiting.append((rank, stream, bytearray(data)))
            self._size += _OVERHEAD
        self._size += len(data)
        self._send()

    def is_full(self) -> bool:
        """Tell whether so much waits that no more should be brought."""
        return self._size >= _FULL

    def pause(self, reader: Reader) -> None:
        """Resume this reader when there is room again."""
        self._paused.append(reader)

    def direct(self, there: bool) -> None:
        """The launcher of rank 0 prints, or nobody there does. May be said again."""
        self._there = there
        self.directed = True
        if not there:
            self._print()
        elif self._message is not None:
            self._say(self._message)
        self._send()

    def printed(self, number: int) -> None:
        """The message of this number has been printed."""
        if self._message is None or number != self._number:
            return
        self.done = bool(self._message["last"])
        self._message = None
        self._size -= sum(len(data) + _OVERHEAD for _, _, data in self._sent)
        self._sent.clear()
        self._send()
        self._resume()

    def end(self) -> None:
        """There will be no more."""
        self._ended = True
        self.done = self.done or self.here
        self._send()

    def give_up(self) -> bool:
        """Print here what could not be delivered; True if there was anything."""
        anything = bool(self._waiting or self._sent)
        self._print()
        self.done = True
        return anything

    def _print(self) -> None:
        self.here = True
        waiting = [*self._sent, *self._waiting]
        self._sent.clear()
        self._waiting.clear()
        self._message = None
        self._size = 0
        for rank, stream, data in waiting:
            self._outlets[rank, stream].print(bytes(data))
        self._resume()

    def _resume(self) -> None:
        if self.here or not self.is_full():
            paused, self._paused = self._paused, []
            for reader in paused:
                reader.resume()

    def _send(self) -> None:
        """Send the next message, if it is its time, and there is one."""
        if self.here or not self._there or self._message is not None or self.done:
            return
        if not self._waiting and not self._ended:
            return
        room = _PIECES
        while self._waiting and room > 0:
            rank, stream, data = self._waiting.popleft()
            piece, rest = data[:room], data[room:]
            if rest:
                self._waiting.appendleft((rank, stream, rest))
                self._size += _OVERHEAD
            self._sent.append((rank, stream, bytes(piece)))
            room -= len(piece) + _OVERHEAD
        self._number += 1
        pieces = [[rank, stream, data.decode(errors="surrogateescape")] for rank, stream, data in self._sent]
        last = self._ended and not self._waiting
        self._message = {
            "type": "output",
            "rank": self._source,
            "number": self._number,
            "pieces": pieces,
            "last": last,
        }
        self._say(self._message)


class Collector:
    """Prints what the ranks of other launchers print, and tells them.

    Args:
        sinks: of standard output and error.
        prefix: gives what stands before each line of a rank.
        say: says a message to the service, now and whenever it may have forgotten.
    """

    def __init__(self, sinks: _Sinks, prefix: Callable[[int], bytes], say: Callable[[Message], None]) -> None:
        self.open: set[int] = set()
        """The first ranks of launchers from which more will come."""
        self._sinks = sinks
        self._prefix = prefix
        self._say = say
        self._lines: dict[tuple[int, int], Lines] = {}
        self._seen: dict[int, int] = {}
        self._owed: set[int] = set()

    def expect(self, sources: Iterable[int]) -> None:
        """Output of these launchers will come."""
        self.open.update(source for source in sources if source not in self._seen)

    def take(self, message: Message) -> None:
        """Print what a launcher has sent, unless that has been done."""
        source, number = message["rank"], message["number"]
        if number > self._seen.get(source, 0):
            self._seen[source] = number
            for rank, stream, text in message["pieces"]:
                lines = self._lines.get((rank, stream))
                if lines is None:
                    lines = self._lines[rank, stream] = Lines(self._prefix(rank))
                self._sinks[stream - 1].write(lines.take(text.encode(errors="surrogateescape")))
            (self.open.discard if message["last"] else self.open.add)(source)
        self._owed.add(source)
        self.resume()

    def resume(self) -> None:
        """Tell the launchers what has been printed, once there is room for more."""
        for sink in self._sinks:
            if sink.is_full():
                sink.pause(self)
                return
        owed, self._owed = self._owed, set()
        for source in owed:
            self._say({"type": "printed", "rank": 0, "to": source, "number": self._seen[source]})
