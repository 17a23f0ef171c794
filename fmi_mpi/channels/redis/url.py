"""What a ``redis://`` URL says: ``redis[s]://[user[:password]]@host[:port][/database][?option=value&...]``.

Rules of this file:
- ``valkey`` and ``valkeys`` mean the same as ``redis`` and ``rediss`` (TLS).
- Nothing but ``greeting`` shows the password.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote, urlsplit

from fmi_mpi.channels.mailbox.options import Options, no_url, read_options
from fmi_mpi.channels.redis.resp import pack
from fmi_mpi.config import parse_size

if TYPE_CHECKING:
    from ssl import SSLContext

__all__ = ["RIGHTS", "Server", "parse"]

RIGHTS: Final = (
    "~fmi/* &fmi/* +select +ping +client|unblock +subscribe +pubsub|numsub +xadd +xread +xtrim +xinfo|stream "
    "+hset +hvals +expire +exists +del +set +get +getrange +mget +scan"
)
"""What an ACL user must be let do; from ``set`` on, and ``ping``, for a meeting only."""

_PORT: Final = 6379
_NUMBERS: Final[Options] = {
    "patience": (float, 30.0),
    "ttl": (int, 6 * 3600),
    "window": (parse_size, 8 << 20),
}
_FILES: Final[Options] = {
    "ssl_ca_certs": (str, None),
    "ssl_certfile": (str, None),
    "ssl_keyfile": (str, None),
    "ssl_cert_reqs": (str, "required"),
}


@dataclass
class Server:
    """Where the server is and how to be let in.

    ``patience``: seconds that the server may be away, or a process silent, before that is an error. ``ttl``: seconds
    after which what a dead process has left expires. ``window``: bytes unread from one process to another.
    """

    host: str
    port: int
    database: int
    user: str
    password: str = field(repr=False)
    tls: SSLContext | None
    patience: float
    ttl: int
    window: int

    @property
    def label(self) -> str:
        """The server in messages."""
        return f"{self.host}:{self.port}"

    def greeting(self) -> list[bytes]:
        """Return the commands that a connection begins with."""
        login = ("AUTH", self.user or "default", self.password) if self.user or self.password else ()
        commands = [pack("HELLO", "3", *login)]
        if self.database:
            commands.append(pack("SELECT", str(self.database)))
        return commands


def parse(url: str) -> Server:
    """Return what a URL says; raises ConfigError."""
    try:
        return _parse(url)
    except ValueError as error:
        raise no_url(url, "a Redis server", "redis://user:password@host:6379/0", error) from None


def _parse(url: str) -> Server:
    parts = urlsplit(url)
    options = read_options(parts.query, {**_NUMBERS, **_FILES})
    numbers = {name: options[name] for name in _NUMBERS}
    if min(numbers.values()) <= 0:
        raise ValueError(f"{', '.join(_NUMBERS)} must be more than 0")
    path = parts.path.strip("/")
    return Server(
        host=parts.hostname or "127.0.0.1",
        port=parts.port or _PORT,
        database=int(path) if path else 0,
        user=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        tls=_context(options) if parts.scheme in ("rediss", "valkeys") else None,
        **numbers,
    )


def _context(options: dict[str, Any]) -> SSLContext:
    import ssl

    try:
        context = ssl.create_default_context(cafile=options["ssl_ca_certs"])
        if options["ssl_certfile"] is not None:
            context.load_cert_chain(options["ssl_certfile"], options["ssl_keyfile"])
    except OSError as error:
        raise ValueError(f"the certificates cannot be read: {error}") from None
    if options["ssl_cert_reqs"] == "none":
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
