"""What is fuzzed. A target takes bytes and returns; whatever it raises is a mistake of the package.

Rules of this file:
- A target feeds the code as its caller does, and lets only those errors pass that the code is documented to raise.
- Half of what is fed is made by ``Dice`` to look right (headers with known kinds, objects sealed with the job's key),
  so that more is reached than the first check.
- Everything is made anew for each input.
"""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from typing import Any, Final

from fmi_mpi.bootstrap import messages, reflector, relaying, wire
from fmi_mpi.channels.base import Capabilities
from fmi_mpi.channels.mailbox import MailboxChannel, Usage
from fmi_mpi.channels.mailbox.keys import Found
from fmi_mpi.channels.mailbox.objects import ACK, BYE, FRAME, HEAD, HELLO, MORE, SHELVED, Sealer
from fmi_mpi.channels.mailbox.sealed import CipherSealer
from fmi_mpi.channels.mailbox.shelf import MailboxShelf
from fmi_mpi.channels.redis import reader, resp, url
from fmi_mpi.channels.redis.line import Refusal, Trouble
from fmi_mpi.channels.registry import Membership
from fmi_mpi.channels.relay import sealed as relayed
from fmi_mpi.channels.resume import Session
from fmi_mpi.channels.tcp import handshake
from fmi_mpi.channels.tcp.connection import Connection
from fmi_mpi.channels.tcp.greeting import Greeting, GreetingError
from fmi_mpi.channels.tcp.sealed import SealedConnection
from fmi_mpi.config import Settings
from fmi_mpi.data.exposure import Exposure
from fmi_mpi.engine.engine import Engine
from fmi_mpi.engine.frames import KINDS, FrameError, pack_header
from fmi_mpi.engine.onesided import OneSided
from fmi_mpi.engine.operations import RecvOp
from fmi_mpi.launch.rendezvous.limits import Limits
from fmi_mpi.launch.rendezvous.registry import Registry

from .dice import Dice

__all__ = ["TARGETS"]

JOB, SECRET, NONCES = "job", b"the job's key", bytes(32)
_CONTEXT: Final = 7
_WORDS: Final = (*KINDS, *range(0x464D_01F0, 0x464D_01F3))


class Pipe:
    """A socket that has something to be read, in pieces, and takes everything that is written."""

    def __init__(self, pieces: Sequence[bytes]) -> None:
        self.pieces = [piece for piece in pieces if piece]

    def recv_into(self, buffer: memoryview) -> int:
        if not self.pieces:
            raise BlockingIOError
        piece = self.pieces.pop(0)
        count = min(len(piece), len(buffer))
        buffer[:count] = piece[:count]
        if piece[count:]:
            self.pieces.insert(0, piece[count:])
        return count

    def send(self, data: bytes) -> int:
        return len(data)

    def sendmsg(self, parts: Sequence[bytes]) -> int:
        return sum(map(len, parts))


def _engine() -> Engine:
    """Return an engine of process 0 with a window, receives and sends that wait, as in the middle of a job of three."""
    engine = Engine(0, lambda peer, header, payload, token: True, eager_limit=1 << 10, credit=1 << 12)
    side = OneSided(engine)
    window = side.open(_CONTEXT, Exposure(memoryview(bytearray(256))))
    for tag in range(3):
        engine.recv(_CONTEXT, RecvOp(1, 1, tag, memoryview(bytearray(64))))
    engine.recv(_CONTEXT, RecvOp(-1, -1, 5, None))
    for size in (10, 5000):
        engine.send(1, _CONTEXT, 0, 0, memoryview(bytes(size)), size, 1)
    side.get(window, 1, 0, RecvOp(1, 1, 0, memoryview(bytearray(32))), 0)
    return engine


def _frames(dice: Dice) -> list[bytes]:
    """Return frames that look right, and some that do not."""
    pieces = []
    while dice and len(pieces) < 60:
        if not dice.below(8):
            pieces.append(dice.piece())
            continue
        payload = dice.piece()
        length = len(payload) if dice.below(8) else dice.unsigned(64)
        pieces.append(
            pack_header(
                dice.choice(_WORDS), dice.unsigned(32), dice.unsigned(32), dice.unsigned(32), dice.signed(32),
                dice.signed(32), dice.choice((_CONTEXT, dice.unsigned(64))), dice.unsigned(64), length,
                dice.unsigned(64), dice.unsigned(64),
            )
            + payload
        )  # fmt: skip
    return pieces


