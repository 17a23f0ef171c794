"""Pack and unpack: native and external32, positions, derived types, packed messages."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from compat_tests.support import ELEMENTS, neighbours, outcome, values


def packed(MPI: Any, comm: Any, *specs: list[Any]) -> bytes:
    """Pack several messages after each other and return what was written."""
    room = bytearray(sum(spec[-1].Pack_size(spec[1], comm) for spec in specs))
    position = 0
    for spec in specs:
        position = spec[-1].Pack(spec, room, position, comm)
    return bytes(room[:position])


@pytest.mark.parametrize("name", ELEMENTS)
@pytest.mark.parametrize("count", [0, 1, 5])
def test_basic_types(MPI: Any, comm: Any, name: str, count: int, record: Any) -> None:
    code, kind = ELEMENTS[name], getattr(MPI, name)
    data = packed(MPI, comm, [values(code, count), count, kind])
    target = np.zeros(count, code)
    position = kind.Unpack(data, 0, [target, count, kind], comm)
    assert np.array_equal(target, values(code, count))
    record(position, target)


@pytest.mark.parametrize("name", sorted(set(ELEMENTS) - {"LONG_DOUBLE", "C_LONG_DOUBLE_COMPLEX"}))
def test_external32(MPI: Any, name: str, record: Any) -> None:
    code, kind = ELEMENTS[name], getattr(MPI, name)
    if np.dtype(code).char in "gG":
        pytest.skip("long double has no common external form")
    room = bytearray(kind.Pack_external_size("external32", 5))
    position = kind.Pack_external("external32", [values(code, 5), 5, kind], room, 0)
    target = np.zeros(5, code)
    record(position, len(room), room, kind.Unpack_external("external32", room, 0, [target, 5, kind]), target)


def test_a_message_of_parts(MPI: Any, comm: Any, record: Any) -> None:
    before, after = neighbours(comm)
    data = packed(MPI, comm, [np.array([3], "i"), 1, MPI.INT], [values("d", 4), 4, MPI.DOUBLE])
    target = bytearray(len(data))
    comm.Sendrecv([data, MPI.PACKED], after, 1, [target, MPI.PACKED], before, 1)
    number, numbers = np.zeros(1, "i"), np.zeros(4)
    position = MPI.INT.Unpack(target, 0, number, comm)
    position = MPI.DOUBLE.Unpack(target, position, numbers, comm)
    record(number, numbers, position)


def test_packed_is_received_as_its_type(MPI: Any, comm: Any, record: Any) -> None:
    before, after = neighbours(comm)
    data = packed(MPI, comm, [values("d", 4, 2), 4, MPI.DOUBLE])
    target = np.zeros(4)
    comm.Sendrecv([data, MPI.PACKED], after, 1, target, before, 1)
    assert np.array_equal(target, values("d", 4, 2))
    record(target)


@pytest.mark.parametrize("count", [1, 3])
def test_strided(MPI: Any, comm: Any, count: int, record: Any) -> None:
    kind = MPI.INT.Create_vector(2, 1, 3).Create_resized(0, 24).Commit()
    data = packed(MPI, comm, [values("i", 24), count, kind])
    target = np.zeros(24, "i")
    record(data, kind.Unpack(data, 0, [target, count, kind], comm), target)
    kind.Free()


def test_too_little_room(MPI: Any, comm: Any, record: Any) -> None:
    record(outcome(MPI, MPI.INT.Pack, np.zeros(4, "i"), bytearray(7), 0, comm))
    record(outcome(MPI, MPI.INT.Unpack, bytes(7), 0, np.zeros(4, "i"), comm))
    record(outcome(MPI, MPI.INT.Pack, np.zeros(1, "i"), bytearray(8), -1, comm))
    record(outcome(MPI, MPI.INT.Pack_external_size, "no such form", 1))
