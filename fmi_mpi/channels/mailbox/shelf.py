"""Shelves: where the ranks of a communicator put objects that many of them read.

Rules of this file:
- An object is a sequence of blocks, each with a head of its own, so that a reader takes and checks one block alone. A
  head tells the collective, the turn and the putter: an object that somebody has moved or kept is not taken.
- Requests run in the store's threads; whoever asked is told from within ``poll``. Nothing waits here for an object that is
  not there yet: the answer says so.
- A shelf's name holds the nonce of a mailbox: what an earlier job has left is never read.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Final

from fmi_mpi.channels.base import ChannelError
from fmi_mpi.channels.mailbox.keys import Found, Keys, spoilt
from fmi_mpi.channels.mailbox.objects import HEAD, SHELVED, Sealer, read_head
from fmi_mpi.channels.mailbox.store import Ask

__all__ = ["MailboxShelf"]

_TURNS: Final = 8  # bits
_COUNT: Final = (1 << _TURNS) - 1
"""The turn that a rank counts itself in with."""
_GUESS: Final = 0.005


class MailboxShelf:
    """See ``channels.base.Gathering``.

    Args:
        keys: the store. ask: does requests.
        name: the shelf's own. place: this rank's.
        sealer: makes and checks its objects.
    """

    waits = False

    def __init__(self, keys: Keys, ask: Ask, name: str, place: int, sealer: Sealer) -> None:
        self.listed: set[str] = set()
        self._keys = keys
        self._ask = ask
        self._name = name
        self._place = place
        self._sealer = sealer
        self.latency = _GUESS

    def put(
        self, number: int, turn: int, blocks: Sequence[memoryview | Sequence[memoryview]], done: Callable[[str], None]
    ) -> None:
        parts: list[bytes | memoryview] = []
        length = 0
        for at, block in enumerate(blocks):
            body = (block,) if isinstance(block, memoryview) else tuple(block)
            parts += self._sealer.seal(SHELVED, self._place, number << _TURNS | turn, at, body)
            length += HEAD + sum(map(len, body))
        key = self._key(number, turn, self._place)
        self.listed.add(key)
        self._ask(partial(self._keys.put, key, parts, length), lambda answer: done(_failure(answer)))

    def get(
        self,
        number: int,
        turn: int,
        place: int,
        block: int,
        before: int,
        nbytes: int,
        done: Callable[[memoryview | None, str], None],
    ) -> None:
        key = self._key(number, turn, place)
        wanted = (SHELVED, place, number << _TURNS | turn, block)
        if nbytes < 0:
            self._ask(self._timed(partial(self._keys.get, key)), lambda answer: self._taken(answer, wanted, done))
            return
        whole = memoryview(bytearray(HEAD + nbytes))
        start = block * HEAD + before
        pieces = [whole[at : at + self._keys.span] for at in range(0, len(whole), self._keys.span)]
        answers: list[Any] = []

        def arrived(answer: Any) -> None:
            answers.append(answer)
            if len(answers) == len(pieces):
                failed = next((one for one in answers if one is not True), True)
                self._taken(whole if failed is True else failed or None, wanted, done)

        for at, piece in enumerate(pieces):
            self._ask(self._timed(partial(self._keys.fetch, key, start + at * self._keys.span, piece)), arrived)

    def gather(
        self, number: int, turn: int, wanted: Mapping[int, int], done: Callable[[Mapping[int, memoryview], str], None]
    ) -> None:
        prefix = self._key(number, turn, "")

        def arrived(answer: Any) -> None:
            found: dict[int, memoryview] = {}
            for one in () if isinstance(answer, ChannelError) else answer:
                place = int(name) if (name := one.key[len(prefix) :]).isdecimal() else -1
                if place in wanted and one.body is not None and wanted[place] in (-1, len(one.body) - HEAD):
                    block = self._opened(memoryview(bytearray(one.body)), (SHELVED, place, number << _TURNS | turn, 0))
                    if block is not None:
                        found[place] = block
            if answer and len(found) < len(wanted):
                self._keys.usage.recount("list", "empty")
            done(found, _failure(answer))

        self._ask(self._timed(partial(self._keys.find, prefix)), arrived)

    def length(self, number: int, turn: int, place: int, block: int, done: Callable[[int, str], None]) -> None:
        """Tell the length of an object's block, -1 if it is not there: for errors only, it reads the whole object."""
        wanted = (SHELVED, place, number << _TURNS | turn, block)

        def arrived(answer: Any) -> None:
            if answer is None or isinstance(answer, ChannelError):
                done(-1, _failure(answer))
                return
            rest = memoryview(bytearray(answer))
            at = 0
            while (head := read_head(rest)) is not None and at < block:
                rest = rest[HEAD + head[3] :]
                at += 1
            if head is None or self._opened(rest[: HEAD + head[3]], wanted) is None:
                done(-1, spoilt(self._keys, key))
            else:
                done(head[3], "")

        key = self._key(number, turn, place)
        self._ask(partial(self._keys.get, key), arrived)

    def count(self, number: int, done: Callable[[str], None]) -> None:
        key = f"{self._name}/{number}.c/{self._place}"
        parts = self._sealer.seal(SHELVED, self._place, number << _TURNS | _COUNT, 0, ())
        self.listed.add(key)
        self._ask(partial(self._keys.put, key, parts, HEAD), lambda answer: done(_failure(answer)))

    def counted(self, number: int, done: Callable[[int, str], None]) -> None:
        prefix = f"{self._name}/{number}.c/"

        def listed(answer: Any) -> None:
            if isinstance(answer, ChannelError):
                done(0, _failure(answer))
            else:
                done(sum(self._counts_in(number, found) for found in answer), "")

        self._ask(partial(self._keys.find, prefix), listed)

    def remove(self, number: int) -> None:
        doomed = [key for key in self.listed if int(key[len(self._name) + 1 :].partition(".")[0]) < number]
        if doomed:
            self.listed.difference_update(doomed)
            self._ask(partial(self._keys.remove, doomed), lambda answer: None)

    def clear(self) -> None:
        """Remove all that this process has put: the job is over. Blocks."""
        if self.listed:
            with suppress(ChannelError):  # it expires, too
                self._keys.remove(self.listed)
            self.listed = set()

    def _timed(self, work: Callable[[], Any]) -> Callable[[], Any]:
        """Learn how long requests take."""

        def measured() -> Any:
            start = time.monotonic()
            answer = work()
            self.latency += 0.2 * (time.monotonic() - start - self.latency)
            return answer

        return measured

    def _counts_in(self, number: int, found: Found) -> bool:
        """Tell whether a rank has counted itself in by this."""
        thing = memoryview(bytearray(found.body or b""))
        place = int(last) if (last := found.key.rpartition("/")[2]).isdecimal() else -1
        return self._opened(thing, (SHELVED, place, number << _TURNS | _COUNT, 0)) is not None

    def _key(self, number: int, turn: int, place: int | str) -> str:
        return f"{self._name}/{number}.{turn}/{place}"

    def _taken(
        self, answer: Any, wanted: tuple[int, int, int, int], done: Callable[[memoryview | None, str], None]
    ) -> None:
        """Check a block that has come."""
        if answer is None or isinstance(answer, ChannelError):
            done(None, _failure(answer))
            return
        thing = answer if isinstance(answer, memoryview) else memoryview(bytearray(answer))
        done(self._opened(thing, wanted), "")  # None: a stranger's, or of another length; ``length`` tells

    def _opened(self, thing: memoryview, wanted: tuple[int, int, int, int]) -> memoryview | None:
        """Return the body of a block if it is the one that is wanted, and genuine."""
        head = read_head(thing)
        if head is None or (*head[:3], head[4]) != wanted:
            return None
        return self._sealer.open(thing[:HEAD], thing[HEAD:])


def _failure(answer: Any) -> str:
    return str(answer) if isinstance(answer, ChannelError) else ""
