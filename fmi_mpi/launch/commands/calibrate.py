"""``fmi-mpi calibrate``: measure the channels at hand, and keep what was found for ``explain`` and ``FMI_POLICY``."""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import json
import os
import platform
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

from fmi_mpi.channels.base import ChannelError
from fmi_mpi.channels.registry import CHANNELS
from fmi_mpi.coll.cost import Frames
from fmi_mpi.config import Settings, channel_name
from fmi_mpi.errors import ConfigError
from fmi_mpi.launch.calibration import BURST
from fmi_mpi.model import fit
from fmi_mpi.model.profile import Channel, calibrated_path, load, nearest, text_of

__all__ = ["add_arguments", "run"]

_TIMEOUT: Final = 300.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The channels, the number of ranks, and where the profile goes."""
    parser.add_argument("--channels", metavar="NAMES", help="channels to measure, a store by its URL; as FMI_CHANNELS")
    parser.add_argument("-n", type=int, default=4, metavar="N", help="measure with 2, 4, ... N ranks (default: 4)")
    parser.add_argument("--output", metavar="FILE", help="where the profile goes (default: below ~/.cache)")


def run(options: argparse.Namespace) -> int:
    """Measure each channel in jobs of its own and write the profile."""
    if options.n < 2:
        raise ConfigError(f"-n {options.n}: expecting two ranks or more")
    path = Path(options.output) if options.output else calibrated_path()
    if path is None:
        raise ConfigError("HOME is not set: say by --output where the profile goes")
    channels = [_measured(entry, options.n) for entry in _entries(options.channels)]
    where = f"measured on {platform.node() or 'this machine'}, {len(os.sched_getaffinity(0))} cores"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text_of("calibrated", datetime.date.today().isoformat(), where, channels), encoding="utf-8")
    for channel in channels:
        print(f"{channel.name:<10}{channel.alpha * 1e6:>10.1f} us{channel.bandwidth / 1e6:>10.0f} MB/s")
    print(f"written to {path}")
    return 0


def _entries(text: str | None) -> list[str]:
    settings = Settings(os.environ if text is None else {**os.environ, "FMI_CHANNELS": text})
    for name in settings.channels:
        if name not in CHANNELS:
            raise nearest("channel", name, tuple(CHANNELS))
    return [settings.urls.get(name, name) for name in settings.channels]


def _measured(entry: str, ranks: int) -> Channel:
    """Return a channel's parameters."""
    sizes = [2]
    while sizes[-1] < ranks:
        sizes.append(min(2 * sizes[-1], ranks))
    pair, *others = (_job(entry, size) for size in sizes)
    name = channel_name(entry)
    known = load("lambda").channels
    store = bool(pair["store"])
    base = known[name] if store and name in known else Channel(name, 0.0, 1.0, store=store)
    alpha, bandwidth = fit.line(pair["one_way"])
    jobs = [
        (int(job["ranks"]), [(Frames(*frames), float(t)) for frames, t in job["together"]]) for job in (pair, *others)
    ]
    read = statistics.median(fit.reading(*job) for job in jobs) if pair["board"] else None
    poll = base.poll if base.poll < alpha else 0.0
    return dataclasses.replace(
        base,
        alpha=alpha - poll / 2,
        bandwidth=bandwidth,
        overhead=fit.overhead(pair["burst"], BURST, alpha) if read is None else read,
        crowd=tuple(fit.crowd(*job, read) for job in jobs),
        straggle=0.0,
        poll=poll,
        board=bool(pair["board"]),
        estimate=False,
    )


def _job(entry: str, ranks: int) -> dict[str, Any]:
    """Run the ranks that measure, each on a core of its own if there are enough; raises ChannelError."""
    from fmi_mpi.launch.cli import checkout_path
    from fmi_mpi.launch.job import Job, Options, Program

    with tempfile.TemporaryDirectory(prefix="fmi-calibrate-") as directory:
        found = os.path.join(directory, "found.json")
        program = Program(ranks, [sys.executable, "-m", "fmi_mpi.launch.calibration", found])
        env = {
            "FMI_CHANNELS": entry,
            "FMI_POLICY": "",
            "FMI_COLL_BARRIER": "shared" if channel_name(entry) == "shm" else "dissemination",
            "FMI_COLL_ALLREDUCE": "shared" if channel_name(entry) == "shm" else "recursive_doubling",
            **checkout_path(os.environ.get("PYTHONPATH", "")),
        }
        code = Job(Options([program], env=env, timeout=_TIMEOUT, bind=ranks <= len(os.sched_getaffinity(0)))).run()
        if code:
            raise ChannelError(f"calibrating {channel_name(entry)} with {ranks} ranks failed with exit code {code}")
        with open(found, encoding="utf-8") as file:
            measured: dict[str, Any] = json.load(file)
            return measured