def _read(connection: Connection, receiver: Any) -> None:
    buffer = memoryview(bytearray(1 << 18))
    with suppress(FrameError, EOFError):
        while connection.read(buffer, receiver):
            pass


def frames(data: bytes) -> None:
    """What an authenticated peer writes, read into an engine."""
    pipe: Any = Pipe(_frames(Dice(data)))
    _read(Connection(pipe, 1), _engine())


def sessions(data: bytes) -> None:
    """The same over a connection that may be renewed."""
    dice = Dice(data)
    session = Session(1, _engine(), lambda: None)
    for _ in range(2):
        pipe: Any = Pipe(_frames(dice))
        _read(Connection(pipe, 1), session)


def sealed(data: bytes) -> None:
    """What comes over connections that are sealed or encrypted, whoever has written it."""
    dice = Dice(data)
    kind = dice.choice((SealedConnection, relayed.SealedConnection))
    written: list[bytes] = []
    there: Any = Pipe(())
    there.send = lambda part: (written.append(bytes(part)), len(part))[1]
    there.sendmsg = lambda parts: there.send(b"".join(parts))
    peer = kind(there, 0, SECRET, NONCES, 1)
    for frame in _frames(dice)[:8]:
        peer.send(frame[:64].ljust(64, b"\0"), memoryview(frame[64:]), None)
    stream = bytearray(b"".join(written))
    for _ in range(dice.below(4)):
        at = int.from_bytes(dice.bytes(2), "little") % (len(stream) + 1)
        stream[at : at + dice.below(3)] = dice.bytes(dice.below(3))
    here: Any = Pipe([bytes(stream)])
    _read(kind(here, 1, SECRET, NONCES, 0), _engine())


def greetings(data: bytes) -> None:
    """What somebody says on a new connection."""
    dice = Dice(data)
    Greeting.claim(data)
    handshake.read_hello(dice.bytes(handshake.HELLO_SIZE).ljust(handshake.HELLO_SIZE, b"\0"), JOB, 0)
    one, other = Greeting(JOB, SECRET, 0, 1), Greeting(JOB, SECRET, 1)
    with suppress(GreetingError):
        while one.want or other.want:
            for end, peer in ((one, other), (other, one)):
                if not end.want:
                    continue
                if len(peer.out) < end.want or not dice.below(4):
                    said = dice.bytes(end.want)
                    if len(said) < end.want:
                        return
                else:
                    said, peer.out = peer.out[: end.want], peer.out[end.want :]
                end.feed(said)
                if end.proved and end.decides and not end.chosen:
                    end.choose(bool(dice.below(2)))


def reflectors(data: bytes) -> None:
    """What a reflector is asked and what it answers, what a relay is asked and how it greets."""
    nonce = data[8:26]
    if reflector.is_request(data):
        reflector.answer(data, ("192.0.2.1", 7600))
    for whole in (data, (b"FMI-RFL1" + nonce + data[26:])[: reflector.ANSWER_SIZE]):
        seen = reflector.read_answer(whole, nonce.ljust(18, b"\0"))
        assert seen is None or socket.inet_pton(socket.AF_INET6 if ":" in seen[0] else socket.AF_INET, seen[0])
    relaying.nonce_of(data)
    for text in (data, b"FMI-RLY1" + data):
        request = relaying.read_request(text[: relaying.REQUEST_SIZE].ljust(relaying.REQUEST_SIZE, b"\0"))
        assert request is None or not request.proves(b"key", bytes(16))


_FIELDS: Final[dict[str, Sequence[Any]]] = {
    "type": (
        "claim", "publish", "wait", "who", "abort", "failed", "lost", "absent", "finalized", "signal", "output",
        "printed", "metrics", "nothing", 1,
    ),
    "job": ("job", "other", "", "x" * 300, 3),
    "size": (2, 3, 0, -1, 1 << 40, "2", True),
    "ranks": ([0], [1], [0, 1], [], [5], [-1], [0, 0], "0"),
    "rank": (0, 1, -1, 2, 1 << 40, "0"),
    "to": (0, 1, -1, 9),
    "ticket": ("", "x", "a.b.c", 3),
    "record": ({}, {"at": 1}, [], None),
    "code": (0, 1, 255, 256, -1, 1 << 40),
    "message": ("", "why", "x" * 70_000, None),
    "final": (False, True, 0),
    "recover": (False, True, None),
    "anew": (False, True),
    "merges": (False, True),
    "data": ({}, "x", None, [1]),
    "number": (1, 2, 0, 1 << 60),
    "pieces": ([], [[0, 1, "text"]], [[0, 3, "x"]], [[0]], "x"),
    "last": (False, True),
}  # fmt: skip


