"""What only the TCP channel has: two ways to ask the kernel for arrivals, connections that come late."""

from __future__ import annotations

from functools import partial
from typing import cast

import pytest

from fmi_mpi.channels.conformance import connected, header_of, pump
from fmi_mpi.channels.tcp import TcpChannel
from fmi_mpi.channels.tcp.channel import _FEW

from . import jobs
from .subjects import subject

SLOW_TO_ACCEPT = """
import time
from fmi_mpi import MPI
from fmi_mpi.channels.tcp.channel import TcpChannel
if MPI.COMM_WORLD.rank == 2:
    accept, until = TcpChannel._accept, time.monotonic() + 0.5
    TcpChannel._accept = lambda self: time.monotonic() > until and accept(self)
"""


@pytest.mark.parametrize("peers", [1, _FEW, _FEW + 1])
def test_arrivals_are_found_with_few_connections_and_many(peers: int) -> None:
    with connected(subject("tcp"), peers + 1) as (channels, recorders):
        hub = cast(TcpChannel, channels[0])

        def reached(frames: int) -> bool:
            return len(recorders[0].frames) == frames

        for number in range(3):
            for channel in channels[1:]:
                channel.send(0, header_of(number, 0), None, None)
            pump(channels, partial(reached, peers * (number + 1)), "a frame of every peer")
            assert hub._ask == (hub._few.poll if peers <= _FEW else hub._epoll.poll)
        channels[1].close()
        pump([hub], lambda: bool(recorders[0].gone), "the news that a peer is gone")
        assert recorders[0].gone[0][0] == 1
        assert hub._ask == (hub._few.poll if peers > 1 else None)


def test_nobody_leaves_before_what_it_said_last_has_a_connection() -> None:
    """Rank 0 has heard of all, while rank 2, which waits for its last message, has not accepted its connection yet."""
    done = jobs.run("tcp", {}, "-c", SLOW_TO_ACCEPT, ranks=5)
    assert done.returncode == 0, done.stderr
