"""The suite that every channel must pass: ``for check in CHECKS: check(subject)``.

Rules of this file:
- A check knows ``channels.base`` only, never a transport. What it needs of one is in ``Subject``.
- Ends live in this process, polled by turns, so that every run is the same; only the killed peer is a process.
- Nothing sleeps: waiting is polling, or waiting for a descriptor, up to a deadline that only a failure reaches.
- Failures are AssertionErrors that say what was expected.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import select
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Final

from fmi_mpi.channels.base import Channel, Payload, Receiver
from fmi_mpi.channels.recorder import Recorder, bytes_of, header_of

__all__ = ["CHECKS", "Recorder", "Subject", "connected", "header_of", "pump"]

_DEADLINE: Final = 20.0  # seconds
_TRIPS: Final = 5
"""Times a store's latency without news after which nothing is under way any more."""
_ENDED: Final = os.WEXITED | os.WNOHANG | os.WNOWAIT
_SIZES: Final = (0, 1, 8, 63, 64, 65, 4096, 65535, 65536, 65537, 300_001, 1 << 20, (1 << 20) + 1, 5_000_003)


@dataclass(frozen=True)
class Subject:
    """A channel to be checked.

    Args:
        name: of the channel.
        make: (process number, job size, receiver) -> a channel that is not connected yet; all of one job.
        tamper: (channel, peer, bytes): put these bytes where the peer expects the channel's next frame. The channel
            has sent to that peer before. None if no such thing can be done.
        notices: the channel itself tells of a killed peer, not only the job's control. Those that do not are stores that
            are asked and answer, slowly: of what is done often, they do less.
    """

    name: str
    make: Callable[[int, int, Receiver], Channel]
    tamper: Callable[[Channel, int, bytes], None] | None = None
    notices: bool = True

    def often(self, count: int) -> int:
        """Return how often to do what is done ``count`` times where that is quick."""
        return count if self.notices else count // 6


def _send(channel: Channel, recorder: Recorder, peer: int, number: int, payload: Payload) -> None:
    """Send a frame; when its memory is free, the sender's recorder knows."""
    views = [] if payload is None else [payload] if isinstance(payload, memoryview) else payload
    if channel.send(peer, header_of(number, sum(map(len, views))), payload, number):
        recorder.sent(number)


def _intact(recorder: Recorder) -> bool:
    return all(payload == bytes(bytes_of(number, len(payload))) for _, number, payload in recorder.frames)


@contextmanager
def connected(subject: Subject, size: int) -> Iterator[tuple[list[Channel], list[Recorder]]]:
    """Ends of a job of ``size`` processes, all in this process, that know each other."""
    recorders = [Recorder() for _ in range(size)]
    channels = [subject.make(proc, size, recorder) for proc, recorder in enumerate(recorders)]
    try:
        addresses = {proc: channel.address() for proc, channel in enumerate(channels)}
        for proc, channel in enumerate(channels):
            peers = {peer: address for peer, address in addresses.items() if peer != proc}
            assert all(map(channel.reachable, peers.values())), "a peer in the same process cannot be reached"
            channel.connect(peers)
        yield channels, recorders
    finally:
        for channel in channels:
            channel.close()


def pump(channels: Sequence[Channel], until: Callable[[], bool], what: str, seconds: float = _DEADLINE) -> None:
    """Poll by turns until a condition holds, for so many seconds; ``what`` says what was waited for."""
    deadline = time.monotonic() + seconds
    while not until():
        for channel in channels:
            channel.poll()
        assert time.monotonic() < deadline, f"waited in vain for {what}"


def _readable(channel: Channel, milliseconds: int) -> bool:
    poller = select.poll()
    for fd, mask in channel.descriptors():
        poller.register(fd, mask)
    return bool(poller.poll(milliseconds))


def _settle(channels: Sequence[Channel]) -> None:
    """Poll until nothing happens any more."""
    deadline = time.monotonic() + _DEADLINE
    pause = max(0.0 if channel.capabilities.spin else _TRIPS * channel.capabilities.latency for channel in channels)
    quiet = 0
    since = time.monotonic()
    while quiet < 50 or time.monotonic() - since < pause:
        moved = [channel.poll() for channel in channels]
        quiet = 0 if any(moved) else quiet + 1
        if not quiet:
            since = time.monotonic()
        elif pause:
            time.sleep(0)
        assert time.monotonic() < deadline, "the channel never comes to rest"


