"""Shelves in Redis: what a rank puts is one stream, of which others read the entries they want.

Rules of this file:
- The id of an entry is ``number-sequence``: the collective's number; turn, block and piece. Who wants one reads what
  comes after the id just before it. So a read blocks until it is there, many reads are one command, a block is read
  without the others, and the same put done twice is done once: the server refuses an id that it has.
- Ids only grow: an entry beyond the one that is wanted says that this one will never be. That is an error at once.
- A block is cut into pieces; all but its last have ``PIECE`` bytes.
- Ranks that meet say so in one hash, each in a field of its own, and read what all have said: doing it twice changes nothing,
  and strangers are not counted. The one that finds all there puts an entry into a stream that the others wait on.
- A shelf's names begin with that of a mailbox, so they hold the job's tag and a nonce.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

from fmi_mpi.channels.base import FAILED
from fmi_mpi.channels.mailbox.objects import HEAD, SHELVED, Sealer, read_head
from fmi_mpi.channels.mailbox.outbox import Frame
from fmi_mpi.channels.redis.resp import NOTHING, pack

if TYPE_CHECKING:
    from fmi_mpi.channels.redis.store import RedisStore

__all__ = ["PIECE", "Id", "RedisShelf", "Wish"]

PIECE: Final = 1 << 18
_TURN: Final = 40  # bits of a sequence below the turn
_BLOCK: Final = 20  # bits of it below the block
_ANYBODY: Final = -1
_NEVER: Final = 1 << 62

Id = tuple[int, int]


class Wish:
    """A block that somebody waits for.

    Args:
        key: the stream it comes in. ident: of its first piece.
        place: of who puts it. nbytes: its length, -1 if that is not known.
        done: given the block, or the reason why there will be none. Called once.
    """

    __slots__ = ("_data", "_done", "_end", "_sealer", "_sized", "ident", "key", "over", "place")

    def __init__(
        self,
        key: bytes,
        ident: Id,
        place: int,
        nbytes: int,
        sealer: Sealer,
        done: Callable[[memoryview | None, str], None],
    ) -> None:
        self.key = key
        self.ident = ident
        self.place = place
        self.over = False
        self._data = bytearray(max(nbytes, 0))
        self._sized = nbytes >= 0
        self._end = 0
        self._sealer = sealer
        self._done = done

    @property
    def pieces(self) -> int:
        """How many more are worth asking for at a time."""
        return max(0, len(self._data) - self._end) // PIECE + 1

    def landing(self, ident: Id, length: int) -> memoryview | None:
        """Return where the body of the entry with this id may be read to before it is known to be genuine."""
        stop = self._end + length
        if self.over or ident != self.ident or not self._sized or stop > len(self._data):
            return None
        return memoryview(self._data)[self._end : stop]

    def take(self, ident: Id, head: memoryview, body: memoryview, landed: bool = False) -> None:
        """Take the entry that has come, or see by it that there is nothing to wait for."""
        if self.over:
            return
        fields = read_head(head)
        made = fields is not None and (fields[0], fields[2], fields[4]) == (SHELVED, *ident)
        plain = self._sealer.open(head, body) if made else None
        if fields is None or plain is None:
            self.fail(
                "what a rank should put there is by somebody without the job's key, or has been moved; see who else may "
                f"write to {self.key.decode()!r}"
            )
        elif self.place not in (_ANYBODY, fields[1]) or ident != self.ident:
            if ident[0] == self.ident[0] and ident[1] >> _TURN == FAILED:
                self.fail(f"rank {self.place} has failed in this collective")
            else:
                self.fail(
                    f"rank {self.place} has put something else: the ranks disagree on which collective this is, "
                    "or on its counts"
                )
        else:
            self._add(plain, landed)

    def fail(self, reason: str) -> None:
        """There will be no such block."""
        if not self.over:
            self.over = True
            self._done(None, reason)

    def _add(self, body: memoryview, landed: bool) -> None:
        begin, stop = self._end, self._end + len(body)
        if not landed and (stop <= len(self._data) or not self._sized):
            self._data[begin:stop] = body
        self._end = stop
        if len(body) == PIECE:
            self.ident = (self.ident[0], self.ident[1] + 1)
            return
        self.over = True
        self._done(memoryview(self._data if stop == len(self._data) else bytes(stop)), "")


class RedisShelf:
    """See ``channels.base.Shelf``.

    Args:
        store: carries commands out. label: the shelf's own.
        procs: who share it. place: this rank's among them.
        sealer: makes and checks its entries.
    """

    latency = 0.0
    waits = True

    def __init__(self, store: RedisStore, label: str, procs: Sequence[int], place: int, sealer: Sealer) -> None:
        self._store = store
        self._procs = procs
        self._place = place
        self._sealer = sealer
        self._keys = [f"{label}/{rank}".encode() for rank in range(len(procs))]
        self._own = f"{label}/{place}"
        self._present = f"{label}/present"
        self._all = f"{label}/all"
        self._oldest = _NEVER  # no collective before that one has left anything in the own stream
        self._newest = -1

    def put(
        self, number: int, turn: int, blocks: Sequence[memoryview | Sequence[memoryview]], done: Callable[[str], None]
    ) -> None:
        parts: list[bytes | memoryview] = []
        entries = 0
        ident = (number, 0)
        for at, block in enumerate(blocks):
            for piece, body in enumerate(_pieces(block)):
                ident = (number, turn << _TURN | at << _BLOCK | piece + 1)
                parts += self._entry(("XADD", self._own, b"%d-%d" % ident, "o"), ident, body)
                entries += 1
        self._oldest = min(self._oldest, number)
        self._newest = number
        size = sum(map(len, parts))
        self._store.usage.count("put", size)
        if size <= self._store.copies:
            self._store.change(self._own, (b"".join(parts),), entries, _nothing, ident, urgent=False)
            done("")
        else:
            self._store.change(self._own, parts, entries, lambda answers, failure: done(failure), ident)

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
        def taken(found: memoryview | None, failure: str) -> None:
            if found is not None:
                self._store.usage.count("get")
            done(found, failure)

        ident = (number, turn << _TURN | block << _BLOCK | 1)
        self._store.want(Wish(self._keys[place], ident, place, nbytes, self._sealer, taken))

    def length(self, number: int, turn: int, place: int, block: int, done: Callable[[int, str], None]) -> None:
        """Nobody asks: ``get`` waits, and takes blocks of any length."""
        raise AssertionError("a shelf that waits")

    def count(self, number: int, done: Callable[[str], None]) -> None:
        def counted(answers: Sequence[Any], failure: str) -> None:
            if not failure and self._are_all_there(number, answers[1]):
                ident = (number, 1)
                entry = self._entry(("XADD", self._all, "MAXLEN", "=", "1", b"%d-%d" % ident, "o"), ident, ())
                self._store.usage.count("other")
                self._store.change(self._all, (b"".join(entry),), 1, _nothing, ident, urgent=False)

        sign = b"".join(self._sealer.seal(SHELVED, self._place, number, 0, ()))
        command = pack("HSET", self._present, str(self._place), sign) + pack("HVALS", self._present)
        self._store.usage.count("put", len(command))
        self._store.change(self._present, (command,), 2, counted)
        done("")

    def _are_all_there(self, number: int, signs: Any) -> bool:
        """Tell whether all ranks have said, by what the server answers, that they have come to this collective."""
        if not isinstance(signs, list) or len(signs) < len(self._procs):
            return False
        there = set()
        for sign in signs:
            head = read_head(sign) if isinstance(sign, bytes) else None
            if head is None or (head[0], *head[2:]) != (SHELVED, number, 0, 0):
                continue
            if self._sealer.open(memoryview(sign)[:HEAD], memoryview(b"")) is not None:
                there.add(head[1])
        return len(there) == len(self._procs)

    def counted(self, number: int, done: Callable[[int, str], None]) -> None:
        def released(found: memoryview | None, failure: str) -> None:
            done(0 if found is None else len(self._procs), failure)

        self._store.usage.count("list")
        self._store.want(Wish(self._all.encode(), (number, 1), _ANYBODY, 0, self._sealer, released))

    def remove(self, number: int) -> None:
        if self._oldest < number:
            self._oldest = number if self._newest >= number else _NEVER
            self._store.usage.count("delete")
            self._store.change(
                self._own, (pack("XTRIM", self._own, "MINID", "=", str(number)),), 1, _nothing, urgent=False
            )

    def desert(self, proc: int, reason: str) -> None:
        """A process is gone: nothing that it has to put comes any more."""
        if proc in self._procs:
            self._store.withdraw((self._keys[self._procs.index(proc)], self._all.encode()), reason)

    def _entry(
        self, command: Sequence[str | bytes], ident: Id, body: Sequence[bytes | memoryview]
    ) -> list[bytes | memoryview]:
        """Return a command whose last word is an entry with this body."""
        head, *rest = self._sealer.seal(SHELVED, self._place, ident[0], ident[1], body)
        size = HEAD + sum(map(len, rest))
        begin = pack(*command, "")[: -len(NOTHING)]
        return [b"%b$%d\r\n" % (begin, size), head, *rest, b"\r\n"]


def _nothing(answers: Sequence[Any], failure: str) -> None:
    """What the store has failed with, all are told."""


def _pieces(block: memoryview | Sequence[memoryview]) -> Iterable[Sequence[bytes | memoryview]]:
    body = (block,) if isinstance(block, memoryview) else block
    size = sum(map(len, body))
    return (body,) if size < PIECE else _cut(Frame(body, size, None))


def _cut(frame: Frame) -> Iterator[Sequence[bytes | memoryview]]:
    while frame.rest >= PIECE:
        yield frame.cut(PIECE)
    yield frame.cut(frame.rest)
