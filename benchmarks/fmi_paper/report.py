"""From results to tables: one way by size, collectives by ranks, the k-means step, and what is wanted of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from benchmarks.fmi_paper.pricing import LOOKS
from benchmarks.fmi_paper.systems import CHANNELS, FMI, OURS, TUNED
from benchmarks.report import markdown, size_of

__all__ = ["write"]

Row = Mapping[str, Any]
_LIMIT = 0.5  # of FMI's
_BARS = {"tcp": ("time",), "redis": ("time",), "s3": ("requests", "time"), "dynamodb": ("requests", "time")}
_RANKS = 8
_KINDS = {"put": ("put",), "get": ("get",), "missed": ("empty_get",), "look": LOOKS, "delete": ("delete",)}


def write(document: Mapping[str, Any]) -> str:
    """Return the page."""
    rows: Sequence[Row] = document["results"]
    parts = [
        "# FMI's experiment",
        ", ".join(f"{name}: {value}" for name, value in document["facts"].items()),
        *_section("One way, ms (median, mean)", _grid([row for row in rows if row["piece"] == "one way"], "nbytes")),
    ]
    for ranks in sorted({row["ranks"] for row in rows}):
        found = [row for row in rows if row["ranks"] == ranks and row["piece"] not in ("one way", "kmeans")]
        parts += _section(f"Collectives, {ranks} ranks, ms (median, mean)", _grid(found, "piece"))
    steps = [row for row in rows if row["piece"] == "kmeans"]
    parts += _section("LambdaML's k-means step: an allreduce of 85 doubles", _steps(steps))
    parts += _section("What is wanted", _bars(steps))
    if document["notes"]:
        parts += ["## Failures", *(f"```\n{note}\n```" for note in document["notes"])]
    return "\n\n".join(parts)


def _section(title: str, rows: list[list[str]]) -> list[str]:
    return [f"## {title}", markdown(rows)] if len(rows) > 1 else []


def _ms(row: Row) -> str:
    return f"{row['median'] * 1e3:.3g} {row['mean'] * 1e3:.3g}"


def _grid(rows: Sequence[Row], key: str) -> list[list[str]]:
    """A line for each value of a key, a column for each channel and system."""
    columns = list(dict.fromkeys((row["channel"], row["system"]) for row in rows))
    cells = {(row[key], row["channel"], row["system"]): _ms(row) for row in rows}
    shown: Callable[[Any], str] = size_of if key == "nbytes" else str
    lines = dict.fromkeys(row[key] for row in rows)
    return [
        [key.replace("nbytes", "size"), *(f"{channel} {system}" for channel, system in columns)],
        *([shown(line), *(cells.get((line, *column), "") for column in columns)] for line in lines),
    ]


def _steps(rows: Sequence[Row]) -> list[list[str]]:
    table = [
        [
            "channel",
            "ranks",
            "system",
            "median ms",
            "mean ms",
            "requests",
            *_KINDS,
            "$ a million",
            "of that requests",
            "set-up s",
        ]
    ]
    for row in sorted(rows, key=lambda row: (CHANNELS.index(row["channel"]), row["ranks"])):
        asked = [
            f"{sum(row['requests'][kind] for kind in kinds):.1f}" if row["requests"] else ""
            for kinds in _KINDS.values()
        ]
        table.append(
            [row["channel"], str(row["ranks"]), row["system"], f"{row['median'] * 1e3:.3g}", f"{row['mean'] * 1e3:.3g}", f"{row['cpu'] * 1e3:.3g}",
             f"{_requests(row):.1f}" if row["requests"] else "", *asked, f"{row['price']['total'] * 1e6:.3g}",
             f"{row['price']['requests'] * 1e6:.3g}", f"{row['setup']:.2f}"]
        )  # fmt: skip
    return table


def _requests(row: Row) -> float:
    return sum(row["requests"].get(kind, 0.0) for kinds in _KINDS.values() for kind in kinds)


def _bars(rows: Sequence[Row]) -> list[list[str]]:
    """Our figures over FMI's, and for comparison over those of the best polling."""
    table = [["channel", "ranks", "of", "wanted", "fmi_mpi / FMI", "fmi_mpi / tuned", ""]]
    measures: dict[str, Callable[[Row], float]] = {"time": lambda row: row["median"], "requests": _requests}
    for channel, names in _BARS.items():
        found = {row["system"]: row for row in rows if row["channel"] == channel and row["ranks"] == _RANKS}
        if OURS not in found or FMI not in found:
            continue
        for name in names:
            ours, fmi = measures[name](found[OURS]), measures[name](found[FMI])
            tuned = f"{ours / measures[name](found[TUNED]):.2f}x" if TUNED in found else ""
            good = ours <= _LIMIT * fmi
            table.append(
                [
                    channel,
                    str(_RANKS),
                    name,
                    f"≤ {_LIMIT:g}x",
                    f"{ours / fmi:.2f}x",
                    tuned,
                    "pass" if good else "**miss**",
                ]
            )
    return table
