"""What a ``dynamodb://`` URL says: ``dynamodb://table[?option=value&...]``.

Rules of this file:
- Credentials, region and endpoint come by the SDK's own chain; the URL may name the region.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from fmi_mpi.channels.mailbox.options import Options, no_url, read_options
from fmi_mpi.config import parse_size

__all__ = ["Table", "parse"]

_NAME: Final = re.compile("[A-Za-z0-9_.-]{3,255}")
_LEAST_TTL: Final = 3600
_OPTIONS: Final[Options] = {
    "patience": (float, 30.0),
    "ttl": (int, 24 * 3600),
    "window": (parse_size, 8 << 20),
    "region": (str, ""),
}


@dataclass(frozen=True)
class Table:
    """Where the objects are.

    ``patience``: seconds that the service may be away, or throttle, before that is an error. ``ttl``: seconds after
    which an item expires, so many that clocks may differ. ``window``: bytes unread from one process to another.
    ``endpoint``: of a server other than AWS's; empty: the SDK knows.
    """

    name: str
    patience: float
    ttl: int
    window: int
    region: str
    endpoint: str = ""

    @property
    def label(self) -> str:
        """The table in messages."""
        return f"table {self.name!r}" + (f" at {self.endpoint}" if self.endpoint else "")


def parse(url: str, endpoint: str = "") -> Table:
    """Return what a URL says; raises ConfigError."""
    try:
        return _parse(url, endpoint)
    except ValueError as error:
        raise no_url(url, "a DynamoDB table", "dynamodb://table", error) from None


def _parse(url: str, endpoint: str) -> Table:
    parts = urlsplit(url)
    if parts.username is not None or parts.password is not None:
        raise ValueError(
            "credentials come by the SDK's own chain (AWS_PROFILE, AWS_ACCESS_KEY_ID, a role), not by the URL"
        )
    if not _NAME.fullmatch(parts.netloc) or parts.path.strip("/"):
        raise ValueError("expecting a table's name, of 3 to 255 letters, digits and _ . -")
    values = read_options(parts.query, _OPTIONS)
    if values["patience"] <= 0 or values["window"] <= 0:
        raise ValueError("patience and window must be more than 0")
    if values["ttl"] < _LEAST_TTL:
        raise ValueError(f"ttl must be {_LEAST_TTL} seconds at least: clocks may differ")
    return Table(parts.netloc, endpoint=endpoint, **values)
