"""One-sided communication in worlds without sockets: accesses, order, locks, notifications, failures, malformed frames."""

from __future__ import annotations

import random
from collections import deque

import numpy as np
import pytest

from fmi_mpi.constants import ERR_PROC_FAILED, ERR_RMA_RANGE, ERR_WIN
from fmi_mpi.data.constructors import vector
from fmi_mpi.data.exposure import Exposure, code_of, encode
from fmi_mpi.data.kernels import OPS
from fmi_mpi.data.predefined import simple
from fmi_mpi.engine.engine import Engine
from fmi_mpi.engine.frames import GET, LAYOUT, PUT, FrameError, pack_header
from fmi_mpi.engine.onesided import OneSided
from fmi_mpi.engine.operations import Operation, RecvOp

CONTEXT = 7
SIZE = 256
INT = simple("INT")
ADD = code_of(OPS["SUM"], INT)


class World:
    """Engines with a window each, joined by queues that keep the order of a pair unless told otherwise."""

    def __init__(self, size: int, dynamic: bool = False) -> None:
        self.frames: deque[tuple[int, int, bytes, bytes]] = deque()
        self.memories = [bytearray(range(SIZE)) for _ in range(size)]
        engines = [Engine(proc, self._emitter(proc)) for proc in range(size)]
        self.engines = engines
        self.sides = [OneSided(engine) for engine in engines]
        self.windows = [
            side.open(CONTEXT, Exposure(None if dynamic else memoryview(memory)))
            for side, memory in zip(self.sides, self.memories)
        ]

    def _emitter(self, proc: int):  # type: ignore[no-untyped-def]
        def emit(peer, header, payload, token):  # type: ignore[no-untyped-def]
            views = [] if payload is None else [payload] if isinstance(payload, memoryview) else list(payload)
            self.frames.append((proc, peer, header, b"".join(views)))
            return True

        return emit

    def deliver(self, index: int = 0, in_steps: bool = False, twice: bool = False) -> None:
        self.frames.rotate(-index)
        sender, receiver, header, payload = self.frames.popleft()
        self.frames.rotate(index)
        engine = self.engines[receiver]
        for _ in range(2 if twice else 1):
            if in_steps and payload:
                sink, token = engine.begin(sender, header)
                sink[:] = payload
                engine.end(sender, token)
            else:
                engine.frame(sender, header, memoryview(payload))

    def run(self, choice: random.Random | None = None, in_steps: bool = False) -> None:
        while self.frames:
            if choice is None:
                self.deliver(in_steps=in_steps)
            else:
                index = choice.randrange(len(self.frames))
                self.deliver(index, choice.random() < 0.5, choice.random() < 0.2)


def read(world: World, origin: int, target: int, address: int, nbytes: int, layout: int = 0) -> RecvOp:
    op = RecvOp(target, target, 0, memoryview(bytearray(nbytes)))
    return world.sides[origin].get(world.windows[origin], target, address, op, layout)


@pytest.mark.parametrize("in_steps", [False, True])
def test_put_and_get(in_steps: bool) -> None:
    world = World(2)
    side, window = world.sides[0], world.windows[0]
    put = side.put(window, 1, 10, memoryview(b"abcde"), 5)
    assert put.done
    got = read(world, 0, 1, 8, 9)
    flushed = side.flush(window, 1)
    assert not got.done and not flushed.done
    world.run(in_steps=in_steps)
    assert world.memories[1][10:15] == b"abcde"
    assert got.done and bytes(got.buffer or b"") == b"\x08\x09abcde\x0f\x10"
    assert flushed.done and not flushed.error


def test_a_long_put_arrives_in_the_window_itself() -> None:
    world = World(2)
    world.sides[0].put(world.windows[0], 1, 0, memoryview(bytes(SIZE)), SIZE)
    sender, receiver, header, payload = world.frames.popleft()
    sink, token = world.engines[receiver].begin(sender, header)
    sink[:] = payload
    assert world.memories[1] == bytes(SIZE)
    world.engines[receiver].end(sender, token)


def test_what_follows_an_arriving_put_waits_for_it() -> None:
    world = World(2)
    side, window = world.sides[0], world.windows[0]
    side.put(window, 1, 0, memoryview(b"\xff" * 8), 8)
    flushed = side.flush(window, 1)
    sender, receiver, header, payload = world.frames.popleft()
    sink, token = world.engines[receiver].begin(sender, header)
    world.run()
    assert not flushed.done
    sink[:] = payload
    world.engines[receiver].end(sender, token)
    world.run()
    assert flushed.done


