"""Fixtures of the collectives' tests."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

import pytest

from fmi_mpi.coll import sharing, steps
from fmi_mpi.coll.bcast import pipelined
from fmi_mpi.coll.registry import ALGORITHMS


@pytest.fixture(scope="session", autouse=True)
def small_segments() -> Iterator[None]:
    """Let a few bytes be many: several segments in the pipeline, and too much for the board."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipelined, "SEGMENT", 48)
        patch.setattr(steps, "INLINE", 64)
        patch.setattr(sharing, "PIECE", 22)
        for rows in ALGORITHMS.values():
            module = inspect.getmodule(rows["shared"].load()) if "shared" in rows else sharing
            for name, nbytes in (("INLINE", 64), ("ALONE", 40)):
                if hasattr(module, name):
                    patch.setattr(module, name, nbytes)
        yield
