"""Why this process ends: in order, or because of a failure that must end the whole job.

Rules of this file:
- ``install`` watches ``sys.excepthook`` and ``sys.exit``; what they did before still happens, so a traceback is
  printed once and as always. An exception or exit that the program catches is no failure.
- The runtime asks ``failure`` at exit: a rank that fails must not wait for the others in Finalize, for they may
  wait for it.
"""

from __future__ import annotations

import _thread
import signal
import sys
from types import FrameType, TracebackType
from typing import Final, NoReturn

__all__ = ["exit_code", "failure", "install", "register_stacks", "set_status"]

_STDERR: Final = 2
_status = 0
_installed = False


def failure() -> int:
    """Return the exit code of the failure that this process ends with, 0 if it ends in order."""
    return _status


def set_status(code: int) -> None:
    """Say with which exit code this process is about to end; 0 forgets an earlier failure."""
    global _status
    _status = code


def exit_code(reason: object) -> int:
    """Return the exit code of an exception, or of what is given to ``sys.exit``."""
    if isinstance(reason, SystemExit):
        reason = reason.code
    if reason is None:
        return 0
    if isinstance(reason, KeyboardInterrupt):
        return 128 + signal.SIGINT
    return reason if isinstance(reason, int) else 1


def install() -> None:
    """Watch for failures from now on; once."""
    global _installed
    if _installed:
        return
    _installed = True
    hook, leave = sys.excepthook, sys.exit

    def excepthook(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
        if _called_by_the_interpreter():
            set_status(exit_code(error))
        hook(kind, error, traceback)

    def watched_exit(status: object = None, /) -> NoReturn:
        try:
            leave(status)  # type: ignore[arg-type]
        except SystemExit as error:
            if exit_code(error) and _thread.get_ident() == main:
                error.__dict__["_fmi_watch"] = _Watch(exit_code(error))
            raise

    main = _thread.get_ident()
    sys.excepthook = excepthook
    sys.exit = watched_exit


class _Watch:
    """Hangs on a SystemExit and dies with it: below no frame if nobody has caught it."""

    __slots__ = ("code",)

    def __init__(self, code: int) -> None:
        self.code = code

    def __del__(self) -> None:
        if sys is not None and sys._getframe().f_back is None:
            set_status(self.code)


def _called_by_the_interpreter() -> bool:
    """Tell whether the program's own frames are all gone, as they are when its exception was not caught."""
    frame: FrameType | None = sys._getframe()
    name = ""
    while frame is not None:
        name, frame = frame.f_code.co_name, frame.f_back
    return name not in ("<module>", "_run_module_as_main")


def register_stacks() -> None:
    """Print the stacks of all threads to standard error on SIGUSR1 from now on (``FMI_STACKS``).

    The handler is Python's, so it runs while no other thread does: faulthandler's own one walks the frames of threads that
    run meanwhile (an SDK's, say), and may crash. Only where Python takes no handler, for this is not the main thread,
    that one is used, for the interrupted thread alone.
    """
    import faulthandler

    try:
        signal.signal(signal.SIGUSR1, lambda number, frame: faulthandler.dump_traceback(_STDERR))
    except ValueError:
        faulthandler.register(signal.SIGUSR1, _STDERR, all_threads=False)
