"""FMI's tables on local servers: point-to-point, collectives, LambdaML's k-means step; time, requests and price.

    python -m benchmarks.fmi_paper [--quick] [--channels tcp,redis] [--ranks 2,4,8] [--only kmeans] [--plot]

The jobs of all systems on a channel run at the same time, with the same server; for each operation and size they take turns,
round by round, while the others sleep. An operation's time is from the last rank's beginning to the last rank's end.
Requests are all that the stores were asked, those that found nothing and fmi_mpi's removals included. The price is that of
as many functions as ranks, on AWS, for the time measured here.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import signal
import statistics
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from benchmarks.fmi_paper.pricing import price
from benchmarks.fmi_paper.rank import KMEANS, PIECES
from benchmarks.fmi_paper.report import write
from benchmarks.fmi_paper.systems import CHANNELS, systems
from benchmarks.peers import ROOT, Peer
from benchmarks.report import circumstances
from benchmarks.worlds import PeerError, World
from fmi_mpi.config import parse_size

SIZES = (8, 1 << 10, 64 << 10, 1 << 20)
COLLECTIVE = 1 << 10
"""Bytes of a rank's block, or of the vector."""
_BATCH = 0.03  # seconds of a round, if so few turns are enough
_MOST = 200  # turns in a round


@dataclass
class Result:
    """An operation of a system: seconds, requests by kind and dollars of one.

    ``setup``: seconds to start the job. ``cpu``: seconds of all ranks' processors.
    """

    channel: str
    system: str
    piece: str
    ranks: int
    nbytes: int
    setup: float
    times: list[float] = field(default_factory=list, repr=False)
    median: float = 0.0
    mean: float = 0.0
    least: float = 0.0
    cpu: float = 0.0
    requests: dict[str, float] = field(default_factory=dict)
    price: dict[str, float] = field(default_factory=dict)


def main() -> None:
    options = _options()
    began, load = time.time(), os.getloadavg()[0]
    results: list[Result] = []
    notes: list[str] = []
    for channel in options.channels:
        with systems(channel) as peers:
            for size in options.ranks:
                results += _measure(peers, size, options, notes)
    print("\r".ljust(60) + "\r", end="", file=sys.stderr)
    facts = circumstances(began, load)
    options.output.mkdir(parents=True, exist_ok=True)
    rows = [{name: value for name, value in asdict(result).items() if name != "times"} for result in results]
    document = {"facts": facts, "notes": notes, "results": rows}
    (options.output / "results.json").write_text(json.dumps(document, indent=1) + "\n")
    print(write(document))
    if options.plot:
        from benchmarks.fmi_paper.plots import draw

        print("\n".join(map(str, draw(rows, options.output))))


def _options() -> argparse.Namespace:
    def names(text: str) -> list[str]:
        return [name.strip() for name in text.split(",")]

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--channels", type=names, default=list(CHANNELS), help=",".join(CHANNELS))
    parser.add_argument("--only", type=names, default=list(PIECES), help=",".join(PIECES))
    parser.add_argument("--ranks", type=lambda text: [int(n) for n in names(text)], help="2,4,8, with --quick 2,8")
    parser.add_argument("--sizes", type=lambda text: [parse_size(size) for size in names(text)], help="of one way")
    parser.add_argument("--rounds", type=int, default=0, help="7, with --quick 3")
    parser.add_argument("--quick", action="store_true", help="fewer sizes, ranks, operations and rounds")
    parser.add_argument("--plot", action="store_true", help="draw the times, over sizes and over ranks")
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "results" / "fmi_paper")
    options = parser.parse_args()
    options.rounds = options.rounds or (3 if options.quick else 7)
    options.ranks = options.ranks or ([2, 8] if options.quick else [2, 4, 8])
    options.sizes = options.sizes or ([8, 64 << 10] if options.quick else SIZES)
    if options.quick and options.only == list(PIECES):
        options.only = ["one way", "bcast", "allreduce", "kmeans"]
    for chosen, known in ((options.channels, CHANNELS), (options.only, PIECES)):
        unknown = set(chosen) - set(known)
        if unknown:
            parser.error(f"unknown: {', '.join(sorted(unknown))}; known are {', '.join(known)}")
    return options


def _measure(peers: Sequence[Peer], size: int, options: argparse.Namespace, notes: list[str]) -> list[Result]:
    """Measure all systems of a channel with so many ranks, in turns."""
    worlds: dict[Peer, World] = {}
    results: list[Result] = []
    try:
        for peer in peers:
            worlds[peer] = World(peer, size)
        for piece, nbytes in _wanted(options, size):
            print(
                f"\r{peers[0].transport}, {size} ranks: {piece} {nbytes} B".ljust(60),
                end="",
                file=sys.stderr,
                flush=True,
            )
            results += _in_turns(worlds, piece, nbytes, options.rounds)
    except PeerError as error:
        notes.append(str(error))
        print(error, file=sys.stderr)
    finally:
        for world in worlds.values():
            world.close()
    return results


def _wanted(options: argparse.Namespace, size: int) -> Iterable[tuple[str, int]]:
    for name in PIECES:
        if name not in options.only or (name == "one way" and size != 2):
            continue
        sizes = {"one way": options.sizes, "barrier": (0,), "kmeans": (8 * KMEANS,)}.get(name, (COLLECTIVE,))
        yield from ((name, nbytes) for nbytes in sizes)


def _in_turns(worlds: dict[Peer, World], name: str, nbytes: int, rounds: int) -> list[Result]:
    piece = PIECES[name]
    turns, results, before = {}, {}, {}
    for peer, world in worlds.items():
        seconds = statistics.mean(_times(world, name, nbytes, 3))
        turns[peer] = max(piece.least, min(_MOST, int(_BATCH / seconds)))
        results[peer] = Result(peer.transport, peer.family, name, world.size, nbytes, world.started)
        before[peer] = _usage(world)
    for _, (peer, world) in itertools.product(range(rounds), worlds.items()):
        results[peer].times += (seconds / piece.per for seconds in _times(world, name, nbytes, turns[peer] + 1))
    for peer, world in worlds.items():
        result, made = results[peer], rounds * (turns[peer] + 1) * piece.per
        used = {kind: (count - before[peer][kind]) / made for kind, count in _usage(world).items()}
        result.cpu, result.requests = used.pop("cpu"), used
        result.median, result.mean = statistics.median(result.times), statistics.mean(result.times)
        result.least = min(result.times)
        result.price = price(result.channel, result.ranks, result.mean, result.requests)
    return list(results.values())


def _times(world: World, piece: str, nbytes: int, turns: int) -> list[float]:
    """Return the seconds of the turns after the first, which brings the ranks together."""
    stamps = world.ask(piece, nbytes, turns)
    return [max(rank[turn][1] for rank in stamps) - max(rank[turn][0] for rank in stamps) for turn in range(1, turns)]


def _usage(world: World) -> dict[str, float]:
    """Return what all ranks together have used so far."""
    ranks = world.ask("usage")
    return {kind: sum(rank[kind] for rank in ranks) for kind in ranks[0]}


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # servers and ranks end, too
    main()
