"""The table, made once for all jobs: paid by the request, its items expiring by ``ttl``."""

from __future__ import annotations

import time
from typing import Final

from fmi_mpi.channels.base import ChannelError
from fmi_mpi.channels.dynamodb.client import Client
from fmi_mpi.channels.dynamodb.url import Table

__all__ = ["make_table"]

_KEYS: Final = (("p", "HASH"), ("k", "RANGE"))
_PATIENCE: Final = 120.0


def make_table(table: Table) -> str:
    """Make the table unless it is there, wait until it can be used, let items expire; return what was done.

    Raises ChannelError.
    """
    client = Client(table)
    try:
        status = _status(client)
        if not status:
            client.ask(
                "create_table",
                TableName=table.name,
                AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name, _ in _KEYS],
                KeySchema=[{"AttributeName": name, "KeyType": kind} for name, kind in _KEYS],
                BillingMode="PAY_PER_REQUEST",
                Tags=[{"Key": "application", "Value": "fmi_mpi"}],
            )
        _wait(client)
        _let_expire(client)
        return f"dynamodb: {table.label}: {'was there' if status else 'made'}, items expire by ttl"
    finally:
        client.close()


def _status(client: Client) -> str:
    """Return the table's status, empty if there is none; raises ChannelError if it is not one of ours."""
    table = client.table
    try:
        told = client.ask("describe_table", TableName=table.name)["Table"]
    except ChannelError as error:
        if "ResourceNotFoundException" in str(error):
            return ""
        raise
    if [(key["AttributeName"], key["KeyType"]) for key in told["KeySchema"]] != list(_KEYS):
        raise ChannelError(f"dynamodb: {table.label} is there, with other keys; name another table")
    return str(told["TableStatus"])


def _wait(client: Client) -> None:
    until = time.monotonic() + _PATIENCE
    while _status(client) != "ACTIVE":
        if time.monotonic() > until:
            raise ChannelError(f"dynamodb: {client.table.label} is not active after {_PATIENCE:g} s; try again")
        time.sleep(0.5)


def _let_expire(client: Client) -> None:
    name = client.table.name
    told = client.ask("describe_time_to_live", TableName=name)["TimeToLiveDescription"]
    if told.get("TimeToLiveStatus") in ("ENABLED", "ENABLING"):
        return
    wanted = {"Enabled": True, "AttributeName": "ttl"}
    client.ask("update_time_to_live", TableName=name, TimeToLiveSpecification=wanted)
