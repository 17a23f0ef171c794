"""Two ends of a store's channel that exchange numbered frames."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from fmi_mpi.channels.conformance import Recorder, header_of, pump
from fmi_mpi.channels.mailbox import MailboxChannel
from fmi_mpi.channels.mailbox.objects import Sealer

__all__ = ["Frames", "made", "pair"]


@contextmanager
def pair(end: Callable[[int, Recorder], MailboxChannel]) -> Iterator[tuple[list[MailboxChannel], list[Recorder]]]:
    """Two ends, made by ``end(process number, recorder)``, that have exchanged a frame in both directions."""
    recorders = [Recorder(), Recorder()]
    channels = [end(proc, recorder) for proc, recorder in enumerate(recorders)]
    try:
        addresses = [channel.address() for channel in channels]
        for proc in (0, 1):
            channels[proc].connect({1 - proc: addresses[1 - proc]})
        for proc in (0, 1):
            channels[proc].send(1 - proc, header_of(0, 0), None, None)
        pump(channels, lambda: all(recorder.frames for recorder in recorders), "a frame at each end")
        for recorder in recorders:
            recorder.frames.clear()
        yield channels, recorders
    finally:
        for channel in channels:
            channel.close()


def made(sealer: Sealer, kind: int, sender: int, number: int, body: bytes) -> bytes:
    """Return an object as it lies in a store."""
    return b"".join(sealer.seal(kind, sender, number, 0, (body,)))


class Frames:
    """Frames by their numbers, of lengths that ``sizes`` gives in turns."""

    def __init__(self, sizes: tuple[int, ...]) -> None:
        self.sizes = sizes

    def payload(self, number: int) -> memoryview:
        return memoryview(bytes([number & 255]) * self.sizes[number % len(self.sizes)])

    def send(self, channel: MailboxChannel, peer: int, numbers: range) -> None:
        for number in numbers:
            data = self.payload(number)
            channel.send(peer, header_of(number, len(data)), data, None)

    def check(self, recorder: Recorder, numbers: range) -> None:
        assert [frame[1] for frame in recorder.frames] == list(numbers), "frames are missing, doubled or out of order"
        assert all(frame[2] == bytes(self.payload(frame[1])) for frame in recorder.frames)
