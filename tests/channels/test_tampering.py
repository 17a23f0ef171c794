"""S3 and DynamoDB with somebody else who may write there, but does not know the job's key: what he changes is noticed."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import pytest

from benchmarks.servers.redis import KINDS, ask, shared
from fmi_mpi.channels.base import Shelf
from fmi_mpi.channels.conformance import Recorder, pump
from fmi_mpi.channels.mailbox import MailboxChannel
from fmi_mpi.channels.mailbox.keys import Keys
from fmi_mpi.channels.mailbox.objects import FRAME, HEAD, SHELVED, Sealer
from fmi_mpi.channels.mailbox.polled import PolledStore
from fmi_mpi.channels.mailbox.sealed import CipherSealer

from . import pairs
from .pairs import Frames, made
from .subjects import JOB, SECRET, over_dynamodb, over_redis, over_s3

MARK = b"what only the ranks may read"
FRAMES = Frames((100, 5000, 70_000, 10))

STORES = {"s3": over_s3, "dynamodb": lambda **variables: over_dynamodb("ministack", **variables)}
MODES = {"plain": {}, "encrypted": {"FMI_ENCRYPT": "1"}}
BOTH = [pytest.param((name, mode), id=f"{name}-{mode}") for name in STORES for mode in MODES]


class Ends:
    """Two ends of a job over a store, and the store as a stranger sees it."""

    def __init__(self, channels: list[MailboxChannel], recorders: list[Recorder], encrypts: bool) -> None:
        self.channels, self.recorders = channels, recorders
        self.sealer = CipherSealer if encrypts else Sealer
        self.keys: Keys = channels[0]._store.keys  # type: ignore[attr-defined]
        self.box = channels[1]._box

    def store(self, numbers: range) -> list[str]:
        """Have process 0 send frames that process 1 does not read yet; their keys."""
        quiet(self.channels[1])
        before = {one.key for one in self.keys.find(f"{self.box}/")}
        FRAMES.send(self.channels[0], 1, numbers)
        pump(self.channels[:1], lambda: not self.channels[0].pending(), "the frames to be stored")
        return [one.key for one in self.keys.find(f"{self.box}/") if one.key not in before]

    def read(self, key: str) -> bytes:
        body = self.keys.get(key)
        assert body is not None
        return body

    def write(self, key: str, body: bytes) -> None:
        self.keys.put(key, (body,), len(body))

    def asked(self, ask: Callable[..., None], *words: Any) -> Any:
        """Return what a shelf answers."""
        answers: list[Any] = []
        ask(*words, lambda *answer: answers.append(answer))
        pump(self.channels, lambda: bool(answers), "the shelf's answer")
        return answers[0]


def quiet(channel: MailboxChannel) -> None:
    """Let a channel that is not polled find out that nobody waits."""
    store = cast(PolledStore, channel._store)
    while store._sought:
        store._errands.collect()


@contextmanager
def opened(name: str, mode: str) -> Iterator[Ends]:
    subject = STORES[name](**MODES[mode])
    with pairs.pair(lambda proc, recorder: cast(MailboxChannel, subject.make(proc, 2, recorder))) as (ends, recorders):
        yield Ends(ends, recorders, bool(MODES[mode]))


@pytest.fixture(params=BOTH)
def ends(request: pytest.FixtureRequest) -> Iterator[Ends]:
    with opened(*request.param) as made:
        yield made


# -- what can be read ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", STORES)
def test_what_lies_there_is_readable_only_if_not_encrypted(name: str, mode: str) -> None:
    marked = MARK * 30_000  # several items in DynamoDB
    with opened(name, mode) as ends:
        (sender, receiver), recorders = ends.channels, ends.recorders
        quiet(receiver)
        for body in (MARK, marked):
            sender.send(1, pairs.header_of(1, len(body)), memoryview(body), None)
        pump([sender], lambda: not sender.pending(), "the frames to be stored")
        found = [*ends.keys.find(f"{ends.box}/")]
        lying = b"".join(one.key.encode() + ends.read(one.key) for one in found)
        shelves = [channel.shelf(range(2), "7", proc) for proc, channel in enumerate((sender, receiver))]
        assert ends.asked(shelves[0].put, 1, 2, [memoryview(MARK), memoryview(marked)]) == ("",)
        (on_shelf,) = ends.keys.find(f"{sender._box}~7/1.2/")
        for one in (lying, ends.read(on_shelf.key)):
            assert (MARK in one) is (mode == "plain")
            assert SECRET not in one
        pump(ends.channels, lambda: len(recorders[1].frames) == 2, "the frames")
        assert [frame[2] for frame in recorders[1].frames] == [MARK, marked]
        block, failure = ends.asked(shelves[1].get, 1, 2, 0, 1, len(MARK), len(marked))
        assert bytes(block) == marked and not failure


@pytest.mark.parametrize("mode", MODES)
def test_what_lies_in_a_stream_is_readable_only_if_not_encrypted(mode: str) -> None:
    kind = next(iter(KINDS))
    subject = over_redis(kind, **MODES[mode])
    with pairs.pair(lambda proc, recorder: cast(MailboxChannel, subject.make(proc, 2, recorder))) as (ends, recorders):
        for body in (MARK, MARK * 30_000):
            ends[0].send(1, pairs.header_of(1, len(body)), memoryview(body), None)
        pump(ends[:1], lambda: not ends[0].pending(), "the frames to be stored")
        lying = ask(shared(kind).port, "XRANGE", ends[1]._box, "-", "+")
        assert len(lying) > 100_000
        assert (MARK in lying) is (mode == "plain")
        assert SECRET not in lying
        pump(ends, lambda: len(recorders[1].frames) == 2, "the frames")
        assert recorders[1].frames[1][2] == MARK * 30_000


# -- what can be changed ---------------------------------------------------------------------------------------------


def flipped(thing: bytes) -> bytes:
    return thing[:-1] + bytes([thing[-1] ^ 1])


CHANGES: dict[str, Callable[[Ends, str, str], bytes]] = {
    "flipped": lambda ends, key, old: flipped(ends.read(key)),
    "with another number": lambda ends, key, old: ends.read(key)[:8] + b"\x07" + ends.read(key)[9:],
    "truncated": lambda ends, key, old: ends.read(key)[:-1],
    "cut in the head": lambda ends, key, old: ends.read(key)[: HEAD - 1],
    "empty": lambda ends, key, old: b"",
    "extended": lambda ends, key, old: ends.read(key) + b"x",
    "oversized": lambda ends, key, old: bytes(ends.channels[0]._store.keys.piece + 1),  # type: ignore[attr-defined]
    "forged": lambda ends, key, old: made(ends.sealer(b"another", JOB, ends.box), FRAME, 0, 9, bytes(100)),
    "of another mailbox": lambda ends, key, old: made(ends.sealer(SECRET, JOB, "box"), FRAME, 0, 9, bytes(100)),
    "replaced by an old one": lambda ends, key, old: ends.read(old),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_changed_object_is_an_error_that_names_it(ends: Ends, change: Callable[[Ends, str, str], bytes]) -> None:
    """Though nothing comes after it."""
    keys = ends.store(range(3))
    ends.write(keys[2], change(ends, keys[2], keys[1]))
    recorder = ends.recorders[1]
    pump(ends.channels, lambda: bool(recorder.gone), "the change to be noticed")
    assert len(recorder.frames) <= 2  # S3's objects are fetched several at a time
    FRAMES.check(recorder, range(len(recorder.frames)))
    ((peer, reason),) = recorder.gone
    assert peer == 0
    assert reason.startswith(
        f"{ends.channels[1].name}: {ends.keys.label}: object {keys[2]!r} is not what a rank has put"
    )
    assert "see who else may write there" in reason


def test_exchanged_objects_are_an_error(ends: Ends) -> None:
    keys = ends.store(range(4))
    first, second = ends.read(keys[2]), ends.read(keys[3])
    ends.write(keys[2], second)
    ends.write(keys[3], first)
    recorder = ends.recorders[1]
    pump(ends.channels, lambda: bool(recorder.gone), "the exchange to be noticed")
    FRAMES.check(recorder, range(len(recorder.frames)))
    assert "is not what a rank has put there" in recorder.gone[0][1]


def test_what_a_stranger_adds_is_not_used(ends: Ends) -> None:
    keys = ends.store(range(2))
    things = [change(ends, keys[1], keys[0]) for change in CHANGES.values()]
    for index, thing in enumerate(things):
        ends.write(f"{ends.box}/{index}", thing)
    ends.store(range(2, 4))
    recorder = ends.recorders[1]
    forged = len(things) - 1  # the last one is genuine, but it has been there
    pump(ends.channels, lambda: len(recorder.frames) >= 4 and ends.channels[1].forged == forged, "the genuine frames")
    FRAMES.check(recorder, range(4))
    assert not recorder.gone


def test_a_deleted_object_is_an_error() -> None:
    with opened("dynamodb", "plain") as ends:
        keys = ends.store(range(2))
        ends.keys.remove(keys[:1])
        recorder = ends.recorders[1]
        pump(ends.channels, lambda: bool(recorder.gone), "the loss to be noticed")
        assert "the store has lost object" in recorder.gone[0][1]
        assert not recorder.frames


# -- shelves ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def shelves(ends: Ends) -> tuple[Shelf, Shelf]:
    first, second = (channel.shelf(range(2), "7", proc) for proc, channel in enumerate(ends.channels))
    return first, second


@pytest.mark.parametrize("change", ["flipped", "truncated", "extended", "forged"])
def test_a_changed_block_is_not_taken_and_named(ends: Ends, shelves: tuple[Shelf, Shelf], change: str) -> None:
    ends.asked(shelves[0].put, 1, 0, [memoryview(bytes(100))])
    key = f"{ends.channels[0]._box}~7/1.0/0"
    assert ends.asked(shelves[1].get, 1, 0, 0, 0, 0, 100) == (memoryview(bytes(100)), "")
    assert ends.asked(shelves[1].length, 1, 0, 0, 0) == (100, "")
    ends.write(key, CHANGES[change](ends, key, key))
    if change != "extended":
        assert ends.asked(shelves[1].get, 1, 0, 0, 0, 0, 100) == (None, "")
        length, failure = ends.asked(shelves[1].length, 1, 0, 0, 0)
        assert length == -1 and f"object {key!r} is not what a rank has put there" in failure
    assert ends.asked(shelves[1].get, 1, 0, 0, 0, 0, -1) == (None, "")
    assert ends.asked(shelves[1].length, 1, 1, 0, 0) == (-1, "")


def test_an_object_of_another_turn_or_rank_is_not_taken(ends: Ends, shelves: tuple[Shelf, Shelf]) -> None:
    ends.asked(shelves[0].put, 1, 0, [memoryview(bytes(100))])
    thing = ends.read(f"{ends.channels[0]._box}~7/1.0/0")
    for number, turn, place in ((1, 1, 0), (2, 0, 0), (1, 0, 1)):
        ends.write(f"{ends.channels[0]._box}~7/{number}.{turn}/{place}", thing)
        assert ends.asked(shelves[1].get, number, turn, place, 0, 0, 100) == (None, "")


@pytest.mark.parametrize("mode", MODES)
def test_nobody_but_ranks_is_counted(mode: str) -> None:
    with opened("dynamodb", mode) as ends:
        shelf = ends.channels[0].shelf(range(2), "7", 0)
        assert ends.asked(shelf.count, 3) == ("",)
        box = f"{ends.channels[0]._box}~7"
        genuine = ends.read(f"{box}/3.c/0")
        forged = made(ends.sealer(os.urandom(32), JOB, box), SHELVED, 1, 3 << 8 | 255, b"")
        for place, thing in (("1", genuine), ("2", forged), ("x", genuine), ("3", b"")):
            ends.write(f"{box}/3.c/{place}", thing)
        assert ends.asked(shelf.counted, 3) == (1, "")
