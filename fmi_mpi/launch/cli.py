"""``fmirun``: run a program on several ranks.

Rules of this file:
- Bad input, be it an option or a setting, ends with exit code 2 before anything is started, and says what was wrong
  and what to do.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Final

from fmi_mpi import __version__
from fmi_mpi.config import Settings
from fmi_mpi.errors import BootstrapError, ConfigError
from fmi_mpi.launch.options import Arguments, UsageError, help_text, parse
from fmi_mpi.launch.share import Share, read_share

__all__ = ["checkout_path", "main"]

_BAD_INPUT: Final = 2


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``fmirun`` with these arguments, by default the process's own, and return its exit code."""
    try:
        arguments = parse(sys.argv[1:] if argv is None else argv)
        if "--help" in arguments.flags:
            sys.stdout.write(help_text())
            return 0
        if "--version" in arguments.flags:
            sys.stdout.write(f"fmirun (fmi_mpi) {__version__}\n")
            return 0
        env = _environment(arguments)
        settings = Settings({**os.environ, **env})
        share = read_share(arguments, settings)
    except (UsageError, ConfigError) as error:
        sys.stderr.write(f"fmirun: {error}\n")
        return _BAD_INPUT
    return _run(arguments, env, share)


def _run(arguments: Arguments, env: dict[str, str], share: Share | None) -> int:
    from fmi_mpi.launch.job import Job, Options, Program

    options = Options(
        programs=[Program(size, command) for size, command in arguments.programs],
        share=share,
        env=env,
        prefix="--prefix" in arguments.flags,
        timeout=arguments.timeout,
        bind=arguments.bind_to == "core",
        recover="--enable-recovery" in arguments.flags,
        provide_mpirun="--provide-mpirun" in arguments.flags,
        verbose="--verbose" in arguments.flags,
    )
    try:
        return Job(options).run()
    except (BootstrapError, OSError) as error:
        sys.stderr.write(f"fmirun: {error}\n")
        return 1


def _environment(arguments: Arguments) -> dict[str, str]:
    """Return the variables that the ranks get beyond the launcher's own."""
    env = dict(arguments.env)
    if arguments.channels is not None:
        env["FMI_CHANNELS"] = arguments.channels
    path = env.get("PYTHONPATH", os.environ.get("PYTHONPATH", ""))
    if "--alias-mpi4py" in arguments.flags:
        from fmi_mpi.alias import search_path

        env["PYTHONPATH"] = search_path(path)
    else:
        env |= checkout_path(path)
    return env


def checkout_path(path: str) -> dict[str, str]:
    """Return the variable that lets ranks import fmi_mpi from where it is; ``path`` is PYTHONPATH as it would be."""
    root = _checkout()
    if not root or root in path.split(os.pathsep):
        return {}
    return {"PYTHONPATH": os.pathsep.join(filter(None, (path, root)))}


def _checkout() -> str:
    """Return the directory that fmi_mpi was imported from if it is not an installed one, else an empty text."""
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    return "" if os.path.basename(root) in ("site-packages", "dist-packages") else root
