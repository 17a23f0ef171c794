"""Derived datatypes in communication: what their layout sends, receives and counts, and what they say of themselves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from compat_tests.support import constant_name, neighbours, outcome, status_fields, values

CELLS = 64  # ints in the memory that each layout lies in; layouts start at cell 8
START = 8

Make = Callable[[Any], Any]

LAYOUTS: dict[str, Make] = {
    "dup": lambda MPI: MPI.INT.Dup(),
    "contiguous": lambda MPI: MPI.INT.Create_contiguous(3),
    "empty": lambda MPI: MPI.INT.Create_contiguous(0),
    "vector": lambda MPI: MPI.INT.Create_vector(3, 2, 4),
    "vector, dense": lambda MPI: MPI.INT.Create_vector(3, 2, 2),
    "vector, backwards": lambda MPI: MPI.INT.Create_vector(3, 1, -2),
    "hvector": lambda MPI: MPI.INT.Create_hvector(3, 2, 12),
    "hvector, uneven": lambda MPI: MPI.SHORT.Create_hvector(3, 1, 6),
    "indexed": lambda MPI: MPI.INT.Create_indexed([2, 0, 1], [0, 9, 4]),
    "indexed, unordered": lambda MPI: MPI.INT.Create_indexed([1, 2, 1], [6, 0, -2]),
    "hindexed": lambda MPI: MPI.INT.Create_hindexed([2, 1], [4, 20]),
    "indexed block": lambda MPI: MPI.INT.Create_indexed_block(2, [0, 5, 3]),
    "hindexed block": lambda MPI: MPI.INT.Create_hindexed_block(2, [0, 16]),
    "struct": lambda MPI: MPI.Datatype.Create_struct([1, 2, 1], [0, 4, 16], [MPI.INT, MPI.SHORT, MPI.DOUBLE]),
    "struct with a gap": lambda MPI: MPI.Datatype.Create_struct([3, 1], [0, 8], [MPI.CHAR, MPI.DOUBLE]),
    "subarray": lambda MPI: MPI.INT.Create_subarray([4, 5], [2, 3], [1, 1]),
    "subarray, Fortran": lambda MPI: MPI.INT.Create_subarray([4, 3], [2, 2], [1, 0], MPI.ORDER_FORTRAN),
    "subarray, 3 dimensions": lambda MPI: MPI.SHORT.Create_subarray([3, 2, 4], [2, 1, 2], [0, 1, 1]),
    "darray": lambda MPI: MPI.INT.Create_darray(
        4, 1, [4, 6], [MPI.DISTRIBUTE_BLOCK, MPI.DISTRIBUTE_CYCLIC], [MPI.DISTRIBUTE_DFLT_DARG] * 2, [2, 2]
    ),
    "resized larger": lambda MPI: MPI.INT.Create_resized(0, 12),
    "resized smaller": lambda MPI: MPI.INT.Create_vector(2, 1, 3).Create_resized(0, 4),
    "resized from below": lambda MPI: MPI.INT.Create_resized(-4, 12),
    "nested": lambda MPI: MPI.INT.Create_vector(2, 1, 2).Create_resized(0, 16).Create_contiguous(2),
    "struct of vectors": lambda MPI: MPI.Datatype.Create_struct(
        [1, 2], [0, 20], [MPI.INT.Create_vector(2, 1, 2), MPI.INT16_T]
    ),
    "pair": lambda MPI: MPI.DOUBLE_INT.Dup(),
}
layouts = pytest.mark.parametrize("layout", LAYOUTS)
counts = pytest.mark.parametrize("count", [0, 1, 2])


def memory(seed: int | None) -> np.ndarray[Any, Any]:
    return np.full(CELLS, -1, "i") if seed is None else values("i", CELLS, seed)


def at_start(cells: Any, count: int, datatype: Any) -> list[Any]:
    return [memoryview(cells)[START:], count, datatype]


@pytest.fixture
def datatype(MPI: Any, layout: str) -> Any:
    """The committed type of a layout."""
    made = LAYOUTS[layout](MPI).Commit()
    yield made
    made.Free()


@layouts
def test_what_it_says_of_itself(MPI: Any, datatype: Any, record: Any) -> None:
    record(datatype.Get_size(), datatype.Get_extent(), datatype.Get_true_extent())
    record(datatype.is_predefined, datatype.is_named, constant_name(MPI, datatype.combiner, *combiners(MPI)))


def combiners(MPI: Any) -> list[str]:
    return [name for name in dir(MPI) if name.startswith("COMBINER_")]


@layouts
def test_envelope_and_contents(MPI: Any, datatype: Any, record: Any) -> None:
    *numbers, combiner = datatype.Get_envelope()
    record(numbers, constant_name(MPI, combiner, *combiners(MPI)))
    integers, addresses, large, types = datatype.Get_contents()
    record(list(integers), list(addresses), list(large), [(part.Get_name(), part.Get_extent()) for part in types])


@layouts
def test_decode(MPI: Any, datatype: Any, record: Any) -> None:
    old, combiner, params = datatype.decode()
    params = {key: value for key, value in params.items() if key != "datatypes"}
    record(old.Get_name() if old else None, combiner, sorted(params), [params[key] for key in sorted(params)])


@layouts
@counts
def test_sent_and_received(MPI: Any, comm: Any, datatype: Any, layout: str, count: int, record: Any) -> None:
    before, after = neighbours(comm)
    target, status = memory(None), MPI.Status()
    source = memory(comm.Get_rank())
    comm.Sendrecv(at_start(source, count, datatype), after, 1, at_start(target, count, datatype), before, 1, status)
    record(target, status_fields(MPI, status, datatype), status.Get_count(MPI.BYTE))


@layouts
@counts
def test_sent_scattered_and_received_dense(
    MPI: Any, comm: Any, datatype: Any, layout: str, count: int, record: Any
) -> None:
    before, after = neighbours(comm)
    target = bytearray(400)
    source = memory(comm.Get_rank())
    request = comm.Irecv([target, count * datatype.Get_size(), MPI.BYTE], before, 1)
    comm.Send(at_start(source, count, datatype), after, 1)
    request.Wait()
    record(target)


@layouts
@counts
def test_sent_dense_and_received_scattered(
    MPI: Any, comm: Any, datatype: Any, layout: str, count: int, record: Any
) -> None:
    before, after = neighbours(comm)
    target = memory(None)
    request = comm.Irecv(at_start(target, count, datatype), before, 1)
    comm.Send(values("B", count * datatype.Get_size(), comm.Get_rank()), after, 1)
    request.Wait()
    record(target)


NO_INTS = ("empty", "hvector, uneven", "subarray, 3 dimensions", "struct with a gap", "pair")


@pytest.mark.parametrize("layout", [name for name in LAYOUTS if name not in NO_INTS])
def test_part_of_an_element(MPI: Any, comm: Any, datatype: Any, layout: str, record: Any) -> None:
    """Receive fewer basic elements than the type holds: the count is undefined, the elements are counted."""
    before, after = neighbours(comm)
    target, status = memory(None), MPI.Status()
    comm.Sendrecv(values("i", 1, 1), after, 1, at_start(target, 2, datatype), before, 1, status)
    record(target, status_fields(MPI, status, datatype))


@layouts
def test_broadcast(MPI: Any, comm: Any, datatype: Any, layout: str, record: Any) -> None:
    cells = memory(3 if comm.Get_rank() == 0 else None)
    comm.Bcast(at_start(cells, 2, datatype), 0)
    record(cells if comm.Get_rank() else None)


@pytest.mark.parametrize("rows", [3, 400, 2000])
def test_large_column(MPI: Any, comm: Any, rows: int, record: Any) -> None:
    """A strided message over the eager limit."""
    before, after = neighbours(comm)
    matrix, target = values("d", rows * 50, comm.Get_rank()).reshape(rows, 50), np.zeros((rows, 50))
    column = MPI.DOUBLE.Create_vector(rows, 5, 50).Commit()
    comm.Sendrecv([matrix, 1, column], after, 1, [target, 1, column], before, 1)
    column.Free()
    expected = values("d", rows * 50, before).reshape(rows, 50)
    assert np.array_equal(target[:, :5], expected[:, :5])
    assert not target[:, 5:].any()
    record(target)


def test_reduction_of_a_strided_type_is_refused(MPI: Any, comm: Any, record: Any) -> None:
    kind = MPI.INT.Create_vector(2, 1, 2).Commit()
    source, target = np.ones(4, "i"), np.ones(4, "i")
    record(outcome(MPI, comm.Allreduce, [source, 1, kind], [target, 1, kind], MPI.SUM))
    kind.Free()


def test_structured_array(MPI: Any, comm: Any, record: Any) -> None:
    """A record type of numpy as a struct with the extent of the record."""
    before, after = neighbours(comm)
    fields = [0, 8, 16]
    names = ["x", "y", "z"]
    layout = np.dtype({"names": names, "formats": ["i4", "f8", "S3"], "offsets": fields, "itemsize": 24})
    kinds = [MPI.INT32_T, MPI.DOUBLE, MPI.CHAR]
    part = MPI.Datatype.Create_struct([1, 1, 3], fields, kinds)
    kind = part.Create_resized(0, layout.itemsize).Commit()
    source, target = np.zeros(5, layout), np.zeros(5, layout)
    source["x"], source["y"], source["z"] = values("i4", 5), values("d", 5, 1), b"abc"
    comm.Sendrecv([source, 5, kind], after, 1, [target, 5, kind], before, 1)
    assert np.array_equal(source, target)
    record(target["x"], target["y"])
    part.Free()
    kind.Free()


def test_match_size(MPI: Any, record: Any) -> None:
    for typeclass in (MPI.TYPECLASS_INTEGER, MPI.TYPECLASS_REAL, MPI.TYPECLASS_COMPLEX):
        for size in (1, 2, 4, 8):
            try:
                record(MPI.Datatype.Match_size(typeclass, size).Get_size())
            except MPI.Exception as error:
                record(constant_name(MPI, error.Get_error_class(), "ERR_ARG", "ERR_TYPE"))


def test_names_and_lifetime(MPI: Any, record: Any) -> None:
    kind = MPI.INT.Create_contiguous(2)
    record(kind.Get_name(), MPI.INT.Get_name(), MPI.DATATYPE_NULL.Get_name())
    kind.Set_name("two")
    record(kind.Get_name(), kind.Dup().Get_name())
    kind.Free()
    record(kind == MPI.DATATYPE_NULL, outcome(MPI, kind.Free), outcome(MPI, MPI.INT.Free))
