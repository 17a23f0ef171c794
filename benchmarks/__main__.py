"""Speed of fmi_mpi beside MPICH and Open MPI, side by side in one run.

    python -m benchmarks [--quick] [--only latency,allreduce] [--sizes 8,64KiB] [--ranks 2,4] [--rounds 15]

The jobs of all peers run at the same time; for each loop and size they take turns, round by round, while the others
sleep. Results are medians of the rounds. Absolute figures move with the load of the machine; ratios within a run tell.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.peers import ROOT, Peer, available
from benchmarks.pieces import PIECES, Piece
from benchmarks.report import circumstances, write
from benchmarks.worlds import PeerError, World
from fmi_mpi.config import parse_size

QUICK_SIZES = (0, 8, 64 << 10, 1 << 20, 16 << 20)
BUDGET = 0.1  # seconds of all rounds of a peer at a size; three rounds are made in any case
_IMPORT = "import time, numpy; t = time.perf_counter(); import {module}; print(time.perf_counter() - t)"


@dataclass(frozen=True)
class Result:
    """Seconds of an operation (or what the piece's unit says): median, least and greatest of the rounds."""

    piece: str
    ranks: int
    nbytes: int
    family: str
    transport: str
    median: float
    least: float
    greatest: float
    rounds: int


def main() -> None:
    options = _options()
    peers = [peer for peer in available() if not options.peers or peer.name in options.peers]
    began, load = time.time(), os.getloadavg()[0]
    results: list[Result] = []
    notes: list[str] = []
    if _wanted(options, "import"):
        results += _imports(peers, options.rounds)
    for size in options.ranks:
        pieces = [piece for piece in PIECES if size in piece.ranks and _wanted(options, piece.name)]
        if pieces and size < 64:
            results += _together(peers, size, pieces, options, notes)
        elif pieces:
            results += _alone(peers, size, pieces, options, notes)
    facts = {**circumstances(began, load), "kernel": os.uname().release, "rounds": options.rounds}
    options.output.mkdir(parents=True, exist_ok=True)
    document = {"facts": facts, "notes": notes, "results": [asdict(result) for result in results]}
    (options.output / "results.json").write_text(json.dumps(document, indent=1) + "\n")
    print(write(document, options.output))


def _options() -> argparse.Namespace:
    def names(text: str) -> list[str]:
        return [name.strip() for name in text.split(",")]

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", type=names, default=[], help="pieces: import, " + ", ".join(p.name for p in PIECES))
    parser.add_argument("--peers", type=names, default=[], help=", ".join(peer.name for peer in available()))
    parser.add_argument("--sizes", type=lambda text: [parse_size(size) for size in names(text)], help="in bytes or KiB")
    parser.add_argument("--ranks", type=lambda text: [int(n) for n in names(text)], help="2,4,8,64, with --quick 2,4")
    parser.add_argument("--rounds", type=int, default=0, help="15, with --quick 5")
    parser.add_argument(
        "--batch", type=float, default=0.005, help="seconds of a round; short ones run undisturbed now and then"
    )
    parser.add_argument("--quick", action="store_true", help="four sizes, fewer rounds and ranks")
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "results")
    options = parser.parse_args()
    options.rounds = options.rounds or (5 if options.quick else 15)
    options.ranks = options.ranks or ([2, 4] if options.quick and not options.only else [2, 4, 8, 64])
    if options.quick and not options.sizes:
        options.sizes = QUICK_SIZES
    unknown = set(options.only) - {piece.name for piece in PIECES} - {"import"}
    if unknown:
        parser.error(f"unknown piece {', '.join(sorted(unknown))}; see --help")
    return options


def _wanted(options: argparse.Namespace, name: str) -> bool:
    return not options.only or name in options.only


def _sizes(piece: Piece, options: argparse.Namespace, size: int) -> Iterable[int]:
    sizes = piece.sizes
    if options.sizes and len(sizes) > 1:
        sizes = tuple(options.sizes)
    return (nbytes for nbytes in sizes if piece.fits(nbytes, size) and (nbytes >= 8 or len(piece.sizes) == 1))


