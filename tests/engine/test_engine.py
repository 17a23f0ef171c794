"""The engine in worlds without sockets: matching, order, protocols, any delivery order."""

from __future__ import annotations

import random
from collections import deque

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fmi_mpi.constants import ANY_SOURCE, ANY_TAG, ERR_PROC_FAILED, ERR_TRUNCATE
from fmi_mpi.engine.engine import Engine
from fmi_mpi.engine.frames import DATA, EAGER, FLAG_SYNC, FrameError, pack_header, unpack_header
from fmi_mpi.engine.operations import RecvOp

CONTEXT = 8


class World:
    """Engines joined by queues; ``deliver`` moves one frame, whole or in two steps as a socket would."""

    def __init__(self, size: int, eager_limit: int = 64, credit: int = 1 << 20) -> None:
        self.frames: deque[tuple[int, int, bytes, bytes]] = deque()
        self.engines = [Engine(proc, self._emitter(proc), eager_limit, credit) for proc in range(size)]

    def _emitter(self, proc: int):  # type: ignore[no-untyped-def]
        def emit(peer, header, payload, token):  # type: ignore[no-untyped-def]
            views = [] if payload is None else [payload] if isinstance(payload, memoryview) else list(payload)
            self.frames.append((proc, peer, header, b"".join(views)))
            return True

        return emit

    def deliver(self, index: int = 0, in_steps: bool = False) -> None:
        self.frames.rotate(-index)
        sender, receiver, header, payload = self.frames.popleft()
        self.frames.rotate(index)
        engine = self.engines[receiver]
        if in_steps and payload:
            sink, token = engine.begin(sender, header)
            sink[:] = payload
            engine.end(sender, token)
        else:
            engine.frame(sender, header, memoryview(payload))

    def run(self, choice: random.Random | None = None) -> None:
        while self.frames:
            if choice is None:
                self.deliver()
            else:
                self.deliver(choice.randrange(len(self.frames)), choice.random() < 0.5)


def send(world: World, source: int, dest: int, tag: int, data: bytes, flags: int = 0):  # type: ignore[no-untyped-def]
    return world.engines[source].send(dest, CONTEXT, source, tag, memoryview(data), len(data), flags)


def recv(world: World, rank: int, source: int, tag: int, size: int | None) -> RecvOp:
    buffer = None if size is None else memoryview(bytearray(size))
    op = RecvOp(-1 if source == ANY_SOURCE else source, source, tag, buffer)
    return world.engines[rank].recv(CONTEXT, op)


def data_of(op: RecvOp) -> bytes:
    assert op.data is not None
    return bytes(op.data[: op.count])


@pytest.mark.parametrize("size", [0, 1, 64, 65, 5000])
@pytest.mark.parametrize("first", ["send", "recv"])
@pytest.mark.parametrize("in_steps", [False, True])
def test_a_message_arrives(size: int, first: str, in_steps: bool) -> None:
    world = World(2)
    data = random.Random(size).randbytes(size)
    if first == "send":
        send(world, 0, 1, 7, data)
        while world.frames:
            world.deliver(in_steps=in_steps)
        op = recv(world, 1, 0, 7, size)
    else:
        op = recv(world, 1, 0, 7, size)
        send(world, 0, 1, 7, data)
    while world.frames:
        world.deliver(in_steps=in_steps)
    assert op.done
    assert (op.source, op.tag, op.count, data_of(op)) == (0, 7, size, data)


@pytest.mark.parametrize("size", [10, 1000])
def test_memory_of_the_messages_own_length(size: int) -> None:
    world = World(2)
    op = recv(world, 1, ANY_SOURCE, ANY_TAG, None)
    send(world, 0, 1, 3, b"x" * size)
    world.run()
    assert data_of(op) == b"x" * size


