"""Ping-pong through a channel alone: half round trips in microseconds, without engine, runtime and API.

Two processes, pinned to two cores, a receiver that only counts. Usage:

    python benchmarks/channel_pingpong.py [--channel shm] [--sizes 8 64KiB ...] [--batches 60] [--block] [--ring SIZE]
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import select
import statistics
import time
from importlib import import_module
from multiprocessing.connection import Connection

import numpy as np

from fmi_mpi.channels.base import Channel
from fmi_mpi.channels.registry import Membership
from fmi_mpi.config import Settings, parse_size
from fmi_mpi.engine.frames import EAGER, pack_header

SIZES = ("8", "1KiB", "8KiB", "64KiB", "128KiB", "256KiB", "512KiB", "1MiB", "4MiB", "16MiB", "64MiB")
BATCH = 4e-3  # seconds of a batch of round trips: short, so that on a busy machine some run undisturbed


class Counter:
    """A receiver with one buffer: whole frames are copied into it, long ones are read into it."""

    def __init__(self, nbytes: int) -> None:
        self.buffer = memoryview(np.zeros(nbytes, np.uint8))
        self.arrived = 0
        self.free = 0

    def frame(self, peer: int, header: bytes | bytearray | memoryview, payload: memoryview) -> None:
        self.buffer[: len(payload)] = payload
        self.arrived += 1

    def begin(self, peer: int, header: bytes | bytearray | memoryview) -> tuple[memoryview, object]:
        return self.buffer[: int.from_bytes(header[40:48], "little")], None

    def end(self, peer: int, token: object) -> None:
        self.arrived += 1

    def sent(self, token: object) -> None:
        self.free += 1

    def lost(self, peer: int, reason: str) -> None:
        raise SystemExit(reason)


def wait(channel: Channel, counter: Counter, arrivals: int, free: int, poller: select.poll | None) -> None:
    """Poll until that many frames have arrived and sent payloads are free; with a poller, sleep at once."""
    poll = channel.poll
    while counter.arrived < arrivals or counter.free < free:
        if not poll() and poller is not None:
            if channel.arm():
                poller.poll(1000)
            channel.disarm()


def play(proc: int, pipe: Connection, options: argparse.Namespace) -> None:
    """One end: learn rounds and size from the parent, play, tell the time."""
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[proc % len(cores)]})
    counter = Counter(max(map(parse_size, options.sizes)))
    settings = Settings({"FMI_SHM_RING": options.ring})
    membership = Membership(proc, 2, "ping-pong", b"benchmark", settings)
    channel: Channel = import_module(f"fmi_mpi.channels.{options.channel}").create(membership, counter)
    pipe.send(channel.address())
    channel.connect({1 - proc: pipe.recv()})
    poller = None
    if options.block:
        poller = select.poll()
        for fd, mask in channel.descriptors():
            poller.register(fd, mask)
    source = memoryview(np.zeros(max(map(parse_size, options.sizes)), np.uint8))
    arrivals = free = 0
    while (job := pipe.recv()) is not None:
        size, rounds = job
        header = pack_header(EAGER, 0, proc, 0, proc, 0, 0, 0, size, 0, 0)
        payload = source[:size]
        started = time.perf_counter()
        for _ in range(rounds):
            if proc == 1:
                arrivals += 1
                wait(channel, counter, arrivals, free, poller)
            free += not channel.send(1 - proc, header, payload, payload)
            if proc == 0:
                arrivals += 1
            wait(channel, counter, arrivals, free, poller)
        elapsed = time.perf_counter() - started
        while channel.pending():
            channel.poll()
        pipe.send(elapsed)
    channel.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--channel", default="shm")
    parser.add_argument("--sizes", nargs="+", default=SIZES)
    parser.add_argument("--batches", type=int, default=60)
    parser.add_argument("--block", action="store_true", help="sleep whenever nothing has arrived")
    parser.add_argument("--ring", default="0", help="bytes of a shared-memory ring")
    options = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    pipes, processes = [], []
    for proc in range(2):
        ours, theirs = context.Pipe()
        process = context.Process(target=play, args=(proc, theirs, options), daemon=True)
        process.start()
        pipes.append(ours)
        processes.append(process)
    addresses = [pipe.recv() for pipe in pipes]
    for proc, pipe in enumerate(pipes):
        pipe.send(addresses[1 - proc])

    def measure(size: int, rounds: int) -> float:
        for pipe in pipes:
            pipe.send((size, rounds))
        return max([pipe.recv() for pipe in pipes]) / rounds / 2

    print(
        f"{options.channel}: half round trips in us: median and lower quartile and least of {options.batches} batches"
    )
    for text in options.sizes:
        size = parse_size(text)
        measure(size, 3)
        rounds = max(1, int(BATCH / 2 / min(measure(size, 3) for _ in range(5))))
        times = [measure(size, rounds) * 1e6 for _ in range(options.batches)]
        quartile, median, _ = statistics.quantiles(times, n=4)
        print(f"{text:>8} {median:10.2f} {quartile:10.2f} {min(times):10.2f}", flush=True)
    for pipe in pipes:
        pipe.send(None)
    for process in processes:
        process.join()


if __name__ == "__main__":
    main()
