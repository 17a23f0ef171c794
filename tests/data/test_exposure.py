"""Memory that others access: layouts and operations survive the journey, and nothing reaches outside."""

from __future__ import annotations

import random

import numpy as np
import pytest

from fmi_mpi.constants import ERR_OP, ERR_RMA_RANGE, ERR_TYPE
from fmi_mpi.data.constructors import contiguous, hindexed, hvector, indexed, resized, struct, vector
from fmi_mpi.data.datatype import Type
from fmi_mpi.data.exposure import Exposure, code_of, decode, encode
from fmi_mpi.data.kernels import OPS, OpImpl
from fmi_mpi.data.predefined import TYPES, f90, simple, value_index
from fmi_mpi.errors import MPIError

INT, DOUBLE, SHORT = simple("INT"), simple("DOUBLE"), simple("SHORT")
choice = random.Random(1)
LAYOUTS = {
    "vector": vector(INT, 4, 2, 5),
    "backwards": hvector(DOUBLE, 5, 1, -24),
    "nested": vector(vector(INT, 3, 1, 2), 2, 2, 3),
    "pair": TYPES["DOUBLE_INT"],
    "struct": struct([1, 2, 3], [0, 8, 40], [SHORT, DOUBLE, INT]),
    "scattered": indexed(
        INT, [choice.randrange(4) for _ in range(50)], [choice.randrange(5) + 9 * n for n in range(50)]
    ),
    "resized": resized(hindexed(SHORT, [1, 3], [20, 2]), 0, 64),
}


@pytest.mark.parametrize("name", LAYOUTS)
@pytest.mark.parametrize("count", [1, 3])
def test_a_layout_survives_the_journey(name: str, count: int) -> None:
    old = LAYOUTS[name]
    assert old is not None
    new = decode(memoryview(encode(old)))
    assert (new.size, new.extent, new.span(count)) == (old.size, old.extent, old.span(count))
    low, high = old.span(count)
    memory = bytearray(random.Random(count).randbytes(high - low))
    packed = [memoryview(bytearray(count * old.size)) for _ in range(2)]
    for datatype, out in zip((old, new), packed):
        datatype.pack(memoryview(memory), count, out, -low)
    assert packed[0] == packed[1]
    exposure = Exposure(memoryview(memory))
    assert exposure.read(-low, count * old.size, new) == packed[0]
    exposure.write(-low, memoryview(bytes(count * old.size)), new)
    assert not any(exposure.read(-low, count * old.size, old))
    for address in (-low - 1, -low + 1):
        with pytest.raises(MPIError) as caught:
            exposure.read(address, count * old.size, new)
        assert caught.value.error_class == ERR_RMA_RANGE


@pytest.mark.parametrize("op", ["SUM", "MAX", "REPLACE", "NO_OP"])
@pytest.mark.parametrize(
    "datatype",
    [INT, contiguous(INT, 3), vector(INT, 2, 1, 3), f90("integer", 9), TYPES["INTEGER4"], TYPES["UINT32_T"]],
    ids=["int", "contiguous", "vector", "f90", "fortran", "unsigned"],
)
def test_operations_by_code(op: str, datatype: Type) -> None:
    memory = np.arange(8, dtype="i4")
    data = np.array([10], "i4")
    Exposure(memoryview(memory).cast("B")).combine(4, memoryview(data).cast("B"), None, code_of(OPS[op], datatype))
    assert memory[:3].tolist() == [0, {"SUM": 11, "MAX": 10, "REPLACE": 10, "NO_OP": 1}[op], 2]


@pytest.mark.parametrize("pair", [TYPES["DOUBLE_INT"], value_index(DOUBLE, simple("LONG"))], ids=["named", "made"])
def test_pairs_by_code(pair: Type) -> None:
    packed = np.dtype([(name, pair.dtype.fields[name][0]) for name in ("value", "index")])  # type: ignore[union-attr,index]
    memory, data = np.zeros(2, packed), np.zeros(1, packed)
    data[0] = (-3, 7)
    view = memoryview(memory.view(np.uint8))
    Exposure(view).combine(packed.itemsize, memoryview(data.view(np.uint8)), None, code_of(OPS["MINLOC"], pair))
    assert memory.tolist() == [(0, 0), (-3, 7)]


@pytest.mark.parametrize(
    ("op", "datatype", "error"),
    [
        (OPS["BAND"], DOUBLE, ERR_OP),
        (OPS["MINLOC"], INT, ERR_OP),
        (OpImpl("user", True, None, lambda a, b, t: None), INT, ERR_OP),
        (OPS["SUM"], struct([1, 1], [0, 8], [INT, DOUBLE]), ERR_TYPE),
    ],
)
def test_what_does_not_accumulate(op: OpImpl, datatype: Type, error: int) -> None:
    with pytest.raises(MPIError) as caught:
        code_of(op, datatype)
    assert caught.value.error_class == error


@pytest.mark.parametrize("code", [255, 255 << 8, 255 << 16, -1])
def test_unknown_codes(code: int) -> None:
    with pytest.raises(MPIError):
        Exposure(memoryview(bytearray(8))).combine(0, memoryview(bytes(4)), None, code)
