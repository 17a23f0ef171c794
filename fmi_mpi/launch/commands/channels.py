"""``fmi-mpi channels``: the channels, and whether what each needs is installed."""

from __future__ import annotations

import argparse
from importlib.util import find_spec

from fmi_mpi.channels.registry import CHANNELS, NEEDS

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Nothing can be given."""


def run(options: argparse.Namespace) -> int:
    """Print a line for each channel."""
    for name in CHANNELS:
        missing = [package for package in NEEDS.get(name, ()) if find_spec(package) is None]
        print(f"{name:<10}{'pip install ' + ' '.join(missing) if missing else 'ready'}")
    return 0
