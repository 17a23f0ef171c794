"""The simulator finds the mistakes that it is there to find."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from fmi_mpi.coll.cost import Frames
from fmi_mpi.coll.steps import Recv, Schedule, Send

from .checks import Case, allreduce
from .simulator import Rank, World, rubbish

SEEDS = range(8)


def outcomes(start: Any, size: int = 2, eager: bool = True) -> list[str]:
    """Run a broken collective in several orders; returns what was found, if anything."""
    found = []
    for seed in SEEDS:
        try:
            World(size, Random(seed), eager=eager).run(start)
        except AssertionError as error:
            found.append(str(error))
    return found


def send_first(rank: Rank) -> Schedule[None]:
    peer = 1 - rank.rank
    yield Send(peer, rubbish(4))
    yield Recv(peer, rubbish(4))


def test_sends_that_wait_for_each_other_deadlock_under_rendezvous_only() -> None:
    assert outcomes(send_first, eager=True) == []
    found = outcomes(send_first, eager=False)
    assert len(found) == len(SEEDS) and all("deadlock" in text for text in found)


def test_receiving_into_a_buffer_being_sent() -> None:
    def start(rank: Rank) -> Schedule[None]:
        buf = memoryview(bytearray([rank.rank] * 4))
        yield Send(1 - rank.rank, buf), Recv(1 - rank.rank, buf)

    found = outcomes(start, eager=False)
    assert found and all("modified" in text for text in found)


def test_lengths_that_differ() -> None:
    def start(rank: Rank) -> Schedule[None]:
        if rank.rank:
            yield Send(0, rubbish(3))
        else:
            yield Recv(1, rubbish(4))

    found = outcomes(start)
    assert len(found) == len(SEEDS) and all("3 bytes for a buffer of 4" in text for text in found)


def test_messages_left_behind() -> None:
    def start(rank: Rank) -> Schedule[None]:
        if rank.rank:
            yield Send(0, rubbish(3))

    found = outcomes(start)
    assert len(found) == len(SEEDS) and all("left behind" in text for text in found)


def test_messages_of_a_pair_stay_in_order() -> None:
    def start(rank: Rank) -> Schedule[bytes]:
        if rank.rank:
            yield [Send(0, memoryview(bytes([10 * rank.rank + i]))) for i in range(2)]
            return b""
        steps = [Recv(1), Recv(2), Recv(1), Recv(2)]
        yield steps
        return bytes([step.data[0] for step in steps if step.data])

    for seed in SEEDS:
        world = World(3, Random(seed))
        assert world.run(start)[0] == bytes([10, 20, 11, 21])
        assert world.frames == Frames(4, 4, 1, 4)


def test_the_longest_chain_is_counted() -> None:
    def start(rank: Rank) -> Schedule[None]:
        if rank.rank:
            yield Recv(rank.rank - 1, rubbish(5))
        if rank.rank < 3:
            yield Send(rank.rank + 1, rubbish(5))

    world = World(4, Random(1))
    world.run(start)
    assert world.frames == Frames(3, 15, 3, 5)


def test_a_wrong_reduction_is_noticed() -> None:
    def forgets(rank: Rank, send: memoryview, recv: memoryview, kernel: Any) -> Schedule[None]:
        yield Send(1 - rank.rank, send), Recv(1 - rank.rank, recv)

    with pytest.raises(AssertionError):
        allreduce(Case(forgets, World(2, Random(0)), Random(0), 64))