def _fall_asleep(channel: Channel, others: Sequence[Channel]) -> None:
    """Arm a channel that has nothing to do."""
    deadline = time.monotonic() + _DEADLINE
    while True:
        _settle([channel, *others])
        if channel.arm() and not _readable(channel, 0):
            return
        channel.disarm()
        assert time.monotonic() < deadline, "an idle channel cannot be armed"


def check_two_ends(subject: Subject) -> None:
    """A frame arrives whole at the other end, from the right peer, in both directions."""
    with connected(subject, 2) as (channels, recorders):
        for proc in (0, 1):
            _send(channels[proc], recorders[proc], 1 - proc, proc, bytes_of(proc, 100))
        pump(channels, lambda: all(recorder.frames for recorder in recorders), "a frame at each end")
        for proc in (0, 1):
            assert recorders[proc].frames == [(1 - proc, 1 - proc, bytes(bytes_of(1 - proc, 100)))]
            assert recorders[proc].gone == []


def check_sizes(subject: Subject) -> None:
    """Payloads of any size arrive unchanged and in order, and each send completes exactly once."""
    with connected(subject, 2) as (channels, recorders):
        sender, receiver = recorders
        for number, size in enumerate(_SIZES * 2):  # the second time the peers know each other well
            _send(channels[0], sender, 1, number, bytes_of(number, size) if size else None)
        count = 2 * len(_SIZES)
        pump(channels, lambda: len(receiver.frames) == count == len(sender.freed), "all sizes")
        assert [(number, len(payload)) for _, number, payload in receiver.frames] == list(enumerate(_SIZES * 2))
        assert _intact(receiver)
        assert sorted(sender.freed) == list(range(count))
        assert not channels[0].pending()


def check_order(subject: Subject) -> None:
    """Many frames of mixed sizes arrive in the order sent, while sender and receiver take turns at random."""
    dice = random.Random(1)
    with connected(subject, 2) as (channels, recorders):
        sender, receiver = recorders
        count = subject.often(400)
        for number in range(count):
            size = dice.choice((0, 8, 200, 5000, 70_000, 400_000 if number % 10 == 0 else 1))
            _send(channels[0], sender, 1, number, bytes_of(number, size))
            for channel in channels:
                if dice.random() < 0.4:
                    channel.poll()
        pump(channels, lambda: len(receiver.frames) == count == len(sender.freed), "all frames")
        assert [number for _, number, _ in receiver.frames] == list(range(count))
        assert _intact(receiver)


def check_gather(subject: Subject) -> None:
    """A payload in several views arrives as their concatenation: empty, tiny, large, read-only, very many."""
    whole = bytes(bytes_of(7, 3_000_000))
    cuts = (
        [whole[:3], b"", whole[3:50]],
        [whole[:100_000]],
        [whole[:1], whole[1:1_000_000], whole[1_000_000:1_000_007], whole[1_000_007:]],
        [whole[start : start + 997] for start in range(0, len(whole), 997)],
        [b"", b""],
    )
    with connected(subject, 2) as (channels, recorders):
        sender, receiver = recorders
        for number, parts in enumerate(cuts * 2):
            _send(channels[0], sender, 1, number, [memoryview(part) for part in parts])
            pump(channels, lambda: len(receiver.frames) == len(sender.freed) == number + 1, "a gathered payload")  # noqa: B023
        for (_, number, payload), parts in zip(receiver.frames, cuts * 2):
            assert payload == b"".join(parts), f"payload {number} arrived changed"


def check_memory_is_free(subject: Subject) -> None:
    """Once a send is complete, its memory may be overwritten without harm to what arrives."""
    with connected(subject, 2) as (channels, recorders):
        sender, receiver = recorders
        sizes = (10, 5000, 65_536, 200_000, 2_000_000) * 4
        memories = [bytes_of(number, size) for number, size in enumerate(sizes)]

        def overwrite(number: int) -> None:
            memories[number][:] = bytes(sizes[number])

        sender.on_freed = overwrite
        for number, memory in enumerate(memories):
            _send(channels[0], sender, 1, number, memory)
        pump(channels, lambda: len(receiver.frames) == len(sizes) == len(sender.freed), "all frames")
        assert _intact(receiver)


