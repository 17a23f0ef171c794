"""Direct TCP between the processes of a job: on one host by the shortest way, between hosts through NATs and outages."""

from __future__ import annotations

from fmi_mpi.channels.base import Channel, Receiver
from fmi_mpi.channels.registry import Membership
from fmi_mpi.channels.tcp.channel import TcpChannel

__all__ = ["TcpChannel", "create"]


def create(membership: Membership, receiver: Receiver) -> Channel:
    """Return the tcp channel of a process; see ``channels.registry``."""
    if membership.spans_hosts:
        from fmi_mpi.channels.tcp.distant import DistantChannel

        return DistantChannel(membership, receiver)
    return TcpChannel(membership.proc, membership.job, membership.secret, receiver, membership.attend)
