"""Direct TCP between the processes of a job."""

from __future__ import annotations

from fmi_mpi.channels.base import Channel, Receiver
from fmi_mpi.channels.registry import Membership
from fmi_mpi.channels.tcp.channel import TcpChannel

__all__ = ["TcpChannel", "create"]


def create(membership: Membership, receiver: Receiver) -> Channel:
    """Return the tcp channel of a process; see ``channels.registry``."""
    return TcpChannel(membership.proc, membership.job, membership.secret, receiver, membership.attend)
