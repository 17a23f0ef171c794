"""The ranks' standard streams: output merged line by line, input forwarded to rank 0.

Rules of this file:
- A line is written at once and never torn by another rank's. What a rank leaves without a newline is written when
  its stream ends.
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
from typing import Final

__all__ = ["Feed", "Merger", "Sink"]

_CHUNK: Final = 1 << 16
_FULL: Final = 1 << 20
"""Bytes waiting in a sink from which on the ranks' pipes are not read any more."""


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
        self._paused: list[Merger] = []
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

    def pause(self, merger: Merger) -> None:
        """Resume this merger when there is room again."""
        self._paused.append(merger)

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
            for merger in paused:
                merger.resume()
        if not self._open:
            self._broken()

    def _watch(self, wanted: bool) -> None:
        if wanted != self._watched:
            self._watched = wanted
            if wanted:
                self._selector.register(self._fd, selectors.EVENT_WRITE, self._pump)
            else:
                self._selector.unregister(self._fd)


class Merger:
    """One output stream of one rank, merged into a sink.

    Args:
        fd: the reading end of the rank's pipe; owned from now on.
        prefix: written before each line.
        alone: no other rank writes, so bytes are passed on as they come.
    """

    def __init__(self, fd: int, sink: Sink, selector: selectors.BaseSelector, prefix: bytes, alone: bool) -> None:
        self.prefix = prefix
        self._fd = fd
        self._sink = sink
        self._selector = selector
        self._alone = alone
        self._held = bytearray()
        self.ended = False
        os.set_blocking(fd, False)
        self.resume()

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
        self._take(data)
        return True

    def _take(self, data: bytes) -> None:
        if self._alone and not self.prefix:
            self._sink.write(data)
            return
        end = data.rfind(b"\n") + 1
        if not end:
            self._held += data
            return
        lines = bytes(self._held) + data[:end]
        self._held[:] = data[end:]
        if self.prefix:
            lines = self.prefix + lines[:-1].replace(b"\n", b"\n" + self.prefix) + b"\n"
        self._sink.write(lines)

    def _finish(self) -> None:
        if self.ended:
            return
        self.ended = True
        if self._held:
            self._sink.write(self.prefix + self._held + b"\n")
            self._held.clear()
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
