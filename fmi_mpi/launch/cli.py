"""``fmirun``: run a program on several ranks.

Rules of this file:
- Options come before the program; everything after it belongs to the program.
- Bad input ends with exit code 2 and says what was wrong and what to do.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Sequence

from fmi_mpi import __version__
from fmi_mpi.config import TABLE, Settings
from fmi_mpi.errors import ConfigError
from fmi_mpi.launch.job import Job, Options

__all__ = ["main"]


def _settings_help() -> str:
    rows = [f"  {setting.variable:<22} {setting.help} Default: {_shown(setting.default)}." for setting in TABLE]
    rows.append(f"  {'FMI_COLL_<NAME>':<22} Algorithm of a collective, such as FMI_COLL_ALLREDUCE=ring.")
    return "\n".join(["settings (environment variables, or --env):", *rows])


def _shown(value: object) -> str:
    return ",".join(value) if isinstance(value, tuple) else str(int(value) if isinstance(value, bool) else value)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fmirun",
        usage="fmirun -n N [options] program [arguments]",
        description="Run an MPI program on N ranks of this machine. The program is 'python script.py', a script.py, "
        "-m module, or any executable.",
        epilog=_settings_help(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("-n", "-np", "--np", dest="size", type=int, default=1, metavar="N", help="number of ranks")
    add("-m", dest="module", action="store_true", help="the program is a Python module")
    add("--prefix", action="store_true", help="write the rank before each line of output")
    add("--timeout", type=float, metavar="SECONDS", help="end the job after this time, with the stacks of all ranks")
    add("--env", action="append", default=[], metavar="NAME=VALUE", help="set a variable for the ranks")
    add("--channels", metavar="NAMES", help="channels to use, in order of preference, such as shm,tcp")
    add("--bind-to", choices=("none", "core"), default="none", help="bind each rank to a core")
    add("--oversubscribe", action="store_true", help="accepted for mpirun's sake: more ranks than cores are allowed")
    add("--alias-mpi4py", action="store_true", help="make 'import mpi4py' resolve to fmi_mpi")
    add("--provide-mpirun", action="store_true", help="put an mpirun and an mpiexec that are fmirun first on PATH")
    add("-v", "--verbose", action="store_true", help="say what is started")
    add("--version", action="version", version=f"fmirun (fmi_mpi) {__version__}")
    add("program", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    return parser


def _command(program: Sequence[str], module: bool) -> list[str]:
    """Return the command of a rank; raises ValueError if there is none to run."""
    if not program:
        raise ValueError("no program given; for example: fmirun -n 4 python script.py")
    first = program[0]
    if module:
        return [sys.executable, "-m", *program]
    if first.endswith(".py"):
        if not os.path.exists(first):
            raise ValueError(f"no such script: {first}")
        return [sys.executable, *program]
    if first in ("python", "python3") and sys.prefix != sys.base_prefix:
        return [sys.executable, *program[1:]]
    if shutil.which(first) is None:
        raise ValueError(f"no such program: {first}")
    return list(program)


def _environment(arguments: argparse.Namespace) -> dict[str, str]:
    env: dict[str, str] = {}
    for pair in arguments.env:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise ValueError(f"--env {pair!r}: expecting NAME=VALUE")
        env[name] = value
    if arguments.channels:
        env["FMI_CHANNELS"] = arguments.channels
    if arguments.alias_mpi4py:
        from fmi_mpi.alias import search_path

        env["PYTHONPATH"] = search_path(env.get("PYTHONPATH", os.environ.get("PYTHONPATH", "")))
    if arguments.provide_mpirun:
        from fmi_mpi.launch.shim import search_path as shim_path

        env["PATH"] = shim_path(env.get("PATH", os.environ.get("PATH", os.defpath)))
    Settings({**os.environ, **env})
    return env


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``fmirun`` with these arguments and return its exit code."""
    arguments = _parser().parse_args(argv)
    try:
        if arguments.size < 1:
            raise ValueError(f"-n {arguments.size}: expecting one rank or more")
        if arguments.timeout is not None and arguments.timeout <= 0:
            raise ValueError(f"--timeout {arguments.timeout:g}: expecting seconds, more than zero")
        program = arguments.program[1:] if arguments.program[:1] == ["--"] else arguments.program
        options = Options(
            size=arguments.size,
            command=_command(program, arguments.module),
            env=_environment(arguments),
            prefix=arguments.prefix,
            timeout=arguments.timeout,
            bind_to=arguments.bind_to,
            verbose=arguments.verbose,
        )
    except (ValueError, ConfigError) as error:
        sys.stderr.write(f"fmirun: {error}\n")
        return 2
    return Job(options).run()


if __name__ == "__main__":
    sys.exit(main())
