"""Pack and unpack: native and external32, positions, derived types, packed messages."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from compat_tests.support import ELEMENTS, neighbours, values


def packed(comm: Any, *parts: tuple[Any, Any]) -> bytes:
    """Pack several (array, datatype) after each other and return what was written."""
    room = bytearray(sum(kind.Pack_size(data.nbytes // kind.Get_extent()[1], comm) for data, kind in parts))
    position = 0
    for data, kind in parts:
        position = kind.Pack(data, room, position, comm)
    return bytes(room[:position])


@pytest.mark.parametrize("name", ELEMENTS)
@pytest.mark.parametrize("count", [0, 1, 5])
def test_basic_types(MPI: Any, comm: Any, name: str, count: int, record: Any) -> None:
    code, kind = ELEMENTS[name], getattr(MPI, name)
    data = packed(comm, (values(code, count), kind))
    target = np.zeros(count, code)
    position = kind.Unpack(data, 0, target, comm)
    assert np.array_equal(target, values(code, count))
    record(position, target)


@pytest.mark.parametrize("name", sorted(set(ELEMENTS) - {"LONG_DOUBLE", "C_LONG_DOUBLE_COMPLEX"}))
def test_external32(MPI: Any, name: str, record: Any) -> None:
    code, kind = ELEMENTS[name], getattr(MPI, name)
    if np.dtype(code).char in "gG":
        pytest.skip("long double has no common external form")
    room = bytearray(kind.Pack_external_size("external32", 5))
    position = kind.Pack_external("external32", values(code, 5), room, 0)
    target = np.zeros(5, code)
    record(position, len(room), room, kind.Unpack_external("external32", room, 0, target), target)


def test_a_message_of_parts(MPI: Any, comm: Any, record: Any) -> None:
    before, after = neighbours(comm)
    data = packed(comm, (np.array([3], "i"), MPI.INT), (values("d", 4), MPI.DOUBLE))
    target = bytearray(len(data))
    comm.Sendrecv([data, MPI.PACKED], after, 1, [target, MPI.PACKED], before, 1)
    number, numbers = np.zeros(1, "i"), np.zeros(4)
    position = MPI.INT.Unpack(target, 0, number, comm)
    position = MPI.DOUBLE.Unpack(target, position, numbers, comm)
    record(number, numbers, position)


def test_packed_is_received_as_its_type(MPI: Any, comm: Any, record: Any) -> None:
    before, after = neighbours(comm)
    data = packed(comm, (values("d", 4, 2), MPI.DOUBLE))
    target = np.zeros(4)
    comm.Sendrecv([data, MPI.PACKED], after, 1, target, before, 1)
    assert np.array_equal(target, values("d", 4, 2))
    record(target)


@pytest.mark.parametrize("count", [1, 3])
def test_strided(MPI: Any, comm: Any, count: int, record: Any) -> None:
    kind = MPI.INT.Create_vector(2, 1, 3).Create_resized(0, 24).Commit()
    data = packed(comm, (values("i", 6 * count), kind))
    target = np.zeros(6 * count, "i")
    record(data, kind.Unpack(data, 0, target, comm), target)
    kind.Free()
