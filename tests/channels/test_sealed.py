"""Sealed connections, encrypted and not, against whoever sits between the two ends."""

from __future__ import annotations

import contextlib
import socket
import struct
import sys
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fmi_mpi.channels.conformance import Recorder, header_of
from fmi_mpi.channels.registry import Membership
from fmi_mpi.channels.relay.sealed import SealedConnection
from fmi_mpi.channels.tcp import create
from fmi_mpi.channels.tcp.sealed import SealedConnection as EncryptedConnection
from fmi_mpi.config import Settings
from fmi_mpi.engine.frames import FrameError
from fmi_mpi.errors import ConfigError

pytest.importorskip("cryptography")

SECRET, NONCES = b"the key of the job", bytes(32)


Kind = type[SealedConnection] | type[EncryptedConnection]
KINDS: tuple[Kind, ...] = (SealedConnection, EncryptedConnection)


def sealed(
    kind: Kind, sock: socket.socket, proc: int, nonces: bytes = NONCES
) -> SealedConnection | EncryptedConnection:
    return kind(sock, 1 - proc, SECRET, nonces, proc)


class Pair:
    """A connection to read from and the raw socket that leads to it."""

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self.raw, self.sock = socket.socketpair()
        self.sock.setblocking(False)
        self.reader = sealed(kind, self.sock, 1)
        self.recorder = Recorder()
        self.buffer = memoryview(bytearray(1 << 18))

    def feed(self, data: bytes) -> None:
        self.raw.sendall(data)
        while self.reader.read(self.buffer, self.recorder):
            pass


@pytest.fixture(params=KINDS, ids=["sealed", "encrypted"])
def pair(request: pytest.FixtureRequest) -> Iterator[Pair]:
    pair = Pair(request.param)
    yield pair
    pair.raw.close()
    pair.sock.close()


def records(kind: Kind, *payloads: bytes, proc: int = 0, nonces: bytes = NONCES) -> list[bytes]:
    """Return what a process writes for frames with these payloads, for each its bytes."""
    here, there = socket.socketpair()
    with here, there:
        writer = sealed(kind, here, proc, nonces)
        found = []
        for number, payload in enumerate(payloads):
            assert writer.send(header_of(number, len(payload)), memoryview(payload), None)
            found.append(there.recv(1 << 20))
        return found


def test_what_is_written_is_read_and_hidden(pair: Pair) -> None:
    said = records(pair.kind, b"secret" * 50, b"", b"x" * 50_000)
    assert any(b"secret" in record for record in said) is (pair.kind is SealedConnection)
    pair.feed(b"".join(said))
    assert [payload for _, _, payload in pair.recorder.frames] == [b"secret" * 50, b"", b"x" * 50_000]


def flip(at: int) -> Callable[[Kind, list[bytes]], bytes]:
    return lambda kind, said: said[0][:at] + bytes([said[0][at] ^ 1]) + said[0][at + 1 :]


Change = Callable[[Kind, list[bytes]], bytes]
CHANGES: dict[str, Change] = {
    "replayed": lambda kind, said: said[0] + said[0],
    "left out": lambda kind, said: said[1],
    "in another order": lambda kind, said: said[1] + said[0],
    "cut short": lambda kind, said: said[0][:-1] + said[1],
    "changed": flip(30),
    "of another length": flip(40),
    "changed at the end": flip(-1 + len(b"payload")),
    "reflected": lambda kind, said: records(kind, b"payload", proc=1)[0],
    "of another connection": lambda kind, said: records(kind, b"payload", nonces=b"1" * 32)[0],
    "forged": lambda kind, said: header_of(0, 7) + bytes(16) + b"payload",
    "oversized": lambda kind, said: header_of(0, 1 << 62) + bytes(16) + b"payload",
}
OF_RECORDS: dict[str, Change] = {
    "oversized": lambda kind, said: struct.pack(">I", 1 << 31) + said[0][4:],
    "too long": lambda kind, said: struct.pack(">I", (1 << 16) + 17) + bytes(1 << 17),
    "empty": lambda kind, said: struct.pack(">I", 16) + bytes(16),
    "shortened": lambda kind, said: struct.pack(">I", len(said[0]) - 5) + said[0][4:-1],
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_changes_are_noticed(pair: Pair, change: Change) -> None:
    with pytest.raises(FrameError):
        pair.feed(change(pair.kind, records(pair.kind, b"payload", b"another" * 20)))
    assert len(pair.recorder.frames) <= 1


@pytest.mark.parametrize("change", OF_RECORDS.values(), ids=OF_RECORDS)
def test_records_that_cannot_be_are_refused(change: Change) -> None:
    pair = Pair(EncryptedConnection)
    with pair.raw, pair.sock, pytest.raises(FrameError):
        pair.feed(change(pair.kind, records(pair.kind, b"payload")))
    assert not pair.recorder.frames


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(KINDS), st.binary(min_size=1, max_size=200))
def test_any_bytes(kind: Kind, data: bytes) -> None:
    pair = Pair(kind)
    with pair.raw, pair.sock, contextlib.suppress(FrameError):
        pair.feed(data)
    assert not pair.recorder.frames


def test_half_a_record_waits_for_the_rest(pair: Pair) -> None:
    said = records(pair.kind, b"payload")[0]
    for at in range(len(said)):
        assert not pair.recorder.frames
        pair.feed(said[at : at + 1])
    assert len(pair.recorder.frames) == 1


def test_missing_package_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cryptography", None)
    membership = Membership(0, 2, "job", SECRET, Settings({"FMI_ENCRYPT": "1"}), spans_hosts=True)
    with pytest.raises(ConfigError, match=r"pip install 'fmi_mpi\[encryption\]'"):
        create(membership, Recorder())
