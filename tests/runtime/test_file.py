"""Open files on a store in memory: what is read and written is what a byte-by-byte model has."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fmi_mpi import constants as c
from fmi_mpi.data import constructors
from fmi_mpi.data.datatype import Type
from fmi_mpi.data.fileview import View
from fmi_mpi.data.message import message_recv, message_send
from fmi_mpi.data.predefined import BYTE, simple
from fmi_mpi.errors import MPIError
from fmi_mpi.runtime.file import OpenFile

INT = simple("INT")


class Memory:
    """A store in memory (FileStore), which notes what is locked."""

    def __init__(self, data: bytes = b"", gap: int = 0, how: str = "rw", locks: bool = True) -> None:
        self.data = bytearray(data)
        self.gap = gap
        self.readable, self.writable = "r" in how, "w" in how
        self.locks = locks
        self.held: list[tuple[int, int, bool]] = []
        self.log: list[tuple[int, int, bool]] = []

    def read(self, offset: int, into: memoryview) -> int:
        assert self.readable
        found = self.data[offset : offset + len(into)]
        into[: len(found)] = found
        return len(found)

    def write(self, offset: int, data: memoryview) -> None:
        low, high, exclusive = self.held[-1]
        assert exclusive
        assert low <= offset
        assert offset + len(data) <= high
        self.data.extend(bytes(max(0, offset + len(data) - len(self.data))))
        self.data[offset : offset + len(data)] = data

    def size(self) -> int:
        return len(self.data)

    def resize(self, size: int) -> None:
        raise AssertionError

    def allocate(self, size: int) -> None:
        raise AssertionError

    def sync(self) -> None:
        raise AssertionError

    @contextmanager
    def locked(self, low: int, high: int, exclusive: bool) -> Iterator[bool]:
        assert not self.held, "locks do not nest"
        self.held.append((low, high, exclusive))
        self.log.append((low, high, exclusive))
        yield self.locks
        self.held.pop()

    def close(self) -> None:
        raise AssertionError


def opened(store: Memory, view: View | None = None, datarep: str = "native") -> OpenFile:
    file = OpenFile(cast("Any", None), store, b"", 0, View(0, BYTE, BYTE), cast("Any", None))
    if view is not None:
        file.look(view, view.etype, view.filetype, datarep)
    return file


def pattern_type(lengths: list[int], gaps: list[int]) -> tuple[Type, list[int]]:
    """Return a filetype of blocks and gaps in turn, and the offsets of its bytes."""
    at, displacements = 0, []
    for gap, length in zip(gaps, lengths):
        displacements.append(at + gap)
        at += gap + length
    made = constructors.resized(constructors.hindexed(BYTE, lengths, displacements), 0, at)
    made.ready = True
    return made, [start + i for start, length in zip(displacements, lengths) for i in range(length)]


patterns = st.integers(1, 4).flatmap(
    lambda n: st.tuples(
        st.lists(st.integers(1, 4), min_size=n, max_size=n), st.lists(st.integers(0, 5), min_size=n, max_size=n)
    )
)


@settings(deadline=None)
@given(
    patterns, st.integers(0, 5), st.integers(0, 20), st.integers(0, 60), st.integers(0, 90),
    st.sampled_from([0, 3, 4096]), st.sampled_from(["rw", "w"]), st.booleans(), st.booleans(),
)  # fmt: skip
def test_model(
    pattern: tuple[list[int], list[int]], disp: int, start: int, nbytes: int, size: int,
    gap: int, how: str, locks: bool, atomic: bool,
) -> None:  # fmt: skip
    filetype, offsets = pattern_type(*pattern)
    extent = filetype.extent
    store = Memory(bytes(range(1, size + 1)), gap, how, locks or atomic)
    file = opened(store, View(disp, BYTE, filetype))
    file.atomic = atomic
    places = [disp + i // len(offsets) * extent + offsets[i % len(offsets)] for i in range(start, start + nbytes)]
    if store.readable:
        into = bytearray(b"\xff" * nbytes)
        got = file.read(start, message_recv(into))
        wanted = [store.data[place] for place in places if place < size]
        assert got == len(wanted)
        assert list(into) == wanted + [255] * (nbytes - got)
    data = bytes(100 + i for i in range(nbytes))
    model = bytearray(store.data)
    for place, byte in zip(places, data):
        model.extend(bytes(max(0, place + 1 - len(model))))
        model[place] = byte
    assert file.write(start, message_send(data)) == nbytes
    assert store.data == model
    assert not store.held
    if atomic and nbytes:
        assert len(store.log) == 1 + store.readable


def test_memory_with_gaps() -> None:
    column = constructors.vector(INT, 3, 1, 2)
    column.ready = True
    from fmi_mpi.api.datatype import Datatype

    spec = [np.arange(6, dtype="i"), 1, Datatype._wrap(column)]
    store = Memory()
    file = opened(store)
    file.write(0, message_send(spec))
    assert np.frombuffer(store.data, "i").tolist() == [0, 2, 4]
    target = np.full(6, -1, "i")
    del store.data[8:]
    assert file.read(0, message_recv([target, 1, Datatype._wrap(column)])) == 8
    assert target.tolist() == [0, -1, 2, -1, -1, -1]


def test_external32() -> None:
    store = Memory()
    file = opened(store, View(0, INT, INT), "external32")
    file.write(1, message_send(np.array([1, 2], "i")))
    assert bytes(store.data[4:]) == bytes([0, 0, 0, 1, 0, 0, 0, 2])
    into = np.zeros(3, "i")
    assert file.read(1, message_recv(into)) == 8
    assert into.tolist() == [1, 2, 0]


@pytest.mark.parametrize(
    ("how", "write", "count", "error"),
    [
        ("r", True, 4, c.ERR_READ_ONLY),
        ("w", False, 4, c.ERR_ACCESS),
        ("rw", True, 6, c.ERR_IO),
        ("rw", False, 2, c.ERR_IO),
        ("r", True, 0, c.ERR_READ_ONLY),
        ("w", False, 0, c.ERR_ACCESS),
        ("rw", True, 0, 0),
        ("rw", True, 8, 0),
    ],
)
def test_what_may_be_accessed(how: str, write: bool, count: int, error: int) -> None:
    file = opened(Memory(how=how), View(0, INT, INT))
    message = message_send(bytes(count))
    if error:
        with pytest.raises(MPIError) as caught:
            file.etypes(message, write)
        assert caught.value.error_class == error
    else:
        assert file.etypes(message, write) == count // 4


def test_atomic_mode_needs_locks() -> None:
    file = opened(Memory(bytes(4), locks=False))
    file.atomic = True
    with pytest.raises(MPIError) as caught:
        file.read(0, message_recv(bytearray(1)))
    assert caught.value.error_class == c.ERR_UNSUPPORTED_OPERATION


def test_a_view_without_data() -> None:
    nothing = constructors.contiguous(INT, 0)
    nothing.ready = True
    file = opened(Memory(bytes(8)), View(0, INT, nothing))
    assert file.read(0, message_recv(bytearray(4))) == 0
    assert file.write(0, message_send(b"")) == 0
    with pytest.raises(MPIError, match="has no data"):
        file.write(0, message_send(bytes(4)))
