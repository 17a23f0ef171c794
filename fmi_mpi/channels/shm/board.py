"""A board: memory in which each of some processes of one host puts what all others may read.

Rules of this file:
- What a member posts has a stamp, greater with each post. A member's flag is its last stamp, and in the low bits the
  place of what it has posted; flags lie together, so that one comparison finds any news. Each word has one writer.
- A post of more than ``inline`` bytes says only where they are: others copy them out of the member's address space.
- A member's posts with data take turns in several places. A place is used again only when all members have posted after
  what it holds: nobody posts before having read what it wants of its previous round.
- The maker's memory has no name; members open it by its descriptor, as inboxes, and know it by a nonce.
- Boards of a process belong to its ``Boards``, which keeps the rounds that are not complete.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import struct
from collections.abc import Callable, Sequence
from os import sched_yield
from typing import Final, NamedTuple, Protocol

from fmi_mpi.channels.base import ChannelError
from fmi_mpi.channels.shm.barrier import WEAK
from fmi_mpi.channels.shm.memory import AddressSpaces, address_of
from fmi_mpi.constants import ERR_COUNT, ERR_OTHER, ERR_TRUNCATE
from fmi_mpi.errors import MPIError

__all__ = ["Board", "Host", "Meeting", "Member"]

_NONCE: Final = 16
_PAGE: Final = 4096
_FLAGS: Final = _PAGE
_WORD: Final = 8
_PLACE_BITS: Final = 3
_PLACES: Final = 1 << _PLACE_BITS
_PLACE: Final = 4  # words: stamp, bytes, address if not inline, unused
_RECORD: Final = struct.Struct("<QQQQ16s")  # a Member
_RECORD_SIZE: Final = 64


class Member(NamedTuple):
    """What a process tells of itself to the others of a board."""

    proc: int
    pid: int
    probe: int
    expedites: int
    nonce: bytes


class Host(Protocol):
    """What a board needs of its process."""

    spaces: AddressSpaces
    fence: Callable[[], None]
    introduce: Callable[[Member], bool]
    wake: Callable[[Sequence[int]], None]

    def wait(self, meeting: Meeting) -> None:
        """Look at the meeting's board from now on."""


