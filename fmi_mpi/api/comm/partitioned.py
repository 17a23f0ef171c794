"""Partitioned communication (MPI-4.1, 4.2): the calls that prepare it; ``Prequest`` has those that tell of parts.

Rules of this file:
- A count that is given is that of one partition; one that is left out is the buffer's, divided.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmi_mpi.api.comm.core import CommCore, boundary, check_dest, check_source
from fmi_mpi.api.info import INFO_NULL, Info
from fmi_mpi.api.request import Prequest
from fmi_mpi.constants import ANY_SOURCE, ANY_TAG, ERR_ARG, ERR_RANK, ERR_TAG
from fmi_mpi.data.message import message_block
from fmi_mpi.errors import MPIError
from fmi_mpi.runtime.partitioned import Receiving, Sending
from fmi_mpi.runtime.request import RequestState

if TYPE_CHECKING:
    from fmi_mpi.typing import BufSpec

__all__ = ["Partitioned"]


def _check(partitions: int) -> None:
    if partitions <= 0:
        raise MPIError(ERR_ARG, f"{partitions} partitions; there must be one at least")


class Partitioned(CommCore):
    """Chapter mixin of ``Comm``."""

    __slots__ = ()

    @boundary
    def Psend_init(self, buf: BufSpec, partitions: int, dest: int, tag: int = 0, info: Info = INFO_NULL) -> Prequest:
        """Prepare a persistent message that is sent in parts (MPI-4.1, 4.2.1).

        Args:
            buf: what to send.
            partitions: number of parts, which ``Pready`` calls ready.
            dest: rank of the receiver, or PROC_NULL.
            tag: 0 to TAG_UB.
            info: hints; none is known.
        """
        comm = self._state()
        _check(partitions)
        pieces = message_block(buf, False, partitions, dest)
        check_dest(comm, dest, tag)
        end = Sending(comm, pieces, dest, tag)
        return Prequest._wrap(RequestState(comm.world, None, restart=end.start, keep=buf, end=end))

    @boundary
    def Precv_init(
        self, buf: BufSpec, partitions: int, source: int = ANY_SOURCE, tag: int = ANY_TAG, info: Info = INFO_NULL
    ) -> Prequest:
        """Prepare the receive of a partitioned message (MPI-4.1, 4.2.1).

        Args:
            buf: where to put it, as long as what is sent.
            partitions: number of parts that ``Parrived`` asks about; the sender's may be another.
            source: rank of the sender, or PROC_NULL; not ANY_SOURCE.
            tag: the sender's tag; not ANY_TAG.
            info: hints; none is known.
        """
        comm = self._state()
        _check(partitions)
        pieces = message_block(buf, True, partitions, source)
        check_source(comm, source, tag)
        if source == ANY_SOURCE:
            raise MPIError(ERR_RANK, "a partitioned receive needs the rank of its sender, not ANY_SOURCE")
        if tag == ANY_TAG:
            raise MPIError(ERR_TAG, "a partitioned receive needs the tag of its message, not ANY_TAG")
        end = Receiving(comm, pieces, source, tag)
        return Prequest._wrap(RequestState(comm.world, None, restart=end.start, keep=buf, end=end))