@pytest.mark.parametrize("in_steps", [False, True])
def test_layouts_travel_once(in_steps: bool) -> None:
    column = vector(INT, 4, 1, 3)
    world = World(2)
    side, window = world.sides[0], world.windows[0]
    numbers = [side.ship(window, 1, column, lambda: encode(column)) for _ in range(2)]
    assert numbers == [1, 1]
    assert len(world.frames) == 1
    data = np.arange(4, dtype="i4").tobytes()
    side.put(window, 1, 4, memoryview(data), len(data), 1)
    got = read(world, 0, 1, 4, len(data), 1)
    world.run(in_steps=in_steps)
    assert np.frombuffer(world.memories[1], "i4")[1:13:3].tolist() == [0, 1, 2, 3]
    assert bytes(got.buffer or b"") == data


def test_many_layouts() -> None:
    world = World(2)
    side, window = world.sides[0], world.windows[0]
    for stride in range(2, 600):
        column = vector(INT, 2, 1, stride % 50 + 2)
        number = side.ship(window, 1, column, lambda column=column: encode(column))
        data = np.array([stride, stride], "i4").tobytes()
        side.put(window, 1, 0, memoryview(data), len(data), number)
        world.run()
        assert np.frombuffer(world.memories[1], "i4")[[0, stride % 50 + 2]].tolist() == [stride, stride]
    assert len(world.windows[1].peer(0).layouts) <= 256


@pytest.mark.parametrize("in_steps", [False, True])
def test_accumulate_fetch_swap(in_steps: bool) -> None:
    world = World(2)
    side, window = world.sides[0], world.windows[0]
    memory = np.frombuffer(world.memories[1], "i4")
    memory[:2] = 5, 6
    one = memoryview(np.array([1, 2], "i4")).cast("B")
    side.accumulate(window, 1, 0, one, 8, ADD)
    fetched = side.fetch(window, 1, 0, one, RecvOp(1, 1, 0, memoryview(bytearray(8))), ADD)
    values = np.array([9, 7], "i4").tobytes()  # 9 if there is 7
    swaps = [side.swap(window, 1, 0, values, RecvOp(1, 1, 0, memoryview(bytearray(4)))) for _ in range(2)]
    world.run(in_steps=in_steps)
    assert np.frombuffer(fetched.buffer or b"", "i4").tolist() == [6, 8]
    assert [np.frombuffer(op.buffer or b"", "i4")[0] for op in swaps] == [7, 9]
    assert memory[:2].tolist() == [9, 10]


@pytest.mark.parametrize("seed", range(20))
def test_requests_take_effect_in_order_whatever_the_delivery(seed: int) -> None:
    world = World(2)
    choice = random.Random(seed)
    side, window = world.sides[0], world.windows[0]
    reads = []
    for number in range(30):
        side.put(window, 1, number % 3, memoryview(bytes([number])), 1)
        reads.append((number, read(world, 0, 1, number % 3, 1)))
    flushed = side.flush(window, 1)
    world.run(choice)
    assert flushed.done
    assert all(op.done and bytes(op.buffer or b"") == bytes([number]) for number, op in reads)


@pytest.mark.parametrize("seed", range(10))
def test_accumulations_of_many_add_up(seed: int) -> None:
    world = World(4)
    np.frombuffer(world.memories[0], "i4")[:] = 0
    one = memoryview(np.ones(4, "i4")).cast("B")
    for _ in range(5):
        for origin in 1, 2, 3:
            world.sides[origin].accumulate(world.windows[origin], 0, 16, one, 16, ADD)
    world.run(random.Random(seed))
    assert np.frombuffer(world.memories[0], "i4")[:8].tolist() == [0] * 4 + [15] * 4


# -- locks ---------------------------------------------------------------------------------------------------------------


def lock(world: World, origin: int, exclusive: bool, target: int = 0) -> Operation:
    op = world.sides[origin].lock(world.windows[origin], target, exclusive)
    world.run()
    return op


def unlock(world: World, origin: int, answer: bool = False, target: int = 0) -> Operation:
    op = world.sides[origin].unlock(world.windows[origin], target, answer)
    world.run()
    return op


def test_exclusive_locks_follow_each_other() -> None:
    world = World(3)
    ops = [lock(world, origin, True) for origin in (1, 2, 0)]
    assert [op.done for op in ops] == [True, False, False]
    unlock(world, 1)
    assert [op.done for op in ops] == [True, True, False]
    assert unlock(world, 2, answer=True).done
    assert all(op.done for op in ops)
    unlock(world, 0)
    assert not world.windows[0].holders


def test_shared_locks_are_held_together() -> None:
    world = World(3)
    ops = [lock(world, 0, False), lock(world, 1, False), lock(world, 2, True)]
    assert [op.done for op in ops] == [True, True, False]
    unlock(world, 0)
    assert not ops[2].done
    unlock(world, 1)
    assert ops[2].done


def test_a_shared_lock_does_not_overtake_an_exclusive_one() -> None:
    world = World(3)
    lock(world, 0, False)
    exclusive = lock(world, 1, True)
    shared = lock(world, 2, False)
    assert not exclusive.done and not shared.done
    unlock(world, 0)
    assert exclusive.done and not shared.done
    unlock(world, 1)
    assert shared.done


