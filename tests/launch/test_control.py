"""The control server against ranks that behave, and against everybody else. No process, no thread."""

from __future__ import annotations

import os
import selectors
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fmi_mpi.bootstrap.wire import RANK_LIMIT, SERVER_LIMIT, SIGNAL_LIMIT, Decoder, Message, encode, proof
from fmi_mpi.launch.control import Control

SECRET = b"s" * 32
JOB = "job"


class World:
    """A server of three ranks, what it reports, and its clients."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.selector = selectors.PollSelector()
        self.aborts: list[tuple[int, int, str]] = []
        self.hangups: list[int] = []
        self.control = Control(path, JOB, SECRET, 3, self.selector, self)

    def on_abort(self, rank: int, code: int, message: str) -> None:
        self.aborts.append((rank, code, message))

    def on_hangup(self, rank: int) -> None:
        self.hangups.append(rank)

    def pump(self) -> None:
        while ready := self.selector.select(0):
            for key, _ in ready:
                key.data()

    def client(self) -> Client:
        return Client(self)

    def rank(self, number: int) -> Client:
        client = Client(self)
        client.claim(number)
        assert client.take() == {"type": "welcome"}
        return client


class Client:
    """One end of a control connection."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(world.path)
        self.socket.setblocking(False)
        self.decoder = Decoder(SERVER_LIMIT)
        self.nonce = self.take()["nonce"]

    def take(self) -> Message:
        """Return the next message; raises ConnectionError if the server has hung up."""
        while (message := self.decoder.next()) is None:
            self.world.pump()
            data = self.socket.recv(1 << 20)
            if not data:
                raise ConnectionError
            self.decoder.feed(data)
        return message

    def send(self, data: bytes) -> None:
        self.socket.send(data)
        self.world.pump()

    def claim(self, rank: int, secret: bytes = SECRET) -> None:
        token = proof(secret, self.nonce, JOB, rank)
        self.send(encode({"type": "claim", "rank": rank, "pid": os.getpid(), "proof": token}))

    def is_silent(self) -> bool:
        self.world.pump()
        try:
            return not self.socket.recv(1)
        except BlockingIOError:
            return True

    def is_cut_off(self) -> bool:
        try:
            while True:
                self.take()
        except ConnectionError:
            return True
        except BlockingIOError:
            return False


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(str(tmp_path / "control"))
    yield world
    world.control.close()
    world.selector.close()


def test_table_comes_once_to_all_when_all_have_published(world: World) -> None:
    ranks = [world.rank(number) for number in range(3)]
    for number in (2, 0, 1):
        assert all(rank.is_silent() for rank in ranks)
        ranks[number].send(encode({"type": "publish", "record": {"rank": number}}))
    expected = {"type": "table", "records": [{"rank": number} for number in range(3)]}
    assert [rank.take() for rank in ranks] == [expected] * 3
    assert all(rank.is_silent() for rank in ranks)


def test_table_larger_than_a_socket_buffer(world: World) -> None:
    ranks = [world.rank(number) for number in range(3)]
    big = "x" * 900_000
    for rank in ranks:
        for part in (frame := encode({"type": "publish", "record": big}),):
            rank.socket.setblocking(True)
            sent = 0
            while sent < len(frame):
                sent += rank.socket.send(part[sent : sent + 50_000])
                world.pump()
            rank.socket.setblocking(False)
    assert [len(rank.take()["records"]) for rank in ranks] == [3] * 3


def test_second_claimant_is_told_to_leave(world: World) -> None:
    first = world.rank(1)
    second = world.client()
    second.claim(1)
    assert second.take() == {"type": "leave"}
    assert second.is_cut_off()
    first.socket.close()
    third = world.client()
    third.claim(1)
    assert third.take() == {"type": "leave"}


def test_wrong_secret_is_refused(world: World) -> None:
    forger = world.client()
    forger.claim(1, b"t" * 32)
    assert forger.take()["type"] == "refuse"
    assert forger.is_cut_off()
    world.rank(1)


def test_proof_of_another_connection_is_worthless(world: World) -> None:
    first, second = world.client(), world.client()
    token = proof(SECRET, first.nonce, JOB, 0)
    second.send(encode({"type": "claim", "rank": 0, "pid": 1, "proof": token}))
    assert second.take()["type"] == "refuse"