class _Crew:
    """The worlds of all peers, each started again when it has failed."""

    def __init__(self, peers: Sequence[Peer], size: int, notes: list[str]) -> None:
        self._size = size
        self._notes = notes
        self.worlds: dict[Peer, World] = {}
        for peer in peers:
            if size <= peer.most:
                self._start(peer)

    def measure(self, peer: Peer, piece: Piece, nbytes: int, rounds: int) -> float | None:
        """Return a figure; None if the peer has no such thing or has failed, which is noted."""
        world = self.worlds.get(peer)
        if world is None or (peer.only and piece.name not in peer.only):
            return None
        try:
            return world.measure(piece.name, nbytes, rounds)
        except PeerError as error:
            self._note(error)
            world.close()
            self._start(peer)
            return None

    def close(self) -> None:
        for world in self.worlds.values():
            world.close()

    def _start(self, peer: Peer) -> None:
        self.worlds.pop(peer, None)
        try:
            self.worlds[peer] = World(peer, self._size)
        except PeerError as error:
            self._note(error)

    def _note(self, error: PeerError) -> None:
        self._notes.append(str(error))
        print(error, file=sys.stderr)


def _together(
    peers: Sequence[Peer], size: int, pieces: Sequence[Piece], options: argparse.Namespace, notes: list[str]
) -> list[Result]:
    """Measure with all peers' jobs alive, in turns."""
    crew = _Crew(peers, size, notes)
    results: list[Result] = []
    try:
        for piece in pieces:
            for nbytes in _sizes(piece, options, size):
                print(f"\r{size} ranks: {piece.name} {nbytes} B".ljust(60), end="", file=sys.stderr, flush=True)
                results += _round_robin(crew, piece, nbytes, options)
    finally:
        crew.close()
        print("\r".ljust(60) + "\r", end="", file=sys.stderr)
    return results


def _round_robin(crew: _Crew, piece: Piece, nbytes: int, options: argparse.Namespace) -> list[Result]:
    counts: dict[Peer, int] = {}
    rounds = options.rounds
    for peer in list(crew.worlds):
        if piece.unit == "us" and crew.measure(peer, piece, nbytes, 2) is None:  # warms up
            continue
        time_of_one = crew.measure(peer, piece, nbytes, 3) if piece.unit == "us" else 1.0
        if time_of_one is None:
            continue
        counts[peer] = max(1, min(2000, int(options.batch / max(time_of_one, 1e-7))))
        rounds = max(3, min(rounds, int(BUDGET / time_of_one)))
    figures: dict[Peer, list[float]] = {peer: [] for peer in counts}
    for _, peer in itertools.product(range(rounds), counts):
        figure = crew.measure(peer, piece, nbytes, counts[peer])
        if figure is not None:
            figures[peer].append(figure / piece.per(nbytes))
    return [_result(piece.name, crew.worlds[peer].size, nbytes, peer, all_) for peer, all_ in figures.items() if all_]


def _result(piece: str, ranks: int, nbytes: int, peer: Peer, figures: Sequence[float]) -> Result:
    middle = statistics.median(figures)
    return Result(piece, ranks, nbytes, peer.family, peer.transport, middle, min(figures), max(figures), len(figures))


def _alone(
    peers: Sequence[Peer], size: int, pieces: Sequence[Piece], options: argparse.Namespace, notes: list[str]
) -> list[Result]:
    """Measure one peer's job after the other: so many ranks of all peers would not fit."""
    results: list[Result] = []
    for peer in peers:
        if size > peer.most:
            continue
        print(f"\r{size} ranks: {peer.name}".ljust(60), end="", file=sys.stderr, flush=True)
        crew = _Crew([peer], size, notes)
        try:
            if peer in crew.worlds:
                results.append(_result("start", size, 0, peer, [crew.worlds[peer].started]))
            for piece in pieces:
                for nbytes in piece.sizes:
                    results += _round_robin(crew, piece, nbytes, options)
        finally:
            crew.close()
    print("\r".ljust(60) + "\r", end="", file=sys.stderr)
    return results


def _imports(peers: Sequence[Peer], rounds: int) -> list[Result]:
    """Measure the import beyond numpy, in a process without a launcher, in turns."""
    several = {(peer.family, peer.module): peer for peer in peers if peer.module.endswith(".MPI")}.values()
    figures: dict[Peer, list[float]] = {peer: [] for peer in several}
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    for _, peer in itertools.product(range(min(rounds, 7) + 1), several):
        command = [str(peer.python), "-c", _IMPORT.format(module=peer.module)]
        done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=True, timeout=60)
        figures[peer].append(float(done.stdout.split()[-1]))
    return [_result("import", 1, 0, peer, times[1:]) for peer, times in figures.items()]


if __name__ == "__main__":
    main()
