"""When a mailbox is listed, and what is taken from a shelf by one listing."""

from __future__ import annotations

import select
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pytest

from fmi_mpi.channels.mailbox import polled
from fmi_mpi.channels.mailbox.keys import Found
from fmi_mpi.channels.mailbox.objects import HEAD, Sealer
from fmi_mpi.channels.mailbox.polled import PolledStore
from fmi_mpi.channels.mailbox.shelf import MailboxShelf

from .memory_keys import MemoryKeys
from .subjects import JOB, SECRET

BOX = "fmi/{job}/0/mine"
THING = bytes(HEAD)


class Heard:
    """See ``mailbox.store.Events``: what a store has told."""

    def __init__(self) -> None:
        self.things: list[bytes] = []
        self.broke = ""

    def arrived(self, thing: memoryview) -> None:
        self.things.append(bytes(thing))

    def landing(self, head: memoryview) -> memoryview | None:
        return None

    def landed(self, head: memoryview) -> None: ...

    def stored(self, ticket: object) -> None: ...

    def refused(self, box: str, reason: str) -> None: ...

    def farewell(self, head: memoryview) -> bool:
        return False

    def broken(self, reason: str) -> None:
        self.broke = reason


class Rank:
    """Who waits for what comes into a mailbox."""

    def __init__(self, keys: MemoryKeys) -> None:
        self.expects = False
        self.heard = Heard()
        self.store = PolledStore(keys, lambda: self.expects)
        self.store.open(BOX, self.heard)
        self._poll = select.poll()
        for fd, mask in self.store.descriptors():
            self._poll.register(fd, mask)

    def wait(self, done: Callable[[], Any]) -> None:
        """Poll and sleep, as the runtime does, until something is so."""
        self.store.poll()
        while not done():
            if self.store.arm():
                assert self._poll.poll(20_000), "nobody is told of anything"
            self.store.disarm()
            self.store.poll()


@pytest.fixture
def keys() -> MemoryKeys:
    return MemoryKeys()


@pytest.fixture
def rank(keys: MemoryKeys) -> Iterator[Rank]:
    rank = Rank(keys)
    yield rank
    rank.store.close()


def test_a_mailbox_is_listed_rarely_while_no_message_is_waited_for_and_at_once_when_one_is(
    keys: MemoryKeys, rank: Rank, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(polled, "_RARELY", 3600.0)
    keys.put(f"{BOX}/1-0", [THING], len(THING))
    rank.wait(lambda: True)
    assert rank.store.arm()
    rank.store.disarm()
    assert keys.finds == 0
    rank.expects = True
    rank.wait(lambda: rank.heard.things)
    assert rank.heard.things == [THING] and not rank.heard.broke


def test_a_mailbox_is_listed_though_no_message_is_waited_for(keys: MemoryKeys, rank: Rank) -> None:
    keys.put(f"{BOX}/1-0", [THING], len(THING))
    rank.wait(lambda: rank.heard.things)
    assert rank.heard.things == [THING]


def test_a_listing_that_took_too_long_shows_nothing_twice(
    keys: MemoryKeys, rank: Rank, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(polled, "_RARELY", 0.0)
    monkeypatch.setattr(polled, "_BATCH", 1)
    asked, answered, over = threading.Event(), threading.Event(), threading.Event()
    find = keys.find

    def slow(prefix: str, after: str = "") -> Sequence[Found]:
        found = find(prefix, after)
        if not asked.is_set():
            asked.set()
            assert answered.wait(20)
            over.set()
        return found

    monkeypatch.setattr(keys, "find", slow)
    keys.put(f"{BOX}/1-0", [THING], len(THING))
    assert rank.store.arm() and asked.wait(20)
    rank.store.disarm()
    rank.expects = True
    rank.wait(lambda: rank.heard.things and not keys.things)
    answered.set()
    assert over.wait(20)
    keys.put(f"{BOX}/1-1", [THING], len(THING))
    rank.wait(lambda: len(rank.heard.things) > 1)
    assert len(rank.heard.things) == 2 and not rank.heard.broke


def shelf(keys: MemoryKeys, place: int, secret: bytes = SECRET) -> MailboxShelf:
    def ask(work: Callable[[], Any], done: Callable[[Any], None]) -> None:
        done(work())

    return MailboxShelf(keys, ask, "shelf", place, Sealer(secret, JOB, "shelf"))


def test_a_listing_brings_what_several_have_put_and_nothing_else(keys: MemoryKeys) -> None:
    for place, body in enumerate([b"zero", b"one", b"longer", b"any"]):
        shelf(keys, place).put(7, 0, [memoryview(body)], lambda failure: None)
    shelf(keys, 4, b"another secret" * 3).put(7, 0, [memoryview(b"evil")], lambda failure: None)
    shelf(keys, 5).put(7, 1, [memoryview(b"turn")], lambda failure: None)
    keys.things["shelf/7.0/6"] = keys.things["shelf/7.0/0"]
    keys.things["shelf/7.0/seven"] = keys.things["shelf/7.0/1"]
    told: list[tuple[Mapping[int, memoryview], str]] = []
    wanted = {0: 4, 1: 3, 2: 4, 3: -1, 4: 4, 5: 4, 6: 4, 8: 1}
    shelf(keys, 9).gather(7, 0, wanted, lambda found, failure: told.append((found, failure)))
    ((found, failure),) = told
    assert ({place: bytes(block) for place, block in found.items()}, failure) == (
        {0: b"zero", 1: b"one", 3: b"any"},
        "",
    )
    assert (keys.usage.list, keys.usage.empty) == (0, 1)
