"""Sessions over connections that are cut at any byte: every frame arrives once, in order. No sockets, no processes."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fmi_mpi.channels.conformance import Recorder, header_of
from fmi_mpi.channels.resume import Session
from fmi_mpi.channels.tcp.connection import Connection
from fmi_mpi.engine.frames import FrameError, pack_header

_ROOM = 1 << 18


class Wire:
    """One direction of a connection: what has been written, and how much of it has come through."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.through = 0


class FakeSocket:
    """One end, as far as ``Connection`` uses a socket."""

    def __init__(self, out: Wire, into: Wire) -> None:
        self._out = out
        self._in = into

    def send(self, data: bytes) -> int:
        room = _ROOM - len(self._out.data)
        if room <= 0:
            raise BlockingIOError
        self._out.data += data[:room]
        return min(room, len(data))

    def sendmsg(self, views: list[memoryview]) -> int:
        return self.send(b"".join(views))

    def recv_into(self, room: memoryview) -> int:
        count = min(len(room), self._in.through)
        if not count:
            raise BlockingIOError
        room[:count] = self._in.data[:count]
        del self._in.data[:count]
        self._in.through -= count
        return count


class End:
    """A session and its connection of the day."""

    def __init__(self, peer: int) -> None:
        self.recorder = Recorder()
        self.session = Session(peer, self.recorder, self._write_again)
        self.connection: Connection | None = None
        self.buffer = memoryview(bytearray(4096))
        self.sent: list[bytes] = []
        self.promised: list[int] = []

    def connect(self, sock: FakeSocket) -> None:
        self.session.cut()
        self.connection = Connection(sock, self.session.peer)  # type: ignore[arg-type]
        self.connection.send(self.session.greeting(), None, None)

    def send(self, size: int) -> None:
        number = len(self.sent)
        payload = bytearray(random.Random(number).randbytes(size))
        self.sent.append(bytes(payload))
        view, free = self.session.keep(header_of(number, size), memoryview(payload), number)
        if free:
            payload[:] = bytes(size)  # the sender uses its memory for something else
        else:
            self.promised.append(number)
        if self.session.greeted and self.connection is not None:
            self.connection.send(header_of(number, size), view, None)

    def _write_again(self) -> None:
        assert self.connection is not None
        for header, payload, _ in self.session.unacknowledged():
            self.connection.send(header, payload, None)

    def turn(self) -> bool:
        """Read and write what can be; True if there was anything."""
        connection = self.connection
        if connection is None:
            return False
        moved = connection.read(self.buffer, self.session)
        due = self.session.due()
        if due is not None:
            connection.send(due, None, None)
        return connection.flush(self.session) or moved or due is not None


class Pair:
    """Two ends."""

    def __init__(self) -> None:
        self.ends = End(1), End(0)
        self.wires = Wire(), Wire()
        self.connect()

    def connect(self) -> None:
        """A new connection; what the old one has not delivered is gone."""
        self.wires = one, other = Wire(), Wire()
        self.ends[0].connect(FakeSocket(one, other))
        self.ends[1].connect(FakeSocket(other, one))

    def deliver(self, side: int, count: int) -> None:
        """Let so many bytes of one side come through, and the other read them."""
        wire = self.wires[side]
        wire.through = min(len(wire.data), wire.through + count)
        self.ends[1 - side].turn()

    def settle(self) -> None:
        while True:
            for wire in self.wires:
                wire.through = len(wire.data)
            moved = [end.turn() for end in self.ends]
            if not any(moved):
                return

    def check(self) -> None:
        for end, other in (self.ends, self.ends[::-1]):
            assert [(number, data) for _, number, data in other.recorder.frames] == list(enumerate(end.sent))
            assert set(end.recorder.freed) == set(end.promised)
            assert not end.recorder.gone


SIZES = st.sampled_from([0, 1, 63, 64, 1000, 5000, 65536, 65537, 100_000, 400_000])
ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("send"), st.integers(0, 1), SIZES),
        st.tuples(st.just("deliver"), st.integers(0, 1), st.one_of(st.integers(1, 300), st.integers(1, 500_000))),
        st.tuples(st.just("cut"), st.integers(0, 1), st.just(0)),
    ),
    max_size=40,
)


