"""Mailboxes over a store in memory that delivers late, twice, out of order, or not at all."""

from __future__ import annotations

import random
from collections.abc import Collection, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fmi_mpi.channels.base import Capabilities
from fmi_mpi.channels.conformance import Recorder, header_of
from fmi_mpi.channels.mailbox import Events, MailboxChannel, Usage
from fmi_mpi.channels.mailbox.objects import FRAME, HEAD, MORE, PROVEN, Sealer, read_head
from fmi_mpi.channels.mailbox.sealed import CipherSealer
from fmi_mpi.channels.redis.resp import Incomplete, ProtocolError, Push, ReplyError, pack, parse
from fmi_mpi.channels.registry import Membership
from fmi_mpi.config import Settings

from .pairs import made
from .subjects import JOB, SECRET

LIMIT = 1000
WINDOW = 4000
SEALERS = (Sealer, CipherSealer)
PLAIN, ENCRYPTED = Settings({}), Settings({"FMI_ENCRYPT": "1"})


class Memory:
    """Every mailbox of a test: its owner and the objects in it, with the tickets of those not stored yet."""

    def __init__(self) -> None:
        self.owners: dict[str, Events] = {}
        self.things: dict[str, list[bytes]] = {}


class MemoryStore:
    """See ``mailbox.store.Store``. Of what waits, ``poll`` takes what ``pick`` picks."""

    limit = LIMIT
    copies = 200

    def __init__(self, memory: Memory) -> None:
        self.memory = memory
        self.usage = Usage()
        self.box = ""
        self.tickets: list[object] = []
        self.pick = list.copy
        self.diverted = 0

    def open(self, box: str, events: Events) -> None:
        self.box = box
        self.memory.owners[box] = events
        self.memory.things[box] = []

    def exist(self, boxes: Collection[str]) -> Collection[str]:
        return [box for box in boxes if box in self.memory.owners]

    def watch(self, box: str) -> None: ...

    def forget(self, box: str) -> None: ...

    def divert(self) -> None:
        self.diverted += 1

    def put(self, box: str, thing: Sequence[bytes | memoryview], length: int, ticket: object) -> bool:
        assert length == sum(map(len, thing)) <= LIMIT
        self.memory.things[box].append(b"".join(thing))
        if length <= self.copies:
            return True
        self.tickets.append(ticket)
        return False

    def poll(self) -> bool:
        events = self.memory.owners[self.box]
        tickets, self.tickets = self.tickets, []
        for ticket in tickets:
            events.stored(ticket)
        waiting, self.memory.things[self.box] = self.memory.things[self.box], []
        for thing in self.pick(waiting):
            head = memoryview(thing)[:HEAD]
            place = events.landing(head) if len(thing) > HEAD else None
            if place is None:
                events.arrived(memoryview(thing))
            else:
                place[:] = thing[HEAD:]
                events.landed(head)
        return bool(waiting or tickets)

    def arm(self) -> bool:
        return True

    def disarm(self) -> None: ...

    def descriptors(self) -> Sequence[tuple[int, int]]:
        return ()

    def pending(self) -> bool:
        return bool(self.tickets)

    def close(self) -> None: ...


def job(
    size: int = 2, patience: float = 1e9, settings: Settings = PLAIN
) -> tuple[list[MailboxChannel], list[MemoryStore], list[Recorder]]:
    memory = Memory()
    stores = [MemoryStore(memory) for _ in range(size)]
    recorders = [Recorder() for _ in range(size)]
    channels = [
        MailboxChannel("memory", Capabilities(), stores[proc], member, recorders[proc], WINDOW, patience)
        for proc, member in enumerate(Membership(proc, size, JOB, SECRET, settings) for proc in range(size))
    ]
    addresses = {proc: channel.address() for proc, channel in enumerate(channels)}
    for proc, channel in enumerate(channels):
        channel.connect({peer: address for peer, address in addresses.items() if peer != proc})
    return channels, stores, recorders


def payload(number: int, size: int) -> bytes:
    return random.Random(number).randbytes(size)


