"""Where the rendezvous service is, and the keys with which a job's members go there.

Rules of this file:
- ``tcp://host:port?key=KEY`` names a service; KEY is its public key (Z85, 40 characters) in percent-encoding. IPv6
  addresses stand in brackets. Nothing in it is secret, but who does not know KEY is not even answered.
- A job's members go there with a CURVE key pair made from the job's secret and id. The handshake proves that a member
  holds it; the service sees the public half only, which tells nothing about the secret.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl, quote, urlsplit

from fmi_mpi.errors import BootstrapError, ConfigError

if TYPE_CHECKING:
    from zmq import Socket

__all__ = ["ENDPOINT", "Place", "descriptor_of", "has_message", "is_service", "key_pair", "load_zmq", "parse"]

ENDPOINT: Final = "tcp"
_PORT: Final = 7600
_KEY_LENGTH: Final = 40
_Z85: Final = frozenset("0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#")


@dataclass(frozen=True)
class Place:
    """A rendezvous service: its host (name or address), port and public key."""

    host: str
    port: int
    key: str

    @property
    def label(self) -> str:
        """The service in messages."""
        return f"{self._host()}:{self.port}"

    @property
    def url(self) -> str:
        """What ``parse`` reads."""
        return f"{ENDPOINT}://{self.label}?key={quote(self.key, safe='')}"

    @property
    def endpoint(self) -> str:
        """The service as zmq wants it."""
        return f"tcp://{self.label}"

    def _host(self) -> str:
        return f"[{self.host}]" if ":" in self.host else self.host


def is_service(url: str) -> bool:
    """Tell whether a rendezvous setting names a service (and not a store)."""
    return url.partition("://")[0] == ENDPOINT


def parse(url: str) -> Place:
    """Return the service that a URL names; raises ConfigError."""
    try:
        head, _, tail = url.partition("?")
        parts = urlsplit(head)
        options = dict(parse_qsl(tail, strict_parsing=True)) if tail else {}
        if parts.scheme != ENDPOINT or not parts.hostname or parts.path not in ("", "/") or parts.username:
            raise ValueError("expecting tcp://host:port?key=KEY")
        if set(options) != {"key"}:
            raise ValueError("expecting the service's public key after ?key=")
        if len(options["key"]) != _KEY_LENGTH or not _Z85.issuperset(options["key"]):
            raise ValueError("the key is not a public key as the service prints it")
        return Place(parts.hostname, parts.port or _PORT, options["key"])
    except ValueError as error:
        raise ConfigError(
            f"{url!r} is no rendezvous service: {error}; 'fmi-mpi rendezvous' prints the URL to use"
        ) from None


def load_zmq() -> None:
    """See that pyzmq can be used; raises BootstrapError that says what to install."""
    try:
        import zmq
    except ImportError:
        raise BootstrapError(
            "the rendezvous service needs pyzmq, which is not installed: pip install 'fmi_mpi[rendezvous]'"
        ) from None
    if not zmq.has("curve"):
        raise BootstrapError("this pyzmq was built without CURVE encryption; install the one from PyPI")


def key_pair(secret: bytes, job: str) -> tuple[str, str]:
    """Return the public and the secret CURVE key (Z85) of a job's members."""
    import zmq
    from zmq.utils import z85

    private = z85.encode(hmac.digest(secret, b"fmi_mpi rendezvous member\0" + job.encode(), "sha256"))
    return zmq.curve_public(private).decode(), private.decode()


def descriptor_of(socket: Socket[Any]) -> int:
    """Return the descriptor that shows when a zmq socket may have got something: an edge, so take everything then."""
    import zmq

    return int(socket.getsockopt(zmq.FD))


def has_message(socket: Socket[Any]) -> bool:
    """Tell whether a zmq socket has got something."""
    import zmq

    return bool(int(socket.getsockopt(zmq.EVENTS)) & zmq.POLLIN)