def check_clogged_pair(subject: Subject) -> None:
    """Two ends that only send, in both directions, are never blocked, and lose nothing when they poll at last."""
    with connected(subject, 2) as (channels, recorders):
        count = 100
        for number in range(count):
            for proc in (0, 1):
                size = 60_000 if number % 3 else 700_000
                _send(channels[proc], recorders[proc], 1 - proc, number, bytes_of(number, size))
        assert all(channel.pending() for channel in channels), "33 MB are under way and nothing waits"
        pump(channels, lambda: all(len(recorder.frames) == count for recorder in recorders), "the pair to come free")
        pump(channels, lambda: all(len(recorder.freed) == count for recorder in recorders), "all sends to complete")
        for recorder in recorders:
            assert [number for _, number, _ in recorder.frames] == list(range(count))
            assert _intact(recorder)
        pump(channels, lambda: not any(channel.pending() for channel in channels), "the queues to be empty")


def check_replies(subject: Subject) -> None:
    """A receiver may send from within its callbacks."""
    rounds = subject.often(60)
    payload = bytes_of(0, 3000)
    with connected(subject, 3) as (channels, recorders):

        def replier(proc: int) -> Callable[[int, int], None]:
            def reply(peer: int, number: int) -> None:
                if number < rounds:
                    _send(channels[proc], recorders[proc], (proc + 1 + number % 2) % 3, number + 1, payload)

            return reply

        for proc, recorder in enumerate(recorders):
            recorder.on_frame = replier(proc)
        _send(channels[0], recorders[0], 1, 0, payload)
        pump(channels, lambda: sum(len(recorder.frames) for recorder in recorders) == rounds + 1, "the last reply")
        assert all(frame[2] == payload for recorder in recorders for frame in recorder.frames)


def check_all_to_all(subject: Subject) -> None:
    """Every process of a job can send to every other."""
    size = 5
    pairs = [(source, target) for source in range(size) for target in range(size) if source != target]
    with connected(subject, size) as (channels, recorders):
        for source, target in pairs:
            number = source * size + target
            _send(channels[source], recorders[source], target, number, bytes_of(number, 1000 * target))
        pump(channels, lambda: sum(len(recorder.frames) for recorder in recorders) == len(pairs), "all frames")
        for target, recorder in enumerate(recorders):
            arrived = sorted((source, number) for source, number, _ in recorder.frames)
            assert arrived == [(source, source * size + target) for source in range(size) if source != target]
            assert _intact(recorder)


def check_wake_up(subject: Subject) -> None:
    """An armed channel's descriptors become readable by an arrival."""
    with connected(subject, 2) as (channels, recorders):
        sizes = (8, 8, 100_000, 2_000_000)
        for number, size in enumerate(sizes):
            _fall_asleep(channels[1], channels[:1])
            _send(channels[0], recorders[0], 1, number, bytes_of(number, size))
            pump(channels[:1], lambda: _readable(channels[1], 0), "an arrival to wake the sleeper")
            channels[1].disarm()
            pump(channels, lambda: len(recorders[1].frames) == number + 1, "the frame that woke it")  # noqa: B023
        assert [len(payload) for _, _, payload in recorders[1].frames] == list(sizes)


def check_arrival_prevents_sleep(subject: Subject) -> None:
    """A channel at which something has arrived cannot be armed, or its descriptors are readable at once."""
    with connected(subject, 2) as (channels, recorders):
        _send(channels[0], recorders[0], 1, 0, None)
        pump(channels, lambda: bool(recorders[1].frames), "the first frame")
        _settle(channels)
        _send(channels[0], recorders[0], 1, 1, None)
        pump(channels[:1], lambda: not channels[1].arm() or _readable(channels[1], 0), "an arrival to prevent sleep")
        channels[1].disarm()
        pump(channels, lambda: len(recorders[1].frames) == 2, "that arrival")


