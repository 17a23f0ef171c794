"""The SDK's client for one table, and what its errors mean.

Rules of this file:
- The SDK does not retry: what may pass becomes ``Passing`` and is tried again by ``persist``, the rest ``ChannelError``.
- No message shows a credential.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import cache
from typing import Any, Final, TypeVar

from fmi_mpi.channels.base import ChannelError
from fmi_mpi.channels.dynamodb.url import Table
from fmi_mpi.channels.mailbox.backoff import Passing, persist

__all__ = ["Client", "Refused"]

_T = TypeVar("_T")
_SLOW: Final = 10.0  # seconds without an answer after which a request is given up
_CONNECTING: Final = 5.0
_PASSING: Final = frozenset(
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
)
_LOGIN: Final = (
    "see that the SDK finds the right credentials: AWS_PROFILE, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a role"
)
_RIGHTS: Final = (
    "allow dynamodb:GetItem, PutItem, UpdateItem, Query, BatchGetItem and BatchWriteItem on this table to the caller"
)
_REMEDIES: Final = {
    "ResourceNotFoundException": "the table is not there, in this region and account: fmi-mpi setup dynamodb://{name} makes it",
    "UnrecognizedClientException": _LOGIN,
    "InvalidSignatureException": _LOGIN + "; see that the clock is right, too",
    "MissingAuthenticationToken": _LOGIN,
    "ExpiredTokenException": "the credentials have expired: log in again",
    "ExpiredToken": "the credentials have expired: log in again",
    "AccessDeniedException": _RIGHTS,
    "ValidationException": "if the table has other keys than fmi-mpi setup gives it, name another table",
}
_CONDITION: Final = "ConditionalCheckFailedException"


@cache
def _loader() -> Any:
    """Return what reads the SDK's tables, once for all clients."""
    from botocore.loaders import create_loader

    return create_loader()


class Refused(Exception):
    """The condition of a write does not hold."""


class Client:
    """Requests to one table; from any thread."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self.closing = threading.Event()
        self._lock = threading.Lock()
        self._sdk: Any = None

    def ask(self, operation: str, **arguments: Any) -> dict[str, Any]:
        """Return the answer to a request, which is repeated while that may help; raises Refused, ChannelError."""
        return self.persist(lambda: self.once(operation, **arguments))

    def persist(self, attempt: Callable[[], _T]) -> _T:
        """Attempt something while it raises Passing, for the table's patience."""
        return persist(attempt, self.table.patience, self.closing)

    def once(self, operation: str, **arguments: Any) -> dict[str, Any]:
        """Return the answer to a request; raises Passing, Refused, ChannelError."""
        if self.closing.is_set():
            raise ChannelError("dynamodb: closed meanwhile")
        try:
            answer: dict[str, Any] = getattr(self._sdk or self._connect(), operation)(**arguments)
        except Exception as error:
            raise self._judged(error) from error
        return answer

    def close(self) -> None:
        """Let requests under way end without repetition, release connections. Idempotent."""
        self.closing.set()
        with self._lock:
            sdk, self._sdk = self._sdk, None
        if sdk is not None:
            sdk.close()

    def _connect(self) -> Any:
        with self._lock:
            if self._sdk is None:
                try:
                    import boto3
                    import botocore.session
                    from botocore.config import Config
                except ImportError:
                    raise ChannelError("dynamodb: boto3 is not installed: pip install boto3") from None
                table = self.table
                config = Config(
                    connect_timeout=min(_CONNECTING, table.patience),
                    read_timeout=min(_SLOW, table.patience),
                    retries={"total_max_attempts": 1},
                    max_pool_connections=32,
                    tcp_keepalive=True,
                )
                core = botocore.session.Session()
                core.register_component("data_loader", _loader())
                session = boto3.session.Session(region_name=table.region or None, botocore_session=core)
                self._sdk = session.client("dynamodb", endpoint_url=table.endpoint or None, config=config)
            return self._sdk

    def _judged(self, error: Exception) -> Exception:
        """Return what an error of the SDK means."""
        from botocore import exceptions

        table = self.table
        where = f"dynamodb: {table.label}"
        if isinstance(error, ChannelError):
            return error
        if isinstance(error, exceptions.ClientError):
            code = str(error.response.get("Error", {}).get("Code", ""))
            text = str(error.response.get("Error", {}).get("Message", "")) or str(error)
            status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
            if code == _CONDITION:
                return Refused(text)
            if code in _PASSING or status >= 500 or status == 429:
                return Passing(f"{where}: {code}: {text}")
            remedy = _REMEDIES.get(code, "").format(name=table.name)
            return ChannelError(f"{where}: {code}: {text}" + (f"; {remedy}" if remedy else ""))
        if isinstance(error, (exceptions.NoCredentialsError, exceptions.PartialCredentialsError)):
            return ChannelError(f"{where}: no credentials; {_LOGIN}")
        if isinstance(error, exceptions.NoRegionError):
            return ChannelError(
                f"{where}: no region; set AWS_DEFAULT_REGION or write dynamodb://{table.name}?region=..."
            )
        passing = (
            exceptions.HTTPClientError,
            exceptions.ConnectionError,
            exceptions.ResponseStreamingError,
            exceptions.IncompleteReadError,
            exceptions.ChecksumError,
            OSError,
        )
        if isinstance(error, passing):
            return Passing(f"{where}: {error}; see that the service can be reached at that address")
        if type(error).__name__ in ("ResponseParserError", "CRC32ValidationError", "InvalidIMDSEndpointError"):
            return Passing(f"{where}: an answer that is none")
        if isinstance(error, (exceptions.BotoCoreError, ValueError)):
            return ChannelError(f"{where}: {error}")
        return error
