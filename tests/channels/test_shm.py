"""What only the shared-memory channel has: inboxes, doorbells, hostile counters, falling asleep."""

from __future__ import annotations

import os
import random
import select
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from fmi_mpi.channels.conformance import Recorder, connected, header_of, pump
from fmi_mpi.channels.shm import ShmChannel, barrier
from fmi_mpi.channels.shm.inbox import WAITING, ring_size
from fmi_mpi.channels.shm.ring import ADDRESS, CODE, DESCRIPTOR, DIRECT_ALWAYS, DIRECT_FROM, LENGTH, PAD, REGIONS

from .subjects import JOB, SECRET, SUBJECTS, subject, write_into_ring

SHM = SUBJECTS[0]
LARGE = 3_000_000


@contextmanager
def pair(**keys: tuple[str, bytes]) -> Iterator[tuple[list[ShmChannel], list[Recorder]]]:
    """Two ends whose (job, secret) may differ: ``first`` and ``second``."""
    recorders = [Recorder(), Recorder()]
    channels = [
        ShmChannel(proc, 2, *keys.get(key, (JOB, SECRET)), recorders[proc])
        for proc, key in enumerate(("first", "second"))
    ]
    for proc in (0, 1):
        channels[proc].connect({1 - proc: channels[1 - proc].address()})
    yield channels, recorders
    for channel in channels:
        channel.close()


def acquainted(channels: list[ShmChannel], recorders: list[Recorder]) -> None:
    """Exchange a small frame in both directions."""
    for proc in (0, 1):
        channels[proc].send(1 - proc, header_of(0, 0), None, None)
    pump(channels, lambda: all(recorder.frames for recorder in recorders), "a frame at each end")
    for recorder in recorders:
        recorder.frames.clear()


@pytest.mark.parametrize("size", [2, 3, 8, 16, 64, 300])
def test_rings_of_a_job_stay_within_their_budget(size: int) -> None:
    ring = ring_size(size)
    assert ring & (ring - 1) == 0
    assert ring == 1 << 14 or size * size * ring <= 1 << 28


@pytest.mark.parametrize("key", [("another job", SECRET), (JOB, b"another key")], ids=["job", "key"])
def test_inbox_of_a_stranger_is_not_used(key: tuple[str, bytes]) -> None:
    with pair(second=key) as (channels, recorders):
        assert not channels[0].reachable(channels[1].address())
        assert not channels[0].send(1, header_of(0, 0), None, None)
        assert "does not know the job's key" in recorders[0].gone[0][1]
        assert not recorders[1].frames


def test_frames_of_a_stranger_are_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    with pair() as (channels, recorders):
        # The stranger gets past the owner's proof, as anybody of the same user who ignores it could.
        outgoing = channels[0]._open(channels[1].address())
        at = outgoing.inbox.slot(0) * 8 + 192
        outgoing.inbox.memory[at + 64 : at + 96] = bytes(32)
        channels[0].send(1, header_of(0, 0), None, None)
        pump(channels[1:], lambda: bool(recorders[1].gone), "the stranger to be noticed")
        assert recorders[1].frames == []
        assert "job's key" in recorders[1].gone[0][1]


@pytest.mark.parametrize("watched", [False, True])
def test_first_words_of_who_has_left_are_read(watched: bool) -> None:
    with pair() as (channels, recorders):
        if watched:
            assert channels[0].reachable(channels[1].address())
        channels[1].send(0, header_of(7, 3), memoryview(b"bye"), None)
        channels[1].close()
        pump(channels[:1], lambda: bool(recorders[0].gone), "the end of the other")
        assert [frame[1:] for frame in recorders[0].frames] == [(7, b"bye")]


def test_slot_is_given_once() -> None:
    with pair() as (channels, _):
        assert channels[0].reachable(channels[1].address())
        recorder = Recorder()
        other = ShmChannel(0, 2, JOB, SECRET, recorder)
        other.connect({1: channels[1].address()})
        assert not other.send(1, header_of(0, 0), None, None)
        assert "already sends" in recorder.gone[0][1]
        other.close()


def test_other_host_is_not_reachable() -> None:
    with pair() as (channels, _):
        address = channels[1].address()
        assert not channels[0].reachable({**address, "host": "elsewhere"})
        assert not channels[0].reachable({**address, "inbox": 9999})
        assert not channels[0].reachable({**address, "inode": 1})
        assert channels[0].reachable(address)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_process_that_others_may_not_open_offers_nothing() -> None:
    pid = os.fork()
    if not pid:
        os.setuid(65534)  # the kernel then guards the process's descriptors, even from the same user
        with pair() as (channels, _):
            os._exit(channels[0].reachable(channels[1].address()))
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_another_user_can_open_nothing() -> None:
    with pair() as (channels, _):
        address = channels[0].address()
        pid = os.fork()
        if not pid:
            os.setuid(65534)
            opened = 0
            for fd, mode in (
                (address["inbox"], os.O_RDWR),
                (address["inbox"], os.O_RDONLY),
                (address["door"], os.O_WRONLY),
            ):
                try:
                    os.open(f"/proc/{os.getppid()}/fd/{fd}", mode | os.O_NONBLOCK)
                    opened += 1
                except PermissionError:
                    pass
            os._exit(opened)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_inbox_cannot_be_cut_off() -> None:
    with pair() as (channels, _), pytest.raises(PermissionError):
        os.ftruncate(channels[0].address()["inbox"], 4096)


