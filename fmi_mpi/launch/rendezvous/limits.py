"""What the service allows, and for how long it waits."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Limits"]


@dataclass(frozen=True)
class Limits:
    """Quotas and deadlines; times in seconds.

    ``jobs``: at once, ended ones that are still remembered included. ``ranks``: of one job. ``message``: bytes of one
    message from a member. ``followers``: of one job. ``assembly``: from a job's first claim until its last rank has
    joined. ``grace``: for a member whose connection has ended to come back. ``remember``: an ended job, so that a
    retried invocation is told to leave. ``idle``: a job without any connection. ``relay``: bytes that one job may send
    through the relay.
    """

    jobs: int = 1000
    ranks: int = 10_000
    message: int = 1 << 18
    followers: int = 8
    assembly: float = 900.0
    grace: float = 5.0
    remember: float = 6 * 3600.0
    idle: float = 3600.0
    relay: int = 1 << 40
