"""Fixtures of the launcher's tests."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from launch_harness import Launcher


@pytest.fixture
def launcher(tmp_path: Path) -> Iterator[Launcher]:
    """fmirun, checked afterwards for leaks."""
    launcher = Launcher(tmp_path)
    try:
        yield launcher
        launcher.check_clean()
    finally:
        for pid in launcher.survivors():
            os.kill(pid, signal.SIGKILL)
