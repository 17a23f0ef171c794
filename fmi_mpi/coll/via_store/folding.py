"""Reducing what ranks have put into a store."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from fmi_mpi.coll.steps import Errand, Errands, Get, Kernel, Put, Schedule

__all__ = ["fold_got"]

_AT_ONCE: Final = 1 << 26
"""Bytes of contributions that are taken before they are reduced."""


def fold_got(
    rank: int,
    peers: Sequence[int],
    own: memoryview,
    into: memoryview,
    kernel: Kernel,
    put: Put | None = None,
    part: Callable[[int], Get] | None = None,
) -> Schedule[None]:
    """Reduce what ``peers`` have put first, in rank order, into ``into``, which is not empty.

    Args:
        peers: in rank order. own: contributed by this rank if it is among them; may be ``into``.
        put: to be done meanwhile.
        part: gives what gets a peer's contribution where that is not the whole object.
    """
    nbytes = len(into)
    group = max(1, _AT_ONCE // nbytes)
    total = memoryview(bytearray())
    for last in range(len(peers), 0, -group):
        places = range(max(0, last - group), last)
        others = [place for place in places if peers[place] != rank]
        gets = {place: part(peers[place]) if part else Get(peers[place], None, nbytes, only=True) for place in others}
        errands: list[Errand] = list(gets.values())
        if put is not None:
            errands.append(put)
            put = None
        if errands:
            yield Errands(*errands)
        for place in reversed(places):
            given = gets[place].data if place in gets else own
            if total:
                kernel(given, total)
            elif given is own and own is not into:
                total = into
                total[:] = own
            else:
                total = given if given is not own else memoryview(bytearray(own))
    if total is not into:
        into[:] = total
