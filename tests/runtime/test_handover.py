"""Handing over: a channel dies at any moment, another goes on; nothing is lost, doubled or overtaken."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fmi_mpi.channels.base import Address, Capabilities, Path, Payload, Salvage
from fmi_mpi.engine.engine import Engine
from fmi_mpi.engine.frames import CREDIT, DATA, EAGER, ROUTE, FrameError, pack_header, unpack_header
from fmi_mpi.engine.operations import RecvOp
from fmi_mpi.runtime.handover import number_of
from fmi_mpi.runtime.router import Best, Router


class Wire:
    """A channel's end whose frames are delivered when the test says so."""

    def __init__(self, name: str, latency: float = 1e-5, bandwidth: float = 1e9, salvages: bool = True) -> None:
        self.name = name
        self.capabilities = Capabilities(latency=latency, bandwidth=bandwidth)
        self.other: Wire
        self.end: End
        self.sent: list[tuple[bytes, Payload, object]] = []
        self.flying: deque[int] = deque()
        self.received = 0
        self.acknowledged = 0
        self.dead = False
        self.leaves = False
        if salvages:
            self.salvage = self._salvage

    def address(self) -> Address:
        return {}

    def reachable(self, address: Address) -> bool:
        return True

    def connect(self, peers: Mapping[int, Address]) -> None:
        pass

    def send(self, peer: int, header: bytes, payload: Payload, token: object) -> bool:
        assert not self.dead, "a frame for a channel that has been given up"
        self.sent.append((header, payload, token))
        self.flying.append(len(self.sent) - 1)
        return False

    def path(self, peer: int) -> Path:
        return lambda header, payload, token: self.send(peer, header, payload, token)

    def deliver(self) -> None:
        if self.flying and not self.other.dead:
            header, payload, _ = self.sent[self.flying.popleft()]
            self.other.received += 1
            self.other.end.take(header, payload)

    def acknowledge(self, random: Random) -> None:
        upto = random.randint(self.acknowledged, self.other.received)
        for _, _, token in self.sent[self.acknowledged : upto]:
            if token is not None:
                self.end.freed(token)
        self.acknowledged = upto

    def departed(self, peer: int) -> bool:
        return self.leaves

    def _salvage(self, peer: int) -> Salvage:
        self.dead = True
        return Salvage(self.received, self.acknowledged, self.sent[self.acknowledged :])


class End:
    """One process with its router."""

    def __init__(self, proc: int, wires: list[Wire], best: Best | None = None) -> None:
        self.proc = proc
        self.wires = wires
        self.taken: list[int] = []
        self.tokens: list[object] = []
        self.lost: list[str] = []
        self.path: Path | None = None
        records = [{wire.name: {} for wire in wires} for _ in range(2)]
        bootstrap: Any = SimpleNamespace(
            identity=SimpleNamespace(rank=proc), table=lambda timeout: records, publish=lambda record: None
        )
        self.router = Router(
            bootstrap,
            wires,
            1.0,
            self._lost,
            lambda code: None,
            self._routed,
            lambda: None,
            self.freed,
            self._resume,
            best,
        )
        for wire in wires:
            wire.end = self

    def _lost(self, peer: int, reason: str) -> None:
        self.lost.append(reason)

    def _resume(self, peer: int, begun: tuple[bytes, memoryview, object]) -> None:
        raise AssertionError("no frame is cut off here")

    def _routed(self, peer: int, path: Path) -> None:
        self.path = path

    def freed(self, token: object) -> None:
        assert token not in self.tokens, "a send completed twice"
        self.tokens.append(token)

    def take(self, header: bytes, payload: Payload) -> None:
        if unpack_header(header)[0] == ROUTE:
            self.router.handovers.frame(1 - self.proc, header, memoryview(b""))
        else:
            self.taken.append(unpack_header(header)[7])

    def send(self, number: int, length: int = 0, kind: int = EAGER) -> None:
        header = pack_header(kind, 0, self.proc, 0, 0, 0, 0, number, length, 0, 0)
        payload = memoryview(bytes(length)) if length else None
        done = (
            self.path(header, payload, number)
            if self.path
            else self.router.emit(1 - self.proc, header, payload, number)
        )
        if done:
            self.freed(number)


