"""Output between launchers, without a service: who says what to whom when."""

from __future__ import annotations

import os
import selectors
from collections.abc import Iterator
from typing import Any

import pytest

from fmi_mpi.bootstrap.messages import Message, encode
from fmi_mpi.launch.merging import Collector, Forward
from fmi_mpi.launch.output import Lines, Sink
from fmi_mpi.launch.rendezvous.limits import Limits
from fmi_mpi.launch.rendezvous.messages import read


class Paper:
    """A sink that keeps what is written; ``full``: no more should be brought."""

    def __init__(self) -> None:
        self.text = b""
        self.full = False
        self.readers: list[Any] = []

    def write(self, data: bytes) -> None:
        self.text += data

    def is_full(self) -> bool:
        return self.full

    def pause(self, reader: Any) -> None:
        self.readers.append(reader)


class Two:
    """A launcher of rank 1 and the one of rank 0; messages are carried by ``turn``."""

    def __init__(self) -> None:
        self.upward: list[Message] = []
        self.downward: list[Message] = []
        self.here, self.there, self.errors = Paper(), Paper(), Paper()
        self.forward = Forward(1, self.upward.append)
        self.out = self.forward.outlet(1, 1, self.here, b"")  # type: ignore[arg-type]
        sinks: Any = (self.there, self.errors)
        self.collector = Collector(sinks, lambda rank: b"%d: " % rank, self.downward.append)

    def turn(self) -> None:
        while self.upward or self.downward:
            for message in self.upward[:1]:
                data = encode(message)
                assert len(data) <= Limits().message
                self.collector.take(read(data))
            del self.upward[:1]
            for message in self.downward[:1]:
                self.forward.printed(message["number"])
            del self.downward[:1]


@pytest.fixture
def two() -> Two:
    return Two()


def test_output_waits_until_it_is_known_where_it_goes(two: Two) -> None:
    two.out.write(b"early\n")
    assert not two.upward and not two.here.text
    two.forward.direct(True)
    two.out.write(b"late\n")
    two.turn()
    two.forward.end()
    two.turn()
    assert (two.there.text, two.here.text, two.forward.done) == (b"1: early\n1: late\n", b"", True)
    assert not two.collector.open


def test_output_is_printed_here_if_nobody_does_there(two: Two) -> None:
    two.out.write(b"early\n")
    two.forward.direct(False)
    two.out.write(b"late\n")
    two.forward.end()
    assert (two.here.text, two.upward, two.forward.done) == (b"early\nlate\n", [], True)


def test_what_is_said_again_is_printed_once(two: Two) -> None:
    two.forward.direct(True)
    two.out.write(b"one\n")
    first = two.upward[0]
    two.forward.direct(True)  # the service has been started again
    assert two.upward == [first, first]
    two.turn()
    two.out.write(b"two\n")
    two.upward.insert(0, first)
    two.turn()
    assert two.there.text == b"1: one\n1: two\n"


def test_memory_is_bounded_and_a_slow_reader_slows_the_ranks(two: Two) -> None:
    two.forward.direct(True)
    two.there.full = True
    written = 0
    while not two.out.is_full():
        two.out.write(b"x" * 999 + b"\n")
        written += 1000
    assert written < 1 << 19
    resumed: list[bool] = []
    two.out.pause(type("Reader", (), {"resume": lambda self: resumed.append(True)})())
    two.turn()
    assert len(two.there.text) < 1 << 17 and not resumed
    two.there.full = False
    two.there.readers.pop().resume()
    two.turn()
    assert resumed and two.there.text.count(b"x") == written // 1000 * 999


@pytest.mark.parametrize("data", [bytes(range(256)) * 600 + b"\n", b"\n" * 5000, "ä€😀".encode() * 9000 + b"\n"])
def test_any_bytes_arrive_unchanged_in_messages_that_the_service_takes(two: Two, data: bytes) -> None:
    two.forward.direct(True)
    two.out.write(data)
    two.turn()
    assert two.there.text == Lines(b"1: ").take(data)


def test_many_ranks_that_print_by_turns(two: Two) -> None:
    outs = [two.forward.outlet(rank, 1 + rank % 2, two.here, b"") for rank in range(4)]  # type: ignore[arg-type]
    for _ in range(2000):
        for out in outs:
            out.write(b"\n")
    two.forward.direct(True)
    two.turn()
    assert two.there.text.count(b"2: \n") == 2000 == two.errors.text.count(b"3: \n")


def test_what_could_not_be_delivered_is_printed_here(two: Two) -> None:
    two.forward.direct(True)
    two.out.write(b"sent\n")
    two.out.write(b"waiting\n")
    two.forward.end()
    assert not two.forward.done
    assert two.forward.give_up()
    assert two.here.text == b"sent\nwaiting\n" and two.forward.done


LONG = b"y" * (1 << 20)


def test_a_line_that_is_too_long_is_not_held() -> None:
    lines = Lines(b"> ")
    got = [lines.take(LONG) for _ in range(20)]
    assert sum(map(len, got)) > 1 << 24 and not got[0]
    whole = b"".join(got) + lines.take(b"end\nnext\n") + lines.rest()
    assert whole == b"> " + LONG * 20 + b"end\n> next\n"


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


def test_a_collector_answers_when_its_terminal_has_taken_the_text(pipe: tuple[int, int]) -> None:
    with selectors.PollSelector() as selector:
        sink = Sink(pipe[1], selector, lambda: None)
        said: list[Message] = []
        collector = Collector((sink, sink), lambda rank: b"", said.append)
        text = "z" * 30_000 + "\n"
        for number in range(1, 61):
            message = {"type": "output", "rank": 1, "number": number, "pieces": [[1, 1, text]], "last": False}
            collector.take(message)
        answered = len(said)
        assert 30 < answered < 60
        taken = 0
        while taken < 60 * len(text):
            taken += len(os.read(pipe[0], 1 << 16))
            for key, _ in selector.select(0):
                key.data()
        assert said[-1]["number"] == 60
