"""What a collective costs.

Rules of this file:
- US dollars, seconds, bytes. A function is billed its memory times its time, all of them for as long as the
  collective lasts; a server by the hour, pro rata.
- Prices stand in ``prices.toml``, each with its source; nothing is read before it is asked for.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final, NamedTuple

from fmi_mpi.model.predict import Estimate
from fmi_mpi.model.profile import Channel, nearest

__all__ = ["ARCHITECTURES", "MEMORY", "Price", "Prices", "Store", "prices"]

ARCHITECTURES: Final = ("x86", "arm")
MEMORY: Final = 1769 << 20
"""Bytes with which a function has one core; taken where nothing is known."""
_GIB: Final = 1 << 30
_HOUR: Final = 3600.0


class Price(NamedTuple):
    """Dollars, by what they are for."""

    compute: float = 0.0
    requests: float = 0.0
    transfer: float = 0.0
    server: float = 0.0

    @property
    def total(self) -> float:
        """All together."""
        return sum(self)


@dataclass(frozen=True)
class Store:
    """A row of prices; see ``prices.toml``."""

    put: float = 0.0
    get: float = 0.0
    look: float = 0.0
    put_unit: int = 0
    get_unit: int = 0
    put_byte: float = 0.0
    get_byte: float = 0.0
    hour: float = 0.0
    source: str = ""

    def requests(self, estimate: Estimate) -> float:
        """Return the dollars for the requests of an estimate."""
        return (
            self.put * estimate.puts * _units(estimate.put_bytes, estimate.puts, self.put_unit)
            + self.get * estimate.gets * _units(estimate.got_bytes, estimate.gets, self.get_unit)
            + self.look * estimate.looks
        )


def _units(nbytes: int, requests: int, unit: int) -> int:
    """Return how many units each of some requests is billed as."""
    return max(1, math.ceil(nbytes / requests / unit)) if unit and requests else 1


@dataclass(frozen=True)
class Prices:
    """All prices."""

    date: str
    compute: Mapping[str, float]
    """Dollars for a GiB-second, by architecture."""
    invocation: Mapping[str, float]
    """Dollars for starting a function, by architecture."""
    stores: Mapping[str, Store]
    transfer: Mapping[str, float]
    """Dollars for a byte, by class."""

    def store(self, name: str) -> Store:
        """Return a row; raises ConfigError naming the nearest."""
        if name not in self.stores:
            raise nearest("price", name, tuple(self.stores))
        return self.stores[name]

    def of(self, estimate: Estimate, size: int, channel: Channel, memory: int = MEMORY, arch: str = "x86") -> Price:
        """Return what a collective costs.

        Args:
            size: number of ranks, each of which is a function. memory: of each, in bytes.
            arch: one of ``ARCHITECTURES``.

        Raises ConfigError.
        """
        if arch not in self.compute:
            raise nearest("architecture", arch, tuple(self.compute))
        if channel.transfer not in self.transfer:
            raise nearest("class of transfer", channel.transfer, tuple(self.transfer))
        store = self.store(channel.server)
        return Price(
            size * memory / _GIB * estimate.seconds * self.compute[arch],
            store.requests(estimate),
            self.transfer[channel.transfer] * estimate.moved
            + store.put_byte * estimate.put_bytes
            + store.get_byte * estimate.got_bytes,
            store.hour * estimate.seconds / _HOUR,
        )


@cache
def prices() -> Prices:
    """Return the prices that come with the package."""
    text = Path(__file__).with_name("prices.toml").read_text(encoding="utf-8")
    table: dict[str, Any] = tomllib.loads(text)
    return Prices(
        str(table["date"]),
        {name: row["gib_second"] for name, row in table["compute"].items()},
        {name: row["request"] for name, row in table["compute"].items()},
        {name: Store(**row) for name, row in table["stores"].items()},
        table["transfer"],
    )