class Board:
    """A mapped board.

    Args:
        host: this process.
        fd: the memory; it stays open until the members have met if this process is the maker, at place 0.
        place: this process's place among the members. size: their number.
        inline: bytes that a post carries by itself.
        nonce: what the maker has written at the beginning. Raises ChannelError if it is not there.
    """

    def __init__(self, host: Host, fd: int, place: int, size: int, inline: int, nonce: bytes) -> None:
        self._host = host
        self._fd = -1 if place else fd
        flags = -(-(_WORD + 1) * size // 64) * 64
        self._records = _FLAGS + flags
        places = self._records + _RECORD_SIZE * size
        data = -(-(places + _WORD * _PLACE * _PLACES * size) // _PAGE) * _PAGE
        nbytes = data + _PLACES * size * inline
        try:
            if os.fstat(fd).st_size == 0:
                os.ftruncate(fd, nbytes)
                fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
                os.pwrite(fd, nonce, 0)
            if os.fstat(fd).st_size != nbytes or not fcntl.fcntl(fd, fcntl.F_GET_SEALS) & fcntl.F_SEAL_SHRINK:
                raise ValueError("wrong size")
            self._memory = mmap.mmap(fd, nbytes)
        except (OSError, ValueError) as error:
            raise ChannelError(f"shm: this is not the board that was announced: {error}") from error
        if self._memory[:_NONCE] != nonce:
            raise ChannelError("shm: this is not the board that was announced: wrong nonce")
        self.size = size
        self.place = place
        self.inline = inline
        self.members: list[Member] = []
        self._view = memoryview(self._memory)
        self._words = self._view.cast("Q")
        self._first_flag = _FLAGS // _WORD
        self._flag = self._first_flag + place
        self._flags = slice(_FLAGS, _FLAGS + _WORD * size)
        self._asleep = slice(self._flags.stop, self._flags.stop + size)
        self._awake = bytes(size)
        self._unpack = struct.Struct(f"{size}Q").unpack
        self._heads = [places // _WORD + i * _PLACE * _PLACES for i in range(size)]
        self._data = [data + i * _PLACES * inline for i in range(size)]
        self._turn = 0
        self._used = [0] * _PLACES
        self._floor = 0
        self._fenced = True
        self._fence = host.fence
        self.address = {"pid": os.getpid(), "fd": fd, "size": size, "inline": inline, "nonce": nonce.hex()}

    def enter(self, member: Member) -> None:
        """Tell the others of this process."""
        at = self._records + _RECORD_SIZE * self.place
        _RECORD.pack_into(self._memory, at, member.proc, member.pid, member.probe, member.expedites, member.nonce)

    def meet(self) -> bool:
        """Learn who the members are; see ``channels.base.Board``."""
        self.release()
        host = self._host
        for i in range(self.size):
            record = _RECORD.unpack_from(self._memory, self._records + _RECORD_SIZE * i)
            self.members.append(Member(*record))
        self._fenced = not all(member.expedites for member in self.members)
        return all(map(host.introduce, self.members)) and all(
            host.spaces.probe(member.pid, member.probe, member.nonce) for member in self.members
        )

    def release(self) -> None:
        """Close the descriptor that others have opened the board by."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def share(
        self,
        stamp: int,
        data: memoryview,
        awaited: Sequence[int] | None,
        done: Callable[[str], None],
        patience: int = 0,
    ) -> bool:
        """See ``channels.base.Board``."""
        posted = self.post(stamp, data)
        if posted:
            flags = self._memory[self._flags]
            if self.reached(flags, stamp, awaited):
                return True
            for _ in range(abs(patience)):
                if patience < 0:
                    sched_yield()
                now = self._memory[self._flags]
                if now != flags:
                    flags = now
                    if self.reached(flags, stamp, awaited):
                        return True
        self._host.wait(Meeting(self, stamp, data, awaited, posted, done))
        return False

    # -- writing ---------------------------------------------------------------------------------------------------

    def post(self, stamp: int, data: memoryview) -> bool:
        """Post ``data`` with a stamp greater than before; False if others may still read what would be overwritten."""
        words = self._words
        nbytes = len(data)
        if nbytes:
            turn = self._turn
            if self._used[turn] >= self._floor:
                self._floor = min(self._unpack(self._memory[self._flags])) >> _PLACE_BITS
                if self._used[turn] >= self._floor and self._used[turn]:
                    return False
            at = self._heads[self.place] + _PLACE * turn
            if nbytes <= self.inline:
                begin = self._data[self.place] + turn * self.inline
                self._memory[begin : begin + nbytes] = data
                words[at + 2] = 0
            else:
                words[at + 2] = address_of(data)
            words[at + 1] = nbytes
            words[at] = stamp
            self._used[turn] = stamp
            self._turn = (turn + 1) % _PLACES
            stamp = stamp << _PLACE_BITS | turn
        else:
            stamp <<= _PLACE_BITS
        if WEAK:
            self._fence()
        words[self._flag] = stamp
        if self._fenced:
            self._fence()
        if self._memory[self._asleep] != self._awake:
            self._wake()
        return True

    def _wake(self) -> None:
        asleep = self._memory[self._asleep]
        self._host.wake([member.proc for member, flag in zip(self.members, asleep) if flag])

    def sleep(self, asleep: bool) -> None:
        """Say whether this process must be woken by those who post."""
        self._memory[self._asleep.start + self.place] = asleep

    # -- reading ---------------------------------------------------------------------------------------------------

    def flags(self) -> bytes:
        """Return all flags, to be compared."""
        return self._memory[self._flags]

    def reached(self, flags: bytes, stamp: int, awaited: Sequence[int] | None) -> bool:
        """The members ``awaited`` (None: all) have posted ``stamp`` or a later one."""
        words = self._unpack(flags)
        least = stamp << _PLACE_BITS
        if awaited is None:
            if min(words) < least:
                return False
            self._floor = stamp
        else:
            for place in awaited:
                if words[place] < least:
                    return False
        if WEAK:
            self._fence()
        return True

    def missing(self, stamp: int, awaited: Sequence[int] | None) -> list[int]:
        """Return the processes that have not posted ``stamp`` yet."""
        words = self._unpack(self.flags())
        places = range(self.size) if awaited is None else awaited
        return [self.members[place].proc for place in places if words[place] >> _PLACE_BITS < stamp]

    def _find(self, place: int, stamp: int, expected: int) -> int:
        """Return the index of the head of a member's post; raises MPIError if it is not as expected."""
        words = self._words
        first = self._heads[place]
        at = first + _PLACE * (words[self._first_flag + place] & (_PLACES - 1))
        if words[at] != stamp:
            for at in range(first, first + _PLACE * _PLACES, _PLACE):
                if words[at] == stamp:
                    break
            else:
                raise MPIError(
                    ERR_OTHER,
                    f"rank {place} is not in the same collective: it has called another one, with other arguments, or "
                    "failed in it; all ranks must call the same collectives in the same order",
                )
        if expected >= 0 and words[at + 1] != expected:
            raise MPIError(
                ERR_TRUNCATE if words[at + 1] > expected else ERR_COUNT,
                f"rank {place} gives {words[at + 1]} bytes to a collective where this rank expects {expected}",
            )
        return at

    def view(self, stamp: int, expected: int, place: int, start: int = 0, stop: int | None = None) -> memoryview:
        """Return bytes that a member has posted inline; ``expected``: of how many in all, -1 for any."""
        at = self._find(place, stamp, expected)
        nbytes = self._words[at + 1]
        if self._words[at + 2] or nbytes > self.inline:
            raise MPIError(ERR_TRUNCATE, f"rank {place} gives {nbytes} bytes to a collective, more than this rank")
        return self._inline(place, at, start, nbytes if stop is None else min(stop, nbytes))

    def _inline(self, place: int, at: int, start: int, stop: int) -> memoryview:
        """Return bytes of the post whose head is at ``at``."""
        begin = self._data[place] + (at - self._heads[place]) // _PLACE * self.inline
        return self._view[begin + start : begin + stop]

    def fetch(self, stamp: int, expected: int, place: int, start: int, into: memoryview) -> None:
        """See ``channels.base.Board``."""
        at = self._find(place, stamp, expected)
        nbytes, address = self._words[at + 1], self._words[at + 2]
        if start + len(into) > nbytes:
            raise MPIError(ERR_COUNT, f"rank {place} gives {nbytes} bytes, {start + len(into)} are asked for")
        if not address:
            into[:] = self._inline(place, at, start, start + len(into))
            return
        try:
            self._host.spaces.pull_one(self.members[place].pid, address_of(into), address + start, len(into))
        except OSError as error:
            raise ChannelError(f"shm: the memory of rank {place} cannot be read: {error.strerror}") from error

    def close(self) -> None:
        """Unmap, unless somebody still holds a view; then the memory goes with the view."""
        self.release()
        self._words.release()
        self._view.release()
        try:
            self._memory.close()
        except BufferError:
            pass


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
