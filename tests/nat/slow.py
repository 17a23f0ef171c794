"""Links with delay and loss, for kernels without netem: pairs of TAP devices, each in a namespace, joined by a queue.

Usage: slow.py DELAY LOSS [NAMESPACE DEVICE NAMESPACE DEVICE]...

Args: seconds one way; the fraction of packets that is lost; the two ends of each link. Says "ready" when all devices are
there. Losses are the same in each run, as far as packets come in the same order.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import random
import select
import struct
import sys
import time
from collections import deque

_CLONE_NEWNET = 0x40000000
_TUNSETIFF = 0x400454CA
_TAP, _NO_INFO = 0x0002, 0x1000
_TIMERSLACK = 29
_BURST = 64
_libc = ctypes.CDLL(None, use_errno=True)


def tap(namespace: str, name: str) -> int:
    """Return the descriptor of a new TAP device; this process stays in its namespace."""
    space = os.open(f"/run/netns/{namespace}", os.O_RDONLY)
    if _libc.setns(space, _CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), f"cannot enter {namespace}")
    os.close(space)
    device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(device, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _TAP | _NO_INFO))
    return device


def carry(peers: dict[int, int], delay: float, loss: float) -> None:
    """Carry packets from each device to its peer, for ever."""
    _libc.prctl(_TIMERSLACK, 1)  # else select wakes up 50 us late
    dice = random.Random(1)
    queue: deque[tuple[float, int, bytes]] = deque()
    while True:
        wait = max(0.0, queue[0][0] - time.monotonic()) if queue else None
        for device in select.select(peers, (), (), wait)[0]:
            for _ in range(_BURST):
                try:
                    packet = os.read(device, 1 << 16)
                except OSError:
                    break
                if dice.random() >= loss:
                    queue.append((time.monotonic() + delay, peers[device], packet))
        while queue and queue[0][0] <= time.monotonic():
            _, device, packet = queue.popleft()
            try:
                os.write(device, packet)
            except OSError:
                pass  # the other end is down, or full


if __name__ == "__main__":
    ends = [tap(namespace, name) for namespace, name in zip(sys.argv[3::2], sys.argv[4::2])]
    peers = dict(zip(ends[::2], ends[1::2])) | dict(zip(ends[1::2], ends[::2]))
    print("ready", flush=True)
    carry(peers, float(sys.argv[1]), float(sys.argv[2]))
