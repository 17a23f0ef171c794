"""Starting, ending and asking about MPI (MPI-4.1, chapters 9 and 11).

Rules of this file:
- Importing ``fmi_mpi.MPI`` initialises it unless ``rc.initialize`` says otherwise; leaving the interpreter finalises.
- The thread level is THREAD_MULTIPLE, whatever is asked for.
"""

from __future__ import annotations

import atexit
import os
import platform
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import fmi_mpi
from fmi_mpi.api.info import Info, InfoImpl
from fmi_mpi.bootstrap import exits
from fmi_mpi.constants import SUBVERSION, THREAD_MULTIPLE, VERSION
from fmi_mpi.runtime import process

if TYPE_CHECKING:
    from fmi_mpi.runtime.world import World

__all__ = [
    "Finalize",
    "Get_abi_fortran_info",
    "Get_abi_info",
    "Get_abi_version",
    "Get_hw_resource_info",
    "Get_library_version",
    "Get_processor_name",
    "Get_version",
    "Init",
    "Init_thread",
    "Is_finalized",
    "Is_initialized",
    "Is_thread_main",
    "Pcontrol",
    "Query_thread",
    "Wtick",
    "Wtime",
    "get_vendor",
    "on_finalize",
    "on_init",
    "start",
]

on_init: list[Callable[[World], None]] = []
"""Called with the world after it has been joined."""
on_finalize: list[Callable[[], None]] = []
"""Called before the world is left."""

_main_thread = threading.get_ident()


def start() -> None:
    """Initialise at import, as ``rc`` says, and finalise at exit."""
    rc = fmi_mpi.rc
    if rc.initialize:
        Init_thread()
    if rc.finalize is not False:
        atexit.register(_leave)


def _leave() -> None:
    world = process.current()
    if world is not None and not world.finalized:
        Finalize()


def Init() -> None:
    """Initialise MPI."""
    Init_thread()


def Init_thread(required: int = THREAD_MULTIPLE) -> int:
    """Initialise MPI and return the thread level.

    Args:
        required: the least level; THREAD_MULTIPLE is always provided.
    """
    global _main_thread
    if process.current() is None:
        _main_thread = threading.get_ident()
        world = process.initialize()
        if world.size > 1:
            exits.install()
        for hook in on_init:
            hook(world)
    return THREAD_MULTIPLE


def Finalize() -> None:
    """Finalise MPI: no more communication after this."""
    world = process.current()
    if world is not None and not world.finalized:
        for hook in on_finalize:
            hook()
        world.finalize(exits.failure())


def Is_initialized() -> bool:
    """Tell whether MPI has been initialised."""
    return process.current() is not None


def Is_finalized() -> bool:
    """Tell whether MPI has been finalised."""
    world = process.current()
    return world is not None and world.finalized


def Query_thread() -> int:
    """Return the thread level."""
    process.world()
    return THREAD_MULTIPLE


def Is_thread_main() -> bool:
    """Tell whether this thread has initialised MPI."""
    return threading.get_ident() == _main_thread


def Get_version() -> tuple[int, int]:
    """Return the version of the MPI standard."""
    return VERSION, SUBVERSION


def Get_library_version() -> str:
    """Return the version of this library."""
    return f"fmi_mpi {fmi_mpi.__version__} (Python {platform.python_version()})"


def get_vendor() -> tuple[str, tuple[int, int, int]]:
    """Return the name and the version of the implementation."""
    major, minor, micro = (int(part) for part in fmi_mpi.__version__.split(".")[:3])
    return "fmi_mpi", (major, minor, micro)


def Get_abi_version() -> tuple[int, int]:
    """Return the version of the MPI ABI: there is no C library, hence none."""
    return -1, -1


def Get_abi_info() -> Info:
    """Return what is known of the ABI: nothing."""
    return Info._wrap(InfoImpl())


def Get_abi_fortran_info() -> Info:
    """Return what is known of the Fortran ABI: nothing."""
    return Info._wrap(InfoImpl())


def Get_processor_name() -> str:
    """Return the name of this host."""
    return platform.node()


def Get_hw_resource_info() -> Info:
    """Return the hardware resources of this process."""
    return Info._wrap(InfoImpl({"mpi://hw/cores": str(len(os.sched_getaffinity(0)))}))


def Wtime() -> float:
    """Return seconds since a fixed time in the past."""
    return time.perf_counter()


def Wtick() -> float:
    """Return the resolution of Wtime in seconds."""
    return time.get_clock_info("perf_counter").resolution


def Pcontrol(level: int) -> None:
    """Set the level of profiling; accepted and without effect, as the standard allows."""
    level.__index__()


def _set_abort_status(status: object) -> None:
    """Remember an exit status for which this process must not wait for others when it ends."""
    exits.set_status(exits.exit_code(status) if not isinstance(status, int) else status)
