"""Ranks that outnumber the cores spread over them, and stay free to be moved."""

from __future__ import annotations

import os
from typing import Any

import pytest

from fmi_mpi.runtime import placement
from fmi_mpi.runtime.placement import Spreader


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A kernel with three cores for this process, and a clock that stands still."""
    state: dict[str, Any] = {"allowed": {2, 5, 7}, "calls": [], "now": 100.0}

    def move(pid: int, cores: Any) -> None:
        if state["allowed"] is None:
            raise PermissionError
        state["calls"].append(set(cores))

    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: state["allowed"])
    monkeypatch.setattr(os, "sched_setaffinity", move)
    monkeypatch.setattr(placement.time, "monotonic", lambda: state["now"])
    return state


@pytest.mark.parametrize(("number", "core"), [(0, 2), (1, 5), (2, 7), (3, 2)])
def test_moves_and_is_free_again(kernel: dict[str, Any], number: int, core: int) -> None:
    Spreader(number)()
    assert kernel["calls"] == [{core}, {2, 5, 7}]


def test_not_all_the_time(kernel: dict[str, Any]) -> None:
    spread = Spreader(0)
    spread()
    spread()
    assert len(kernel["calls"]) == 2
    kernel["now"] += 1.0
    spread()
    assert len(kernel["calls"]) == 4


def test_a_bound_rank_stays(kernel: dict[str, Any]) -> None:
    kernel["allowed"] = {5}
    Spreader(0)()
    assert not kernel["calls"]


def test_where_it_is_forbidden(kernel: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    spread = Spreader(0)
    kernel["allowed"] = None
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {1, 2})
    spread()
    kernel["now"] += 1.0
    spread()
    assert not kernel["calls"]
