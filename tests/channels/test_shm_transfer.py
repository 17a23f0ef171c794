"""Copying from both sides: the interleavings of the two halves, one by one."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fmi_mpi.channels.shm.inbox import CLOSED, COMPLETED
from fmi_mpi.channels.shm.memory import AddressSpaces, Regions, address_of
from fmi_mpi.channels.shm.transfer import Pair, Pull, Push

SIZE = 3_000_017


class Spaces(AddressSpaces):
    """Copies within this process, and calls what the test wants to happen before and after a copy."""

    def __init__(self, source: memoryview, sink: memoryview) -> None:
        super().__init__()
        self.source = source
        self.sink = sink
        self.copied = {"pull": 0, "push": 0}
        self.before: Callable[[str, int], None] = lambda side, count: None
        self.after: Callable[[str, int], None] = lambda side, count: None

    def _do(self, side: str, start: int, stop: int) -> None:
        self.copied[side] += 1
        self.before(side, self.copied[side])
        self.sink[start:stop] = self.source[start:stop]
        self.after(side, self.copied[side])

    def pull(self, pid: int, local: Regions, remote: Regions, start: int, stop: int) -> None:
        self._do("pull", start, stop)

    def push(self, pid: int, local: Regions, remote: Regions, start: int, stop: int) -> None:
        self._do("push", start, stop)


class Transfer:
    """One transfer whose two halves live here."""

    def __init__(self) -> None:
        self.source = memoryview(bytearray(random.Random(0).randbytes(SIZE)))
        self.sink = memoryview(bytearray(SIZE))
        self.words = memoryview(bytearray(512)).cast("Q")
        self.spaces = Spaces(self.source, self.sink)
        pair = Pair(self.words, 0, 0, self.spaces, lambda: None)
        regions = Regions((address_of(self.source),), (SIZE,))
        self.push = Push(pair, 1, [self.source], "token")
        self.pull = Pull(pair, 1, regions, self.sink, None)


def once(action: Callable[[], object]) -> Callable[[], None]:
    """Do it the first time only, however the hooks nest."""
    waiting = [action]

    def act() -> None:
        if waiting:
            waiting.pop()()

    return act


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("chunk", range(1, 7))
def test_sender_helps_while_the_receiver_copies(when: str, chunk: int) -> None:
    transfer = Transfer()
    helped = once(transfer.push.help)
    setattr(transfer.spaces, when, lambda side, count: helped() if (side, count) == ("pull", chunk) else None)
    while not transfer.pull.advance():
        transfer.push.help()
    assert transfer.sink == transfer.source
    if chunk == 1:
        assert transfer.spaces.copied["push"] > 1


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("chunk", range(1, 5))
def test_receiver_goes_on_while_the_sender_copies(when: str, chunk: int) -> None:
    transfer = Transfer()
    answers: list[bool] = []
    advanced = once(lambda: answers.append(transfer.pull.advance()))
    setattr(transfer.spaces, when, lambda side, count: advanced() if (side, count) == ("push", chunk) else None)
    transfer.push.help()
    assert answers == [False], "the sender has a chunk in hand, so the payload is not complete"
    assert transfer.pull.ready()
    assert transfer.pull.advance()
    assert transfer.sink == transfer.source


def test_receiver_needs_no_help() -> None:
    transfer = Transfer()
    assert transfer.pull.advance()
    assert transfer.sink == transfer.source
    assert transfer.spaces.copied["push"] == 0


def test_late_help_touches_nothing() -> None:
    transfer = Transfer()
    assert transfer.pull.advance()
    transfer.pull.complete()
    transfer.sink[:] = bytes(SIZE)
    transfer.push.help()
    assert transfer.spaces.copied["push"] == 0
    assert transfer.words[COMPLETED] == transfer.push.number
    assert not any(transfer.sink[::4096])


def test_claim_after_the_close_is_withdrawn() -> None:
    transfer = Transfer()
    closing = once(lambda: transfer.words.__setitem__(CLOSED, 1))
    transfer.spaces.after = lambda side, count: closing()
    transfer.push.help()
    assert transfer.spaces.copied["push"] == 1
    assert transfer.pull.advance()
    assert transfer.sink == transfer.source


@pytest.mark.parametrize("chunk", range(1, 4))
def test_receiver_copies_what_the_sender_could_not(chunk: int) -> None:
    transfer = Transfer()

    def fail(side: str, count: int) -> None:
        if (side, count) == ("push", chunk):
            raise OSError("no permission")

    transfer.spaces.before = fail
    transfer.push.help()
    assert transfer.pull.advance()
    assert transfer.sink == transfer.source


@given(
    sizes=st.lists(st.integers(1, 50), min_size=1, max_size=40),
    cut=st.tuples(st.floats(0, 1), st.floats(0, 1)),
)
def test_vectors_name_exactly_the_bytes_asked_for(sizes: list[int], cut: tuple[float, float]) -> None:
    addresses = [1000 * index for index in range(len(sizes))]
    regions = Regions(addresses, sizes)
    start, stop = sorted(int(part * regions.nbytes) for part in cut)
    everything = [address + offset for address, size in zip(addresses, sizes) for offset in range(size)]
    vectors = memoryview(bytearray(16 * 64)).cast("Q")
    count = regions.fill(vectors, 0, start, stop) if start < stop else 0
    named = [vectors[2 * n] + offset for n in range(count) for offset in range(vectors[2 * n + 1])]
    assert named == everything[start:stop]


@pytest.mark.parametrize("pieces", [1, 2, 1023, 1024, 1025, 3000])
def test_copies_between_address_spaces_are_not_limited_by_pieces(pieces: int) -> None:
    import os

    spaces = AddressSpaces()
    source = memoryview(random.Random(pieces).randbytes(7 * pieces))
    sink = memoryview(bytearray(len(source)))
    start = address_of(source)
    remote = Regions([start + 7 * n for n in range(pieces)], [7] * pieces)
    spaces.pull(os.getpid(), Regions((address_of(sink),), (len(sink),)), remote, 0, len(source))
    assert sink == source
