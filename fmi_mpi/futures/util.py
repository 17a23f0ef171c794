"""Utilities for futures: ``collect`` many into one, ``compose`` one with handlers.

Rules of this file:
- A new future has the class of the given ones; cancelling either side cancels the other.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from typing import Any, TypeVar

__all__ = ["collect", "compose"]

_T = TypeVar("_T")


def collect(fs: Iterable[Future[_T]]) -> Future[list[_T]]:
    """Return a future of the list of all results.

    The first failure or cancellation becomes that of the new future, and all others are cancelled.

    Args:
        fs: futures, all of one class.
    """
    items = list(fs)
    if not items:
        empty: Future[list[_T]] = Future()
        empty.set_result([])
        return empty
    new: Future[list[_T]] = type(items[0])()  # type: ignore[assignment]
    once = _Once()
    missing = len(items)
    counting = threading.Lock()

    def item_done(item: Future[_T]) -> None:
        nonlocal missing
        if item.cancelled():
            new.cancel()
        elif (error := item.exception()) is not None:
            if once() and new.set_running_or_notify_cancel():
                new.set_exception(error)
        else:
            with counting:
                missing -= 1
            if not missing and once() and new.set_running_or_notify_cancel():
                new.set_result([each.result() for each in items])

    def new_done(_: Future[Any]) -> None:
        if new.cancelled() and once():
            new.set_running_or_notify_cancel()
        if new.cancelled() or new.exception() is not None:
            for item in items:
                item.cancel()

    for item in items:
        item.add_done_callback(item_done)
    new.add_done_callback(new_done)
    return new


def compose(
    future: Future[Any],
    resulthook: Callable[[Any], Any] | None = None,
    excepthook: Callable[[BaseException], Any] | None = None,
) -> Future[Any]:
    """Return a future of what hooks make of another one's outcome.

    Args:
        future: whose outcome it is.
        resulthook: called with the result, returns the new result; None passes the result on.
        excepthook: called with the exception, returns the new result, or an exception; None passes the exception on.
    """
    new = type(future)()
    once = _Once()

    def base_done(base: Future[Any]) -> None:
        if base.cancelled():
            new.cancel()
        elif once() and new.set_running_or_notify_cancel():
            error = base.exception()
            try:
                if error is None:
                    result = base.result() if resulthook is None else resulthook(base.result())
                    new.set_result(result)
                    return
                found = error if excepthook is None else excepthook(error)
            except BaseException as raised:
                found = raised
            new.set_exception(found) if isinstance(found, BaseException) else new.set_result(found)

    def new_done(_: Future[Any]) -> None:
        if new.cancelled():
            if once():
                new.set_running_or_notify_cancel()
            future.cancel()

    new.add_done_callback(new_done)
    future.add_done_callback(base_done)
    return new


class _Once:
    """True the first time it is called, False from then on; the thread with True settles the new future."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def __call__(self) -> bool:
        return self._lock.acquire(blocking=False)
