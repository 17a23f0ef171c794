"""``MPI.Datatype``: packing and unpacking (MPI-4.1, 5.2 and 5.3).

Rules of this file:
- Buffers are raw memory here: the datatype is the object itself, the count all of its elements that the memory has.
- Positions are bytes; what does not fit raises MPIError before any memory is touched.
"""

from __future__ import annotations

from operator import index
from typing import TYPE_CHECKING

from fmi_mpi import constants as c
from fmi_mpi.api.attributes import Attributes
from fmi_mpi.api.exception import boundary
from fmi_mpi.data import external32
from fmi_mpi.data.buffers import readable_bytes, writable_bytes
from fmi_mpi.data.datatype import Type
from fmi_mpi.data.message import Message, message_of
from fmi_mpi.errors import MPIError

if TYPE_CHECKING:
    from fmi_mpi.api.comm import Comm
    from fmi_mpi.typing import Buffer

__all__ = ["Packing"]


class Packing(Attributes):
    """Mixin of ``Datatype``."""

    __slots__ = ()

    def _state(self) -> Type:
        raise NotImplementedError

    @boundary
    def Pack(self, inbuf: Buffer, outbuf: Buffer, position: int, comm: Comm) -> int:
        """Pack elements into contiguous memory, and return the position behind them.

        Args:
            inbuf: elements of this type.
            outbuf: memory to pack into.
            position: bytes of ``outbuf`` that are in use already.
            comm: any communicator.
        """
        given = self._elements(readable_bytes(inbuf))
        into = writable_bytes(outbuf)
        end = _end(into, position, given.nbytes)
        into[position:end] = given.payload()
        return end

    @boundary
    def Unpack(self, inbuf: Buffer, position: int, outbuf: Buffer, comm: Comm) -> int:
        """Unpack elements from contiguous memory, and return the position behind them.

        Args:
            inbuf: packed data.
            position: bytes of ``inbuf`` that have been unpacked already.
            outbuf: memory for elements of this type.
            comm: any communicator.
        """
        packed = readable_bytes(inbuf)
        wanted = self._elements(writable_bytes(outbuf))
        end = _end(packed, position, wanted.nbytes)
        _fill(wanted, packed[position:end])
        return end

    @boundary
    def Pack_size(self, count: int, comm: Comm) -> int:
        """Return the most bytes that packed elements take.

        Args:
            count: number of elements.
            comm: any communicator.
        """
        if index(count) < 0:
            raise MPIError(c.ERR_COUNT, f"a count is negative: {count}")
        return index(count) * self._state().size

    @boundary
    def Pack_external(self, datarep: str, inbuf: Buffer, outbuf: Buffer, position: int) -> int:
        """Pack elements in a portable representation, and return the position behind them.

        Args:
            datarep: "external32".
            inbuf: elements of this type.
            outbuf: memory to pack into.
            position: bytes of ``outbuf`` that are in use already.
        """
        external32.check(datarep)
        data = external32.to_external(self._state(), self._elements(readable_bytes(inbuf)).payload())
        into = writable_bytes(outbuf)
        end = _end(into, position, len(data))
        into[position:end] = data
        return end

    @boundary
    def Unpack_external(self, datarep: str, inbuf: Buffer, position: int, outbuf: Buffer) -> int:
        """Unpack elements from a portable representation, and return the position behind them.

        Args:
            datarep: "external32".
            inbuf: packed data.
            position: bytes of ``inbuf`` that have been unpacked already.
            outbuf: memory for elements of this type.
        """
        external32.check(datarep)
        packed = readable_bytes(inbuf)
        state = self._state()
        wanted = self._elements(writable_bytes(outbuf))
        end = _end(packed, position, external32.external_size(state, wanted.count))
        _fill(wanted, memoryview(external32.from_external(state, packed[position:end], wanted.count)))
        return end

    @boundary
    def Pack_external_size(self, datarep: str, count: int) -> int:
        """Return the bytes that elements take in a portable representation.

        Args:
            datarep: "external32".
            count: number of elements.
        """
        external32.check(datarep)
        return external32.external_size(self._state(), index(count))

    def _elements(self, memory: memoryview) -> Message:
        """Return all elements of this type in memory."""
        return message_of(memory, self._state())


def _end(memory: memoryview, position: int, nbytes: int) -> int:
    """Return the position behind ``nbytes`` bytes; raises MPIError if they are not all within the memory."""
    end = index(position) + nbytes
    if position < 0 or end > len(memory):
        raise MPIError(c.ERR_ARG, f"{nbytes} bytes at position {position} are not within {len(memory)} bytes")
    return end


def _fill(message: Message, data: memoryview) -> None:
    """Give a message its packed data."""
    sink, finish = message.sink()
    sink[:] = data
    if finish is not None:
        finish(len(data))
