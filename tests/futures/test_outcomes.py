"""Futures made of futures: collect, compose, then and catch, whatever becomes of either side."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import CancelledError, Future, wait
from typing import Any

import pytest

from fmi_mpi.futures import collect, compose
from fmi_mpi.futures.aplus import ThenableFuture, catch, then


def settle(future: Future[Any], how: str) -> None:
    """Give a future one of the three outcomes."""
    if how == "cancelled":
        assert future.cancel()
        future.set_running_or_notify_cancel()
    elif how == "failed":
        future.set_exception(KeyError("failed"))
    else:
        future.set_result(how)


def outcome(future: Future[Any]) -> Any:
    """Return the result or the class of the failure of a future that has to be done."""
    try:
        return future.result(0)
    except (Exception, CancelledError) as error:
        return type(error)


OUTCOMES = {"cancelled": CancelledError, "failed": KeyError, "good": "good"}


@pytest.mark.parametrize("early", [False, True])
@pytest.mark.parametrize("how", OUTCOMES)
@pytest.mark.parametrize("make", [compose, then, ThenableFuture.then])
def test_outcomes_are_passed_on(make: Callable[[Any], Future[Any]], how: str, early: bool) -> None:
    base = ThenableFuture()
    if early:
        settle(base, how)
    new = make(base)
    assert type(new) is ThenableFuture and new.done() == early
    if not early:
        settle(base, how)
    assert outcome(new) == OUTCOMES[how]
    assert wait([new], 0).not_done == set()


@pytest.mark.parametrize("how", OUTCOMES)
@pytest.mark.parametrize("late", [0, 1, 2])
def test_collect(how: str, late: int) -> None:
    items: list[Future[Any]] = [Future() for _ in range(3)]
    new = collect(item for item in items)
    for number, item in enumerate(items):
        if number != late:
            settle(item, "good")
    assert not new.done()
    settle(items[late], how)
    assert outcome(new) == (["good"] * 3 if how == "good" else OUTCOMES[how])
    assert wait([new], 0).not_done == set()


@pytest.mark.parametrize("how", ["cancelled", "failed"])
def test_collect_cancels_the_rest(how: str) -> None:
    items: list[Future[Any]] = [Future() for _ in range(3)]
    new = collect(items)
    settle(items[1], how)
    assert new.done() and [item.cancelled() for item in items] == [True, how == "cancelled", True]


def test_collect_of_nothing() -> None:
    assert collect([]).result(0) == []


def test_cancelling_a_collection_cancels_the_items() -> None:
    items: list[Future[Any]] = [Future() for _ in range(3)]
    assert collect(items).cancel()
    assert all(item.cancelled() for item in items)


def test_cancelling_a_composition_cancels_its_base() -> None:
    base: Future[Any] = Future()
    assert compose(base).cancel()
    assert base.cancelled()


def test_cancelling_a_chained_future_leaves_its_base() -> None:
    base = ThenableFuture()
    new = base.then()
    assert new.cancel() and not base.done()
    base.set_result(1)
    assert new.cancelled() and wait([new], 0).not_done == set()


def fail(_: Any) -> Any:
    raise ZeroDivisionError


HOOKS: list[tuple[str, Any, Any, Any]] = [
    ("good", str.upper, None, "GOOD"),
    ("good", fail, None, ZeroDivisionError),
    ("good", lambda _: KeyError("a value"), None, KeyError),
    ("failed", fail, None, KeyError),
    ("failed", None, lambda error: error.args[0], "failed"),
    ("failed", None, lambda error: ValueError(*error.args), ValueError),
    ("failed", None, fail, ZeroDivisionError),
    ("cancelled", fail, fail, CancelledError),
]


@pytest.mark.parametrize(("how", "on_result", "on_failure", "expected"), HOOKS)
@pytest.mark.parametrize("make", [compose, then])
def test_hooks(make: Callable[..., Any], how: str, on_result: Any, on_failure: Any, expected: Any) -> None:
    base: Future[Any] = Future()
    new = make(base, on_result, on_failure)
    settle(base, how)
    found = outcome(new)
    assert (type(found) if isinstance(found, BaseException) else found) == expected


def test_catch() -> None:
    base = ThenableFuture()
    swallowed, replaced, passed = base.catch(), catch(base, repr), base.then().catch(fail)
    base.set_exception(KeyError(1))
    assert (outcome(swallowed), outcome(replaced), outcome(passed)) == (None, "KeyError(1)", ZeroDivisionError)


@pytest.mark.parametrize("how", OUTCOMES)
def test_a_handler_may_return_a_future(how: str) -> None:
    inner: Future[Any] = Future()
    base = ThenableFuture()
    new = base.then(lambda _: inner)
    base.set_result(None)
    assert not new.done()
    settle(inner, how)
    assert outcome(new) == OUTCOMES[how]


def test_futures_of_futures_are_followed() -> None:
    first, second, base = ThenableFuture(), ThenableFuture(), ThenableFuture()
    first.set_result(second)
    second.set_result(7)
    new = base.then(lambda _: first)
    base.set_result(None)
    assert new.result(0) == 7


@pytest.mark.parametrize("length", [1, 2, 3])
def test_cycles_are_found(length: int) -> None:
    circle = [ThenableFuture() for _ in range(length)]
    for future, following in zip(circle, [*circle[1:], circle[0]]):
        future.set_result(following)
    base = ThenableFuture()
    new = base.then(lambda _: circle[0])
    base.set_result(None)
    with pytest.raises(RuntimeError, match="chain cycle detected"):
        new.result(0)
