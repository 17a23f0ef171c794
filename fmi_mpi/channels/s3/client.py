"""The SDK's client for one bucket, and what its errors mean.

Rules of this file:
- The SDK does not retry: what may pass becomes ``Passing`` and is tried again by ``persist``, the rest ``ChannelError``.
- No message shows a credential.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Final, TypeVar

from fmi_mpi.channels.base import ChannelError
from fmi_mpi.channels.mailbox.backoff import Passing, persist
from fmi_mpi.channels.s3.url import Bucket

__all__ = ["THREADS", "Absent", "Client", "Refused"]

_T = TypeVar("_T")

THREADS: Final = 16
"""Requests under way at a time."""
_SLOW: Final = 10.0  # seconds without an answer after which a request is given up
_CONNECTING: Final = 5.0
_PASSING: Final = frozenset(
    [
        "SlowDown",
        "ServiceUnavailable",
        "InternalError",
        "RequestTimeout",
        "OperationAborted",
        "ConditionalRequestConflict",
        "Throttling",
        "ThrottlingException",
        "RequestLimitExceeded",
    ]
)
_ABSENT: Final = frozenset(["NoSuchKey", "404", "NotFound", "InvalidRange", "416"])
_REFUSED: Final = frozenset(["PreconditionFailed", "412"])
_LOGIN: Final = (
    "see that the SDK finds the right credentials: AWS_PROFILE, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a role"
)
_REMEDIES: Final = {
    "NoSuchBucket": "fmi-mpi setup s3://{name} makes it",
    "InvalidAccessKeyId": _LOGIN,
    "SignatureDoesNotMatch": _LOGIN,
    "ExpiredToken": "the credentials have expired: log in again",
    "RequestTimeTooSkewed": "set this machine's clock",
    "AccessDenied": "allow s3:ListBucket on the bucket, and s3:GetObject, PutObject and DeleteObject on its objects",
    "PermanentRedirect": "the bucket is in another region: write s3://{name}?region=...",
    "AuthorizationHeaderMalformed": "the bucket is in another region: write s3://{name}?region=...",
    "QuotaExceeded": "make room, or take another bucket",
}


class Absent(Exception):
    """There is no such object, or not so much of it."""


class Refused(Exception):
    """The condition of a write does not hold."""


class Client:
    """Requests to one bucket; from any thread."""

    def __init__(self, bucket: Bucket) -> None:
        self.bucket = bucket
        self.closing = threading.Event()
        self._lock = threading.Lock()
        self._sdk: Any = None

    def ask(self, operation: str, **arguments: Any) -> dict[str, Any]:
        """Return the answer to a request, which is repeated while that may help; raises Absent, Refused, ChannelError."""
        return self.persist(lambda: self.once(operation, **arguments))

    def persist(self, attempt: Callable[[], _T]) -> _T:
        """Attempt something while it raises Passing, for the bucket's patience."""
        return persist(attempt, self.bucket.patience, self.closing)

    def once(self, operation: str, **arguments: Any) -> dict[str, Any]:
        """Return the answer to a request; raises Passing, Absent, Refused, ChannelError."""
        answer: dict[str, Any]
        answer = self.guarded(lambda sdk: getattr(sdk, operation)(Bucket=self.bucket.name, **arguments))
        return answer

    def guarded(self, action: Callable[[Any], Any]) -> Any:
        """Return ``action(client of the SDK)``; its errors are those of ``once``."""
        if self.closing.is_set():
            raise ChannelError("s3: closed meanwhile")
        try:
            return action(self._sdk or self._connect())
        except Exception as error:
            raise self._judged(error) from error

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
                    from botocore.config import Config
                except ImportError:
                    raise ChannelError("s3: boto3 is not installed: pip install boto3") from None
                bucket = self.bucket
                config = Config(
                    connect_timeout=min(_CONNECTING, bucket.patience),
                    read_timeout=min(_SLOW, bucket.patience),
                    retries={"total_max_attempts": 1},
                    max_pool_connections=2 * THREADS,
                    tcp_keepalive=True,
                    request_checksum_calculation="when_required",  # each object carries a code of its own
                    response_checksum_validation="when_required",
                    s3={"addressing_style": "path"} if bucket.endpoint else {},
                )
                session = boto3.session.Session(region_name=bucket.region or None)
                self._sdk = session.client("s3", endpoint_url=bucket.endpoint or None, config=config)
            return self._sdk

    def _judged(self, error: Exception) -> Exception:
        """Return what an error of the SDK means."""
        from botocore import exceptions

        bucket = self.bucket
        where = f"s3: {bucket.label}"
        if isinstance(error, (ChannelError, Passing, Absent)):
            return error
        if isinstance(error, exceptions.ClientError):
            code = str(error.response.get("Error", {}).get("Code", ""))
            text = str(error.response.get("Error", {}).get("Message", "")) or str(error)
            status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
            if code in _ABSENT:
                return Absent(text)
            if code in _REFUSED:
                return Refused(text)
            if code in _PASSING or status >= 500 or status == 429:
                return Passing(f"{where}: {code}: {text}")
            remedy = _REMEDIES.get(code, "").format(name=bucket.name)
            return ChannelError(f"{where}: {code}: {text}" + (f"; {remedy}" if remedy else ""))
        if isinstance(error, (exceptions.NoCredentialsError, exceptions.PartialCredentialsError)):
            return ChannelError(f"{where}: no credentials; {_LOGIN}")
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
        if type(error).__name__ == "ResponseParserError":
            return Passing(f"{where}: an answer that is none")
        if isinstance(error, (exceptions.BotoCoreError, ValueError)):
            return ChannelError(f"{where}: {error}")
        return error
