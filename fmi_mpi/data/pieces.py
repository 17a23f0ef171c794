"""Buffer arguments after parsing: one message, or a piece for each of several ranks.

Rules of this file:
- What is gap-free is used where it lies; other data is packed before it is sent and unpacked after it has come.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from fmi_mpi.data.datatype import Type
from fmi_mpi.data.predefined import BYTE
from fmi_mpi.data.typemap import Block

__all__ = ["Blocks", "Finish", "Message", "Pieces"]

Finish = Callable[[int], None]


class Message:
    """One buffer argument.

    Args:
        view: 'B' memory whose byte ``origin`` is the buffer's address; for gap-free types exactly the data.
        count: elements of ``datatype``.
        nbytes: bytes of the data, packed.
    """

    __slots__ = ("count", "datatype", "nbytes", "origin", "view")

    def __init__(self, view: memoryview, count: int, datatype: Type, nbytes: int, origin: int = 0) -> None:
        self.view = view
        self.count = count
        self.datatype = datatype
        self.nbytes = nbytes
        self.origin = origin

    def payload(self) -> memoryview:
        """Return the packed data: the memory itself where it is gap-free, else a packed copy."""
        if self.datatype.dense:
            return self.view
        run = self._run()
        if run is not None:
            return run
        packed = memoryview(bytearray(self.nbytes))
        self.datatype.pack(self.view, self.count, packed, self.origin)
        return packed

    def sink(self) -> tuple[memoryview, Finish | None]:
        """Return where packed data is to be received, and what to call with its length afterwards, if anything."""
        if self.datatype.dense:
            return self.view, None
        run = self._run()
        if run is not None:
            return run, None
        packed = memoryview(bytearray(self.nbytes))
        return packed, lambda received: self._spread(packed, received)

    def _run(self) -> memoryview | None:
        """Return the data's memory if it happens to be gap-free, None otherwise."""
        if not self.nbytes:
            return self.view
        typemap = self.datatype.typemap
        if self.count > 1 or len(typemap) > 1 or type(typemap[0]) is not Block or typemap[0].dims:
            return None
        at = self.origin + typemap[0].offset
        return self.view[at : at + self.nbytes]

    def _spread(self, packed: memoryview, received: int) -> None:
        if received == self.nbytes:
            self.datatype.unpack(packed, self.view, self.count, self.origin)
        else:
            self.datatype.unpack_bytes(packed, self.view, min(received, self.nbytes), self.origin)


class Blocks:
    """The messages of equal blocks, made when asked for.

    Args:
        memory: all blocks. first: the first block. number: of blocks. step: bytes from one to the next.
    """

    __slots__ = ("first", "memory", "number", "step")

    def __init__(self, memory: memoryview, first: Message, number: int, step: int) -> None:
        self.memory = memory
        self.first = first
        self.number = number
        self.step = step

    def __len__(self) -> int:
        return self.number

    def __getitem__(self, item: int) -> Message:
        first = self.first
        if not first.nbytes or not item:
            return first
        if not first.datatype.dense:
            return Message(first.view, first.count, first.datatype, first.nbytes, first.origin + item * self.step)
        at = item * self.step
        return Message(self.memory[at : at + first.nbytes], first.count, first.datatype, first.nbytes)

    def __iter__(self) -> Iterator[Message]:
        return map(self.__getitem__, range(self.number))


class Pieces:
    """A buffer argument with a piece for each of several ranks.

    Args:
        messages: the pieces, in rank order.
        whole: the memory of all pieces if they are gap-free, of one length, and follow each other; else None.
    """

    __slots__ = ("messages", "whole")

    def __init__(self, messages: list[Message] | Blocks, whole: memoryview | None = None) -> None:
        self.messages = messages
        self.whole = whole

    @property
    def datatype(self) -> Type:
        """Type of the first piece."""
        return self.messages[0].datatype if len(self.messages) else BYTE

    def size_of(self, item: int) -> int:
        """Return the bytes of one piece, packed."""
        messages = self.messages
        return messages.first.nbytes if type(messages) is Blocks else messages[item].nbytes

    def payloads(self) -> list[memoryview]:
        """Return the packed data of all pieces."""
        return [message.payload() for message in self.messages]

    def payload(self) -> memoryview:
        """Return the packed data of all pieces, one after another."""
        return memoryview(bytearray().join(self.payloads())) if self.whole is None else self.whole

    def sinks(self) -> tuple[list[memoryview], Callable[[], None] | None]:
        """Return where to receive the pieces, and what to call afterwards, if anything."""
        pairs = [message.sink() for message in self.messages]
        pending = [(finish, len(view)) for view, finish in pairs if finish is not None]

        def finish_all() -> None:
            for finish, nbytes in pending:
                finish(nbytes)

        return [view for view, _ in pairs], finish_all if pending else None

    def sink(self) -> tuple[memoryview, Callable[[], None] | None]:
        """Return where to receive all pieces, one after another, and what to call afterwards, if anything."""
        if self.whole is not None:
            return self.whole, None
        views, finish = self.sinks()
        packed = memoryview(bytearray(sum(map(len, views))))

        def distribute() -> None:
            position = 0
            for view in views:
                view[:] = packed[position : position + len(view)]
                position += len(view)
            if finish is not None:
                finish()

        return packed, distribute
