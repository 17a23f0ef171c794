"""Redis and Valkey (6.2 or later) as a channel: a stream for each process's mailbox, read without polling."""

from __future__ import annotations

from fmi_mpi.channels.base import Capabilities, Channel, Receiver
from fmi_mpi.channels.mailbox import MailboxChannel
from fmi_mpi.channels.mailbox.keys import Keys
from fmi_mpi.channels.redis.keys import RedisKeys
from fmi_mpi.channels.redis.store import RedisStore
from fmi_mpi.channels.redis.url import parse
from fmi_mpi.channels.registry import Membership
from fmi_mpi.config import Settings

__all__ = ["RedisStore", "create", "open_keys"]

_DEFAULT = "redis://127.0.0.1:6379/0"
_CAPABILITIES = Capabilities(store=2, waits=True, spin=False, latency=4e-5, bandwidth=5e8)


def create(membership: Membership, receiver: Receiver) -> Channel:
    """Return the redis channel of a process; see ``channels.registry``."""
    server = parse(membership.settings.urls.get("redis", _DEFAULT))
    return MailboxChannel(
        "redis",
        _CAPABILITIES,
        RedisStore(server, membership.attend),
        membership,
        receiver,
        server.window,
        server.patience,
    )


def open_keys(url: str, settings: Settings) -> Keys:
    """Return the server that a URL names as a store of keys; see ``runtime.meeting``."""
    return RedisKeys(parse(url))
