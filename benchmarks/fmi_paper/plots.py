"""Plots: one way over sizes, operations over ranks; a panel a channel, or a piece, a line a system."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from benchmarks.fmi_paper.systems import FMI, OURS, TUNED

__all__ = ["draw"]

COLOURS = {OURS: "#d62728", FMI: "#1f77b4", TUNED: "#2ca02c"}
Row = Mapping[str, Any]


def draw(rows: Sequence[Row], output: Path) -> list[Path]:
    """Write a figure for the sizes and one for each channel's ranks; return their paths."""
    ways = [row for row in rows if row["piece"] == "one way"]
    figures = {"one-way": ("channel", "nbytes", ways)}
    for channel in dict.fromkeys(row["channel"] for row in rows):
        found = [row for row in rows if row["channel"] == channel and row["piece"] != "one way"]
        figures[f"ranks-{channel}"] = ("piece", "ranks", found)
    return [_figure(*figure, output / f"{name}.svg") for name, figure in figures.items() if figure[2]]


def _figure(panel_by: str, over: str, rows: Sequence[Row], path: Path) -> Path:
    names = list(dict.fromkeys(row[panel_by] for row in rows))
    figure, grid = plt.subplots(1, len(names), figsize=(2.8 * len(names), 3.2), squeeze=False)
    for panel, name in zip(grid[0], names, strict=True):
        for system, colour in COLOURS.items():
            line = sorted(
                (row[over], row["median"] * 1e3) for row in rows if (row[panel_by], row["system"]) == (name, system)
            )
            if line:
                panel.plot(*zip(*line, strict=True), color=colour, marker=".", label=system)
        panel.set_xscale("log", base=2)
        panel.set_yscale("log")
        panel.set_title(name)
        panel.set_xlabel("bytes" if over == "nbytes" else over)
        panel.grid(alpha=0.3)
    grid[0][0].set_ylabel("ms")
    handles = {label: handle for panel in grid[0] for handle, label in zip(*panel.get_legend_handles_labels())}
    figure.legend(handles.values(), handles.keys(), loc="upper center", ncols=3, frameon=False)
    figure.tight_layout(rect=(0, 0, 1, 0.92))
    figure.savefig(path)
    plt.close(figure)
    return path
