"""Encrypted connections against whoever sits between the two ends."""

from __future__ import annotations

import socket
import struct
import sys
from collections.abc import Callable, Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fmi_mpi.channels.conformance import Recorder, header_of
from fmi_mpi.channels.registry import Membership
from fmi_mpi.channels.tcp import create
from fmi_mpi.channels.tcp.sealed import SealedConnection
from fmi_mpi.config import Settings
from fmi_mpi.engine.frames import FrameError
from fmi_mpi.errors import ConfigError

pytest.importorskip("cryptography")

SECRET, NONCES = b"the key of the job", bytes(32)


def sealed(sock: socket.socket, proc: int, nonces: bytes = NONCES) -> SealedConnection:
    return SealedConnection(sock, 1 - proc, SECRET, nonces, proc)


class Pair:
    """A connection to read from and the raw socket that leads to it."""

    def __init__(self) -> None:
        self.raw, self.sock = socket.socketpair()
        self.sock.setblocking(False)
        self.reader = sealed(self.sock, 1)
        self.recorder = Recorder()
        self.buffer = memoryview(bytearray(1 << 16))

    def feed(self, data: bytes) -> None:
        self.raw.sendall(data)
        while self.reader.read(self.buffer, self.recorder):
            pass


@pytest.fixture
def pair() -> Iterator[Pair]:
    pair = Pair()
    yield pair
    pair.raw.close()
    pair.sock.close()


def records(*payloads: bytes, proc: int = 0, nonces: bytes = NONCES) -> list[bytes]:
    """Return the records that a process writes for frames with these payloads, one for each."""
    here, there = socket.socketpair()
    with here, there:
        writer = sealed(here, proc, nonces)
        found = []
        for number, payload in enumerate(payloads):
            assert writer.send(header_of(number, len(payload)), memoryview(payload), None)
            found.append(there.recv(1 << 20))
        return found


def test_what_is_written_is_read_and_hidden(pair: Pair) -> None:
    said = records(b"secret" * 50, b"", b"x" * 50_000)
    assert not any(b"secret" in record for record in said)
    pair.feed(b"".join(said))
    assert [payload for _, _, payload in pair.recorder.frames] == [b"secret" * 50, b"", b"x" * 50_000]


def flip(said: list[bytes]) -> bytes:
    return said[0][:30] + bytes([said[0][30] ^ 1]) + said[0][31:]


CHANGES: dict[str, Callable[[list[bytes]], bytes]] = {
    "replayed": lambda said: said[0] + said[0],
    "left out": lambda said: said[1],
    "in another order": lambda said: said[1] + said[0],
    "changed": flip,
    "oversized": lambda said: struct.pack(">I", 1 << 31) + said[0][4:],
    "too long": lambda said: struct.pack(">I", (1 << 16) + 17) + bytes(1 << 17),
    "empty": lambda said: struct.pack(">I", 16) + bytes(16),
    "shortened": lambda said: struct.pack(">I", len(said[0]) - 5) + said[0][4:-1],
    "reflected": lambda said: records(b"payload", proc=1)[0],
    "of another connection": lambda said: records(b"payload", nonces=b"1" * 32)[0],
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_changes_are_noticed(pair: Pair, change: Callable[[list[bytes]], bytes]) -> None:
    with pytest.raises(FrameError):
        pair.feed(change(records(b"payload", b"another")))
    assert len(pair.recorder.frames) <= 1


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(min_size=1, max_size=200))
def test_any_bytes(data: bytes) -> None:
    pair = Pair()
    try:
        pair.feed(data)
    except FrameError:
        pass
    finally:
        pair.raw.close()
        pair.sock.close()
    assert not pair.recorder.frames


def test_half_a_record_waits_for_the_rest(pair: Pair) -> None:
    said = records(b"payload")[0]
    for at in range(len(said)):
        assert not pair.recorder.frames
        pair.feed(said[at : at + 1])
    assert len(pair.recorder.frames) == 1


def test_missing_package_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cryptography", None)
    membership = Membership(0, 2, "job", SECRET, Settings({"FMI_ENCRYPT": "1"}), spans_hosts=True)
    with pytest.raises(ConfigError, match=r"pip install 'fmi_mpi\[encryption\]'"):
        create(membership, Recorder())
