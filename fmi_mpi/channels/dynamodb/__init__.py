"""DynamoDB as a key store: objects are items of one table, which ``fmi-mpi setup`` makes."""

from __future__ import annotations

from fmi_mpi.channels.dynamodb.keys import DynamoKeys
from fmi_mpi.channels.dynamodb.setup import make_table
from fmi_mpi.channels.dynamodb.url import Table, parse

__all__ = ["DynamoKeys", "Table", "make_table", "parse"]
