"""What an operation costs on AWS, by the package's own prices."""

from __future__ import annotations

from collections.abc import Mapping

from fmi_mpi.model.predict import Estimate
from fmi_mpi.model.price import prices
from fmi_mpi.model.profile import load

__all__ = ["LOOKS", "price"]

LOOKS = ("list", "empty", "other")
"""Kinds of requests that only ask what has come."""


def price(channel: str, ranks: int, seconds: float, requests: Mapping[str, float]) -> dict[str, float]:
    """Return dollars by what they are for: the memory of all functions for that time, requests, transfer, server."""
    if requests.get("write_units"):  # told by the service
        estimate = Estimate(seconds, requests["write_units"], 0, requests["read_units"])  # type: ignore[arg-type]
    elif requests:
        gets = requests["get"] + requests["empty_get"]
        looks = sum(requests[kind] for kind in LOOKS)
        estimate = Estimate(seconds, requests["put"], requests["written"], gets, requests["read"], looks)  # type: ignore[arg-type]
    else:
        estimate = Estimate(seconds)
    profile = load("local" if channel == "shm" else "lambda")
    found = prices().of(estimate, ranks, profile.channel(channel))
    return {**found._asdict(), "total": found.total}
