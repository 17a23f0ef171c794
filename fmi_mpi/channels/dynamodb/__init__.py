"""DynamoDB as a channel: objects are items of one table, which ``make_table`` makes."""

from __future__ import annotations

from fmi_mpi.channels.base import Capabilities, Channel, Receiver
from fmi_mpi.channels.dynamodb.keys import DynamoKeys
from fmi_mpi.channels.dynamodb.setup import make_table
from fmi_mpi.channels.dynamodb.url import Table, parse
from fmi_mpi.channels.mailbox import MailboxChannel
from fmi_mpi.channels.mailbox.keys import Keys
from fmi_mpi.channels.mailbox.polled import PolledStore
from fmi_mpi.channels.registry import Membership
from fmi_mpi.config import Settings
from fmi_mpi.errors import ConfigError

__all__ = ["DynamoKeys", "Table", "create", "make_table", "open_keys", "parse", "setup"]

_CAPABILITIES = Capabilities(store=3, spin=False, latency=1.5e-2, bandwidth=1e7)


def create(membership: Membership, receiver: Receiver) -> Channel:
    """Return the dynamodb channel of a process; see ``channels.registry``."""
    settings = membership.settings
    url = settings.urls.get("dynamodb")
    if url is None:
        raise ConfigError("the dynamodb channel needs a table: write dynamodb://table in FMI_CHANNELS")
    table = parse(url, settings.aws_endpoint_url)
    return MailboxChannel(
        "dynamodb",
        _CAPABILITIES,
        PolledStore(DynamoKeys(table), membership.expects),
        membership,
        receiver,
        table.window,
        table.patience,
    )


def open_keys(url: str, settings: Settings) -> Keys:
    """Return the table that a URL names as a store of keys; see ``runtime.meeting``."""
    return DynamoKeys(parse(url, settings.aws_endpoint_url))


def setup(url: str, settings: Settings) -> str:
    """Make the table that a URL names, unless it is there; return what was done. Raises ConfigError, ChannelError."""
    return make_table(parse(url, settings.aws_endpoint_url))
