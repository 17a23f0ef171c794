"""Frames for peers that are not connected yet.

Rules of this file:
- They wait in order, and their senders with them, for the peer must be able to read what has been sent without further help
  from a process that may not call MPI again for long.
- If the peer does not answer, small frames are copied, their senders go on, and somebody is asked to ``attend``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from fmi_mpi.channels.base import Payload, Receiver

__all__ = ["Waiting"]

_COPY_LIMIT: Final = 1 << 16


class Waiting:
    """The frames of one channel that wait.

    Args:
        receiver: told whose memory is free.
        attend: told True when the channel must be polled though no call waits, False when that is over.
    """

    def __init__(self, receiver: Receiver, attend: Callable[[bool], None]) -> None:
        self._receiver = receiver
        self._attend = attend
        self._attended = False
        self._queues: dict[int, list[tuple[bytes, Payload, object]]] = {}

    def __bool__(self) -> bool:
        return bool(self._queues)

    def add(self, peer: int, header: bytes, payload: Payload, token: object) -> bool:
        """Let a frame wait; True if it is the first one for this peer."""
        queue = self._queues.setdefault(peer, [])
        queue.append((header, payload, token))
        return len(queue) == 1

    def release(self) -> bool:
        """Let senders of small frames go on; True if there were any."""
        released = []
        for queue in self._queues.values():
            for at, (header, payload, token) in enumerate(queue):
                views = [payload] if isinstance(payload, memoryview) else payload or ()
                if token is not None and sum(map(len, views)) <= _COPY_LIMIT:
                    queue[at] = (header, memoryview(b"".join(views)), None)
                    released.append(token)
        if released and not self._attended:
            self._attended = True
            self._attend(True)
        for token in released:
            self._receiver.sent(token)
        return bool(released)

    def send(self, peer: int, send: Callable[[int, bytes, Payload, object], bool]) -> None:
        """The peer is connected: send it what has waited, by ``Channel.send``."""
        for header, payload, token in self._queues.pop(peer, ()):
            if send(peer, header, payload, token) and token is not None:
                self._receiver.sent(token)

    def drop(self, peer: int) -> None:
        """The peer is lost."""
        self._queues.pop(peer, None)

    def settle(self, pending: bool) -> None:
        """Nobody need attend any more unless something is still ``pending``."""
        if self._attended and not pending:
            self._attended = False
            self._attend(False)

    def clear(self) -> None:
        """Forget all frames."""
        self._queues.clear()
