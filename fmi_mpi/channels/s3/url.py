"""What an ``s3://`` URL says: ``s3://bucket[/prefix][?option=value&...]``.

Rules of this file:
- Credentials, region and endpoint come by the SDK's own chain; the URL may name the region.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote, urlsplit

from fmi_mpi.channels.mailbox.options import Options, no_url, read_options
from fmi_mpi.config import parse_size

__all__ = ["Bucket", "parse"]

_NAME: Final = re.compile("[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_PREFIX: Final = re.compile("[A-Za-z0-9!_.*'()/=-]{0,100}")
_OPTIONS: Final[Options] = {
    "patience": (float, 30.0),
    "window": (parse_size, 32 << 20),
    "region": (str, ""),
}


@dataclass(frozen=True)
class Bucket:
    """Where the objects are.

    ``prefix``: empty, or what all keys begin with, a slash at its end. ``patience``: seconds that the service may be away,
    or throttle, before that is an error. ``window``: bytes unread from one process to another. ``endpoint``: of a server
    other than AWS's; empty: the SDK knows.
    """

    name: str
    prefix: str
    patience: float
    window: int
    region: str
    endpoint: str = ""

    @property
    def label(self) -> str:
        """The bucket in messages."""
        return f"bucket {self.name!r}" + (f" at {self.endpoint}" if self.endpoint else "")

    @property
    def is_directory(self) -> bool:
        """It is one of S3 Express One Zone: listings come in no order, and cannot begin after a key."""
        return self.name.endswith("--x-s3")


def parse(url: str, endpoint: str = "") -> Bucket:
    """Return what a URL says; raises ConfigError."""
    try:
        return _parse(url, endpoint)
    except ValueError as error:
        raise no_url(url, "an S3 bucket", "s3://bucket/prefix", error) from None


def _parse(url: str, endpoint: str) -> Bucket:
    parts = urlsplit(url)
    if "@" in parts.netloc:
        raise ValueError(
            "credentials come by the SDK's own chain (AWS_PROFILE, AWS_ACCESS_KEY_ID, a role), not by the URL"
        )
    if not _NAME.fullmatch(parts.netloc):
        raise ValueError("expecting a bucket's name, of 3 to 63 small letters, digits, dots and hyphens")
    prefix = unquote(parts.path).strip("/")
    if not _PREFIX.fullmatch(prefix):
        raise ValueError("expecting a prefix of at most 100 letters, digits and !_.*'()/=-")
    values = read_options(parts.query, _OPTIONS)
    if values["patience"] <= 0 or values["window"] <= 0:
        raise ValueError("patience and window must be more than 0")
    return Bucket(parts.netloc, prefix and prefix + "/", endpoint=endpoint, **values)