def joined(*wires: tuple[Wire, Wire], best: Best | None = None) -> tuple[End, End]:
    for left, right in wires:
        left.other, right.other = right, left
    return End(0, [left for left, _ in wires], best), End(1, [right for _, right in wires], best)


@settings(max_examples=300, deadline=None)
@given(seed=st.integers(0, 2**32), frames=st.integers(0, 20), notices=st.sampled_from(["left", "right", "both"]))
def test_nothing_is_lost_doubled_or_overtaken(seed: int, frames: int, notices: str) -> None:
    random = Random(seed)
    old, new = (Wire("old"), Wire("old")), (Wire("new"), Wire("new"))
    ends = joined(old, new)
    due = [["left"] if notices == "left" else [], ["right"] if notices == "right" else []]
    if notices == "both":
        due = [["left"], ["right"]]
    counts = [0, 0]
    for step in range(6 * frames + 40):
        side = random.randrange(2)
        what = random.randrange(5)
        if what == 0 and counts[side] < frames:
            ends[side].send(counts[side])
            counts[side] += 1
        elif what == 1:
            old[side].deliver()
        elif what == 2:
            new[side].deliver()
        elif what == 3 and not old[side].dead and not old[1 - side].dead:
            old[side].acknowledge(random)
        elif step > 20 and due[side]:
            due[side].pop()
            assert ends[side].router.failed(old[side], 1 - side, "cut")
    for side in (0, 1):
        while due[side]:
            due[side].pop()
            assert ends[side].router.failed(old[side], 1 - side, "cut")
    for _ in range(4 * frames + 8):
        for wire in new:
            wire.deliver()
    for side in (0, 1):
        assert ends[side].taken == list(range(counts[1 - side]))
        unknown = [token for _, _, token in new[side].sent if token is not None]
        assert sorted([*ends[side].tokens, *unknown]) == list(range(counts[side]))
        assert not ends[side].lost


@pytest.mark.parametrize("whole", [True, False], ids=["whole", "in pieces"])
@pytest.mark.parametrize("posted", [True, False], ids=["expected", "unexpected"])
def test_a_frame_that_was_cut_off_comes_again_into_its_place(whole: bool, posted: bool) -> None:
    def emit(peer: int, header: bytes, payload: Payload, token: object) -> bool:
        return True

    engine = Engine(0, emit, 1 << 20, 1 << 20)
    into = bytearray(100_000)
    if posted:
        engine.recv(8, RecvOp(1, 1, 5, memoryview(into)))
    header = pack_header(EAGER, 0, 1, 7, 1, 5, 8, 0, len(into), 0, 0)
    before = engine.link(1).credit
    sink, token = engine.begin(1, header)
    sink[:10] = b"cut off by"
    engine.resume(1, (header, sink, token))
    data = memoryview(bytes(range(100)) * 1000)
    if whole:
        engine.frame(1, header, data)
    else:
        again, token = engine.begin(1, header)
        again[:] = data
        engine.end(1, token)
    if not posted:
        op = engine.recv(8, RecvOp(1, 1, 5, memoryview(into)))
        assert op.done
    assert into == data
    assert engine.link(1).credit == before + 7
    engine.frame(1, header, data)  # a late duplicate is dropped
    assert engine.matcher(8).find(1, 5) is None


def test_without_another_channel_the_peer_is_lost() -> None:
    left, _ = joined((Wire("old"), Wire("old")))
    left.send(0)
    assert not left.router.failed(left.wires[0], 1, "cut")


