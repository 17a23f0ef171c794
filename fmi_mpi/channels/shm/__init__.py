"""Shared memory between the processes of one host."""

from __future__ import annotations

from fmi_mpi.channels.base import Channel, Receiver
from fmi_mpi.channels.registry import Membership
from fmi_mpi.channels.shm.channel import ShmChannel

__all__ = ["ShmChannel", "create"]


def create(membership: Membership, receiver: Receiver) -> Channel:
    """Return the shared-memory channel of a process; see ``channels.registry``."""
    ring = membership.settings.shm_ring
    return ShmChannel(membership.proc, membership.size, membership.job, membership.secret, receiver, ring)
