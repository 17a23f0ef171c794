"""Fixtures of the collectives' tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fmi_mpi.coll.bcast import pipelined


@pytest.fixture(scope="session", autouse=True)
def small_segments() -> Iterator[None]:
    """Let the pipeline have several segments in messages of a few bytes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipelined, "SEGMENT", 48)
        yield