def check_wake_up_of_sender(subject: Subject) -> None:
    """A sender that sleeps with frames in its queue is woken when the receiver makes room."""
    with connected(subject, 2) as (channels, recorders):
        sender, receiver = channels
        count = 100
        for number in range(count):
            _send(sender, recorders[0], 1, number, bytes_of(number, 400_000))
        deadline = time.monotonic() + _DEADLINE
        slept = 0
        while len(recorders[1].frames) < count or sender.pending():
            _settle([sender])
            if sender.pending() and sender.arm() and not _readable(sender, 0):
                _settle([receiver])
                assert _readable(sender, int(_DEADLINE * 1000)), "room did not wake the sender"
                slept += 1
            sender.disarm()
            receiver.poll()
            assert time.monotonic() < deadline, "the sender's queue does not empty"
        assert slept, "the sender never had to wait"
        assert [number for _, number, _ in recorders[1].frames] == list(range(count))


def check_close(subject: Subject) -> None:
    """A peer that closes is lost once; later sends to it do nothing; closing twice is harmless."""
    with connected(subject, 3) as (channels, recorders):
        for proc in (0, 1, 2):
            for peer in {0, 1, 2} - {proc}:
                _send(channels[proc], Recorder(), peer, 3 * proc + peer, bytes_of(proc, 50))
        pump(channels, lambda: all(len(recorder.frames) == 2 for recorder in recorders), "all frames")
        channels[1].close()
        channels[1].close()
        rest = [channels[0], channels[2]]
        pump(rest, lambda: bool(recorders[0].gone and recorders[2].gone), "the loss of the closed end")
        for payload in (bytes_of(0, 10), bytes_of(0, 3_000_000)):
            assert channels[0].send(1, header_of(7, len(payload)), payload, 7) is False
        _send(channels[0], Recorder(), 2, 8, bytes_of(8, 100_000))
        pump(rest, lambda: len(recorders[2].frames) == 3, "a frame between the others")
        _settle(rest)
        assert [peer for peer, _ in recorders[0].gone] == [1]
        assert [peer for peer, _ in recorders[2].gone] == [1]
        assert not channels[0].pending()


def check_refused_frames(subject: Subject) -> None:
    """A receiver that refuses a frame loses that peer, and only that one; the error does not escape."""
    for size in (10, 3_000_000):
        with connected(subject, 3) as (channels, recorders):
            for peer in (0, 2):
                _send(channels[peer], recorders[peer], 1, 1, bytes_of(1, 10))
            pump(channels, lambda: len(recorders[1].frames) == 2, "the first frames")
            channels[0].send(1, bytes(4) + header_of(2, size)[4:], bytes_of(0, size), None)
            pump(channels, lambda: bool(recorders[1].gone), "the loss of a peer that sends no frames")
            _send(channels[2], recorders[2], 1, 2, bytes_of(2, 10))
            pump(channels, lambda: len(recorders[1].frames) == 3, "a frame of the other peer")
            assert [peer for peer, _ in recorders[1].gone] == [0]


def check_fuzzed_bytes(subject: Subject) -> None:
    """Whatever a broken peer writes, poll does not raise or hang, and other peers are served."""
    if subject.tamper is None:
        return
    for seed in range(subject.often(40)):
        dice = random.Random(seed)
        with connected(subject, 3) as (channels, recorders):
            for peer in (0, 2):
                _send(channels[peer], recorders[peer], 1, 1, bytes_of(1, 10))
            pump(channels, lambda: len(recorders[1].frames) == 2, "the first frames")
            noise = dice.randbytes(dice.choice((64, 128, 1000, 4096)))
            if seed % 2:  # begin like a frame, so that more of it is believed
                noise = header_of(5, dice.choice((0, 17, 1 << 20, 1 << 40, (1 << 62) - 1, (1 << 64) - 1))) + noise
            subject.tamper(channels[0], 1, noise)
            _settle(channels[1:])
            _send(channels[2], recorders[2], 1, 2, bytes_of(2, 10))
            pump(channels[1:], lambda: recorders[1].frames[-1][:2] == (2, 2), "the other peer's frame")
            assert [peer for peer, _ in recorders[1].gone] in ([], [0])


