"""Jobs over a channel, as fmirun starts them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

__all__ = ["COUNTED", "ROOT", "command", "environment", "run"]

ROOT = Path(__file__).resolve().parents[2]
COUNTED = str(Path(__file__).with_name("counted.py"))


def command(url: str, *words: str, ranks: int = 3) -> list[str]:
    return [sys.executable, "-m", "fmi_mpi.launch", "-n", str(ranks), "--channels", url, *words]


def environment() -> dict[str, str]:
    env = {name: value for name, value in os.environ.items() if not name.startswith(("FMI_", "PMI", "OMPI_"))}
    return {**env, "PYTHONPATH": str(ROOT)}


def run(url: str, variables: Mapping[str, str], *words: str, ranks: int = 3) -> subprocess.CompletedProcess[str]:
    """Run Python with these words on some ranks, and return what came of it."""
    job = command(url, "--timeout", "100", sys.executable, *words, ranks=ranks)  # then all ranks show their stacks
    env = {**environment(), **variables}
    return subprocess.run(job, env=env, cwd=ROOT, capture_output=True, text=True, timeout=110)
