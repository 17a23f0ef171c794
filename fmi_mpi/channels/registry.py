"""Channels by name, loaded on first use: a new channel is a folder and one line here.

Rules of this file:
- A factory takes a ``Membership`` and the receiver and returns a ``Channel``; importing it is its own business.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import Final

from fmi_mpi.bootstrap.base import Record, Relay
from fmi_mpi.channels.base import Channel, Receiver
from fmi_mpi.config import Settings
from fmi_mpi.errors import ConfigError

__all__ = ["CHANNELS", "NEEDS", "Membership", "create"]

CHANNELS: Final = {
    "shm": "fmi_mpi.channels.shm",
    "tcp": "fmi_mpi.channels.tcp",
    "redis": "fmi_mpi.channels.redis",
    "s3": "fmi_mpi.channels.s3",
    "dynamodb": "fmi_mpi.channels.dynamodb",
    "relay": "fmi_mpi.channels.relay",
}
"""Name -> module that has ``create(membership, receiver) -> Channel``."""

NEEDS: Final[dict[str, tuple[str, ...]]] = {"s3": ("boto3",), "dynamodb": ("boto3",)}
"""Name -> packages beyond numpy that the channel loads when it is used."""


@dataclass(frozen=True)
class Membership:
    """What a channel must know of the job: this process's number, the job's size, id and secret, the settings.

    ``signal`` carries a record to the channel of the given name of another process, through the job's meeting place (see
    ``channels.base.Signalled``); ``reflectors``, ``spans_hosts`` and ``relay`` are those of ``bootstrap.base.Bootstrap``.
    ``after`` (seconds, action) has an action called under the runtime's lock by whoever waits, after so much time.
    ``expects`` tells whether anything is waited for, or may be, that a message could bring further.
    ``attend`` is to be told True when the channel must be polled though no MPI call waits, False when that is over.
    """

    proc: int
    size: int
    job: str
    secret: bytes = field(repr=False)
    settings: Settings
    attend: Callable[[bool], None] = lambda needed: None
    signal: Callable[[str, int, Record], None] = lambda channel, peer, data: None
    reflectors: Sequence[tuple[str, int]] = ()
    spans_hosts: bool = False
    after: Callable[[float, Callable[[], object]], None] = lambda seconds, action: None
    relay: Relay | None = field(default=None, repr=False)
    expects: Callable[[], bool] = lambda: True


def create(name: str, membership: Membership, receiver: Receiver) -> Channel:
    """Return the channel called ``name``; raises ConfigError naming the known ones."""
    module = CHANNELS.get(name)
    if module is None:
        near = difflib.get_close_matches(name, CHANNELS, 1, 0.0)[0]
        raise ConfigError(f"unknown channel {name!r}; did you mean {near!r}? Known: {', '.join(CHANNELS)}")
    factory: Callable[[Membership, Receiver], Channel] = import_module(module).create
    return factory(membership, receiver)