@contextmanager
def _other_process(
    subject: Subject, act: Callable[[Channel, Recorder, Connection], None]
) -> Iterator[tuple[Channel, Recorder, Connection, int]]:
    """Process 0 of a job of two is here; process 1 is a child that has got frame 0, and runs ``act`` until killed."""
    with connected(subject, 2):
        pass  # what the channel needs is there from now on, the same for both processes
    here, there = multiprocessing.Pipe()
    recorder = Recorder()
    pid = os.fork()
    if not pid:
        try:
            channel = subject.make(1, 2, recorder)
            there.send(channel.address())
            channel.connect({0: there.recv()})
            pump([channel], lambda: bool(recorder.frames), "the first frame")
            act(channel, recorder, there)
            signal.pause()
        finally:
            os._exit(1)
    channel = subject.make(0, 2, recorder)
    try:
        here.send(channel.address())
        channel.connect({1: here.recv()})
        _send(channel, recorder, 1, 0, bytes_of(0, 10))
        yield channel, recorder, here, pid
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        channel.close()
        here.close()
        there.close()


def check_killed_peer(subject: Subject) -> None:
    """A killed process is lost once, after what it had sent, and its death wakes a sleeper.

    Where only the job's control tells of it: what it had sent arrives, and what is sent to it blocks nobody.
    """

    def act(channel: Channel, recorder: Recorder, pipe: Connection) -> None:
        for number in range(5):
            _send(channel, recorder, 0, number, bytes_of(number, 3000))
        pump([channel], lambda: not channel.pending(), "the last frame to go out")
        pipe.send("sent")

    with _other_process(subject, act) as (channel, recorder, pipe, pid):
        if not subject.notices:
            _send_to_the_dead(channel, recorder, pipe, pid)
            return
        pump([channel], pipe.poll, "the other process to send")
        pump([channel], lambda: len(recorder.frames) == 5, "what the other process sent")
        _fall_asleep(channel, [])
        os.kill(pid, signal.SIGKILL)
        assert _readable(channel, int(_DEADLINE * 1000)), "the death of the peer did not wake the sleeper"
        channel.disarm()
        pump([channel], lambda: bool(recorder.gone), "the loss of the killed process")
        _settle([channel])
        assert [peer for peer, _ in recorder.gone] == [1]
        assert channel.send(1, header_of(1, 0), None, 1) is False


def _send_to_the_dead(channel: Channel, recorder: Recorder, pipe: Connection, pid: int) -> None:
    """The other process is killed before anything that it has sent is read here."""
    pump([channel], lambda: not channel.pending(), "frame 0 to go out")
    assert pipe.poll(_DEADLINE), "the other process does not send"
    os.kill(pid, signal.SIGKILL)
    pump([channel], lambda: len(recorder.frames) == 5, "what the other process had sent")
    _settle([channel])
    assert [number for _, number, _ in recorder.frames] == list(range(5))
    assert _intact(recorder)
    for number, size in enumerate((0, 3000, 2_000_000)):
        _send(channel, recorder, 1, number + 1, bytes_of(number, size))
    pump([channel], lambda: len(recorder.freed) == 4, "the memory of what was sent to be free")
    assert not recorder.gone


def check_killed_sender(subject: Subject) -> None:
    """Frames that a process had handed over before it died arrive before its loss; a half frame never does."""

    def act(channel: Channel, recorder: Recorder, pipe: Connection) -> None:
        for number, size in enumerate((100, 20_000, 100)):
            _send(channel, recorder, 0, number, bytes_of(number, size))
        pump([channel], lambda: not channel.pending(), "the frames to go out")
        channel.send(0, header_of(9, 30_000_000), bytes_of(9, 30_000_000), None)
        os.kill(os.getpid(), signal.SIGKILL)

    with _other_process(subject, act) as (channel, recorder, _, pid):
        pump([channel], lambda: not channel.pending(), "frame 0 to go out")
        pump([channel], lambda: os.waitid(os.P_PID, pid, _ENDED) is not None, "the death of the sender")
        pump([channel], lambda: bool(recorder.gone) if subject.notices else len(recorder.frames) > 2, "the loss")
        _settle([channel])
        assert [(number, len(payload)) for _, number, payload in recorder.frames] == [(0, 100), (1, 20_000), (2, 100)]
        assert _intact(recorder)
        assert [peer for peer, _ in recorder.gone] == ([1] if subject.notices else [])


CHECKS: Final = (
    check_two_ends,
    check_sizes,
    check_order,
    check_gather,
    check_memory_is_free,
    check_clogged_pair,
    check_replies,
    check_all_to_all,
    check_wake_up,
    check_arrival_prevents_sleep,
    check_wake_up_of_sender,
    check_close,
    check_refused_frames,
    check_fuzzed_bytes,
    check_killed_peer,
    check_killed_sender,
)