def rendezvous(data: bytes) -> None:
    """What members and strangers say to the service, what it answers, and what a member makes of any bytes."""
    dice = Dice(data)
    said: list[bytes] = []
    limits = Limits(jobs=2, ranks=10, assembly=60.0, grace=5.0, remember=100.0, idle=50.0, followers=2)
    registry = Registry(limits, b"service", lambda peer, what: said.append(what), lambda *_: {"extra": 1}, lambda: 0.0)
    now = 0.0
    while dice:
        message = {name: dice.choice(values) for name, values in _FIELDS.items() if dice.below(16)}
        body = json.dumps(message).encode() if dice.below(8) else dice.piece()
        peer = dice.choice((b"1", b"2", b"3"))
        registry.receive(peer, dice.choice(("key", "another")), "192.0.2.1", body, now)
        if not dice.below(8):
            registry.gone(peer, now)
        now += dice.below(60)
        registry.tick(now)
    for answer in said:
        messages.decode(answer)
    registry.metrics_text()
    with suppress(wire.WireError):
        messages.decode(data)


def control(data: bytes) -> None:
    """What a process says to its launcher before it has proved itself."""
    dice = Dice(data)
    decoder = wire.Decoder(wire.UNPROVEN_LIMIT)
    with suppress(wire.WireError):
        while dice:
            body = dice.piece()
            decoder.feed(struct.pack(">I", len(body)) + body if dice.below(2) else body)
            while decoder.next() is not None:
                pass


class _Nowhere:
    """A store whose mailboxes nobody reads (``mailbox.store.Store``)."""

    limit = 1000
    copies = 200

    def __init__(self) -> None:
        self.usage = Usage()

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *_: None

    def exist(self, boxes: Collection[str]) -> Collection[str]:
        return boxes

    def put(self, box: str, thing: Sequence[bytes | memoryview], length: int, ticket: object) -> bool:
        assert length == sum(map(len, thing))
        return True


_OBJECTS: Final = (FRAME, MORE, ACK, BYE, HELLO, SHELVED, 0)


def mailboxes(data: bytes) -> None:
    """What lies in a mailbox: by a stranger, or genuine and by a peer that is broken."""
    dice = Dice(data)
    variables = dice.choice(({}, {"FMI_ENCRYPT": "1"}))
    membership = Membership(0, 3, JOB, SECRET, Settings(variables))
    store: Any = _Nowhere()
    channel = MailboxChannel("memory", Capabilities(), store, membership, _engine(), 4000, 1.0)
    box = str(channel.address()["box"])
    channel.connect({peer: {"box": box.replace("/0/", f"/{peer}/"), "encrypts": bool(variables)} for peer in (1, 2)})
    sealers = [(CipherSealer if variables else Sealer)(secret, JOB, box) for secret in (SECRET, b"another")]
    numbers = dict.fromkeys(range(4), 0)
    while dice:
        sender = dice.below(4)
        body = b"".join(_frames(dice)[:1]) if dice.below(2) else dice.piece()
        number = numbers[sender] if dice.below(4) else dice.unsigned(64)
        numbers[sender] = number + 1 & (1 << 64) - 1
        sealer = sealers[not dice.below(4)]
        parts = sealer.seal(dice.choice(_OBJECTS), sender, number, dice.unsigned(64), (body,))
        thing = bytearray(b"".join(parts) if dice.below(8) else dice.piece())
        head, rest = memoryview(thing)[:HEAD], memoryview(thing)[HEAD:]
        place = channel.landing(head) if dice.below(2) else None
        if place is None or len(place) != len(rest):
            channel.arrived(memoryview(thing))
        else:
            place[:] = rest
            channel.landed(head)
    channel.close()


