"""Pickled messages: protocol 5 with large buffers out of band.

Rules of this file:
- A message without out-of-band buffers is exactly the pickle. With them (FLAG_OUT_OF_BAND) it is: u64 n; n + 1 u64
  lengths, of the pickle and of each buffer; the pickle; the buffers; each at a multiple of 64 bytes.
- Buffers are neither copied when sent nor when received: what is unpickled lives in the received memory.
- Everybody goes through the one ``pickle`` object, whose functions and settings users may change.
"""

from __future__ import annotations

import pickle as _pickle
import struct
from collections.abc import Callable, Iterable
from typing import Any, ClassVar

from fmi_mpi.engine.frames import FLAG_OUT_OF_BAND

__all__ = ["Pickle", "copied", "dumps_parts", "loads_message", "pickle"]

_ALIGNMENT = 64
_THRESHOLD = 1 << 18


class Pickle:
    """Pickling and unpickling of Python objects.

    Args:
        dumps: function (object[, protocol]) -> bytes-like; ``pickle.dumps`` by default.
        loads: function (bytes-like) -> object; ``pickle.loads`` by default.
        protocol: pickle protocol; the highest by default.
        threshold: bytes from which a buffer travels out of band.
    """

    __module__ = "fmi_mpi.MPI"
    __slots__ = ("_custom_dumps", "_dumps", "_loads", "_protocol", "_threshold")
    _exported: ClassVar[type[Any]] = memoryview
    """Makes what ``dumps_oob`` returns of a buffer; ``MPI`` puts its own class here."""

    def __init__(
        self,
        dumps: Callable[..., Any] | None = None,
        loads: Callable[..., Any] | None = None,
        protocol: int | None = None,
        threshold: int | None = None,
    ) -> None:
        self._dumps = _pickle.dumps if dumps is None else dumps
        self._loads = _pickle.loads if loads is None else loads
        self._custom_dumps = dumps is not None and dumps is not _pickle.dumps
        self.PROTOCOL = protocol
        self.THRESHOLD = threshold

    @property
    def PROTOCOL(self) -> int | None:
        """Pickle protocol; None is the highest, or what functions of the user choose."""
        return self._protocol

    @PROTOCOL.setter
    def PROTOCOL(self, protocol: int | None) -> None:
        self._protocol = protocol if protocol is not None or self._custom_dumps else _pickle.HIGHEST_PROTOCOL

    @property
    def THRESHOLD(self) -> int:
        """Bytes from which a buffer travels out of band; None sets the default."""
        return self._threshold

    @THRESHOLD.setter
    def THRESHOLD(self, threshold: int | None) -> None:
        self._threshold = _THRESHOLD if threshold is None else threshold

    def dumps(self, obj: Any) -> bytes:
        """Return an object as pickle."""
        protocol = self._protocol
        data: bytes = self._dumps(obj) if protocol is None else self._dumps(obj, protocol)
        return data

    def loads(self, data: Any) -> Any:
        """Return the object of a pickle."""
        return self._loads(data)

    def dumps_oob(self, obj: Any) -> tuple[bytes, list[Any]]:
        """Return an object as pickle and the buffers of at least THRESHOLD bytes that it leaves out."""
        data, views = self._dumps_views(obj)
        return data, [self._exported(view) for view in views]

    def _dumps_views(self, obj: Any) -> tuple[bytes, list[memoryview]]:
        buffers: list[memoryview] = []

        def in_band(buffer: _pickle.PickleBuffer) -> bool:
            view = buffer.raw()
            if len(view) < self._threshold:
                return True
            buffers.append(view)
            return False

        given = self._protocol
        protocol = given if given == 5 else 5 if given is None else max(given, 5) if given >= 0 else given
        return self._dumps(obj, protocol, buffer_callback=in_band), buffers

    def loads_oob(self, data: Any, buffers: Iterable[Any]) -> Any:
        """Return the object of a pickle and the buffers that it has left out."""
        return self._loads(data, buffers=buffers)


pickle = Pickle()


def dumps_parts(obj: Any) -> tuple[list[memoryview], int]:
    """Return an object as a message in parts, to be sent one after another, and the message's flags."""
    if pickle._custom_dumps or (pickle._protocol is not None and 0 <= pickle._protocol < 5):
        return [memoryview(pickle.dumps(obj)).cast("B")], 0
    if type(obj) in _PLAIN:
        return [memoryview(_pickle.dumps(obj, pickle._protocol))], 0
    data, buffers = pickle._dumps_views(obj)
    if not buffers:
        return [memoryview(data)], 0
    lengths = [len(data), *map(len, buffers)]
    head = struct.pack(f"<{len(lengths) + 1}Q", len(buffers), *lengths)
    parts: list[memoryview] = []
    for view in (memoryview(head), memoryview(data), *buffers):
        parts.append(view)
        padding = -len(view) % _ALIGNMENT
        if padding:
            parts.append(_PADDING[:padding])
    return parts, FLAG_OUT_OF_BAND


_PADDING = memoryview(bytes(_ALIGNMENT))
_PLAIN = frozenset((int, float, str, bool, complex, type(None), bytes))
"""Types of which no part can go out of band."""


def loads_message(view: memoryview, flags: int) -> Any:
    """Return the object of a message; its large buffers stay in the message's memory."""
    if not flags & FLAG_OUT_OF_BAND:
        return pickle._loads(view)
    (count,) = struct.unpack_from("<Q", view)
    lengths = struct.unpack_from(f"<{count + 1}Q", view, 8)
    position = _aligned(8 * (count + 2))
    parts = []
    for length in lengths:
        parts.append(view[position : position + length])
        position += _aligned(length)
    return pickle.loads_oob(parts[0], parts[1:])


def copied(obj: Any) -> Any:
    """Return what the receiver of an object would get; it shares no memory with the object."""
    if type(obj) in _PLAIN and not pickle._custom_dumps:
        return obj
    parts, flags = dumps_parts(obj)
    return loads_message(memoryview(bytearray().join(parts)), flags)


def _aligned(nbytes: int) -> int:
    return nbytes + -nbytes % _ALIGNMENT
