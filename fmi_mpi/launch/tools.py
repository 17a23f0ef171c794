"""``fmi-mpi``: everything around a job that is not running it.

Rules of this file:
- A command is a module in ``launch.commands`` and one row here; it loads when it is asked for.
- Bad input ends with exit code 2, a failure with 1; both say what was wrong and what to do, without a traceback.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Final

from fmi_mpi import __version__
from fmi_mpi.channels.base import ChannelError
from fmi_mpi.config import without_password
from fmi_mpi.errors import BootstrapError, ConfigError

__all__ = ["COMMANDS", "main"]

COMMANDS: Final = {
    "rendezvous": "serve as the meeting place of jobs on several hosts",
    "setup": "make the bucket or table that a channel needs",
    "channels": "list the channels and what each needs",
    "calibrate": "measure the channels at hand and keep what was found",
    "explain": "predict time and price of a collective over every channel, by every algorithm",
}
"""Name -> summary. The module ``launch.commands.NAME`` has ``add_arguments(parser)`` and ``run(options) -> int``."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``fmi-mpi`` with these arguments, by default the process's own, and return its exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    parser = argparse.ArgumentParser(prog="fmi-mpi", description="Everything around an fmi_mpi job; fmirun runs it.")
    parser.add_argument("--version", action="version", version=f"fmi-mpi (fmi_mpi) {__version__}")
    commands = parser.add_subparsers(metavar="command", required=True)
    asked = words[0] if words and words[0] in COMMANDS else ""
    for name, summary in COMMANDS.items():
        command = commands.add_parser(name, help=summary, description=f"fmi-mpi {name}: {summary}.")
        if name == asked:
            module = import_module(f"fmi_mpi.launch.commands.{name}")
            module.add_arguments(command)
            command.set_defaults(run=module.run)
    options = parser.parse_args(words)
    try:
        code: int = options.run(options)
        return code
    except ConfigError as error:
        sys.stderr.write(f"fmi-mpi: {without_password(str(error))}\n")
        return 2
    except (BootstrapError, ChannelError, OSError) as error:
        sys.stderr.write(f"fmi-mpi: {without_password(str(error))}\n")
        return 1
