"""The boards of one process, and the rounds on them that are not complete yet.

Rules of this file:
- A channel looks at the boards while there are ``meetings``, and only then.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from weakref import WeakSet

from fmi_mpi.channels.base import Address, ChannelError
from fmi_mpi.channels.shm.board import Board, Meeting, Member
from fmi_mpi.channels.shm.memory import AddressSpaces

__all__ = ["Boards"]

_NONCE_SIZE = 16


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
        self._asleep: list[Board] = []

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

    def wait(self, meeting: Meeting) -> None:
        """Look at the meeting's board from now on."""
        self.meetings.append(meeting)
        self._nudge()

    def moved(self) -> bool:
        """There may be news since the last look."""
        return any(meeting.moved() for meeting in self.meetings)

    def arm(self) -> None:
        """This process is about to sleep: let those wake it who post what it waits for."""
        self._asleep = [meeting.board for meeting in self.meetings]
        for board in self._asleep:
            board.sleep(True)

    def disarm(self) -> None:
        """The sleep is over."""
        for board in self._asleep:
            board.sleep(False)
        self._asleep = []

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
        self._asleep.clear()
        for board in self._boards:
            board.release()