def test_close_gives_all_descriptors_back() -> None:
    before = set(os.listdir("/proc/self/fd"))
    with pair() as (channels, recorders):
        acquainted(channels, recorders)
    assert set(os.listdir("/proc/self/fd")) == before


def _tail(amount: int) -> Callable[[ShmChannel], None]:
    def corrupt(channel: ShmChannel) -> None:
        outgoing = channel._outgoing[1]
        outgoing._words[outgoing._counter] = (outgoing._tail + amount) & ((1 << 64) - 1)

    return corrupt


def _entry(words: dict[int, int], size: int = 128, frame_length: int = 0) -> Callable[[ShmChannel], None]:
    """An entry with these words, followed by a frame header."""

    def corrupt(channel: ShmChannel) -> None:
        line = [0] * 8
        for index, value in words.items():
            line[index] = value
        data = b"".join(word.to_bytes(8, "little") for word in line) + header_of(1, frame_length)
        write_into_ring(channel, 1, (data + bytes(size))[:size])

    return corrupt


CORRUPTIONS = {
    "counter too far": _tail(1 << 40),
    "counter goes back": _tail(-64),
    "counter out of step": _tail(8),
    "unknown code": _entry({LENGTH: CODE | 99}),
    "largest code": _entry({LENGTH: (1 << 64) - 1}),
    "frame longer than written": lambda channel: write_into_ring(channel, 1, header_of(1, 5000) + bytes(64)),
    "pad longer than written": _entry({LENGTH: PAD}),
    "descriptor of no region": _entry({LENGTH: DESCRIPTOR, REGIONS: 0}, frame_length=LARGE),
    "descriptor of too many regions": _entry({LENGTH: DESCRIPTOR, REGIONS: 1 << 40}, frame_length=LARGE),
    "descriptor cut off": _entry({LENGTH: DESCRIPTOR, REGIONS: 1}, size=64),
    "descriptor of nothing": _entry({LENGTH: DESCRIPTOR, REGIONS: 1, ADDRESS: 4096}, frame_length=0),
    "descriptor of a code": _entry({LENGTH: DESCRIPTOR, REGIONS: 1, ADDRESS: 4096}, frame_length=CODE),
    "regions unlike the header": _entry({LENGTH: DESCRIPTOR, REGIONS: 2}, size=192, frame_length=LARGE),
    "memory that is not there": _entry({LENGTH: DESCRIPTOR, REGIONS: 1, ADDRESS: 64}, frame_length=LARGE),
    "little memory that is not there": _entry({LENGTH: DESCRIPTOR, REGIONS: 1, ADDRESS: 64}, frame_length=70_000),
}


@pytest.mark.parametrize("corrupt", CORRUPTIONS.values(), ids=CORRUPTIONS)
def test_corrupt_ring_loses_the_peer(corrupt: Callable[[ShmChannel], None]) -> None:
    with pair() as (channels, recorders):
        acquainted(channels, recorders)
        corrupt(channels[0])
        pump(channels[1:], lambda: bool(recorders[1].gone), "the corruption to be noticed")
        assert recorders[1].frames == []
        assert [peer for peer, _ in recorders[1].gone] == [0]


def test_stray_counter_of_the_owner_itself_is_ignored() -> None:
    with pair() as (channels, recorders):
        acquainted(channels, recorders)
        inbox = channels[1]._inbox
        inbox.words[inbox.tail(1)] = 640
        channels[0].send(1, header_of(3, 0), None, None)
        pump(channels[1:], lambda: bool(recorders[1].frames), "a frame")
        assert recorders[1].gone == []


def test_large_payload_does_not_pass_the_ring() -> None:
    with pair() as (channels, recorders):
        acquainted(channels, recorders)
        payload = memoryview(random.Random(1).randbytes(LARGE))
        before = channels[0]._outgoing[1]._tail
        assert channels[0].send(1, header_of(1, LARGE), payload, 1) is False
        pump(channels, lambda: recorders[0].freed == [1], "the payload to be read")
        assert recorders[1].frames == [(0, 1, bytes(payload))]
        assert channels[0]._outgoing[1]._tail - before == 128


