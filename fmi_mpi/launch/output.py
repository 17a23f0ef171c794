"""The ranks' standard streams: output merged line by line, input forwarded to rank 0.

Rules of this file:
- A line is written at once and never torn by another rank's, unless it is longer than 16 MiB. What a rank leaves
  without a newline is written when its stream ends.
- The launcher's own descriptors may be shared with the shell, so they stay blocking: a sink asks ``poll`` first and
  then writes no more than a pipe takes without blocking. A slow reader slows the ranks, not the launcher.
"""

from __future__ import annotations

import contextlib
import os
import select
import selectors
import stat
from collections.abc import Callable
from typing import Final, Protocol

__all__ = ["Feed", "Lines", "Merger", "Outlet", "Reader", "Sink"]

_CHUNK: Final = 1 << 16
_FULL: Final = 1 << 20
"""Bytes waiting in a sink from which on the ranks' pipes are not read any more."""


_LONGEST: Final = 1 << 24
"""Bytes of a line that are held until its end comes."""


class Reader(Protocol):
    """Who brings output, and stops when there is no room."""

    def resume(self) -> None:
        """There is room again."""


class Outlet(Protocol):
    """Where output goes."""

    def write(self, data: bytes) -> None:
        """Take whole lines, without blocking."""

    def is_full(self) -> bool:
        """Tell whether so much waits that no more should be brought."""

    def pause(self, reader: Reader) -> None:
        """Resume this reader when there is room again."""


class Sink:
    """One output of the launcher.

    Args:
        fd: where to write; stays open.
        selector: the launcher's; entries carry a callable without arguments as data.
        broken: called once when nobody reads the output any more.
    """

    def __init__(self, fd: int, selector: selectors.BaseSelector, broken: Callable[[], None]) -> None:
        self._fd = fd
        self._selector = selector
        self._broken = broken
        self._open = True
        self._waiting = bytearray()
        self._watched = False
        self._paused: list[Reader] = []
        self._poll = select.poll()
        try:
            regular = stat.S_ISREG(os.fstat(fd).st_mode)
            self._poll.register(fd, select.POLLOUT)
        except OSError:
            regular, self._open = False, False
        self._piece = _FULL if regular else select.PIPE_BUF

    def write(self, data: bytes) -> None:
        """Write as much as can be written without blocking, and the rest later."""
        if self._open:
            self._waiting += data
            self._pump()

    def is_full(self) -> bool:
        """Tell whether so much waits that no more should be brought."""
        return len(self._waiting) >= _FULL

    def pause(self, reader: Reader) -> None:
        """Resume this reader when there is room again."""
        self._paused.append(reader)

    def flush(self) -> None:
        """Write everything, blocking."""
        with contextlib.suppress(OSError):
            while self._open and self._waiting:
                del self._waiting[: os.write(self._fd, self._waiting)]

    def _pump(self) -> None:
        sent = 0
        try:
            with memoryview(self._waiting) as view:
                while sent < len(view) and self._poll.poll(0):
                    sent += os.write(self._fd, view[sent : sent + self._piece])
        except OSError:
            self._open = False
            sent = len(self._waiting)
        del self._waiting[:sent]
        self._watch(bool(self._waiting))
        if not self.is_full():
            paused, self._paused = self._paused, []
            for reader in paused:
                reader.resume()
        if not self._open:
            self._broken()

    def _watch(self, wanted: bool) -> None:
        if wanted != self._watched:
            self._watched = wanted
            if wanted:
                self._selector.register(self._fd, selectors.EVENT_WRITE, self._pump)
            else:
                self._selector.unregister(self._fd)


