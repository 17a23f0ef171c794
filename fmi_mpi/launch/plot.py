"""The picture of ``fmi-mpi explain``: predicted time and price over size or ranks, a line for each channel.

Rules of this file:
- matplotlib loads here only, without a display.
- Each line is the channel's best algorithm by the policy, at each point; a mark shows where it changes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from fmi_mpi.errors import ConfigError

if TYPE_CHECKING:
    from fmi_mpi.coll.choose import Option
    from fmi_mpi.launch.commands.explain import Question

__all__ = ["draw"]

_SIZES: Final = tuple(1 << power for power in range(3, 27))
_RANKS: Final = (2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256)
_UNITS: Final = ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"), (1, "B"))
_COLOURS: Final = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")


def draw(question: Question, over: str, path: str) -> None:
    """Draw to ``path``, in the format that its ending names; ``over`` is size or ranks. Raises ConfigError, OSError."""
    try:
        from matplotlib.figure import Figure
        from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator
    except ImportError:
        raise ConfigError("--plot needs matplotlib: pip install 'fmi_mpi[plot]'") from None
    points = _SIZES if over == "size" else tuple(n for n in _RANKS if n <= max(question.ranks, 64))
    lines = _lines(question, over, points)
    figure = Figure(figsize=(11, 4.8), layout="constrained")
    axes: Any = figure.subplots(1, 2, sharex=True)
    quantities = (("time of a call", "seconds", 0), ("price of a million calls", "US dollars", 1))
    for ax, (title, unit, which) in zip(axes, quantities):
        for colour, (channel, ways) in zip(_COLOURS * 9, lines.items()):
            ys = [1e6 * way.price.total if which else way.estimate.seconds for way in ways]
            changes = [i for i in range(len(ways)) if not i or ways[i].algorithm != ways[i - 1].algorithm]
            ax.plot(points, ys, color=colour, linewidth=1.8, label=channel, marker="o", markersize=5, markevery=changes)
        ax.set_xscale("log", base=2)
        ax.set_yscale("log")
        ax.set_title(title, fontsize=11)
        ax.set_ylabel(unit)
        ax.set_xlabel("bytes" if over == "size" else "ranks")
        ticks = points[1::4] if over == "size" else [n for n in points if not n & (n - 1)]
        ax.xaxis.set_major_locator(FixedLocator(ticks))
        ax.xaxis.set_minor_locator(NullLocator())
        ax.xaxis.set_major_formatter(FuncFormatter(lambda x, _: _bytes(int(x)) if over == "size" else str(int(x))))
        ax.grid(True, which="major", color="#dddddd", linewidth=0.6)
        ax.spines[["top", "right"]].set_visible(False)
    fixed = f"{question.ranks} ranks" if over == "size" else _bytes(question.size)
    figure.suptitle(
        f"{question.collective}, {fixed}, functions of {question.memory >> 20} MiB ({question.arch}); "
        f"profile {question.profile.name}, {question.policy}; dots: the algorithm changes",
        fontsize=11,
    )
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=7, frameon=False)
    try:
        figure.savefig(path, dpi=120)
    except ValueError as error:
        raise ConfigError(f"--plot {path}: {error}") from None


def _lines(question: Question, over: str, points: tuple[int, ...]) -> dict[str, list[Option]]:
    """Return, for each channel, its best way at each point."""
    found: dict[str, list[Option]] = {channel.name: [] for channel in question.channels}
    for point in points:
        ranks, size = (question.ranks, point) if over == "size" else (point, question.size)
        best: dict[str, Option] = {}
        for way in question.ways(ranks, size):
            best.setdefault(way.channel, way)
        for name, way in best.items():
            found[name].append(way)
    return {name: ways for name, ways in found.items() if len(ways) == len(points)}


def _bytes(size: int) -> str:
    unit, name = next(pair for pair in _UNITS if size >= pair[0] or pair[0] == 1)
    return f"{size / unit:.4g} {name}"
