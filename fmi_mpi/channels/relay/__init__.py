"""Data through the rendezvous service, for ranks that cannot connect to each other."""

from __future__ import annotations

from fmi_mpi.channels.base import Channel, Receiver
from fmi_mpi.channels.registry import Membership
from fmi_mpi.channels.relay.channel import RelayChannel
from fmi_mpi.errors import ConfigError

__all__ = ["RelayChannel", "create"]


def create(membership: Membership, receiver: Receiver) -> Channel:
    """Return the relay channel of a process; see ``channels.registry``."""
    if membership.relay is None:
        raise ConfigError(
            "the relay channel goes through a rendezvous service, and this job has none; start it with fmirun --rendezvous, "
            "or leave relay out of --channels"
        )
    return RelayChannel(membership, membership.relay, receiver)
