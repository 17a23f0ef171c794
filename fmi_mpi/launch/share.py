"""Which part of a job this launcher starts, as the options say it (``--rendezvous``, ``--ranks``, ``--job``).

Rules of this file:
- Nothing here needs zmq or a network: what is wrong with the options is said before anything is tried.
- The job's secret comes from a file or the environment, never from the command line, which others can read.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from fmi_mpi.bootstrap import local
from fmi_mpi.bootstrap.place import is_service, parse
from fmi_mpi.config import Settings, without_password
from fmi_mpi.errors import ConfigError
from fmi_mpi.launch.options import Arguments, UsageError

__all__ = ["EMBED", "Share", "read_share"]

EMBED: Final = "embed"
_SHORTEST: Final = 16  # bytes of a secret
_LONGEST_NAME: Final = 200


@dataclass(frozen=True)
class Share:
    """Which part of a job this launcher starts.

    ``rendezvous``: the service's URL, or ``embed``, then listening at ``bind``. ``job``: its name, empty for one of its
    own. ``ranks``: started here. ``secret``: that all parts know. ``patience``: seconds to reach the service.
    """

    rendezvous: str
    job: str
    ranks: Sequence[int]
    secret: bytes = field(repr=False)
    patience: float
    bind: str = "tcp://*:0"


def read_share(arguments: Arguments, settings: Settings) -> Share | None:
    """Return the part that the options ask for, None for a whole job; raises UsageError, ConfigError."""
    part = arguments.part
    if not part:
        return None
    where = part.get("--rendezvous", settings.rendezvous)
    if not where:
        raise UsageError(f"{next(iter(part))} without --rendezvous: say where the parts of the job meet")
    head, _, port = where.partition(":")
    bind = "tcp://*:0"
    if head == EMBED:
        if port and not (port.isdecimal() and 0 < int(port) < 1 << 16):
            raise UsageError(f"--rendezvous {where}: expecting embed or embed:PORT")
        where, bind = EMBED, f"tcp://*:{port or 0}"
    elif is_service(where):
        parse(where)
    else:
        shown = without_password(where)
        raise UsageError(
            f"--rendezvous {shown}: expecting tcp://host:port?key=KEY, as 'fmi-mpi rendezvous' prints it, or embed"
        )
    size = sum(count for count, _ in arguments.programs)
    ranks = _ranks(part["--ranks"], size) if "--ranks" in part else range(size)
    job = part.get("--job", "")
    if not job and where != EMBED:
        raise UsageError("--rendezvous needs --job NAME, the same for all parts of the job")
    if len(job) > _LONGEST_NAME or not job.isprintable():
        raise UsageError(f"--job {job[:_LONGEST_NAME]!r}: expecting at most {_LONGEST_NAME} printable characters")
    alone = where == EMBED and len(ranks) == size
    return Share(where, job, ranks, _secret(part.get("--secret-file", ""), alone), settings.join_timeout, bind)


def _ranks(text: str, size: int) -> list[int]:
    """Return the ranks of a list such as ``0-3,6``."""
    ranks: set[int] = set()
    for piece in text.split(","):
        first, dash, last = piece.partition("-")
        numbers = [first, last if dash else first]
        if not all(number.isascii() and number.isdecimal() for number in numbers):
            raise UsageError(f"--ranks {text}: expecting ranks such as 0-3,6")
        low, high = map(int, numbers)
        if not low <= high < size:
            raise UsageError(
                f"--ranks {text}: a job of {size} has the ranks 0 to {size - 1}; -n is the whole job's size"
            )
        ranks.update(range(low, high + 1))
    return sorted(ranks)


def _secret(path: str, alone: bool) -> bytes:
    """Return the job's secret; ``alone``: no other part must know it."""
    if path:
        origin = path
        try:
            with open(path, encoding="ascii", errors="replace") as file:
                text = file.read(1 << 12).strip()
        except OSError as error:
            raise UsageError(f"--secret-file {path}: {error.strerror}") from None
    else:
        origin, text = local.SECRET, os.environ.get(local.SECRET, "").strip()
        if not text and alone:
            return os.urandom(32)
        if not text:
            raise UsageError(
                f"the parts of a job need a secret in common: set {local.SECRET} or --secret-file, for example to what "
                "'openssl rand -hex 32' prints"
            )
    try:
        secret = bytes.fromhex(text)
    except ValueError:
        secret = b""
    if len(secret) < _SHORTEST:
        raise ConfigError(f"{origin}: expecting a secret of {2 * _SHORTEST} or more hexadecimal digits")
    return secret