@pytest.mark.parametrize(
    ("quick", "length", "direct"),
    [
        (True, DIRECT_FROM - 1, False),
        (True, DIRECT_FROM, True),
        (False, DIRECT_FROM, False),
        (False, DIRECT_ALWAYS, True),
    ],
)
def test_direct_copies_begin_where_the_kernel_is_quick(quick: bool, length: int, direct: bool) -> None:
    with pair() as (channels, recorders):
        channels[0]._spaces.quick = lambda: quick  # type: ignore[method-assign]
        acquainted(channels, recorders)
        payload = memoryview(random.Random(1).randbytes(length))
        before = channels[0]._outgoing[1]._tail
        channels[0].send(1, header_of(1, length), payload, 1)
        pump(channels, lambda: bool(recorders[1].frames), "the payload")
        assert recorders[1].frames == [(0, 1, bytes(payload))]
        assert (channels[0]._outgoing[1]._tail - before <= 128) is direct


def test_sleeper_is_woken_for_what_another_thread_queues() -> None:
    with pair() as (channels, recorders):
        acquainted(channels, recorders)
        sender = channels[0]
        poller = select.poll()
        for fd, mask in sender.descriptors():
            poller.register(fd, mask)
        while not sender.arm() or poller.poll(0):
            sender.disarm()
            sender.poll()
        payload = memoryview(bytes(LARGE))
        sender.send(1, header_of(1, LARGE), payload, 1)  # as another thread would, while this one sleeps
        assert poller.poll(10_000), "the sleeper must wake to ask the peer for a wake-up"
        sender.disarm()
        pump(channels, lambda: recorders[0].freed == [1], "the payload to be read")


def test_flags_are_down_after_a_sleep() -> None:
    with pair() as (channels, recorders):
        acquainted(channels, recorders)
        channels[0].send(1, header_of(1, LARGE), memoryview(bytes(LARGE)), 1)
        channels[0].poll()
        outgoing = channels[0]._outgoing[1]
        waiting = outgoing.inbox.slot(0) + WAITING
        channels[0].arm()
        assert outgoing.inbox.words[waiting] == 1
        channels[0].disarm()
        assert outgoing.inbox.words[waiting] == 0


def _bounce(channel: ShmChannel, recorder: Recorder, rounds: int, first: bool) -> int:
    """Play ping-pong, sleeping whenever there is nothing to do; return how often a sleep was in vain."""
    poller = select.poll()
    for fd, mask in channel.descriptors():
        poller.register(fd, mask)
    peer = 1 if first else 0
    in_vain = 0
    for number in range(rounds):
        if first:
            channel.send(peer, header_of(number, 0), None, None)
        while len(recorder.frames) <= number:
            if not channel.poll():
                if channel.arm() and not poller.poll(2000):
                    in_vain += 1
                channel.disarm()
        if not first:
            channel.send(peer, header_of(number, 0), None, None)
    return in_vain


@pytest.mark.parametrize("membarrier", [True, False], ids=["membarrier", "fences"])
def test_no_wake_up_is_missed(membarrier: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if membarrier and not barrier.enrol():
        pytest.skip("this kernel has no membarrier")
    if not membarrier:
        monkeypatch.setattr(barrier, "enrol", lambda: False)
    rounds = 3000
    downward, upward = os.pipe(), os.pipe()
    recorder = Recorder()
    pid = os.fork()
    channel = SHM.make(1 if not pid else 0, 2, recorder)
    assert isinstance(channel, ShmChannel)
    ours, theirs = (upward[1], downward[0]) if not pid else (downward[1], upward[0])
    address = channel.address()
    os.write(ours, b"%d %d %d %d\n" % (address["pid"], address["inbox"], address["door"], address["inode"]))
    numbers = map(int, os.read(theirs, 200).split())
    peer = {**address, "proc": 1 if pid else 0, **dict(zip(("pid", "inbox", "door", "inode"), numbers))}
    channel.connect({peer["proc"]: peer})
    in_vain = _bounce(channel, recorder, rounds, first=bool(pid))
    if not pid:
        os._exit(min(in_vain, 100))
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    channel.close()
    for fd in (*downward, *upward):
        os.close(fd)
    assert (in_vain, status) == (0, 0)


@pytest.mark.parametrize("membarrier", [True, False], ids=["membarrier", "fences"])
def test_either_the_sleeper_or_the_sender_pays_for_the_barrier(
    membarrier: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    monkeypatch.setattr(barrier, "enrol", lambda: membarrier)
    monkeypatch.setattr(barrier, "expedite", lambda: calls.append("expedite"))
    monkeypatch.setattr(barrier.Fence, "__call__", lambda self: calls.append("fence"))
    with pair() as (channels, recorders):
        acquainted(channels, recorders)
        calls.clear()
        channels[0].send(1, header_of(1, 0), None, None)
        assert calls == ([] if membarrier or barrier.WEAK else ["fence"])
        calls.clear()
        channels[0].arm()
        channels[0].disarm()
        assert calls == (["fence", "expedite"] if membarrier else ["fence"])


def test_settings_choose_the_ring() -> None:
    with connected(subject("shm", FMI_SHM_RING="100KiB"), 2) as (channels, _):
        assert isinstance(channels[0], ShmChannel)
        assert channels[0]._inbox.ring == 128 << 10
