"""The command line of ``fmirun``: one table of options, a parser, and the help made from both tables.

Rules of this file:
- Options come before the program; from there on everything belongs to the program. A ``:`` of its own begins another
  program with options of its own.
- Options that mpirun and mpiexec users are used to are accepted where they make no difference here; whatever is
  unknown is an error that names the nearest known option.
"""

from __future__ import annotations

import difflib
import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from fmi_mpi.config import TABLE

__all__ = ["Arguments", "UsageError", "help_text", "parse"]


class UsageError(ValueError):
    """The command line is wrong; the message says what and what to do."""


@dataclass(frozen=True)
class _Option:
    """One row of the table: ``values`` are the names of what follows the option, ``help`` is empty if undocumented."""

    names: tuple[str, ...]
    values: tuple[str, ...]
    help: str


_SIZE: Final = ("-n", "-np", "--np")
_OPTIONS: Final = (
    _Option(_SIZE, ("N",), "Number of ranks. Default: 1. May exceed the number of cores."),
    _Option(("-m",), (), "The program is a Python module, as in python -m."),
    _Option(("-c",), (), "The program is Python code, as in python -c."),
    _Option(("--prefix", "--tag-output", "-l", "-prepend-rank"), (), "Write [rank] before each line of output."),
    _Option(("--timeout",), ("SECONDS",), "End the job after this time (exit code 124), with the ranks' Python stacks."),
    _Option(("--env", "-x"), ("NAME=VALUE",), "Set a variable for the ranks. May be repeated."),
    _Option(("-env", "-genv"), ("NAME", "VALUE"), "The same, in mpiexec's form."),
    _Option(("--channels",), ("NAMES",), "Channels to use, in order of preference, such as shm,tcp."),
    _Option(("--bind-to",), ("none|core",), "Bind each rank to one core. Default: none."),
    _Option(("--rendezvous",), ("URL|embed",), "Start a part of a job whose other ranks are elsewhere; they meet here."),
    _Option(("--ranks",), ("LIST",), "The ranks to start here, such as 0-3,6. Default: all. -n is the whole job's size."),
    _Option(("--job",), ("NAME",), "The job's name, equal for all its parts."),
    _Option(("--secret-file",), ("FILE",), "The job's secret, 32 or more hexadecimal digits. Default: FMI_JOB_SECRET."),
    _Option(("--alias-mpi4py",), (), "Make 'import mpi4py' give fmi_mpi."),
    _Option(("--provide-mpirun",), (), "Let mpirun and mpiexec, called by the ranks, be fmirun."),
    _Option(("--enable-recovery",), (), "Let the other ranks go on when one fails; they are told."),
    _Option(("--verbose", "-v"), (), "Say what is started and how it ends."),
    _Option(("--version",), (), "Print the version and exit."),
    _Option(("--help", "-h"), (), "Print this help and exit."),
    _Option(("--oversubscribe", "--allow-run-as-root", "--use-hwthread-cpus", "-q", "--quiet"), (), ""),
    _Option(("--map-by", "--rank-by", "-launcher", "-iface"), ("VALUE",), ""),
    _Option(("--mca", "-mca"), ("NAME", "VALUE"), ""),
)  # fmt: skip
_BY_NAME: Final = {name: option for option in _OPTIONS for name in option.names}


@dataclass
class Arguments:
    """What the command line says; ``programs`` are pairs of size and command."""

    programs: list[tuple[int, list[str]]] = field(default_factory=list)
    env: dict[str, str] = field(default_factory=dict)
    flags: set[str] = field(default_factory=set)
    timeout: float | None = None
    channels: str | None = None
    bind_to: str = "none"
    part: dict[str, str] = field(default_factory=dict)


def parse(argv: Sequence[str]) -> Arguments:
    """Return what the command line says; raises UsageError."""
    arguments = Arguments()
    rest = list(argv)
    while True:
        end = rest.index(":") if ":" in rest else len(rest)
        _parse_program(arguments, rest[:end])
        if arguments.flags & {"--help", "--version"} or end == len(rest):
            return arguments
        rest = rest[end + 1 :]


