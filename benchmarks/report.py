"""From results to a page: what the project wants and whether it is so, tables, plots.

A ratio is the time of fmi_mpi over that of the better of the two MPIs on the same transport: below 1 is faster.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.pieces import PIECES

__all__ = ["circumstances", "markdown", "size_of", "write"]

OURS = "fmi_mpi"
MPIS = ("MPICH", "Open MPI")
P2P = ("latency", "bandwidth", "bibw", "multi_pair", "message_rate")
FIVE = ("allreduce", "bcast", "allgather", "alltoall", "barrier")
MIB = 1 << 20
Key = tuple[str, int, int, str]  # piece, ranks, bytes, transport
Document = dict[str, Any]


@dataclass(frozen=True)
class Bar:
    """What is wanted of some pieces on a transport at some sizes: a ratio of at most ``limit``."""

    pieces: tuple[str, ...]
    transport: str
    limit: float
    words: str
    sizes: Callable[[int], bool]


def circumstances(began: float, load: float) -> Document:
    """Return under what conditions a run, which ends now, was made.

    Args:
        began: time when it began. load: of the machine, then.
    """
    return {
        "date": time.strftime("%Y-%m-%d %H:%M", time.localtime(began)),
        "minutes": round((time.time() - began) / 60, 1),
        "cores": len(os.sched_getaffinity(0)),
        "load before and after": f"{load:.1f}, {os.getloadavg()[0]:.1f}",
        "python": sys.version.split()[0],
        "options": " ".join(sys.argv[1:]) or "none",
    }


def _each(pieces: Iterable[str], *rules: tuple[str, float, str, Callable[[int], bool]]) -> list[Bar]:
    return [Bar((piece,), *rule) for piece in pieces for rule in rules]


BARS = [
    *_each(
        P2P,
        ("tcp", 1.0, "every size", lambda nbytes: True),
        ("shm", 3.0, "8 B", lambda nbytes: nbytes == 8),
        ("shm", 1.0, "64 KiB", lambda nbytes: nbytes == 64 << 10),
        ("shm", 0.8, "1 MiB and more", lambda nbytes: nbytes >= MIB),
    ),
    *_each(
        FIVE,
        ("tcp", 1.0, "every size", lambda nbytes: True),
        ("shm", 3.0, "8 B", lambda nbytes: nbytes in (0, 8)),
        ("shm", 1.0, "1 MiB and more", lambda nbytes: nbytes >= MIB),
    ),
    *_each(("send_dict",), *((transport, 2.0, "small dict", lambda nbytes: True) for transport in ("shm", "tcp"))),
    *_each(("send_array",), *((transport, 0.15, "16 MiB", lambda nbytes: True) for transport in ("shm", "tcp"))),
]
_IMPORT_LIMIT = 0.060  # seconds beyond numpy
_IDLE_LIMIT = 0.01  # of a core, a rank


class _Table:
    """The results by key and family."""

    def __init__(self, document: Document) -> None:
        self.medians: dict[Key, dict[str, float]] = {}
        for row in document["results"]:
            key = (row["piece"], row["ranks"], row["nbytes"], row["transport"])
            self.medians.setdefault(key, {})[row["family"]] = row["median"]

    def ratio(self, key: Key) -> float | None:
        """Return our time over the better MPI's; None if one of them is missing."""
        times = self.medians.get(key, {})
        others = [times[name] for name in MPIS if name in times]
        return times[OURS] / min(others) if OURS in times and others else None


def write(document: Document, output: Path) -> str:
    """Write the page and the plots; return the table of bars."""
    table = _Table(document)
    bars = _bars(table)
    lines = [
        "# Benchmarks",
        "",
        "Made by `make bench`; see `benchmarks/__main__.py`. "
        + (__doc__ or "").split("\n\n")[1].replace("\n", " ").strip(),
    ]
    lines += ["", ", ".join(f"{name}: {value}" for name, value in document["facts"].items()), "", "## What is wanted"]
    lines += ["", bars, "", "## Times", ""]
    for piece in PIECES:
        for ranks in sorted({key[1] for key in table.medians if key[0] == piece.name}):
            lines += [*_section(table, piece.name, ranks, piece.unit), ""]
    lines += _others(table)
    if document["notes"]:
        lines += ["## Failures", "", *(f"```\n{note}\n```" for note in document["notes"]), ""]
    lines += _plots(document, output)
    (output / "results.md").write_text("\n".join(lines).rstrip() + "\n")
    return bars