@pytest.mark.parametrize("rank", [-1, 3])
def test_rank_outside_the_job(world: World, rank: int) -> None:
    client = world.client()
    client.claim(rank)
    assert client.is_cut_off()


MALFORMED = {
    "too long": struct.pack(">I", 0xFFFFFFFF),
    "longer than an unproven one may be": struct.pack(">I", 4097),
    "not JSON": struct.pack(">I", 3) + b"abc",
    "not UTF-8": struct.pack(">I", 3) + b"\xff\xfe\xfd",
    "nested without end": struct.pack(">I", 4000) + b"[" * 4000,
    "no object": struct.pack(">I", 2) + b"[]",
    "no type": struct.pack(">I", 2) + b"{}",
    "type is no text": encode({"type": 1}),
    "no claim first": encode({"type": "abort", "code": 1, "message": ""}),
    "claim without rank": encode({"type": "claim"}),
    "claim with a text": encode({"type": "claim", "rank": "x", "pid": 1, "proof": ""}),
    "proof is no text": encode({"type": "claim", "rank": 0, "pid": 1, "proof": 7}),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_malformed_frame_cuts_off_its_sender_alone(world: World, case: str) -> None:
    good = world.rank(0)
    bad = world.client()
    bad.send(MALFORMED[case])
    assert bad.is_cut_off()
    assert not good.is_cut_off()
    assert (world.aborts, world.hangups) == ([], [])


@pytest.mark.parametrize(
    "data",
    [
        struct.pack(">I", RANK_LIMIT + 1),
        encode({"type": "bogus"}),
        encode({"type": "abort"}),
        encode({"type": "publish"}),
    ],
)
def test_malformed_frame_of_a_rank_is_a_hangup(world: World, data: bytes) -> None:
    rank = world.rank(2)
    rank.send(data)
    assert rank.is_cut_off()
    assert world.hangups == [2]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(min_size=1, max_size=200))
def test_any_bytes_leave_the_server_alive(world: World, data: bytes) -> None:
    client = world.client()
    client.send(data)
    client.socket.close()
    world.pump()
    assert (world.aborts, world.hangups) == ([], [])


def test_last_words_are_heard_before_the_end(world: World) -> None:
    rank = world.rank(0)
    rank.socket.send(encode({"type": "finalized"}))
    rank.socket.close()
    world.control.settle(0)
    assert world.control.has_finalized(0)
    assert world.hangups == []


def test_hangup_without_finalizing(world: World) -> None:
    world.rank(0).socket.close()
    world.pump()
    assert world.hangups == [0]


def test_abort_is_reported(world: World) -> None:
    world.rank(1).send(encode({"type": "abort", "code": 3, "message": "why"}))
    assert world.aborts == [(1, 3, "why")]


def test_signals_are_passed_on(world: World) -> None:
    ranks = [world.rank(number) for number in range(2)]
    ranks[0].send(encode({"type": "signal", "rank": 1, "data": {"n": 1}}))
    ranks[0].send(encode({"type": "signal", "rank": 2, "data": {"n": 2}}))  # nobody there
    assert ranks[1].take() == {"type": "signal", "rank": 0, "data": {"n": 1}}
    assert all(rank.is_silent() for rank in ranks)


@pytest.mark.parametrize("data", [{"n": "x" * SIGNAL_LIMIT}, [1], None])
def test_signals_are_small_objects(world: World, data: object) -> None:
    ranks = [world.rank(number) for number in range(2)]
    ranks[0].send(encode({"type": "signal", "rank": 1, "data": data}))
    assert ranks[0].is_cut_off()
    assert ranks[1].is_silent()
    assert world.hangups == [0]


@pytest.mark.parametrize("wait_first", [True, False])
def test_those_who_wait_hear_that_a_rank_is_gone(world: World, wait_first: bool) -> None:
    rank = world.rank(0)
    if wait_first:
        rank.send(encode({"type": "wait"}))
        assert rank.is_silent()
    world.control.settle(2)
    if not wait_first:
        assert rank.is_silent()
        rank.send(encode({"type": "wait"}))
    answer = rank.take()
    assert (answer["type"], answer["ranks"]) == ("incomplete", [2])
    assert "rank 2 exited without joining" in answer["reason"]


def test_who_is_missing(world: World) -> None:
    rank = world.rank(1)
    rank.send(encode({"type": "publish", "record": {}}))
    rank.send(encode({"type": "who"}))
    assert rank.take() == {"type": "missing", "ranks": [0, 2]}
