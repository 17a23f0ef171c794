"""How long a collective takes and what it asks for, from its counted messages or requests.

Rules of this file:
- Seconds and bytes. Pure arithmetic: nothing is read or measured here.
- Time is rounds times alpha, plus the busiest rank's bytes times beta, and never less than what the messages of all
  ranks take of what they share: a server, or the cores of one machine.
- On a board what a rank shares is a message that each reader pays the channel's overhead for.
- A message over a store is a put and a get. Who polls looks every ``poll`` seconds, and finds what it waits for half
  of that late.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from fmi_mpi.model.profile import Channel

if TYPE_CHECKING:
    from fmi_mpi.coll.cost import Frames, Requests

__all__ = ["EAGER", "Estimate", "of_messages", "of_requests"]

EAGER = 1 << 20
"""Bytes of the longest message that is sent unasked; see ``config``."""
_ASKED = 3  # frames of a longer one: asking, the answer, the data


class Estimate(NamedTuple):
    """One collective: its time, and what all ranks together ask of the channel."""

    seconds: float
    puts: int = 0
    put_bytes: int = 0
    gets: int = 0
    got_bytes: int = 0
    looks: float = 0.0
    """Requests that only ask what has come, as expected."""
    moved: int = 0
    """Bytes from rank to rank, past any store."""


def of_messages(
    frames: Frames, size: int, channel: Channel, memory: int = 0, block: int = 0, eager: int = EAGER
) -> Estimate:
    """Predict an algorithm that sends messages.

    Args:
        frames: what it sends. size: number of ranks.
        memory: of a function, in bytes; 0: unknown.
        block: bytes that a rank reads at a time on a board; 0: none does. eager: bytes of the longest message that is sent unasked.
    """
    if not frames.messages:
        return Estimate(0.0)
    length = math.ceil(frames.nbytes / frames.messages)
    asked = _ASKED if length > eager and not channel.board else 1
    handled = frames.busiest * frames.messages / frames.nbytes if frames.nbytes else frames.rounds
    crowd = channel.crowd_of(size)
    reads = frames.nbytes / block if channel.board and block else 0
    seconds = max(
        frames.rounds * asked * channel.alpha_among(size)
        + max(0.0, handled - frames.rounds) * channel.overhead
        + frames.busiest / channel.bandwidth_with(memory),
        frames.messages * asked * crowd.message + reads * channel.overhead + frames.nbytes / crowd.bandwidth,
    )
    if not channel.store:
        return Estimate(seconds, moved=frames.nbytes)
    objects = frames.messages * (asked - 1 + objects_of(length, channel))
    stored = frames.nbytes + objects * channel.head
    return Estimate(seconds, objects, stored, objects, stored, _looks(size, seconds, channel))


def of_requests(requests: Requests, size: int, channel: Channel, memory: int = 0) -> Estimate:
    """Predict an algorithm that uses a store as one; see ``of_messages``."""
    if channel.gathers:
        requests = requests.listed(size)
    made = requests.puts + requests.gets + requests.counts
    if not made:
        return Estimate(0.0)
    crowd = channel.crowd_of(size)
    moved = max(requests.put_bytes, requests.got_bytes)
    seconds = max(
        requests.rounds / 2 * channel.alpha_among(size)
        + max(0, requests.busiest_requests - requests.rounds) / 2 * channel.overhead
        + requests.busiest / channel.bandwidth_with(memory),
        made / 2 * crowd.message + moved / crowd.bandwidth,
    )
    puts = requests.puts + requests.counts
    looks = _looks(size, seconds, channel)
    return Estimate(seconds, puts, requests.put_bytes, requests.gets, requests.got_bytes, looks)


def objects_of(length: int, channel: Channel) -> int:
    """Return how many objects of a store hold one message: of a long one, the first holds its header only."""
    if not channel.limit or length + channel.head <= channel.limit:
        return 1
    return 1 + math.ceil(length / (channel.limit - channel.head // 2))


def _looks(size: int, seconds: float, channel: Channel) -> float:
    return size * seconds / channel.poll if channel.poll else 0.0