@pytest.mark.parametrize("settings", [PLAIN, ENCRYPTED], ids=["plain", "encrypted"])
@given(sizes=st.lists(st.integers(0, 6000), min_size=1, max_size=30), dice=st.randoms(use_true_random=False))
def test_frames_arrive_once_and_in_order_whatever_the_store_does(
    settings: Settings, sizes: list[int], dice: random.Random
) -> None:
    channels, stores, recorders = job(settings=settings)
    kept: list[bytes] = []

    def pick(waiting: list[bytes]) -> list[bytes]:
        """Some come now, some later, some again; in any order."""
        waiting = waiting + kept
        dice.shuffle(waiting)
        now = dice.randint(0, len(waiting))
        kept[:] = waiting[now:]
        return waiting[:now] + (dice.choices(waiting[:now], k=2) if now else [])

    def flush(waiting: list[bytes]) -> list[bytes]:
        waiting = kept + waiting
        kept.clear()
        return waiting

    stores[1].pick = pick
    for number, size in enumerate(sizes):
        if channels[0].send(1, header_of(number, size), memoryview(payload(number, size)), number):
            recorders[0].sent(number)
        channels[dice.randint(0, 1)].poll()
    stores[1].pick = flush
    for _ in range(2 * sum(sizes) // WINDOW + 20):
        for channel in channels:
            channel.poll()
    assert recorders[1].frames == [(0, number, payload(number, size)) for number, size in enumerate(sizes)]
    assert sorted(recorders[0].freed) == list(range(len(sizes)))
    assert not channels[0].pending()


def test_a_rank_that_encrypts_and_one_that_does_not_are_told_so() -> None:
    (plain, _), _, _ = job()
    (sealed, _), _, _ = job(settings=ENCRYPTED)
    assert not plain.reachable(sealed.address()) and not sealed.reachable(plain.address())
    assert "FMI_ENCRYPT" in plain.obstacle(sealed.address())
    assert not plain.obstacle(plain.address())


def test_no_more_than_the_window_lies_unread() -> None:
    channels, stores, recorders = job()
    for number in range(50):
        channels[0].send(1, header_of(number, 500), memoryview(bytes(500)), None)
        stores[0].poll()
    assert sum(map(len, stores[0].memory.things[stores[1].box])) <= WINDOW
    assert channels[0].pending()
    for _ in range(200):
        for channel in channels:
            channel.poll()
    assert len(recorders[1].frames) == 50
    assert not channels[0].pending()


def test_an_object_that_is_missing_is_a_loss() -> None:
    channels, stores, recorders = job(patience=0.0)
    channels[0].send(1, header_of(0, 10), memoryview(bytes(10)), None)
    stores[1].pick = lambda waiting: [thing for thing in waiting if thing is not waiting[1]]
    channels[1].poll()
    channels[0].send(1, header_of(1, 10), memoryview(bytes(10)), None)
    stores[1].pick = list.copy
    for _ in range(600):
        channels[1].poll()
    assert "the store has lost object 1" in recorders[1].gone[0][1]
    assert recorders[1].frames == []


@pytest.mark.parametrize(
    "objects",
    [
        [(FRAME, b"short")],
        [(MORE, b"the end of nothing")],
        [(FRAME, header_of(1, 5) + b"too long")],
        [(FRAME, header_of(1, 50)), (FRAME, header_of(2, 0))],
        [(FRAME, header_of(1, 50)), (MORE, bytes(51))],
        [(FRAME, header_of(1, 1 << 60))],
    ],
    ids=["short", "no beginning", "long", "no end", "beyond the end", "huge"],
)
def test_a_peer_that_sends_no_frames_is_lost(objects: list[tuple[int, bytes]]) -> None:
    channels, _, recorders = job(3)
    for kind, body in objects:
        channels[0]._outbox(1)._put(kind, (body,), len(body), None)  # type: ignore[union-attr]
    channels[2].send(1, header_of(9, 0), None, None)
    channels[1].poll()
    assert [peer for peer, _ in recorders[1].gone] == [0]
    assert recorders[1].frames == [(2, 9, b"")]


def test_the_place_of_a_lost_peer_is_not_written_any_more() -> None:
    channels, stores, _ = job()
    body = header_of(1, 3000)
    channels[0]._outbox(1)._put(FRAME, (body,), len(body), None)  # type: ignore[union-attr]
    channels[1].poll()
    head = memoryview(made(Sealer(SECRET, JOB, stores[1].box), MORE, 0, 2, bytes(900)))[:HEAD]
    assert channels[1].landing(head) is not None
    channels[1].refused(stores[0].box, "gone")
    assert stores[1].diverted == 1
    assert channels[1].landing(head) is None


def opened(sealer: Sealer, thing: bytes) -> bytes | None:
    body = sealer.open(memoryview(thing)[:HEAD], memoryview(thing)[HEAD:])
    return None if body is None else bytes(body)


@pytest.mark.parametrize("kind", SEALERS)
@given(st.lists(st.binary(max_size=100), max_size=3), st.integers(0, 300), st.integers(0, 7))
def test_any_other_bit_is_noticed(kind: type[Sealer], parts: list[bytes], at: int, bit: int) -> None:
    sealer, peer = kind(SECRET, JOB, "box"), kind(SECRET, JOB, "box")
    body = b"".join(parts)
    thing = bytearray(b"".join(sealer.seal(FRAME, 3, 4, 5, parts)))
    assert read_head(thing) == (FRAME, 3, 4, len(body), 5)
    assert len(thing) == HEAD + len(body)
    assert opened(peer, bytes(thing)) == opened(sealer, bytes(thing)) == body
    for stranger in (kind(SECRET, JOB, "other"), kind(SECRET, "another", "box"), kind(b"another", JOB, "box")):
        assert opened(stranger, bytes(thing)) is None
    thing[at % len(thing)] ^= 1 << bit
    assert opened(peer, bytes(thing)) is None
    assert opened(peer, bytes(thing) + b"x") is None


def test_no_nonce_comes_twice_with_a_key() -> None:
    """Neither in one sealer, nor in two that begin to count anew: what they make of the same is never the same."""
    sealers = [CipherSealer(SECRET, JOB, "box") for _ in range(20)]
    seals = [made(sealer, FRAME, 3, 4, b"body")[PROVEN:] for sealer in sealers for _ in range(20)]
    assert len({seal[:16] for seal in seals}) == len({seal[32:] for seal in seals}) == 400


def test_the_memory_of_a_message_is_not_changed() -> None:
    """What is sealed stays as it is; what is opened lies in the same memory, so that nothing is copied."""
    sealer, body = CipherSealer(SECRET, JOB, "box"), bytearray(b"payload")
    thing = memoryview(bytearray(b"".join(sealer.seal(FRAME, 0, 0, 0, (memoryview(body),)))))
    assert body == b"payload" and b"payload" not in thing.tobytes()
    assert sealer.open(thing[:HEAD], thing[HEAD:]) == b"payload" == thing[HEAD:]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (b"+OK\r\n", b"OK"),
        (b":-7\r\n", -7),
        (b"$3\r\na\r\n\r\n", b"a\r\n"),
        (b"$-1\r\n", None),
        (b"_\r\n", None),
        (b"*2\r\n:1\r\n*1\r\n$0\r\n\r\n", [1, [b""]]),
        (b"%1\r\n+k\r\n:2\r\n", [b"k", 2]),
        (b"#t\r\n", b"t"),
    ],
)
def test_replies(text: bytes, value: object) -> None:
    buffer = bytearray(text)
    assert parse(buffer, 0, len(buffer)) == (value, len(buffer))
    for end in range(len(buffer)):
        with pytest.raises(Incomplete):
            parse(buffer, 0, end)


def test_errors_and_pushes() -> None:
    error, _ = parse(bytearray(b"-OOM used\r\n"), 0, 11)
    assert isinstance(error, ReplyError) and error.code == "OOM"
    assert isinstance(parse(bytearray(b">1\r\n+a\r\n"), 0, 8)[0], Push)
    assert pack("GET", b"\r\n") == b"*2\r\n$3\r\nGET\r\n$2\r\n\r\n\r\n"


@given(st.binary(max_size=100) | st.lists(st.sampled_from([b"*", b"$", b"%", b":", b"9", b"\r\n", b"-"])).map(b"".join))
def test_whatever_a_server_says_is_a_reply_or_an_error(text: bytes) -> None:
    try:
        _, end = parse(bytearray(text), 0, len(text))
    except (Incomplete, ProtocolError):
        return
    assert 0 < end <= len(text)
