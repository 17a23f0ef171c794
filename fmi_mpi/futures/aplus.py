"""Futures that chain: ``then`` and ``catch``, after the Promises/A+ specification.

Rules of this file:
- A handler's value becomes the result of the new future; an exception raised or, from a failure handler, returned, its
  failure; a future, whatever that one's outcome is.
- Cancelling the first future cancels the new one, not the other way round.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from typing import Any, Self, TypeVar

__all__ = ["ThenableFuture", "catch", "then"]

Handler = Callable[[Any], Any]
_F = TypeVar("_F", bound=Future[Any])


class ThenableFuture(Future[Any]):
    """A future that can be chained."""

    def then(self, on_success: Handler | None = None, on_failure: Handler | None = None) -> Self:
        """Return a future of what the handlers make of this one's outcome.

        Args:
            on_success: called with the result; None passes it on.
            on_failure: called with the exception; None passes it on.
        """
        return then(self, on_success, on_failure)

    def catch(self, on_failure: Handler | None = None) -> Self:
        """Return a future of this one's result, or of what the handler makes of its exception.

        Args:
            on_failure: called with the exception; None gives None as result.
        """
        return catch(self, on_failure)


def then(future: _F, on_success: Handler | None = None, on_failure: Handler | None = None) -> _F:
    """Return a future of what the handlers make of another one's outcome."""
    new = type(future)()
    new.add_done_callback(_notify_cancel)
    future.add_done_callback(lambda done: _follow(new, done, on_success, on_failure))
    return new


def catch(future: _F, on_failure: Handler | None = None) -> _F:
    """Return a future of another one's result, or of what the handler makes of its exception."""
    return then(future, None, on_failure or (lambda _: None))


def _notify_cancel(new: Future[Any]) -> None:
    if new.cancelled():
        new.set_running_or_notify_cancel()


def _follow(
    new: Future[Any],
    done: Future[Any],
    on_success: Handler | None,
    on_failure: Handler | None,
    seen: frozenset[int] = frozenset(),
) -> None:
    """Give a new future the outcome of one that is done, and of those that its result leads to."""
    if new.cancelled():
        return
    if done.cancelled():
        new.cancel()
        return
    error = done.exception()
    handler = on_success if error is None else on_failure
    outcome: Any = done.result() if error is None else error
    failed = error is not None
    if handler is not None:
        try:
            outcome = handler(outcome)
            failed = failed and isinstance(outcome, BaseException)
        except BaseException as raised:
            outcome, failed = raised, True
    if not failed and isinstance(outcome, Future):
        if outcome is new or id(outcome) in seen:
            outcome, failed = RuntimeError(f"chain cycle detected: {outcome!r} leads to itself"), True
        else:
            known = seen | {id(outcome)}
            outcome.add_done_callback(lambda following: _follow(new, following, None, None, known))
            return
    try:
        new.set_exception(outcome) if failed else new.set_result(outcome)
    except InvalidStateError:
        if not new.cancelled():
            raise