def _parse_program(arguments: Arguments, words: list[str]) -> None:
    """Take the options, the program and its arguments up to the next ``:``."""
    size, how, at = 1, "", 0
    while at < len(words) and words[at].startswith("-") and words[at] not in ("-", "--"):
        name, equals, joined = words[at].partition("=")
        option = _BY_NAME.get(name)
        if option is None:
            raise UsageError(_unknown(name))
        at += 1
        values = [joined] if equals else words[at : at + len(option.values)]
        at += 0 if equals else len(option.values)
        if len(values) != len(option.values):
            raise UsageError(f"{name} needs {' '.join(option.values) or 'no value'}")
        key = option.names[0]
        if key == "-n":
            size = _size(name, values[0])
        elif key in ("-m", "-c"):
            how = key
            break
        else:
            _apply(arguments, key, name, values)
        if arguments.flags & {"--help", "--version"}:
            return
    if words[at : at + 1] == ["--"]:
        at += 1
    arguments.programs.append((size, _command(words[at:], how)))


def _apply(arguments: Arguments, key: str, name: str, values: Sequence[str]) -> None:
    """Take one option that holds for the whole job."""
    if key == "--timeout":
        try:
            arguments.timeout = float(values[0])
        except ValueError:
            arguments.timeout = 0.0
        if not 0 < arguments.timeout < float("inf"):
            raise UsageError(f"{name} {values[0]}: expecting seconds, more than zero")
    elif key in ("--rendezvous", "--ranks", "--job", "--secret-file"):
        arguments.part[key] = values[0]
    elif key == "--channels":
        arguments.channels = values[0]
    elif key == "--bind-to":
        if values[0] not in ("none", "core"):
            raise UsageError(f"{name} {values[0]}: expecting none or core")
        arguments.bind_to = values[0]
    elif key == "--env":
        variable, equals, value = values[0].partition("=")
        if not variable or (not equals and name != "-x"):
            raise UsageError(f"{name} {values[0]}: expecting NAME=VALUE")
        arguments.env[variable] = value if equals else os.environ.get(variable, "")
    elif key == "-env":
        arguments.env[values[0]] = values[1]
    else:
        arguments.flags.add(key)


def _size(name: str, text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise UsageError(f"{name} {text}: expecting a number of ranks, 1 or more")
    return int(text)


def _command(words: list[str], how: str) -> list[str]:
    """Return the command of a rank."""
    if not words:
        example = {"-m": "-m module", "-c": "-c code"}.get(how, "python script.py")
        raise UsageError(f"no program is given; for example: fmirun -n 4 {example}")
    first = words[0]
    if how:
        return [sys.executable, how, *words]
    if shutil.which(first) is not None:
        return words
    if os.path.exists(first) and (first.endswith((".py", ".pyz", ".zip")) or os.path.isdir(first)):
        return [sys.executable, *words]
    if first in ("python", "python3"):
        return [sys.executable, *words[1:]]
    if os.path.exists(first):
        raise UsageError(f"{first} is neither executable nor a Python script; for example: fmirun -n 4 python {first}")
    where = "there is no such file" if os.path.dirname(first) or first.endswith(".py") else "it is not on PATH"
    raise UsageError(f"cannot run {first}: {where}")


def _unknown(name: str) -> str:
    near = difflib.get_close_matches(name, _BY_NAME, 1, 0.0)[0]
    return f"unknown option {name}; the nearest known one is {near} (see fmirun --help)"


def help_text() -> str:
    """Return the help: usage, options, settings."""
    lines = [
        "usage: fmirun -n N [options] program [arguments] [: -n N program [arguments]]...",
        "",
        "Run an MPI program on N ranks of this machine. The program is 'python script.py', script.py, -m module,",
        "-c code, or any executable.",
        "",
        "options:",
    ]
    for option in _OPTIONS:
        if option.help:
            names = ", ".join(option.names)
            lines.append(_row(" ".join((names, *option.values)), option.help, 44))
    lines.append("  Accepted from mpirun command lines, without effect:")
    lines.append("    " + ", ".join(name for option in _OPTIONS if not option.help for name in option.names[:2]))
    lines += ["", "settings (environment variables, also by --env):"]
    for setting in TABLE:
        lines.append(_row(setting.variable, f"{setting.help} Default: {_shown(setting.default)}.", 24))
    lines.append(_row("FMI_COLL_<NAME>", "Algorithm of a collective, such as FMI_COLL_ALLREDUCE=ring.", 24))
    return "\n".join(lines) + "\n"


def _row(left: str, right: str, width: int) -> str:
    return f"  {left:<{width}} {right}"


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return str(int(value) if isinstance(value, bool) else value)
