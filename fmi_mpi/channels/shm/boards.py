"""The boards of one process, and the rounds on them that are not complete yet.

Rules of this file:
- A channel looks at the boards while there are ``meetings``, and only then.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from weakref import WeakSet

from fmi_mpi.channels.base import Address, ChannelError
from fmi_mpi.channels.shm.board import Board, Member
from fmi_mpi.channels.shm.memory import AddressSpaces

__all__ = ["Boards"]

_NONCE_SIZE = 16


class Meeting:
    """A round on a board that is not complete yet.

    ``done`` is called with nothing when it is, or with the reason when it cannot be any more.
    """

    __slots__ = ("_awaited", "_data", "_done", "_flags", "_posted", "_stamp", "board")

    def __init__(
        self,
        board: Board,
        stamp: int,
        data: memoryview,
        awaited: Sequence[int] | None,
        posted: bool,
        done: Callable[[str], None],
    ) -> None:
        self.board = board
        self._stamp = stamp
        self._data = data
        self._awaited = awaited
        self._posted = posted
        self._done = done
        self._flags = b""

    def look(self) -> bool:
        """See whether the round is complete; then it has told so."""
        flags = self.board.flags()
        if flags == self._flags:
            return False
        self._flags = flags
        if not self._posted:
            if not self.board.post(self._stamp, self._data):
                return False
            self._posted = True
            self._flags = flags = self.board.flags()
        if self.board.reached(flags, self._stamp, self._awaited):
            self._done("")
            return True
        return False

    def moved(self) -> bool:
        """There may be news since the last look."""
        return self.board.flags() != self._flags

    def lost(self, proc: int, reason: str) -> bool:
        """A process is gone: fail if it is waited for."""
        needed = self._awaited if self._posted else None
        if proc not in self.board.missing(self._stamp, needed):
            return False
        self._done(reason)
        return True


class Boards:
    """See ``channels.shm.board.Host``.

    Args:
        member: this process.
        introduce: gets ready to wake another member; False if that cannot be.
        wake: wakes processes. nudge: wakes a thread of this process that sleeps.
    """

    def __init__(
        self,
        member: Member,
        spaces: AddressSpaces,
        fence: Callable[[], None],
        introduce: Callable[[Member], bool],
        wake: Callable[[Sequence[int]], None],
        nudge: Callable[[], None],
    ) -> None:
        self.meetings: list[Meeting] = []
        self.spaces = spaces
        self.fence = fence
        self.introduce = introduce
        self.wake = wake
        self._nudge = nudge
        self._member = member
        self._boards: WeakSet[Board] = WeakSet()

    def make(self, size: int, inline: int) -> Board:
        """Make a board; see ``channels.base.Publisher``."""
        try:
            fd = os.memfd_create("fmi-board", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        except OSError as error:
            raise ChannelError(f"shm: no memory for a board: {error}") from error
        return self._entered(Board(self, fd, 0, size, inline, os.urandom(_NONCE_SIZE)))

    def open(self, address: Address, place: int) -> Board:
        """Open a board; see ``channels.base.Publisher``."""
        try:
            fd = os.open(f"/proc/{address['pid']}/fd/{address['fd']}", os.O_RDWR | os.O_CLOEXEC | os.O_NOCTTY)
        except OSError as error:
            raise ChannelError(f"shm: cannot open a board: {error.strerror}") from error
        try:
            nonce = bytes.fromhex(address["nonce"])
            return self._entered(Board(self, fd, place, address["size"], address["inline"], nonce))
        finally:
            os.close(fd)

    def _entered(self, board: Board) -> Board:
        board.enter(self._member)
        self._boards.add(board)
        return board

    def wait(
        self,
        board: Board,
        stamp: int,
        data: memoryview,
        awaited: Sequence[int] | None,
        posted: bool,
        done: Callable[[str], None],
    ) -> None:
        """Look at the board from now on."""
        self.meetings.append(Meeting(board, stamp, data, awaited, posted, done))
        self._nudge()

    def look(self) -> bool:
        """End the rounds that are complete; True if any was."""
        moved = False
        for meeting in tuple(self.meetings):
            if meeting.look():
                self.meetings.remove(meeting)
                moved = True
        return moved

    def desert(self, proc: int, reason: str) -> None:
        """A process is gone: rounds that wait for it fail."""
        for meeting in tuple(self.meetings):
            if meeting.lost(proc, reason):
                self.meetings.remove(meeting)

    def close(self) -> None:
        """Leave all boards."""
        self.meetings.clear()
        for board in self._boards:
            board.release()
