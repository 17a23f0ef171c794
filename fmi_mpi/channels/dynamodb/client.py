"""DynamoDB as the SDK speaks to it, and what its error codes mean."""

from __future__ import annotations

from typing import Final

from fmi_mpi.channels.dynamodb.url import Table
from fmi_mpi.channels.mailbox.sdk import LOGIN, Refused, SdkClient, Service

__all__ = ["Client", "Refused"]

_RIGHTS: Final = (
    "allow dynamodb:GetItem, PutItem, UpdateItem, Query, BatchGetItem and BatchWriteItem on this table to the caller"
)
_SERVICE: Final = Service(
    "dynamodb",
    passing=frozenset(
        [
            "ProvisionedThroughputExceededException",
            "ThrottlingException",
            "RequestLimitExceeded",
            "LimitExceededException",
            "InternalServerError",
            "InternalFailure",
            "ServiceUnavailable",
            "TransactionConflictException",
            "ResourceInUseException",
        ]
    ),
    refused=frozenset(["ConditionalCheckFailedException"]),
    remedies={
        "ResourceNotFoundException": "the table is not there, in this region and account: fmi-mpi setup dynamodb://{name} makes it",
        "UnrecognizedClientException": LOGIN,
        "InvalidSignatureException": LOGIN + "; see that the clock is right, too",
        "MissingAuthenticationToken": LOGIN,
        "ExpiredTokenException": "the credentials have expired: log in again",
        "ExpiredToken": "the credentials have expired: log in again",
        "AccessDeniedException": _RIGHTS,
        "ValidationException": "if the table has other keys than fmi-mpi setup gives it, name another table",
    },
)


class Client(SdkClient):
    """Requests to one table; from any thread."""

    def __init__(self, table: Table) -> None:
        super().__init__(_SERVICE, table.name, table.label, table.patience, table.region, table.endpoint)
        self.table = table
