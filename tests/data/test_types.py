"""Types: bounds as MPICH computes them, elements, contents."""

from __future__ import annotations

import pytest

from fmi_mpi import constants as c
from fmi_mpi.data import constructors as make
from fmi_mpi.data.predefined import TYPES, simple
from fmi_mpi.errors import MPIError

INT, DOUBLE, CHAR = simple("INT"), simple("DOUBLE"), simple("CHAR")
PAIR = TYPES["DOUBLE_INT"]
assert PAIR is not None
DEFAULT = c.DISTRIBUTE_DFLT_DARG


# (type, size, lb, extent, true lb, true extent); all measured with MPICH 5.
@pytest.mark.parametrize(
    ("made", "bounds"),
    [
        (make.hvector(INT, 2, 1, 9), (8, 0, 13, 0, 13)),
        (make.indexed(INT, [1, 2], [3, 0]), (12, 0, 16, 0, 16)),
        (make.hindexed(INT, [1, 2], [3, 0]), (12, 0, 8, 0, 8)),
        (make.indexed_block(INT, 2, [3, 0]), (16, 0, 20, 0, 20)),
        (make.hindexed_block(INT, 2, [3, 0]), (16, 0, 11, 0, 11)),
        (make.subarray(INT, [4, 4], [2, 2], [1, 1], c.ORDER_C), (16, 0, 64, 20, 24)),
        (make.subarray(INT, [4, 5], [2, 3], [1, 2], c.ORDER_F), (24, 0, 80, 36, 40)),
        (make.subarray(INT, [4], [0], [0], c.ORDER_C), (0, 0, 16, 0, 0)),
        (make.resized(INT, -3, 10), (4, -3, 10, 0, 4)),
        (make.vector(INT, 3, 2, -3), (24, -24, 32, -24, 32)),
        (make.hvector(INT, 3, 2, -9), (24, -18, 26, -18, 26)),
        (make.vector(INT, 0, 1, 1), (0, 0, 0, 0, 0)),
        (make.indexed(INT, [0, 0], [3, 5]), (0, 0, 0, 0, 0)),
        (make.indexed(INT, [0, 1], [3, 5]), (4, 20, 4, 20, 4)),
        (make.struct([1, 1], [0, 1], [CHAR, DOUBLE]), (9, 0, 16, 0, 9)),
        (make.struct([1, 1], [0, 4], [DOUBLE, CHAR]), (9, 0, 8, 0, 8)),
        (make.struct([0, 1], [0, 4], [DOUBLE, CHAR]), (1, 4, 1, 4, 1)),
        (make.struct([1, 1], [-9, 1], [DOUBLE, CHAR]), (9, -9, 16, -9, 11)),
        (make.struct([1, 1], [0, 16], [make.resized(DOUBLE, 0, 12), CHAR]), (9, 0, 24, 0, 17)),
        (make.struct([1, 1], [0, 16], [PAIR, CHAR]), (13, 0, 24, 0, 17)),
        (make.struct([1, 1], [0, 29], [INT, make.dup(INT)]), (8, 0, 33, 0, 33)),
        (make.struct([1, 1], [0, 29], [make.contiguous(INT, 2), INT]), (12, 0, 36, 0, 33)),
        (make.struct([], [], []), (0, 0, 0, 0, 0)),
        (make.contiguous(PAIR, 2), (24, 0, 32, 0, 28)),
        (
            make.darray(INT, 4, 1, [8, 8], [c.DISTRIBUTE_BLOCK] * 2, [DEFAULT] * 2, [2, 2], c.ORDER_C),
            (64, 0, 256, 16, 112),
        ),
        (
            make.darray(INT, 4, 1, [9, 8], [c.DISTRIBUTE_CYCLIC] * 2, [2, DEFAULT], [2, 2], c.ORDER_F),
            (80, 0, 288, 36, 252),
        ),
        (make.darray(INT, 4, 3, [9], [c.DISTRIBUTE_BLOCK], [DEFAULT], [4], c.ORDER_C), (0, 0, 36, 0, 0)),
    ],
)
def test_bounds(made, bounds):
    assert (made.size, made.lb, made.extent, made.true_lb, made.true_extent) == bounds