def test_the_locks_of_a_lost_process_are_free() -> None:
    world = World(3)
    lock(world, 1, True)
    waiting, other = lock(world, 2, True), lock(world, 0, True)
    world.engines[0].lost(1, "killed")
    world.run()
    assert waiting.done and not other.done
    world.engines[0].lost(2, "killed")
    assert other.done and not other.error


# -- notifications -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", [0, 1])
def test_notifications_are_counted_and_follow_the_accesses(target: int) -> None:
    world = World(2)
    side, window = world.sides[0], world.windows[0]
    side.post(window, target)
    if target:
        side.put(window, target, 0, memoryview(b"zz"), 2)
    side.complete(window, target)
    side.complete(window, target)
    world.run(random.Random(3))
    peer = world.windows[target].peer(0)
    assert (peer.posted, peer.completed) == (1, 2)
    assert not target or world.memories[1][:2] == b"zz"


# -- errors --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("in_steps", [False, True])
@pytest.mark.parametrize("address", [SIZE - 3, SIZE, -1, 1 << 62])
def test_accesses_outside_of_the_memory_fail(address: int, in_steps: bool) -> None:
    world = World(2)
    side, window = world.sides[0], world.windows[0]
    before = bytes(world.memories[1])
    side.put(window, 1, address, memoryview(b"abcd"), 4)
    side.accumulate(window, 1, address, memoryview(b"abcd"), 4, ADD)
    ops = [side.flush(window, 1), read(world, 0, 1, address, 4), side.flush(window, 1)]
    world.run(in_steps=in_steps)
    assert [op.error for op in ops] == [ERR_RMA_RANGE, ERR_RMA_RANGE, 0]
    assert bytes(world.memories[1]) == before


def test_dynamic_memory() -> None:
    world = World(2, dynamic=True)
    memory = np.zeros(4, "i4")
    exposed = world.windows[1].exposed
    assert isinstance(exposed, Exposure)
    address = memory.ctypes.data
    ops = [read(world, 0, 1, address, 16)]
    world.run()
    exposed.attach(memoryview(memory).cast("B"))
    world.sides[0].put(world.windows[0], 1, address + 4, memoryview(b"abcd"), 4)
    ops += [read(world, 0, 1, address, 16), read(world, 0, 1, address + 1, 16)]
    world.run()
    exposed.detach(memoryview(memory).cast("B"))
    ops.append(read(world, 0, 1, address, 16))
    world.run()
    assert [op.error for op in ops] == [ERR_RMA_RANGE, 0, ERR_RMA_RANGE, ERR_RMA_RANGE]
    assert bytes(ops[1].buffer or b"") == bytes(4) + b"abcd" + bytes(8)


def test_a_window_that_is_gone_refuses() -> None:
    world = World(2)
    world.sides[1].close(world.windows[1])
    op = read(world, 0, 1, 0, 4)
    world.sides[0].put(world.windows[0], 1, 0, memoryview(b"a"), 1)
    world.run()
    assert op.error == ERR_WIN


def test_a_lost_target_fails_what_waits_and_what_comes() -> None:
    world = World(2)
    side, window = world.sides[0], world.windows[0]
    ops: list[Operation] = [read(world, 0, 1, 0, 4), side.flush(window, 1), side.lock(window, 1, True)]
    world.frames.clear()
    world.engines[0].lost(1, "killed")
    ops += [read(world, 0, 1, 0, 4), side.put(window, 1, 0, memoryview(b"a"), 1), side.unlock(window, 1, True)]
    assert [op.error for op in ops] == [ERR_PROC_FAILED] * 6


@pytest.mark.parametrize(
    ("kind", "source", "payload"),
    [
        (PUT, 9, b"abcd"),
        (GET, 0, b"ab"),
        (GET, 9, bytes(8)),
        (LAYOUT, 1, b"abc"),
        (LAYOUT, 1, bytes(40)),
        (LAYOUT, 1, np.array([4, 0, 4, 0, 4, 0, 1, 0, 0, 4, 5, 4, 4], "i8").tobytes()),
        (LAYOUT, 1, np.array([4, 0, 4, 0, 4, 1, 2, 0, 90, 0, 4, 4, 4], "i8").tobytes()),
        (LAYOUT, 1, np.array([4, 0, 4, 0, 4, 0, 3, 0, 0, 4], "i8").tobytes()),
    ],
)
def test_malformed_requests(kind: int, source: int, payload: bytes) -> None:
    world = World(2)
    header = pack_header(kind, 0, 0, 0, source, 0, CONTEXT, 0, len(payload), 1, 0)
    with pytest.raises(FrameError):
        world.engines[1].frame(0, header, memoryview(payload))