class _Lying:
    """Objects that somebody has put (``mailbox.keys.Keys``)."""

    name, label = "memory", "here"
    piece = span = 100
    threads = 1

    def __init__(self, things: dict[str, bytes]) -> None:
        self.things = things

    def find(self, prefix: str, after: str = "") -> list[Found]:
        return [Found(key, len(body), body) for key, body in sorted(self.things.items()) if key.startswith(prefix)]

    def get(self, key: str) -> bytes | None:
        return self.things.get(key)

    def fetch(self, key: str, start: int, into: memoryview) -> bool:
        taken = self.things.get(key, b"")[start : start + len(into)]
        if len(taken) < len(into):
            return False
        into[:] = taken
        return True


def shelves(data: bytes) -> None:
    """What lies on a shelf."""
    dice = Dice(data)
    kind = dice.choice((Sealer, CipherSealer))
    sealers = [kind(secret, JOB, "shelf") for secret in (SECRET, b"another")]
    things = {}
    while dice:
        number, turn, place = dice.below(3), dice.choice((0, 1, 255)), dice.below(3)
        blocks = [
            b"".join(sealers[not dice.below(4)].seal(SHELVED, place, number << 8 | turn, at, (dice.piece(),)))
            for at in range(dice.below(4))
        ]
        body = b"".join(blocks) if dice.below(4) else dice.piece()
        things[f"shelf/{number}.{'c' if turn == 255 else turn}/{place if dice.below(4) else dice.piece(3)!r}"] = body
    keys: Any = _Lying(things)
    shelf = MailboxShelf(keys, lambda work, done: done(work()), "shelf", 0, kind(SECRET, JOB, "shelf"))
    for number, place in ((0, 0), (1, 1)):
        for block, length in ((0, -1), (0, 10), (1, 0), (2, 300)):
            shelf.get(number, 0, place, block, 10 * block, length, lambda body, failure: None)
            shelf.length(number, 0, place, block, lambda size, failure: None)
        shelf.counted(number, lambda count, failure: None)


class _Wire:
    """A connection to a Redis server that has said something (``redis.connection.Connection``)."""

    stage = "up"
    scattered = True

    def __init__(self, pieces: Sequence[bytes], server: url.Server) -> None:
        self._pipe = Pipe(pieces)
        self.server = server

    def read(self, first: memoryview, second: memoryview | None = None) -> int:
        try:
            return self._pipe.recv_into(first)
        except BlockingIOError:
            return -1

    def write(self, parts: Sequence[bytes]) -> int:
        return sum(map(len, parts))


_WORDS_OF_REDIS: Final = (
    b"*", b"%1\r\n", b"$", b":", b"9", b"\r\n", b"-", b"1-1", b"$3\r\nbox\r\n", b"*1\r\n", b"*2\r\n$3\r\n1-1\r\n*2\r\n$1\r\no\r\n",
    b"$64\r\n", b"_\r\n", b">", b"-ERR no\r\n", b"-MOVED 1 a:b\r\n", b"=", b"!", b"~", b"(", b"#t\r\n", b"99999999999999999999",
)  # fmt: skip


class _Events:
    """See ``mailbox.store.Events``; bodies of long objects have a place."""

    def arrived(self, thing: memoryview) -> bool:
        return True

    def landing(self, head: memoryview) -> memoryview | None:
        return memoryview(bytearray(1 << 14))

    def landed(self, head: memoryview) -> None: ...


def replies(data: bytes) -> None:
    """What a server of Redis says, or whoever is there in its place."""
    dice = Dice(data)
    text = b"".join(dice.choice((*_WORDS_OF_REDIS, dice.piece())) for _ in range(dice.below(60)))
    for said in (data, text):
        with suppress(resp.Incomplete, resp.ProtocolError):
            _, end = resp.parse(bytearray(said), 0, len(said))
            assert 0 < end <= len(said)
        line = reader.Reader(url.parse("redis://127.0.0.1"), _NoEpoll(), 1 << 15, Usage())  # type: ignore[arg-type]
        line.attach("box", _Events())  # type: ignore[arg-type]
        line.connection = _Wire([said[at : at + 50] for at in range(0, len(said), 50)], line.connection.server)  # type: ignore[assignment]
        with suppress(resp.ProtocolError, Refusal, Trouble, OSError, EOFError):
            while line.receive():
                pass


class _NoEpoll: ...


TARGETS: Final[dict[str, Callable[[bytes], None]]] = {
    target.__name__: target
    for target in (
        frames, sessions, sealed, greetings, reflectors, rendezvous, control, mailboxes, shelves, replies,
    )
}  # fmt: skip
