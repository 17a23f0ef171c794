"""``fmi-mpi setup``: makes the bucket or the table that a job's channel needs."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from importlib import import_module

from fmi_mpi.channels.registry import CHANNELS
from fmi_mpi.config import Settings, channel_name, without_password
from fmi_mpi.errors import ConfigError

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what can be given."""
    parser.add_argument("url", help="s3://bucket/prefix or dynamodb://table")


def run(options: argparse.Namespace) -> int:
    """Set up what the URL names, and say what was done."""
    name = channel_name(options.url)
    module = import_module(CHANNELS[name]) if "://" in options.url and name in CHANNELS else None
    setup: Callable[[str, Settings], str] | None = getattr(module, "setup", None)
    if setup is None:
        raise ConfigError(
            f"nothing to set up for {without_password(options.url)!r}: expecting s3://bucket/prefix or dynamodb://table"
        )
    print(setup(options.url, Settings()))
    return 0