class Lines:
    """Makes whole lines of what comes in pieces.

    Args:
        prefix: put before each line.
    """

    def __init__(self, prefix: bytes = b"") -> None:
        self.prefix = prefix
        self._held = bytearray()
        self._torn = False

    def take(self, data: bytes) -> bytes:
        """Return the lines that are whole now, and of one that is too long what there is."""
        end = data.rfind(b"\n") + 1
        if len(data) - end + (0 if end else len(self._held)) > _LONGEST:
            end = len(data)
        if not end:
            self._held += data
            return b""
        lines = bytes(self._held) + data[:end]
        self._held[:] = data[end:]
        return self._tagged(lines)

    def rest(self) -> bytes:
        """Return what is left of the last line, as a line."""
        if not (self._held or self._torn):
            return b""
        held = bytes(self._held)
        self._held.clear()
        return self._tagged(held + b"\n")

    def _tagged(self, lines: bytes) -> bytes:
        begun, self._torn = self._torn, not lines.endswith(b"\n")
        if not self.prefix:
            return lines
        first = b"" if begun else self.prefix
        return first + lines[:-1].replace(b"\n", b"\n" + self.prefix) + lines[-1:]


class Merger:
    """One output stream of one rank, merged into an outlet.

    Args:
        fd: the reading end of the rank's pipe; owned from now on.
        lines: makes lines of what comes; None: no other rank writes, so bytes are passed on as they come.
    """

    def __init__(self, fd: int, sink: Outlet, selector: selectors.BaseSelector, lines: Lines | None) -> None:
        self.lines = lines
        self._fd = fd
        self._sink = sink
        self._selector = selector
        self.ended = False
        os.set_blocking(fd, False)
        self.resume()

    def tag(self, prefix: bytes) -> None:
        """Put this before each line from now on."""
        self.lines = self.lines or Lines()
        self.lines.prefix = prefix

    def resume(self) -> None:
        """Watch the rank's pipe."""
        if not self.ended:
            self._selector.register(self._fd, selectors.EVENT_READ, self._on_readable)

    def drain(self) -> None:
        """Take what the pipe has now; the stream ends with it, even if somebody still holds its other end."""
        while not self.ended and self._read():
            pass
        self._finish()

    def _on_readable(self) -> None:
        if not self._read():
            return
        if self._sink.is_full():
            self._selector.unregister(self._fd)
            self._sink.pause(self)

    def _read(self) -> bool:
        """Take one piece; False if there is none now, or no more."""
        try:
            data = os.read(self._fd, _CHUNK)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        if not data:
            self._finish()
            return False
        self._sink.write(data if self.lines is None else self.lines.take(data))
        return True

    def _finish(self) -> None:
        if self.ended:
            return
        self.ended = True
        if self.lines is not None and (rest := self.lines.rest()):
            self._sink.write(rest)
        with contextlib.suppress(KeyError):
            self._selector.unregister(self._fd)
        os.close(self._fd)


class Feed:
    """The launcher's standard input on its way to rank 0.

    Args:
        source: descriptor to read; stays open.
        target: the writing end of the rank's pipe; owned from now on.
    """

    def __init__(self, source: int, target: int, selector: selectors.BaseSelector) -> None:
        self._source = source
        self._target = target
        self._selector = selector
        self._waiting = b""
        self._ended = False
        os.set_blocking(target, False)
        selector.register(source, selectors.EVENT_READ, self._on_readable)

    def close(self) -> None:
        """Forward nothing more; rank 0 sees the end of its input. Idempotent."""
        if not self._ended:
            self._ended = True
            self._selector.unregister(self._target if self._waiting else self._source)
            os.close(self._target)

    def _on_readable(self) -> None:
        try:
            data = os.read(self._source, _CHUNK)
        except OSError:
            data = b""
        if not data:
            self.close()
            return
        self._selector.unregister(self._source)
        self._waiting = data
        self._selector.register(self._target, selectors.EVENT_WRITE, self._on_writable)

    def _on_writable(self) -> None:
        try:
            self._waiting = self._waiting[os.write(self._target, self._waiting) :]
        except BlockingIOError:
            return
        except OSError:
            self.close()
            return
        if not self._waiting:
            self._selector.unregister(self._target)
            self._selector.register(self._source, selectors.EVENT_READ, self._on_readable)
