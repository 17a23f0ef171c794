"""Starting, ending and asking about MPI (MPI-4.1, chapters 9 and 11).

Rules of this file:
- Importing ``fmi_mpi.MPI`` initialises it unless ``rc.initialize`` says otherwise; leaving the interpreter finalises.
- The thread level is THREAD_MULTIPLE, whatever is asked for.
"""

from __future__ import annotations

import atexit
import os
import sys
import threading
import time
from collections.abc import Callable
from operator import index
from typing import TYPE_CHECKING

import fmi_mpi
from fmi_mpi.api.errhandler import policy
from fmi_mpi.api.exception import boundary
from fmi_mpi.api.info import Info, describe
from fmi_mpi.bootstrap import exits
from fmi_mpi.constants import ERR_OTHER, SUBVERSION, THREAD_MULTIPLE, VERSION
from fmi_mpi.errors import MPIError
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
    "join",
    "on_finalize",
    "on_init",
    "set_abort_status",
    "start",
]

on_init: list[Callable[[World], None]] = []
"""Called with the world after it has been joined."""
on_finalize: list[Callable[[], None]] = []
"""Called before the world is left."""

_main_thread = threading.get_ident()
_initialized = False


def start() -> None:
    """Initialise at import, as ``rc`` says, and finalise at exit."""
    fmi_mpi._read_environment(os.environ)
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
    """Initialise MPI; raises Exception (ERR_OTHER) if that has been done already."""
    Init_thread()


@boundary
def Init_thread(required: int = THREAD_MULTIPLE) -> int:
    """Initialise MPI and return the thread level.

    Args:
        required: the least level; THREAD_MULTIPLE is always provided.
    """
    global _initialized, _main_thread
    index(required)
    if _initialized:
        raise MPIError(ERR_OTHER, "MPI is initialized already; ask MPI.Is_initialized() first, or set rc.initialize")
    join()
    _initialized = True
    _main_thread = threading.get_ident()
    return THREAD_MULTIPLE


def join() -> World:
    """Return this process's world, joining the job if nobody has yet: Init and Session.Init do."""
    world = process.current()
    if world is None:
        errhandler = policy()
        world = process.initialize()
        if world.size > 1:
            exits.install()
        if world.settings.stacks_on_timeout:
            exits.register_stacks()
        world.world.errhandler = world.self.errhandler = errhandler
        _describe(world)
        for hook in on_init:
            hook(world)
    world.check()
    return world


def _describe(world: World) -> None:
    """Fill INFO_ENV (MPI-4.1, 11.2.1)."""
    try:
        wdir = os.getcwd()
    except OSError:
        wdir = ""
    system = os.uname()
    describe(
        maxprocs=str(world.size),
        soft=str(world.size),
        host=system.nodename,
        arch=system.machine,
        wdir=wdir,
        thread_level="MPI_THREAD_MULTIPLE",
    )


def Finalize() -> None:
    """Finalise MPI: no more communication after this."""
    world = process.current()
    if world is not None and not world.finalized:
        for hook in on_finalize:
            hook()
        world.finalize(exits.failure())


def Is_initialized() -> bool:
    """Tell whether MPI has been initialised; sessions do not count."""
    return _initialized


def Is_finalized() -> bool:
    """Tell whether MPI has been finalised."""
    world = process.current()
    return _initialized and world is not None and world.finalized


@boundary
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
    return f"fmi_mpi {fmi_mpi.__version__} (Python {sys.version.split()[0]})"


def get_vendor() -> tuple[str, tuple[int, int, int]]:
    """Return the name and the version of the implementation."""
    major, minor, micro = (int(part) for part in fmi_mpi.__version__.split(".")[:3])
    return "fmi_mpi", (major, minor, micro)


def Get_abi_version() -> tuple[int, int]:
    """Return the version of the MPI ABI: there is no C library, hence none."""
    return -1, -1


def Get_abi_info() -> Info:
    """Return the sizes of address, count and offset integers in bytes."""
    return Info.Create({f"mpi_{name}_size": "8" for name in ("aint", "count", "offset")})


def Get_abi_fortran_info() -> Info:
    """Return what is known of the Fortran ABI: INFO_NULL, for there is no Fortran library."""
    return Info()


def Get_processor_name() -> str:
    """Return the name of this host."""
    return os.uname().nodename


def Get_hw_resource_info() -> Info:
    """Return the hardware resource types, and for each whether this process is restricted to one of them."""
    return Info.Create({"mpi_shared_memory": "true"})


def Wtime() -> float:
    """Return seconds since a fixed time in the past."""
    return time.perf_counter()


def Wtick() -> float:
    """Return the resolution of Wtime in seconds."""
    return time.get_clock_info("perf_counter").resolution


def Pcontrol(level: int) -> None:
    """Set the level of profiling; accepted and without effect, as the standard allows."""
    index(level)


def set_abort_status(status: object) -> None:
    """Remember an exit status for which this process must not wait for others when it ends."""
    exits.set_status(exits.exit_code(status) if not isinstance(status, int) else status)