@pytest.mark.parametrize(
    ("construct", "error"),
    [
        (lambda: make.contiguous(INT, -1), c.ERR_COUNT),
        (lambda: make.vector(INT, -1, 1, 1), c.ERR_COUNT),
        (lambda: make.vector(INT, 1, -1, 1), c.ERR_COUNT),
        (lambda: make.indexed(INT, [1, -1], [0, 1]), c.ERR_COUNT),
        (lambda: make.struct([-1], [0], [INT]), c.ERR_COUNT),
        (lambda: make.subarray(INT, [4], [5], [0], c.ORDER_C), c.ERR_ARG),
        (lambda: make.subarray(INT, [4], [2], [3], c.ORDER_C), c.ERR_ARG),
        (lambda: make.subarray(INT, [4], [2], [1], 99), c.ERR_ARG),
        (lambda: make.subarray(INT, [], [], [], c.ORDER_C), c.ERR_DIMS),
        (lambda: make.darray(INT, 4, 9, [8], [c.DISTRIBUTE_BLOCK], [DEFAULT], [4], c.ORDER_C), c.ERR_ARG),
        (lambda: make.darray(INT, 4, 1, [8], [c.DISTRIBUTE_BLOCK], [1], [4], c.ORDER_C), c.ERR_ARG),
        (lambda: make.darray(INT, 4, 1, [8], [c.DISTRIBUTE_NONE], [DEFAULT], [4], c.ORDER_C), c.ERR_ARG),
        (lambda: make.darray(INT, 4, 1, [8], [77], [DEFAULT], [4], c.ORDER_C), c.ERR_ARG),
    ],
)
def test_what_the_standard_forbids_is_an_error(construct, error):
    with pytest.raises(MPIError) as caught:
        construct()
    assert caught.value.error_class == error


@pytest.mark.parametrize("order", [c.ORDER_C, c.ORDER_F])
@pytest.mark.parametrize(
    ("distribs", "dargs"),
    [
        ([c.DISTRIBUTE_BLOCK, c.DISTRIBUTE_CYCLIC], [DEFAULT, 2]),
        ([c.DISTRIBUTE_CYCLIC, c.DISTRIBUTE_BLOCK], [DEFAULT, DEFAULT]),
        ([c.DISTRIBUTE_CYCLIC, c.DISTRIBUTE_CYCLIC], [3, 1]),
    ],
)
def test_the_parts_of_a_darray_are_the_array(order, distribs, dargs):
    gsizes, psizes = [7, 5], [2, 3]
    memory = bytes(range(35))
    seen = bytearray()
    for rank in range(6):
        part = make.darray(CHAR, 6, rank, gsizes, distribs, dargs, psizes, order)
        packed = bytearray(part.size)
        part.pack(memoryview(memory), 1, memoryview(packed))
        seen += packed
    assert sorted(seen) == list(memory)


def test_a_subarray_is_numpys_slice():
    numpy = pytest.importorskip("numpy")
    array = numpy.arange(4 * 5 * 6, dtype="i").reshape(4, 5, 6)
    part = make.subarray(INT, [4, 5, 6], [2, 3, 4], [1, 1, 2], c.ORDER_C)
    packed = bytearray(part.size)
    part.pack(array.data.cast("B"), 1, memoryview(packed))
    assert packed == array[1:3, 1:4, 2:6].tobytes()


STRUCT = make.struct([2, 1], [0, 16], [INT, DOUBLE])


@pytest.mark.parametrize(
    ("datatype", "nbytes", "elements"),
    [
        (INT, 0, 0),
        (INT, 8, 2),
        (INT, 7, c.UNDEFINED),
        (STRUCT, 16, 3),
        (STRUCT, 32, 6),
        (STRUCT, 4, 1),
        (STRUCT, 20, 4),
        (STRUCT, 24, 5),
        (STRUCT, 10, c.UNDEFINED),
        (make.contiguous(STRUCT, 5000), 16 * 4999 + 8, 3 * 4999 + 2),
        (make.contiguous(INT, 0), 0, 0),
        (PAIR, 12, 2),
        (PAIR, 8, 1),
    ],
)
def test_elements_of_received_bytes(datatype, nbytes, elements):
    assert datatype.elements(nbytes) == elements
    if elements != c.UNDEFINED:
        assert datatype.element_bytes(elements) == nbytes


def test_basic_is_the_one_predefined_type_of_all_data():
    assert make.vector(make.dup(INT), 2, 1, 3).basic is INT
    assert make.struct([1, 0, 1], [0, 8, 16], [INT, DOUBLE, INT]).basic is INT
    assert STRUCT.basic is None
    assert make.contiguous(INT, 0).basic is None


@pytest.mark.parametrize(
    ("datatype", "dense"),
    [
        (INT, True),
        (TYPES["TWOINT"], True),
        (TYPES["SHORT_INT"], False),
        (make.contiguous(INT, 3), True),
        (make.vector(INT, 3, 2, 2), True),
        (make.vector(INT, 3, 1, 2), False),
        (make.hindexed(INT, [1, 1], [4, 0]), False),
        (make.hindexed(INT, [1, 1], [0, 4]), True),
        (make.struct([1, 1], [0, 8], [DOUBLE, DOUBLE]), True),
        (make.struct([1], [8], [DOUBLE]), False),
        (make.resized(INT, 0, 8), False),
        (make.subarray(INT, [4, 4], [4, 4], [0, 0], c.ORDER_C), True),
        (make.subarray(INT, [4, 4], [2, 4], [0, 0], c.ORDER_C), False),
        (make.contiguous(INT, 0), False),
    ],
)
def test_dense(datatype, dense):
    assert datatype.dense is dense
