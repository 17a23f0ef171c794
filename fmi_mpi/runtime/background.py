"""A thread that makes progress while the program is outside of MPI calls, for as long as something needs it.

Rules of this file:
- Calls come first: the thread looks now and then whether a call makes progress, and takes over only if none does.
  Then it sleeps in the kernel, as a waiting call would, until something arrives.
- When it finds that a call has come meanwhile, it goes back to looking now and then, so that it does not
  compete for every message.
"""

from __future__ import annotations

import threading

from fmi_mpi.runtime.progress import Progress

__all__ = ["Background"]

_PERIOD = 0.01  # seconds from one look to the next; how long a target that has just left MPI may take to answer


class Background:
    """The progress thread of one process; it runs while ``hold`` has been called more often than ``release``."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._users = 0
        self._stopping: threading.Event | None = None
        self._thread: threading.Thread | None = None

    def hold(self) -> None:
        """The thread is needed from now on. Called from any thread."""
        with self._progress.lock:
            self._users += 1
            if self._stopping is None and self._users > 0:  # who does not need it any more may have said so first
                stopping = self._stopping = threading.Event()
                self._thread = threading.Thread(
                    target=self._run, args=(stopping,), name="fmi_mpi progress", daemon=True
                )
                self._thread.start()

    def release(self) -> None:
        """The caller does not need the thread any more."""
        with self._progress.lock:
            self._users -= 1
            if self._users <= 0:
                self._end()

    def stop(self) -> None:
        """End the thread, whoever needs it, and wait until it has."""
        thread = self._thread
        self._end()
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def _end(self) -> None:
        if self._stopping is not None:
            self._stopping.set()
            self._stopping = self._thread = None
            with self._progress.lock:
                self._progress.interrupt()

    def _run(self, stopping: threading.Event) -> None:
        def active() -> bool:
            return not stopping.is_set()

        while not stopping.wait(_PERIOD):
            self._progress.serve(active)
