"""Signs of life, turn by turn: no store, no clock."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fmi_mpi.channels.base import ChannelError
from fmi_mpi.runtime.heartbeat import Heartbeat

NEVER = 1e6


class Meeting:
    """A store in memory, and the hearts of a job; ``requests`` are counted."""

    def __init__(self, size: int) -> None:
        self.objects: dict[str, object] = {}
        self.requests = 0
        self.down = False
        self.over = False
        self.missed: list[int] = []
        self.hearts = [
            Heartbeat(rank, size, self.read, self.write, self.ended, self.miss, lambda: None, NEVER)
            for rank in range(size)
        ]
        for heart in self.hearts:
            heart.stop()

    def read(self, name: str) -> object:
        self.ask()
        return self.objects.get(name)

    def write(self, name: str, value: object) -> None:
        self.ask()
        self.objects[name] = value

    def ended(self) -> bool:
        self.ask()
        return self.over

    def ask(self) -> None:
        self.requests += 1
        if self.down:
            raise ChannelError("the store is down")

    def miss(self, rank: int) -> None:
        self.missed.append(rank)
        self.over = True

    def turn(self, *ranks: int) -> list[bool]:
        """Let these ranks take a turn, as their threads do."""
        return [turn(self.hearts[rank]) for rank in ranks]


def turn(heart: Heartbeat) -> bool:
    try:
        return heart.turn()
    except ChannelError:
        heart._same = 0
        return False


@pytest.fixture
def meeting() -> Iterator[Meeting]:
    yield Meeting(3)


def test_one_request_a_turn_while_nobody_waits(meeting: Meeting) -> None:
    before = meeting.requests
    for _ in range(20):
        assert meeting.turn(0, 1, 2) == [False] * 3
    assert meeting.requests - before == 60 and not meeting.missed


def test_a_call_that_waits_looks_for_an_abort(meeting: Meeting) -> None:
    meeting.over = True
    assert meeting.turn(0, 1) == [False, False]
    meeting.hearts[0].attend()
    assert meeting.turn(0) == [True]


def test_who_is_silent_is_missed_and_all_others_hear_of_it(meeting: Meeting) -> None:
    meeting.turn(0, 1, 2)
    meeting.turn(0, 1, 2)
    turns = 0
    while not meeting.missed:
        over = meeting.turn(2, 0)
        turns += 1
    assert meeting.missed == [1] and over == [False, True] and turns <= 8
    assert any(meeting.turn(2)[0] for _ in range(2)), "the news goes round"


def test_who_has_left_in_order_is_not_missed(meeting: Meeting) -> None:
    meeting.turn(0, 1, 2)
    del meeting.objects["beat.00000001"]
    for _ in range(20):
        assert meeting.turn(0, 2) == [False, False]


def test_an_outage_of_the_store_is_nobodys_death(meeting: Meeting) -> None:
    for _ in range(3):
        meeting.turn(0, 1, 2)
    meeting.down = True
    for _ in range(20):
        meeting.turn(0, 1, 2)
    meeting.down = False
    for _ in range(20):
        assert meeting.turn(0, 1, 2) == [False] * 3
