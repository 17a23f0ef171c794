"""All settings in one table: name, environment variable, type, default, one line of help.

Rules of this file:
- Every setting is read through ``Settings``; ``fmirun --help`` and the README's table come from ``TABLE``.
- An unknown ``FMI_*`` variable or a malformed value is an error that names the nearest known one.
- ``FMI_JOB_*`` variables are not settings: they carry a rank's identity from the launcher (``bootstrap``).
- A channel's URL may hold a password: no message shows it.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from fmi_mpi.errors import ConfigError

__all__ = ["TABLE", "Setting", "Settings", "channel_name", "parse_size", "without_password"]

_UNITS: Final = {
    "": 1,
    "b": 1,
    "kib": 1 << 10,
    "k": 1 << 10,
    "mib": 1 << 20,
    "m": 1 << 20,
    "gib": 1 << 30,
    "g": 1 << 30,
}


def parse_size(text: str) -> int:
    """Return the bytes that a text such as ``64KiB`` or ``1048576`` names; raises ValueError."""
    digits = text.strip().rstrip("bBiIkKmMgG")
    unit = text.strip()[len(digits) :].lower()
    if unit not in _UNITS or not digits.strip().isdigit():
        raise ValueError("expecting a size such as 65536 or 64KiB")
    return int(digits) * _UNITS[unit]


def _boolean(text: str) -> bool:
    value = {
        "1": True,
        "true": True,
        "yes": True,
        "on": True,
        "0": False,
        "false": False,
        "no": False,
        "off": False,
    }
    try:
        return value[text.strip().lower()]
    except KeyError:
        raise ValueError("expecting 1 or 0") from None


_SCHEMES: Final = {"rediss": "redis", "valkey": "redis", "valkeys": "redis"}
_CREDENTIALS: Final = re.compile("://.*@", re.DOTALL)
_NAME: Final = re.compile("[A-Za-z0-9_-]+")


def channel_name(entry: str) -> str:
    """Return the channel that an entry of ``--channels`` asks for: a name, or a URL such as ``redis://host:6379/0``."""
    scheme, separator, _ = entry.partition("://")
    return _SCHEMES.get(scheme, scheme) if separator else entry


def without_password(text: str) -> str:
    """Return a text that holds URLs without the users and passwords in them."""
    return _CREDENTIALS.sub("://***@", text)


def _entries(text: str) -> tuple[str, ...]:
    entries = tuple(part.strip() for part in text.split(",") if part.strip())
    if not entries:
        raise ValueError("expecting names or URLs separated by commas")
    names = [channel_name(entry) for entry in entries]
    if not all(map(_NAME.fullmatch, names)):
        raise ValueError("expecting names or URLs separated by commas; in a password write a comma as %2C")
    if len(set(names)) < len(names):
        raise ValueError("expecting each channel once")
    return entries


def _policy(text: str) -> str:
    if text not in ("", "fast", "cheap", "balanced"):
        raise ValueError("expecting fast, cheap or balanced")
    return text


def _seconds(text: str) -> float:
    value = float(text)
    if value < 0:
        raise ValueError("expecting seconds, zero or more")
    return value


@dataclass(frozen=True)
class Setting:
    """One row of the table."""

    name: str
    variable: str
    parse: Callable[[str], Any]
    default: Any
    help: str


TABLE: Final = (
    Setting("channels", "FMI_CHANNELS", _entries, ("shm", "tcp"), "Channels to use, in order of preference; a store by its URL."),
    Setting("eager_limit", "FMI_EAGER_LIMIT", parse_size, 1 << 20, "Largest payload sent without asking the receiver."),
    Setting("credit", "FMI_CREDIT", parse_size, 16 << 20, "Unexpected bytes that one sender may leave at a receiver."),
    Setting("spin", "FMI_SPIN", _seconds, 20e-6, "Seconds to spin in a wait before yielding the core."),
    Setting("yield_time", "FMI_YIELD", _seconds, 2e-3, "Seconds to yield in a wait before blocking."),
    Setting("shm_ring", "FMI_SHM_RING", parse_size, 0, "Bytes of a shared-memory ring; 0 chooses by the job's size."),
    Setting("join_timeout", "FMI_JOIN_TIMEOUT", _seconds, 60.0, "Seconds to wait for all ranks to join the job."),
    Setting("rendezvous", "FMI_RENDEZVOUS", str.strip, "", "Where ranks of several hosts meet: tcp://host:port?key=KEY, or a store by its URL."),
    Setting("reconnect", "FMI_RECONNECT", _seconds, 30.0, "Seconds to try to renew a broken connection between hosts, or through the relay."),
    Setting("aws_endpoint_url", "FMI_AWS_ENDPOINT_URL", str, "", "Address of a server that stands for AWS's own; empty: the SDK knows."),
    Setting("policy", "FMI_POLICY", _policy, "", "Choose algorithms and channels by the model: fast, cheap or balanced; unset: by rules."),
    Setting("model", "FMI_MODEL", str, "", "Profile of the model: local, lambda or a path; unset: as calibrated, else local."),
    Setting("encrypt", "FMI_ENCRYPT", _boolean, False, "Encrypt what goes over tcp between hosts, the relay and stores (AES-GCM)."),
    Setting("stacks_on_timeout", "FMI_STACKS", _boolean, False, "On SIGUSR1, print the stacks of all threads of a rank."),
)  # fmt: skip
_COLLECTIVES: Final = "FMI_COLL_"
_IDENTITY: Final = "FMI_JOB_"


class Settings:
    """The settings of this process, read once from ``environ``.

    Attributes are the names in ``TABLE``, of which ``channels`` holds names only: ``urls`` maps those that were given
    by a URL to it. ``algorithms`` maps a collective's name to the algorithm that
    ``FMI_COLL_<COLLECTIVE>`` forces. Raises ConfigError.
    """

    channels: tuple[str, ...]
    eager_limit: int
    credit: int
    spin: float
    yield_time: float
    shm_ring: int
    join_timeout: float
    aws_endpoint_url: str
    rendezvous: str
    reconnect: float
    policy: str
    model: str
    encrypt: bool
    stacks_on_timeout: bool

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        env = os.environ if environ is None else environ
        known = {setting.variable: setting for setting in TABLE}
        self.algorithms: dict[str, str] = {}
        for setting in TABLE:
            setattr(self, setting.name, setting.default)
        for variable, text in env.items():
            if not variable.startswith("FMI_") or variable.startswith(_IDENTITY):
                continue
            if variable.startswith(_COLLECTIVES):
                self.algorithms[variable[len(_COLLECTIVES) :].lower()] = text.strip()
                continue
            found = known.get(variable)
            if found is None:
                near = difflib.get_close_matches(variable, known, 1, 0.0)[0]
                raise ConfigError(f"unknown setting {variable}; the nearest known one is {near}")
            try:
                setattr(self, found.name, found.parse(text))
            except ValueError as error:
                shown = without_password(text)
                raise ConfigError(f"{variable}={shown!r}: {error}; {found.help}") from None
        self.urls = {channel_name(entry): entry for entry in self.channels if "://" in entry}
        self.channels = tuple(map(channel_name, self.channels))
