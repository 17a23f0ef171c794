"""Opening and closing files together (MPI-4.1, 14.2).

Rules of this file:
- Rank 0 opens first and creates the file; the others follow when it is there. Either all have it open or none.
- A file has a communicator of its own, so that its collectives cannot meet others.
"""

from __future__ import annotations

import os
import secrets
import tempfile

from fmi_mpi import constants as c
from fmi_mpi.api.file.core import agree, at_root
from fmi_mpi.data.fileview import View
from fmi_mpi.data.predefined import BYTE
from fmi_mpi.errors import MPIError
from fmi_mpi.runtime import filestore
from fmi_mpi.runtime.communicator import Communicator
from fmi_mpi.runtime.file import OpenFile
from fmi_mpi.runtime.filepointer import SharedPointer
from fmi_mpi.runtime.filestore import FileStore

__all__ = ["close_file", "open_file"]

_HOW = c.MODE_RDONLY | c.MODE_WRONLY | c.MODE_RDWR
_TOKEN_BITS = 62


def _check(amode: int) -> None:
    """Raise MPIError unless an access mode makes sense."""
    how = amode & _HOW
    if amode < 0 or how not in (c.MODE_RDONLY, c.MODE_WRONLY, c.MODE_RDWR):
        raise MPIError(c.ERR_AMODE, "an access mode has exactly one of MODE_RDONLY, MODE_WRONLY and MODE_RDWR")
    if how == c.MODE_RDONLY and amode & (c.MODE_CREATE | c.MODE_EXCL):
        raise MPIError(c.ERR_AMODE, "MODE_RDONLY excludes MODE_CREATE and MODE_EXCL")
    if how == c.MODE_RDWR and amode & c.MODE_SEQUENTIAL:
        raise MPIError(c.ERR_AMODE, "MODE_RDWR excludes MODE_SEQUENTIAL")


def _attempt(opened: list[FileStore], name: bytes, amode: int, mine: bool) -> MPIError | None:
    """Open a file if it is this rank's turn, and return what went wrong."""
    try:
        _check(amode)
        if mine:
            opened.append(filestore.open_store(name, amode))
    except MPIError as error:
        return error
    return None


def open_file(comm: Communicator, name: bytes, amode: int) -> OpenFile:
    """Return the state of a file that all ranks of a communicator open.

    Args:
        name: path, perhaps with the prefix of a kind of store. amode: the same on all ranks.
    """
    leader = comm.rank == 0
    opened: list[FileStore] = []
    try:
        failure = _attempt(opened, name, amode, leader)
        rows = agree(comm, failure, amode, secrets.randbits(_TOKEN_BITS), comm.world.new_context())
        if any(row[0] != amode for row in rows):
            raise MPIError(c.ERR_NOT_SAME, "the ranks open the file with different access modes")
        failure = _attempt(opened, name, amode & ~(c.MODE_CREATE | c.MODE_EXCL), not leader)
        end = opened[0].size() if opened and amode & c.MODE_APPEND else 0
        end = agree(comm, failure, end)[0][0]
    except MPIError:
        for store in opened:
            store.close()
        raise
    own = Communicator(comm.world, rows[0][2], comm.local)
    shared = SharedPointer(_side_file(own, name, rows[0][1]), end)
    file = OpenFile(own, opened[0], name, amode, View(0, BYTE, BYTE), shared)
    file.position = end
    return file


def _side_file(comm: Communicator, name: bytes, token: int) -> bytes:
    """Return the path of the shared pointer; see ``runtime.filepointer``."""
    one_host = len(set(comm.hosts)) == 1
    directory = os.fsencode(tempfile.gettempdir()) if one_host else os.path.dirname(filestore.local_path(name))
    return os.path.join(directory, b".fmi-%x.pointer" % token)


def close_file(file: OpenFile) -> None:
    """Close a file on all ranks, and delete it if it was opened to be."""
    comm = file.comm
    agree(comm, None)
    leader = comm.rank == 0
    file.shared.close(leader)
    file.store.close()
    if file.amode & c.MODE_DELETE_ON_CLOSE:
        at_root(comm, lambda: filestore.delete(file.name))
    comm.free()
