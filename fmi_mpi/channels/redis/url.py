"""What a ``redis://`` URL says: ``redis[s]://[user[:password]]@host[:port][/database][?option=value&...]``.

Rules of this file:
- ``valkey`` and ``valkeys`` mean the same as ``redis`` and ``rediss`` (TLS).
- Nothing but ``greeting`` shows the password.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl, unquote, urlsplit

from fmi_mpi.channels.redis.resp import pack
from fmi_mpi.config import parse_size, without_password
from fmi_mpi.errors import ConfigError

if TYPE_CHECKING:
    from ssl import SSLContext

__all__ = ["Server", "parse"]

_PORT: Final = 6379
_NUMBERS: Final[dict[str, tuple[Callable[[str], Any], Any]]] = {
    "patience": (float, 30.0),
    "ttl": (int, 6 * 3600),
    "window": (parse_size, 8 << 20),
}
_FILES: Final = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_cert_reqs")


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
        raise ConfigError(
            f"{without_password(url)!r} is no URL of a Redis server: {error}; write redis://user:password@host:6379/0"
        ) from None


def _parse(url: str) -> Server:
    parts = urlsplit(url)
    options = dict(parse_qsl(parts.query, strict_parsing=True)) if parts.query else {}
    known = (*_NUMBERS, *_FILES)
    for name in options:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1, 0.0)[0]
            raise ValueError(f"unknown option {name!r}, the nearest known one is {near!r}")
    numbers = {name: read(options[name]) if name in options else default for name, (read, default) in _NUMBERS.items()}
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


def _context(options: dict[str, str]) -> SSLContext:
    import ssl

    try:
        context = ssl.create_default_context(cafile=options.get("ssl_ca_certs"))
        if "ssl_certfile" in options:
            context.load_cert_chain(options["ssl_certfile"], options.get("ssl_keyfile"))
    except OSError as error:
        raise ValueError(f"the certificates cannot be read: {error}") from None
    if options.get("ssl_cert_reqs", "required") == "none":
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