def _bars(table: _Table) -> str:
    rows = [["piece", "transport", "ranks", "at", "wanted", "worst", "where", ""]]
    for bar in BARS:
        keys = [key for key in table.medians if key[0] in bar.pieces and key[3] == bar.transport and bar.sizes(key[2])]
        for ranks in sorted({key[1] for key in keys}):
            ratios = [(ratio, key) for key in keys if key[1] == ranks and (ratio := table.ratio(key)) is not None]
            if ratios:
                worst, key = max(ratios)
                rows.append([key[0], bar.transport, str(ranks), bar.words, f"≤ {bar.limit:g}x", f"{worst:.2f}x",
                             size_of(key[2]), _verdict(worst <= bar.limit)])  # fmt: skip
    for (piece, ranks, _, transport), times in table.medians.items():
        limit = {"import": _IMPORT_LIMIT, "idle": _IDLE_LIMIT}.get(piece)
        if limit is not None and OURS in times:
            shown = (lambda x: f"{x * 1e3:.0f} ms") if piece == "import" else (lambda x: f"{x:.1%} of a core")
            rows.append([piece, "" if piece == "import" else transport, str(ranks), "beyond numpy" if piece == "import" else "each rank",
                         "≤ " + shown(limit), shown(times[OURS]), "", _verdict(times[OURS] <= limit)])  # fmt: skip
    passed = sum(row[-1] == "pass" for row in rows)
    return f"{markdown(rows)}\n\n{passed} of {len(rows) - 1} pass."


def _verdict(good: bool) -> str:
    return "pass" if good else "**miss**"


def _section(table: _Table, piece: str, ranks: int, unit: str) -> list[str]:
    """The times of a piece at a number of ranks: a row a size, a column a peer, the ratios at the end."""
    keys = [key for key in table.medians if key[:2] == (piece, ranks)]
    peers = list(dict.fromkeys((name, key[3]) for key in keys for name in table.medians[key]))
    peers.sort(key=lambda peer: peer[1])
    transports = sorted({transport for _, transport in peers})
    scale = 1e6 if unit == "us" else 1.0
    rows = [["size", *(f"{name} {transport}" for name, transport in peers), *(f"ratio {name}" for name in transports)]]
    for nbytes in sorted({key[2] for key in keys}):
        row = [size_of(nbytes)]
        for name, transport in peers:
            time = table.medians.get((piece, ranks, nbytes, transport), {}).get(name)
            row.append("" if time is None else _number(time * scale))
        for transport in transports:
            ratio = table.ratio((piece, ranks, nbytes, transport))
            row.append("" if ratio is None else f"{ratio:.2f}")
        rows.append(row)
    words = "µs" if unit == "us" else unit
    return [f"### {piece}, {ranks} ranks, {words}", "", markdown(rows)]


def _others(table: _Table) -> list[str]:
    """The import, and the start of a job."""
    lines: list[str] = []
    for piece, title in (("import", "import beyond numpy"), ("start", "start of a job")):
        rows = [["peer", "ranks", "ms"]]
        for (name, ranks, _, transport), times in table.medians.items():
            if name == piece:
                rows += [[f"{family} {transport}" if piece == "start" else family, str(ranks), f"{time * 1e3:.0f}"]
                         for family, time in times.items()]  # fmt: skip
        if len(rows) > 1:
            lines += [f"### {title}", "", markdown(rows), ""]
    return lines


def markdown(rows: list[list[str]]) -> str:
    """Return a table; the first row is its head."""
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]])


def size_of(nbytes: int) -> str:
    """Return a number of bytes in words; none are no word."""
    for unit, size in (("MiB", MIB), ("KiB", 1 << 10)):
        if nbytes >= size and nbytes % size == 0:
            return f"{nbytes // size} {unit}"
    return f"{nbytes} B" if nbytes else ""


def _number(value: float) -> str:
    return f"{value:.{max(0, 2 - len(str(int(value))) + 1)}f}" if value < 1000 else f"{value:.0f}"


def _plots(document: Document, output: Path) -> list[str]:
    """Draw, if matplotlib is there, a figure a number of ranks; return the page's lines."""
    try:
        from benchmarks.plots import draw
    except ModuleNotFoundError:
        return ["No plots: matplotlib is not installed (`pip install .[bench]`)."]
    names = draw(document["results"], output)
    return ["## Plots", "", *(f"![{name}]({name}.svg)" for name in names)] if names else []
