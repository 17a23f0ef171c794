"""Boards of the shared-memory channel: who reads what, when memory is used again, who is let in, falling asleep."""

from __future__ import annotations

import os
import select
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from fmi_mpi.channels.base import ChannelError
from fmi_mpi.channels.conformance import Recorder
from fmi_mpi.channels.shm import ShmChannel
from fmi_mpi.channels.shm.board import Board
from fmi_mpi.constants import ERR_COUNT, ERR_OTHER, ERR_TRUNCATE
from fmi_mpi.errors import MPIError

from .subjects import JOB, SECRET

INLINE = 64
NONE = memoryview(b"")


@contextmanager
def boards(size: int) -> Iterator[tuple[list[ShmChannel], list[Board]]]:
    """Channels of one process and a board that they share."""
    recorders = [Recorder() for _ in range(size)]
    channels = [ShmChannel(proc, size, JOB, SECRET, recorders[proc]) for proc in range(size)]
    addresses = {proc: channel.address() for proc, channel in enumerate(channels)}
    for channel in channels:
        channel.connect(addresses)
    made = channels[0].make_board(size, INLINE)
    members = [made, *(channels[place].open_board(made.address, place) for place in range(1, size))]
    assert all(board.meet() for board in members)
    yield channels, members
    for board in members:
        board.close()
    for channel in channels:
        channel.close()


class Word:
    """What a round that was not complete said at last."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def __call__(self, failure: str) -> None:
        self.said.append(failure)


@pytest.mark.parametrize("size", [2, 3, 9])
@pytest.mark.parametrize("nbytes", [1, INLINE, INLINE + 1, 100_000])
def test_everybody_reads_what_anybody_shares(size: int, nbytes: int) -> None:
    with boards(size) as (channels, members):
        for stamp in (5, 6, 9):
            shared = [memoryview(os.urandom(nbytes)) for _ in range(size)]
            words = [Word() for _ in range(size)]
            complete = [members[i].share(stamp, shared[i], None, words[i]) for i in range(size)]
            assert complete == [False] * (size - 1) + [True]
            for channel in channels[:-1]:
                channel.poll()
            assert all(word.said == [""] for word in words[:-1])
            for board in members:
                for place in range(size):
                    into = memoryview(bytearray(nbytes - nbytes // 3))
                    board.fetch(stamp, nbytes, place, nbytes // 3, into)
                    assert into == shared[place][nbytes // 3 :]
                    if nbytes <= INLINE:
                        assert board.view(stamp, nbytes, place) == shared[place]
                        assert board.view(stamp, -1, place, 1, 3) == shared[place][1:3]


def test_memory_is_not_used_again_before_all_have_gone_on() -> None:
    with boards(2) as (channels, (writer, reader)):
        word = Word()
        ahead = 0
        while writer.share(ahead + 1, memoryview(bytes([ahead])), (), word):
            ahead += 1
        assert ahead > 1
        channels[0].poll()
        assert not word.said
        for i in range(ahead):
            assert reader.share(i + 1, NONE, (0,), word)
            assert reader.view(i + 1, -1, 0) == bytes([i])
            channels[0].poll()
            assert word.said == ([""] if i else [])
        assert reader.share(ahead + 1, NONE, (0,), word)
        assert reader.view(ahead + 1, -1, 0) == bytes([ahead])


@pytest.mark.parametrize(
    ("stamp", "expected", "start", "error"),
    [(4, -1, 0, ERR_OTHER), (5, 3, 0, ERR_TRUNCATE), (5, 9, 0, ERR_COUNT), (5, 8, 7, ERR_COUNT)],
    ids=["another round", "less", "more", "beyond the end"],
)
def test_what_is_not_there_is_not_read(stamp: int, expected: int, start: int, error: int) -> None:
    with boards(2) as (_, (writer, reader)):
        writer.share(5, memoryview(bytes(8)), (), Word())
        with pytest.raises(MPIError) as caught:
            reader.fetch(stamp, expected, 0, start, memoryview(bytearray(4)))
        assert caught.value.error_class == error
        assert "rank 0" in str(caught.value)


def test_only_the_announced_memory_is_a_board() -> None:
    with boards(2) as (channels, _):
        made = channels[0].make_board(2, INLINE)
        for change in ({"nonce": "00" * 16}, {"inline": 1 << 20}, {"fd": 0}, {"fd": 9999}):
            with pytest.raises(ChannelError, match="board"):
                channels[1].open_board({**made.address, **change}, 1)
        made.close()


def test_rounds_that_wait_for_a_lost_member_fail() -> None:
    with boards(3) as (channels, members):
        word, other = Word(), Word()
        assert not members[0].share(1, NONE, None, word)
        assert not members[1].share(1, NONE, (0, 2), other)
        channels[1].poll()
        channels[0].desert(2, "gone")
        channels[0].desert(1, "also gone")
        assert word.said == ["gone"]
        assert other.said == []


def test_a_sleeper_is_woken() -> None:
    with boards(2) as (channels, members):
        word = Word()
        assert not members[0].share(1, NONE, None, word)
        channels[0].poll()
        assert channels[0].arm()
        poller = select.poll()
        for fd, mask in channels[0].descriptors():
            poller.register(fd, mask)
        assert not poller.poll(0)
        assert members[1].share(1, NONE, (), Word())
        assert poller.poll(1000)
        channels[0].disarm()
        channels[0].poll()
        assert word.said == [""]


def test_who_has_news_does_not_fall_asleep() -> None:
    with boards(2) as (channels, members):
        assert not members[0].share(1, NONE, None, Word())
        channels[0].poll()
        members[1].share(1, NONE, (), Word())
        assert not channels[0].arm()
        channels[0].disarm()


def test_a_round_that_fails_during_sleep_leaves_nobody_to_be_woken() -> None:
    with boards(3) as (channels, members):
        word = Word()
        assert not members[0].share(1, NONE, None, word)
        channels[0].poll()
        assert channels[0].arm()
        channels[0].desert(2, "gone")
        channels[0].disarm()
        assert word.said == ["gone"]
        poller = select.poll()
        for fd, mask in channels[0].descriptors():
            poller.register(fd, mask)
        members[1].share(1, NONE, (), Word())
        assert not poller.poll(0)