@pytest.mark.parametrize("size", [60, 600])
def test_truncation_is_an_error_and_fills_the_buffer(size: int) -> None:
    world = World(2)
    op = recv(world, 1, 0, 0, 20)
    sent = send(world, 0, 1, 0, bytes(range(60)) * (size // 60))
    world.run()
    assert op.error == ERR_TRUNCATE
    assert data_of(op) == bytes(range(20))
    assert sent.done and not sent.error


@pytest.mark.parametrize("size", [10, 1000])
def test_synchronous_sends_wait_for_the_match(size: int) -> None:
    world = World(2)
    op = send(world, 0, 1, 0, b"s" * size, FLAG_SYNC)
    world.run()
    assert not op.done
    recv(world, 1, 0, 0, size)
    world.run()
    assert op.done


@pytest.mark.parametrize("size", [10, 1000])
def test_messages_to_oneself(size: int) -> None:
    world = World(1)
    sent = send(world, 0, 0, 5, b"m" * size)
    assert sent.done == (size <= 64)
    op = recv(world, 0, ANY_SOURCE, 5, size)
    assert sent.done and data_of(op) == b"m" * size


def test_exact_and_wildcard_receives_match_in_the_order_posted() -> None:
    world = World(2)
    wild = recv(world, 1, ANY_SOURCE, ANY_TAG, 8)
    exact = recv(world, 1, 0, 4, 8)
    late = recv(world, 1, 0, ANY_TAG, 8)
    for number in range(3):
        send(world, 0, 1, 4, bytes([number]))
    world.run()
    assert [data_of(op) for op in (wild, exact, late)] == [b"\0", b"\1", b"\2"]


def test_without_credit_messages_wait_at_the_sender() -> None:
    world = World(2, credit=100)
    sent = [send(world, 0, 1, 0, bytes([number]) * 60) for number in range(3)]
    world.run()
    assert [op.done for op in sent] == [True, False, False]
    received = [recv(world, 1, 0, 0, 60) for _ in range(3)]
    world.run()
    assert [data_of(op)[0] for op in received] == [0, 1, 2]
    assert all(op.done for op in sent)


def test_duplicates_are_dropped() -> None:
    world = World(2)
    send(world, 0, 1, 0, b"once")
    world.frames.append(world.frames[0])
    first, second = recv(world, 1, 0, 0, 4), recv(world, 1, 0, 0, 4)
    world.run()
    assert first.done and not second.done


def test_a_lost_peer_fails_what_waits_for_it() -> None:
    world = World(3)
    waiting, other = recv(world, 1, 0, 0, 4), recv(world, 1, 2, 0, 4)
    world.engines[1].lost(0, "gone")
    assert (waiting.error, waiting.detail, other.done) == (ERR_PROC_FAILED, "gone", False)
    assert send(world, 1, 0, 0, b"late").error == ERR_PROC_FAILED


@pytest.mark.parametrize("field, value", [(0, 0x12345678), (8, 1 << 40)])
def test_forged_headers_are_refused(field: int, value: int) -> None:
    fields = [EAGER, 0, 0, 0, 0, 0, CONTEXT, 0, 100, 0, 0]
    fields[field] = value
    with pytest.raises(FrameError):
        World(2).engines[1].begin(0, pack_header(*fields))


def test_a_cancelled_receive_takes_nothing() -> None:
    world = World(2)
    op, next_op = recv(world, 1, 0, 0, 4), recv(world, 1, 0, 0, 4)
    assert world.engines[1].cancel(CONTEXT, op)
    send(world, 0, 1, 0, b"data")
    world.run()
    assert op.cancelled and data_of(next_op) == b"data"


@settings(max_examples=200, deadline=None)
@given(
    messages=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2), st.integers(0, 200)), max_size=25),
    seed=st.integers(0, 1 << 30),
)
def test_order_holds_whatever_the_delivery(messages: list[tuple[int, int, int]], seed: int) -> None:
    """From each sender, messages of one tag are received in the order sent, though frames arrive in any order."""
    choice = random.Random(seed)
    world = World(4, credit=300)
    posted: dict[tuple[int, int], list[tuple[bytes, RecvOp]]] = {}
    sends = [(source, tag, bytes([number]) * size) for number, (source, tag, size) in enumerate(messages)]
    pending = list(sends)
    receives = list(sends)
    while pending or receives or world.frames:
        action = choice.randrange(3)
        if action == 0 and pending:
            source, tag, data = pending.pop(0)
            send(world, source, 3, tag, data)
        elif action == 1 and receives:
            source, tag, data = receives.pop(0)
            posted.setdefault((source, tag), []).append((data, recv(world, 3, source, tag, 200)))
        elif world.frames:
            world.deliver(choice.randrange(len(world.frames)), choice.random() < 0.5)
    for expected in posted.values():
        for data, op in expected:
            assert op.done and data_of(op) == data


@pytest.mark.parametrize("in_steps", [False, True])
@pytest.mark.parametrize("length", [0, 99, 101, 1 << 62])
def test_a_payload_of_another_length_than_asked_for_loses_the_peer(length: int, in_steps: bool) -> None:
    world = World(2)
    send(world, 0, 1, 3, bytes(100))
    op = recv(world, 1, 0, 3, 200)
    world.deliver()
    world.deliver()
    _, _, header, _ = world.frames.popleft()
    fields = list(unpack_header(header))
    fields[8] = length
    with pytest.raises(FrameError, match="where 100 were asked for"):
        if in_steps or length > 200:
            world.engines[1].begin(0, pack_header(*fields))
        else:
            world.engines[1].frame(0, pack_header(*fields), memoryview(bytes(length)))
    assert op.done and op.error == ERR_PROC_FAILED


def test_more_than_there_is_memory_for_is_no_frame() -> None:
    engine = World(2).engines[1]
    for word in (DATA, EAGER):
        with pytest.raises(FrameError):
            engine.begin(0, pack_header(word, 0, 0, 0, 0, 0, CONTEXT, 5, 1 << 62, 0, 77))