@settings(max_examples=300, deadline=None)
@given(ACTIONS)
def test_every_frame_arrives_once_and_in_order(actions: list[tuple[str, int, int]]) -> None:
    pair = Pair()
    for action, side, number in actions:
        if action == "send":
            pair.ends[side].send(number)
        elif action == "deliver":
            pair.deliver(side, number)
        else:
            pair.connect()
    pair.connect()
    pair.settle()
    pair.check()


@pytest.mark.parametrize("size", [0, 100, 70_000])
def test_cut_at_every_byte_of_a_frame(size: int) -> None:
    points = range(64 * 2 + size + 1) if size < 1000 else [0, 64, 127, 128, 129, 5000, 64 * 2 + size - 1, 64 * 2 + size]
    pair = Pair()
    for point in points:
        pair.settle()
        pair.connect()
        pair.ends[0].send(size)
        pair.deliver(1, 64)
        pair.deliver(0, point)
    pair.connect()
    pair.settle()
    pair.check()


def test_what_is_acknowledged_is_forgotten_and_the_rest_salvaged() -> None:
    pair = Pair()
    pair.settle()
    for _ in range(70):
        pair.ends[0].send(10)
    pair.settle()
    pair.ends[0].send(10)
    pair.ends[0].send(100_000)
    left, arrived = pair.ends[0].session.salvage(), pair.ends[1].session.salvage()
    assert arrived.received == 70 and left.received == 0
    assert 32 <= left.acknowledged <= 70
    assert left.acknowledged + len(left.frames) == 72
    assert [token for _, _, token in left.frames][-2:] == [None, 71]
    assert not arrived.frames


def test_copies_are_bounded() -> None:
    session = Session(1, Recorder(), lambda: None)
    payload = memoryview(bytes(1 << 16))
    free = [session.keep(header_of(number, 1 << 16), payload, number)[1] for number in range(300)]
    assert free.index(False) == free.count(True) <= 256


CONTROL = 0x464D_01F0


def control(kind: int, count: int, length: int = 0) -> bytes:
    return pack_header(CONTROL | kind, 0, 0, 0, 0, 0, 0, 0, length, count, 0)


@pytest.mark.parametrize(
    "headers",
    [
        [header_of(0, 0)],  # no greeting
        [control(1, 0)],
        [control(2, 0)],
        [control(0, 1)],  # more than was sent
        [control(0, 1 << 63)],
        [control(0, 0), control(0, 0)],
        [control(0, 0), control(1, 2)],
        [control(0, 0), control(3, 0)],
        [control(0, 0), control(15, 0)],
    ],
)
def test_peers_that_break_the_rules_are_refused(headers: list[bytes]) -> None:
    session = Session(1, Recorder(), lambda: None)
    with pytest.raises(FrameError):
        for header in headers:
            session.frame(1, header, memoryview(b""))


def test_control_frames_have_no_payload_and_acknowledged_frames_do_not_come_back() -> None:
    session = Session(1, Recorder(), lambda: None)
    session.keep(header_of(0, 0), None, 0)
    with pytest.raises(FrameError):
        session.frame(1, control(0, 0, 5), memoryview(b"12345"))
    session.frame(1, control(0, 1), memoryview(b""))
    with pytest.raises(FrameError):
        session.begin(1, control(1, 1, 5))
    session.cut()
    with pytest.raises(FrameError):
        session.frame(1, control(0, 0), memoryview(b""))


def test_a_frame_that_was_cut_off_must_come_again() -> None:
    session = Session(1, Recorder(), lambda: None)
    session.frame(1, control(0, 0), memoryview(b""))
    session.begin(1, header_of(0, 100))
    session.cut()
    session.frame(1, control(0, 0), memoryview(b""))
    with pytest.raises(FrameError):
        session.begin(1, header_of(1, 100))
