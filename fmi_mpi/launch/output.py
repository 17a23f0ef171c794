"""Merging the ranks' output line by line.

Rules of this file:
- A line is written at once and never torn by another rank's. What a rank leaves without a newline is written when it
  ends, or when it is a prompt: nothing more has come for a moment.
"""

from __future__ import annotations

import contextlib
import os
from typing import BinaryIO

__all__ = ["Merger"]

_CHUNK = 1 << 16
_LONGEST_LINE = 1 << 20


class Merger:
    """One pipe of one rank, merged into ``target``.

    Args:
        prefix: written before each line, or empty.
    """

    def __init__(self, fd: int, target: BinaryIO, prefix: bytes) -> None:
        self.fd = fd
        self._target = target
        self._prefix = prefix
        self._held = b""
        self._total = 0

    def read(self) -> bool:
        """Take what the pipe has; False at its end."""
        try:
            data = os.read(self.fd, _CHUNK)
        except BlockingIOError:
            return True
        except OSError:
            data = b""
        if not data:
            self.finish()
            return False
        self._total += len(data)
        lines = (self._held + data).split(b"\n")
        self._held = lines.pop()
        if len(self._held) > _LONGEST_LINE:
            lines.append(self._held)
            self._held = b""
        if lines:
            prefix = self._prefix
            self._write(b"".join(prefix + line + b"\n" for line in lines))
        return True

    def drain(self) -> None:
        """Take what the pipe has now, and write an unfinished last line."""
        before = -1
        while before != self._total:
            before = self._total
            if not self.read():
                return
        self.finish()

    def finish(self) -> None:
        """Write an unfinished last line."""
        if self._held:
            self._write(self._prefix + self._held + (b"\n" if self._prefix else b""))
            self._held = b""

    def _write(self, data: bytes) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._target.write(data)
            self._target.flush()
