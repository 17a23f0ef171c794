"""What the launcher's tests share: running fmirun in a temporary directory of its own, and proof that nothing is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

L = TypeVar("L", bound="Launcher")
ROOT = Path(__file__).resolve().parents[2]

PREAMBLE = """
import os, signal, sys, time
from fmi_mpi.bootstrap import discover, exits
def join(publish=True):
    b = discover(os.environ)
    if publish:
        b.publish({"rank": b.identity.rank})
    return b
def say(*words):
    print(*words, flush=True)
def wait_for_news(b):
    import select
    while not (news := b.events()):
        select.select([b.fileno()], [], [])
    return news
"""
"""Stand-in for the runtime: joins through the bootstrap alone."""


def default_signals() -> None:
    """A test runner in the background may ignore SIGINT, which children would inherit."""
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


class Launcher:
    """Runs fmirun; every process that descends from it carries ``mark`` in its environment."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.temporary = directory / "tmp"
        self.temporary.mkdir()
        self.mark = uuid.uuid4().hex
        self.env = {name: value for name, value in os.environ.items() if not name.startswith(("FMI_", "PMI", "OMPI_"))}
        self.env |= {"TMPDIR": str(self.temporary), "PYTHONPATH": str(ROOT), "TEST_MARK": self.mark}

    def script(self, body: str, name: str = "script.py") -> str:
        """Write a script that begins with the stand-in runtime; returns its path."""
        path = self.directory / name
        path.write_text(PREAMBLE + textwrap.dedent(body))
        return str(path)

    def start(self, *arguments: str, **kwargs: Any) -> subprocess.Popen[str]:
        """Start fmirun."""
        settings: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        settings |= {"text": True, "env": self.env, "cwd": self.directory, "preexec_fn": default_signals}
        return subprocess.Popen([sys.executable, "-m", "fmi_mpi.launch", *arguments], **(settings | kwargs))

    def run(self, *arguments: str, input: str | None = None, **kwargs: Any) -> subprocess.CompletedProcess[str]:
        """Run fmirun to its end."""
        if input is not None:
            kwargs["stdin"] = subprocess.PIPE
        process = self.start(*arguments, **kwargs)
        out, err = process.communicate(input, timeout=90)
        return subprocess.CompletedProcess(arguments, process.returncode, out, err)

    def survivors(self) -> Sequence[int]:
        """Return the processes that still carry the mark."""
        found = []
        for entry in Path("/proc").iterdir():
            try:
                if entry.name.isdecimal() and self.mark.encode() in (entry / "environ").read_bytes():
                    found.append(int(entry.name))
            except OSError:
                continue
        return found

    def check_clean(self, patience: float = 20.0) -> None:
        """Assert that no process and no file is left, at once or within ``patience`` seconds."""
        end = time.monotonic() + patience
        while self.survivors() and time.monotonic() < end:
            os.sched_yield()
        assert not self.survivors()
        assert not list(self.temporary.iterdir())


@contextmanager
def checked(launcher: L) -> Iterator[L]:
    """Use a launcher, then check it for leaks; what is left is killed in any case."""
    try:
        yield launcher
        launcher.check_clean()
    finally:
        for pid in launcher.survivors():
            os.kill(pid, signal.SIGKILL)
