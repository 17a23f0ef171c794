"""Tickets: how a member shows, after a break, that a claim was its own.

Rules of this file:
- A ticket names the moment of its claim and carries a code (HMAC-SHA256 with the service's secret key) over it, the
  job, the job's key and the ranks. So a service that was restarted, and has forgotten everything, still tells an old
  claim from a new one, and the older wins.
- The relay's keys are made from the same secret: the relay needs to remember nobody either.
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Sequence

__all__ = ["Moment", "Tickets", "derive"]

Moment = tuple[int, str]
"""When a claim was made, in microseconds, and what tells it from others of that time."""


def derive(secret: bytes, *parts: object) -> bytes:
    """Return a key made from ``secret`` for what ``parts`` name."""
    return hmac.digest(secret, b"".join(b"%d:%b" % (len(p), p) for p in (str(x).encode() for x in parts)), "sha256")


class Tickets:
    """Makes and reads tickets.

    Args:
        secret: of the service.
    """

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def issue(self, job: str, key: str, ranks: Sequence[int], now: float) -> tuple[Moment, str]:
        """Return the moment of a claim made at ``now`` (seconds since the epoch), and its ticket."""
        moment = int(now * 1e6), os.urandom(8).hex()
        return moment, f"{moment[0]}.{moment[1]}.{self._code(job, key, ranks, moment)}"

    def read(self, ticket: str, job: str, key: str, ranks: Sequence[int]) -> Moment | None:
        """Return the moment that a ticket names, None if it is not one of this service for this claim."""
        number, _, rest = ticket.partition(".")
        nonce, _, code = rest.partition(".")
        if not (number.isascii() and number.isdecimal() and len(number) < 20):
            return None
        moment = int(number), nonce
        expected = self._code(job, key, ranks, moment)
        return moment if hmac.compare_digest(expected.encode(), code.encode(errors="replace")) else None

    def _code(self, job: str, key: str, ranks: Sequence[int], moment: Moment) -> str:
        return derive(self._secret, "ticket", job, key, sorted(ranks), *moment).hex()
