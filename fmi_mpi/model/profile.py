"""What is known of the channels: how long a message takes, and what it is billed as.

Rules of this file:
- Units everywhere in this package: seconds, bytes, bytes per second, US dollars.
- A profile is a TOML file: shipped with the package, or written by ``fmi-mpi calibrate``. Nothing is read before a
  policy, ``explain`` or ``calibrate`` asks for it.
- Ranks that choose together must have read the same: ``Profile.digest`` tells.
"""

from __future__ import annotations

import difflib
import hashlib
import itertools
import json
import math
import os
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any, Final, NamedTuple

from fmi_mpi.errors import ConfigError

__all__ = [
    "SHIPPED",
    "Channel",
    "Crowd",
    "Profile",
    "calibrated_path",
    "load",
    "nearest",
    "parse",
    "standard",
    "text_of",
]

_HERE: Final = Path(__file__).resolve().parent
SHIPPED: Final = ("local", "lambda")
"""Names of the profiles that come with the package."""


class Crowd(NamedTuple):
    """What all ranks share, be it a server or the cores of one machine, when so many of them are at work."""

    ranks: int
    message: float
    """Seconds that one message takes of it."""
    bandwidth: float
    """Bytes per second of all messages together."""


@dataclass(frozen=True)
class Channel:
    """One channel.

    Args:
        alpha: seconds of a small message, one way: over a store, from the put to the end of the get.
        bandwidth: bytes per second between two ranks, over a store with the put and the get.
        overhead: seconds that each further message takes of a rank that sends or receives several at once; on a board each read.
        crowd: what all ranks share, by their number; in between it is interpolated, outside it stays.
        straggle: seconds by which a round of P ranks waits for the slowest, times sqrt(P / 2) - 1.
        by_memory: pairs of a function's memory and the bandwidth that it has with it.
        poll: seconds between a reader's looks into a store; 0 if it is told.
        limit: bytes of the longest object in a store; 0 without a limit.
        head: bytes that each object of a store carries besides its data.
        store: messages are objects in a store, which bills requests; collectives may use it as one.
        counters: the store counts, for barriers. gathers: its listings bring the objects.
        board: ranks of one host may meet on a board.
        server: the row of prices for the store, or the server, that carries the messages.
        transfer: the class of prices for bytes between ranks.
        estimate: not measured by anybody.
    """

    name: str
    alpha: float
    bandwidth: float
    overhead: float = 0.0
    crowd: tuple[Crowd, ...] = ()
    straggle: float = 0.0
    by_memory: tuple[tuple[int, float], ...] = ()
    poll: float = 0.0
    limit: int = 0
    head: int = 128
    store: bool = False
    counters: bool = False
    gathers: bool = False
    board: bool = False
    server: str = "none"
    transfer: str = "none"
    estimate: bool = False

    def bandwidth_with(self, memory: int) -> float:
        """Return the bandwidth of a function with so many bytes of memory; 0: unknown."""
        if not memory or not self.by_memory:
            return self.bandwidth
        return _between(self.by_memory, memory)

    def alpha_among(self, size: int) -> float:
        """Return the seconds of one round among ``size`` ranks."""
        return self.alpha + self.straggle * (math.sqrt(max(size, 2) / 2) - 1) + self.poll / 2

    def crowd_of(self, size: int) -> Crowd:
        """Return what ``size`` ranks share."""
        if not self.crowd:
            return Crowd(size, 0.0, math.inf)
        return Crowd(
            size,
            _between([(point.ranks, point.message) for point in self.crowd], size),
            1 / _between([(point.ranks, 1 / point.bandwidth) for point in self.crowd], size),
        )


@dataclass(frozen=True)
class Profile:
    """Channels by name; ``digest`` is equal for profiles with the same contents."""

    name: str
    source: str
    digest: str
    channels: Mapping[str, Channel] = field(default_factory=dict)

    def channel(self, name: str) -> Channel:
        """Return one channel; raises ConfigError naming the nearest."""
        if name not in self.channels:
            raise nearest("channel", name, tuple(self.channels), f" in profile {self.name!r}")
        return self.channels[name]


def _between(points: Sequence[tuple[float, float]], x: float) -> float:
    """Return the value at x, on lines between points over the logarithm of x; outside, the nearest point's."""
    ordered = sorted(points)
    if x <= ordered[0][0]:
        return ordered[0][1]
    for (first, low), (last, high) in itertools.pairwise(ordered):
        if x <= last:
            return low + (high - low) * math.log(x / first) / math.log(last / first)
    return ordered[-1][1]


