"""Fixtures of the launcher's tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from launch_harness import Launcher, checked


@pytest.fixture
def launcher(tmp_path: Path) -> Iterator[Launcher]:
    """fmirun, checked afterwards for leaks."""
    with checked(Launcher(tmp_path)) as launcher:
        yield launcher
