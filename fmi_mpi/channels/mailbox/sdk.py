"""What the channels over AWS's services share: the SDK's client for one resource, and what its errors mean.

Rules of this file:
- The SDK does not retry: what may pass becomes ``Passing`` and is tried again by ``persist``, the rest ``ChannelError``.
- No message shows a credential.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final, TypeVar

from fmi_mpi.channels.base import ChannelError
from fmi_mpi.channels.mailbox.backoff import Passing, persist

__all__ = ["LOGIN", "Absent", "Refused", "SdkClient", "Service"]

_T = TypeVar("_T")
_SLOW: Final = 10.0  # seconds without an answer after which a request is given up
_CONNECTING: Final = 5.0
_CONNECTIONS: Final = 32
_GARBLED: Final = frozenset(["ResponseParserError", "CRC32ValidationError", "InvalidIMDSEndpointError"])

LOGIN: Final = (
    "see that the SDK finds the right credentials: AWS_PROFILE, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a role"
)


class Absent(Exception):
    """There is no such object, or not so much of it."""


class Refused(Exception):
    """The condition of a write does not hold."""


@dataclass(frozen=True)
class Service:
    """A service of AWS.

    ``name``: the SDK's and the channel's. ``passing``, ``absent``, ``refused``: its error codes that mean so.
    ``remedies``: by error code, with ``{name}`` for the resource's. ``options``: of the SDK's client, beyond the common ones.
    """

    name: str
    passing: frozenset[str]
    refused: frozenset[str]
    absent: frozenset[str] = frozenset()
    remedies: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)


@cache
def _loader() -> Any:
    """Return what reads the SDK's tables, once for all clients."""
    from botocore.loaders import create_loader

    return create_loader()


class SdkClient:
    """Requests to one resource; from any thread.

    Args:
        resource: its name. label: the resource in messages.
        patience: seconds for which requests are repeated.
        region, endpoint: empty where the SDK knows.
        options: of the SDK's client for this resource.
    """

    def __init__(
        self,
        service: Service,
        resource: str,
        label: str,
        patience: float,
        region: str,
        endpoint: str,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        self.closing = threading.Event()
        self._service = service
        self._resource = resource
        self._where = f"{service.name}: {label}"
        self._patience = patience
        self._region = region
        self._endpoint = endpoint
        self._options = {**service.options, **(options or {})}
        self._lock = threading.Lock()
        self._sdk: Any = None

    def ask(self, operation: str, **arguments: Any) -> dict[str, Any]:
        """Return the answer to a request, which is repeated while that may help; raises Absent, Refused, ChannelError."""
        return self.persist(lambda: self.once(operation, **arguments))

    def persist(self, attempt: Callable[[], _T]) -> _T:
        """Attempt something while it raises Passing, for the resource's patience."""
        return persist(attempt, self._patience, self.closing)

    def once(self, operation: str, **arguments: Any) -> dict[str, Any]:
        """Return the answer to a request; raises Passing, Absent, Refused, ChannelError."""
        answer: dict[str, Any] = self.guarded(lambda sdk: getattr(sdk, operation)(**arguments))
        return answer

    def guarded(self, action: Callable[[Any], Any]) -> Any:
        """Return ``action(client of the SDK)``; its errors are those of ``once``."""
        if self.closing.is_set():
            raise ChannelError(f"{self._service.name}: closed meanwhile")
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
                name = self._service.name
                try:
                    import boto3
                    import botocore.session
                    from botocore.config import Config
                except ImportError:
                    raise ChannelError(f"{name}: boto3 is not installed: pip install boto3") from None
                config = Config(
                    connect_timeout=min(_CONNECTING, self._patience),
                    read_timeout=min(_SLOW, self._patience),
                    retries={"total_max_attempts": 1},
                    max_pool_connections=_CONNECTIONS,
                    tcp_keepalive=True,
                    **self._options,
                )
                core = botocore.session.Session()
                core.register_component("data_loader", _loader())
                session = boto3.session.Session(region_name=self._region or None, botocore_session=core)
                self._sdk = session.client(name, endpoint_url=self._endpoint or None, config=config)
            return self._sdk

    def _judged(self, error: Exception) -> Exception:
        """Return what an error of the SDK means."""
        from botocore import exceptions

        where = self._where
        if isinstance(error, (ChannelError, Passing, Absent)):
            return error
        if isinstance(error, exceptions.ClientError):
            return self._answered(error.response, str(error))
        if isinstance(error, (exceptions.NoCredentialsError, exceptions.PartialCredentialsError)):
            return ChannelError(f"{where}: no credentials; {LOGIN}")
        if isinstance(error, exceptions.NoRegionError):
            url = f"{self._service.name}://{self._resource}?region=..."
            return ChannelError(f"{where}: no region; set AWS_DEFAULT_REGION or write {url}")
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
        if type(error).__name__ in _GARBLED:
            return Passing(f"{where}: an answer that is none")
        if isinstance(error, (exceptions.BotoCoreError, ValueError)):
            return ChannelError(f"{where}: {error}")
        return error

    def _answered(self, answer: Mapping[str, Any], shown: str) -> Exception:
        """Return what an error that the service has answered with means."""
        service = self._service
        code = str(answer.get("Error", {}).get("Code", ""))
        text = str(answer.get("Error", {}).get("Message", "")) or shown
        status = answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        if code in service.absent:
            return Absent(text)
        if code in service.refused:
            return Refused(text)
        if code in service.passing or status >= 500 or status == 429:
            return Passing(f"{self._where}: {code}: {text}")
        remedy = service.remedies.get(code, "").format(name=self._resource)
        return ChannelError(f"{self._where}: {code}: {text}" + (f"; {remedy}" if remedy else ""))
