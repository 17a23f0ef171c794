"""Plots of the times over the sizes: a figure a number of ranks, a panel a piece, a line a peer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

__all__ = ["draw"]

COLOURS = {"fmi_mpi": "#d62728", "MPICH": "#1f77b4", "Open MPI": "#2ca02c", "sockets": "#7f7f7f", "gloo": "#9467bd"}
_COLUMNS = 4


def draw(results: Sequence[dict[str, Any]], output: Path) -> list[str]:
    """Write ``ranks-N.svg`` and ``.png``; return their names without the ending."""
    names = []
    for ranks in sorted({row["ranks"] for row in results}):
        rows = [row for row in results if row["ranks"] == ranks]
        pieces = [
            piece
            for piece in dict.fromkeys(row["piece"] for row in rows)
            if len({row["nbytes"] for row in rows if row["piece"] == piece}) > 1
        ]
        if pieces:
            names.append(f"ranks-{ranks}")
            _figure(ranks, pieces, rows, output / names[-1])
    return names


def _figure(ranks: int, pieces: Sequence[str], rows: Sequence[dict[str, Any]], path: Path) -> None:
    columns = min(_COLUMNS, len(pieces))
    lines = -(-len(pieces) // columns)
    figure, grid = plt.subplots(lines, columns, figsize=(3.4 * columns, 2.7 * lines + 0.6), squeeze=False)
    for panel in grid.flat[len(pieces) :]:
        panel.axis("off")
    for panel, piece in zip(grid.flat, pieces, strict=False):
        mine = [row for row in rows if row["piece"] == piece]
        for family, transport in dict.fromkeys((row["family"], row["transport"]) for row in mine):
            line = sorted(
                (row["nbytes"], row["median"] * 1e6)
                for row in mine
                if (row["family"], row["transport"]) == (family, transport)
            )
            panel.plot(
                *zip(*line, strict=True),
                color=COLOURS.get(family, "black"),
                linestyle="-" if transport == "shm" else "--",
                marker=".",
                label=f"{family} {transport}",
            )
        panel.set_xscale("log", base=2)
        panel.set_yscale("log")
        panel.set_title(piece)
        panel.grid(alpha=0.3)
    for row in grid:
        row[0].set_ylabel("µs")
    for panel in grid[-1]:
        panel.set_xlabel("bytes")
    handles = {label: handle for panel in grid.flat for handle, label in zip(*panel.get_legend_handles_labels())}
    figure.legend(
        handles.values(), handles.keys(), loc="upper center", ncols=min(len(handles), 2 * columns), frameon=False
    )
    figure.suptitle(f"{ranks} ranks", x=0.02, ha="left")
    figure.tight_layout(rect=(0, 0, 1, 1 - 0.5 / (2.7 * lines + 0.6)))
    for ending in ("svg", "png"):
        figure.savefig(path.with_suffix(f".{ending}"), dpi=120)
    plt.close(figure)
