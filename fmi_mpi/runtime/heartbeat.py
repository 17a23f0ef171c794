"""Signs of life of ranks that meet in a store: who dies without a word is missed within ``DEADLINE`` seconds.

Rules of this file:
- A thread of each rank makes a request every ``STEP`` seconds, by turns: it puts ``beat.N``, or gets that of the next rank, the
  one after the last being the first. So there is one more put and get every ten seconds, however many ranks there are.
- Clocks are not compared: a rank is gone when its beat was the same at several looks in a row, none of which has failed. A
  rank that computes beats as well; one that has left in order has no beat any more.
- Whether the job has been ended is looked for as often while a call waits. A rank whose job has ended says so in its last
  beat, so that one that computes hears it from the next rank, and ends ``GRACE`` seconds later if it does not wait for anything.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

from fmi_mpi.channels.base import ChannelError
from fmi_mpi.errors import BootstrapError

__all__ = ["DEADLINE", "STEP", "Heartbeat"]

STEP = 5.0
_SAME: Final = 3
DEADLINE: Final = 2 * STEP * (_SAME + 1)
_GRACE: Final = 2.0
_ATTENTION: Final = 2.0  # seconds after a wait's last question that it counts as waiting
_OVER: Final = "over"


class Heartbeat:
    """The thread of one rank, and what it finds.

    Args:
        rank, size: of this rank and its job.
        read, write: get and put an object of the meeting; raise ChannelError, BootstrapError.
        ended: looks whether the job has been ended; True if it has.
        gone: told the rank that is missed.
        leave: ends this process.
        step: seconds between requests.
    """

    def __init__(
        self,
        rank: int,
        size: int,
        read: Callable[[str], object],
        write: Callable[[str, object], None],
        ended: Callable[[], bool],
        gone: Callable[[int], None],
        leave: Callable[[], None],
        step: float = STEP,
    ) -> None:
        self._own = _name(rank)
        self._next = (rank + 1) % size
        self._read = read
        self._write = write
        self._ended = ended
        self._gone = gone
        self._leave = leave
        self._step = step
        self._turn = 0
        self._seen: object = None
        self._same = 0
        self._asked = float("-inf")
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="fmi_mpi heartbeat", daemon=True)
        self._thread.start()

    def attend(self) -> None:
        """A call waits."""
        self._asked = time.monotonic()

    def stop(self) -> None:
        """Beat no more. Idempotent."""
        self._stop.set()
        if threading.current_thread() is not self._thread:
            self._thread.join(_GRACE)

    def end(self) -> None:
        """Beat no more, and say that the job has been ended."""
        self.stop()
        self._write(self._own, _OVER)

    def _run(self) -> None:
        over = False
        while not over:
            try:
                over = self.turn()
            except (ChannelError, BootstrapError):
                self._same = 0  # what was not seen has not been the same
            if not over and self._stop.wait(self._step):
                return
        if not self._stop.wait(_GRACE):
            self._leave()

    def turn(self) -> bool:
        """Make one request, two while a call waits; True if the job has been ended."""
        self._turn += 1
        over = time.monotonic() - self._asked < max(_ATTENTION, self._step) and self._ended()
        if not over and self._turn % 2 == 0:
            over = self._look() and self._ended()
        if over:
            self._write(self._own, _OVER)
        elif self._turn % 2:
            self._write(self._own, self._turn)
        return over

    def _look(self) -> bool:
        """See whether the next rank lives; True if it has said that the job has been ended, or is missed."""
        seen = self._read(_name(self._next))
        self._same = self._same + 1 if seen is not None and seen == self._seen else 0
        self._seen = seen
        if self._same >= _SAME and seen != _OVER:
            self._gone(self._next)
            return True
        return seen == _OVER


def _name(rank: int) -> str:
    return f"beat.{rank:08}"
