"""The relay's streams when they are cut, when the relay is started again, and when it is not to be trusted."""

from __future__ import annotations

import random
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest

from fmi_mpi.channels.base import Channel
from fmi_mpi.channels.conformance import Recorder, connected, header_of, pump
from fmi_mpi.channels.conformance import Subject as Pairing
from fmi_mpi.channels.recorder import bytes_of
from fmi_mpi.channels.registry import Membership
from fmi_mpi.channels.relay import RelayChannel
from fmi_mpi.config import Settings
from fmi_mpi.launch.rendezvous.relay import Relay, _End

from .relays import Served, settling

JOB, SECRET = "relayed", b"the key of the job"
SIZES = (10, 5000, 70_000, 0, 400_000)


class Tapped(Relay):
    """A relay that looks into what it carries, and may change it."""

    seen = b""
    change: Callable[[bytes], bytes] = staticmethod(lambda data: data)

    def _write(self, end: _End, data: bytes | memoryview) -> None:
        if end.other is not None:
            type(self).seen += bytes(data)
            data = type(self).change(bytes(data))
        super()._write(end, data)


@contextmanager
def two_ends(served: Served, *variables: str) -> Iterator[tuple[list[Channel], list[Recorder]]]:
    settings = [Settings({"FMI_RECONNECT": "10", "FMI_ENCRYPT": encrypt}) for encrypt in variables]

    def make(proc: int, size: int, receiver: object) -> Channel:
        return settling(Membership(proc, size, JOB, SECRET, settings[proc]), receiver, served)  # type: ignore[arg-type]

    with connected(Pairing("relay", make), 2) as ends:
        yield ends


def send(channels: list[Channel], number: int) -> None:
    for proc in (0, 1):
        data = bytes_of(number, SIZES[number % len(SIZES)])
        channels[proc].send(1 - proc, header_of(number, len(data)), data, None)


@pytest.fixture(scope="module")
def served() -> Served:
    return Served()


def cut(served: Served, channels: list[Channel], dice: random.Random) -> None:
    end = channels[dice.randrange(2)]
    assert isinstance(end, RelayChannel)
    for one in end._peers.values():
        if one.connection is not None:
            with suppress(OSError):  # the other end may have cut it
                one.connection.sock.shutdown(socket.SHUT_RDWR)


def restart(served: Served, channels: list[Channel], dice: random.Random) -> None:
    served.restart()


@pytest.mark.parametrize("encrypt", ["0", "1"], ids=["sealed", "encrypted"])
@pytest.mark.parametrize("harm", [cut, restart])
def test_streams_that_are_cut_lose_and_double_nothing(served: Served, encrypt: str, harm: Callable[..., None]) -> None:
    dice = random.Random(7)
    with two_ends(served, encrypt, encrypt) as (channels, recorders):
        number = 0
        for _ in range(6):
            for _ in range(dice.randrange(4, 12)):
                send(channels, number)
                number += 1
                channels[dice.randrange(2)].poll()
            harm(served, channels, dice)
        pump(channels, lambda: all(len(recorder.frames) == number for recorder in recorders), "all frames")
        for proc, recorder in enumerate(recorders):
            expected = [(1 - proc, n, bytes(bytes_of(n, SIZES[n % len(SIZES)]))) for n in range(number)]
            assert recorder.frames == expected
            assert not recorder.gone
        pump(channels, lambda: not any(channel.pending() for channel in channels), "the queues to be empty")


def test_a_relay_that_does_not_come_back_loses_the_peer_in_time(served: Served) -> None:
    settings = Settings({"FMI_RECONNECT": "0.3"})

    def make(proc: int, size: int, receiver: object) -> Channel:
        return settling(Membership(proc, size, JOB, SECRET, settings), receiver, served)  # type: ignore[arg-type]

    with connected(Pairing("relay", make), 2) as (channels, recorders):
        send(channels, 0)
        pump(channels, lambda: all(recorder.frames for recorder in recorders), "a frame at each end")
        assert isinstance(channels[0], RelayChannel)
        channels[0]._addresses[:] = [(int(socket.AF_INET), ("127.0.0.1", 9))]  # nobody there
        cut(served, channels[:1] * 2, random.Random())
        pump(channels[:1], lambda: bool(recorders[0].gone), "the loss of the peer")
        assert "could not be renewed within 0.3 s" in recorders[0].gone[0][1]
        assert "FMI_RECONNECT" in recorders[0].gone[0][1]


@pytest.mark.parametrize("encrypt", ["0", "1"], ids=["sealed", "encrypted"])
def test_what_the_relay_sees_and_that_it_can_change_nothing(encrypt: str) -> None:
    tapped = Served(Tapped)
    Tapped.seen, Tapped.change = b"", staticmethod(lambda data: data)
    text = memoryview(b"a secret that is easily found" * 100)
    with two_ends(tapped, encrypt, encrypt) as (channels, recorders):
        channels[0].send(1, header_of(1, len(text)), text, None)
        pump(channels, lambda: bool(recorders[1].frames), "the frame")
        assert (b"a secret that" in Tapped.seen) is (encrypt == "0")
        Tapped.change = staticmethod(lambda data: data[:-1] + bytes([data[-1] ^ 1]))
        channels[0].send(1, header_of(2, len(text)), text, None)
        pump(channels, lambda: bool(recorders[1].gone), "the loss of a peer whose frames are changed")
        assert len(recorders[1].frames) == 1


def test_ends_that_do_not_agree_on_encryption_say_so(served: Served) -> None:
    with two_ends(served, "0", "1") as (channels, recorders):
        channels[0].send(1, header_of(1, 0), None, None)
        pump(channels, lambda: bool(recorders[1].gone), "the loss of the peer")
        assert "the peer has FMI_ENCRYPT set otherwise" in recorders[1].gone[0][1]
        assert not recorders[0].frames and not recorders[1].frames