def test_nothing_is_handed_over_to_a_peer_that_leaves() -> None:
    left, _ = joined((Wire("old"), Wire("old")), (Wire("new"), Wire("new")))
    left.send(0)
    left.wires[0].leaves = True
    assert not left.router.failed(left.wires[0], 1, "it has left")
    assert not left.wires[1].sent


def test_a_channel_that_keeps_nothing_cannot_hand_over() -> None:
    left, _ = joined((Wire("old", salvages=False), Wire("old", salvages=False)), (Wire("new"), Wire("new")))
    left.send(0)
    assert not left.router.failed(left.wires[0], 1, "cut")


@pytest.mark.parametrize("used", [0, 1])
def test_a_channel_that_keeps_nothing_and_carries_nothing_is_done_without(used: int) -> None:
    spare = Wire("spare", salvages=False), Wire("spare", salvages=False)
    left, _ = joined((Wire("first"), Wire("first")), spare)
    for number in range(used):
        left.send(number)
    assert not left.router.failed(spare[0], 1, "down")
    assert left.router.without(spare[0], 1) == "first"
    assert left.router.failed(spare[0], 1, "down again")
    left.send(used)
    assert len(left.wires[0].sent) == used + 1 and not left.lost


def test_a_channel_that_keeps_nothing_is_missed_where_it_carries_long_payloads() -> None:
    broad = Wire("broad", 1e-2, 1e10, salvages=False), Wire("broad", 1e-2, 1e10, salvages=False)
    left, _ = joined((Wire("first"), Wire("first")), broad)
    left.send(0)
    assert not left.router.failed(broad[0], 1, "down")
    assert not left.router.without(broad[0], 1)


@pytest.mark.parametrize(("number", "taken"), [(number_of("spam"), 0), (number_of("old"), 3)])
def test_what_cannot_be_is_refused(number: int, taken: int) -> None:
    left, _ = joined((Wire("old"), Wire("old")), (Wire("new"), Wire("new")))
    left.send(0)
    header = pack_header(ROUTE, 0, 1, 0, 0, 0, 0, 0, 0, number, taken)
    with pytest.raises(FrameError):
        left.router.handovers.frame(1, header, memoryview(b""))


@pytest.mark.parametrize(
    ("kind", "length", "other"),
    [(EAGER, 0, False), (EAGER, 1000, False), (EAGER, 200_000, True), (DATA, 200_000, True), (CREDIT, 200_000, False)],
)
def test_long_payloads_take_the_channel_that_is_faster_in_the_end(kind: int, length: int, other: bool) -> None:
    prompt = Wire("prompt", 1e-3, 1e7), Wire("prompt", 1e-3, 1e7)
    broad = Wire("broad", 1e-2, 1e9), Wire("broad", 1e-2, 1e9)
    left, _ = joined(prompt, broad)
    left.send(0)
    left.send(1, length, kind)
    assert len(broad[0].sent) == int(other)


@pytest.mark.parametrize(("limit", "lengths"), [(1 << 12, [[4095], [4096, 1 << 20]]), (0, [[], [4095, 4096, 1 << 20]])])
def test_a_policy_counts_before_the_order_of_preference(limit: int, lengths: list[list[int]]) -> None:
    wires = [(Wire(name), Wire(name)) for name in ("worse", "short", "long")]
    left, _ = joined(*wires, best=lambda names, nbytes: names[1 if nbytes < limit else 2])
    for number, length in enumerate((4095, 4096, 1 << 20)):
        left.send(number, length)
    sent = [[len(payload) for _, payload, _ in wire.sent if payload is not None] for wire, _ in wires]
    assert sent == [[], *lengths]


def test_the_order_of_preference_counts_before_speed() -> None:
    first = Wire("first", 1e-3, 1e7), Wire("first", 1e-3, 1e7)
    second = Wire("second", 1e-4, 1e9), Wire("second", 1e-4, 1e9)
    left, _ = joined(first, second)
    left.send(0, 1 << 20, DATA)
    assert not second[0].sent