def nearest(what: str, name: str, known: Sequence[str], where: str = "") -> ConfigError:
    """Return the error for a name that is not known."""
    if not known:
        return ConfigError(f"unknown {what} {name!r}{where}; there are none")
    near = difflib.get_close_matches(name.lower(), known, 1, 0.0)[0]
    return ConfigError(f"unknown {what} {name!r}{where}; known are {', '.join(known)}; the nearest is {near!r}")


def calibrated_path() -> Path | None:
    """Return where ``fmi-mpi calibrate`` leaves its profile; None without a home."""
    cache = os.environ.get("XDG_CACHE_HOME") or (os.environ.get("HOME") and os.path.join(os.environ["HOME"], ".cache"))
    return Path(cache, "fmi_mpi", "profile.toml") if cache else None


def standard() -> str:
    """Return the profile to use when none is named: Lambda's there, else this machine's own, else the shipped one."""
    if os.environ.get("AWS_LAMBDA_FUNCTION_NAME"):
        return "lambda"
    path = calibrated_path()
    return str(path) if path is not None and path.is_file() else "local"


def load(name: str = "") -> Profile:
    """Read a profile.

    Args:
        name: of a shipped one, or the path of a file; empty: the standard one.

    Raises ConfigError.
    """
    name = name or standard()
    path = _HERE / f"{name}.toml" if name in SHIPPED else Path(name)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeError) as error:
        if os.sep in name or name.endswith(".toml"):
            raise ConfigError(f"cannot read profile {name}: {error}; fmi-mpi calibrate writes one") from None
        raise nearest("profile", name, SHIPPED, " (or a path, such as ./profile.toml)") from None
    return parse(text, name)


def parse(text: str, name: str) -> Profile:
    """Return the profile that a text describes; ``name`` is for messages. Raises ConfigError."""
    try:
        table = tomllib.loads(text)
        channels = {key: _channel(key, row) for key, row in table["channels"].items()}
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"profile {name}: {error}") from None
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ConfigError(
            f"profile {name} is malformed: {error!r}; fmi-mpi calibrate writes one that is right"
        ) from None
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    return Profile(str(table.get("name", name)), str(table.get("source", "")), digest, channels)


_FIELDS: Final = {one.name: one.type for one in fields(Channel)}


def _channel(name: str, row: Mapping[str, Any]) -> Channel:
    values = dict(row)
    for key in values:
        if key not in _FIELDS or key == "name":
            raise ConfigError(str(nearest("entry", key, tuple(_FIELDS), f" of channel {name}")))
    values["crowd"] = tuple(Crowd(int(n), float(s), float(b)) for n, s, b in row.get("crowd", ()))
    values["by_memory"] = tuple((int(memory), float(rate)) for memory, rate in row.get("by_memory", ()))
    channel = Channel(name, **values)
    rates = (channel.bandwidth, *(p.bandwidth for p in channel.crowd), *(rate for _, rate in channel.by_memory))
    if channel.alpha < 0 or min(rates) <= 0 or any(point.ranks < 1 for point in channel.crowd):
        raise ValueError(f"{name}: expecting alpha >= 0, bandwidths > 0, ranks > 0")
    return channel


def text_of(name: str, date: str, source: str, channels: Sequence[Channel]) -> str:
    """Return a profile's text, which ``parse`` reads; ``date`` is an ISO date."""
    lines = [
        "# Units: seconds, bytes, bytes per second. The fields are those of model.profile.Channel.",
        f"name = {json.dumps(name)}",
        f"date = {date}",
        f"source = {json.dumps(source)}",
    ]
    for channel in channels:
        lines += ["", f"[channels.{channel.name}]"]
        for one in fields(Channel):
            value = getattr(channel, one.name)
            if one.name != "name" and (one.default is MISSING or value != one.default):
                lines.append(f"{one.name} = {_literal(value)}")
    return "\n".join(lines) + "\n"


def _literal(value: Any) -> str:
    if isinstance(value, tuple):
        return "[" + ", ".join(map(_literal, value)) + "]"
    return f"{value:.4g}" if isinstance(value, float) else json.dumps(value)
