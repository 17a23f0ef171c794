"""Layouts of arbitrary nested types move the same bytes as a reference that lists them one by one."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from fmi_mpi import constants as c
from fmi_mpi.data import constructors as make
from fmi_mpi.data.datatype import Type
from fmi_mpi.data.predefined import TYPES
from fmi_mpi.data.typemap import runs

BASES = ("CHAR", "SHORT", "INT", "DOUBLE", "LONG_DOUBLE", "SHORT_INT", "DOUBLE_INT")
LIMIT = 4000  # bytes of a type
FAR = 30  # as many displacements at most: more than are kept as single blocks


class Sample(NamedTuple):
    """A type and the offsets of its bytes, in the order of packed data."""

    datatype: Type
    offsets: list[int]


def placed(old: Sample, *starts: int) -> list[int]:
    return [start + offset for start in starts for offset in old.offsets]


def block(old: Sample, at: int, length: int) -> list[int]:
    return placed(old, *(at + i * old.datatype.extent for i in range(length)))


def base(name: str) -> Sample:
    found = TYPES[name]
    assert found is not None
    if found.dtype is None or found.dtype.fields is None:
        return Sample(found, list(range(found.size)))
    fields = [found.dtype.fields[field][:2] for field in found.dtype.names or ()]
    return Sample(found, [at + i for dtype, at in fields for i in range(dtype.itemsize)])


@st.composite
def contiguous(draw: st.DrawFn, olds: st.SearchStrategy[Sample]) -> Sample:
    old, count = draw(olds), draw(st.integers(0, 5) | st.just(200))
    assume(count * old.datatype.size <= LIMIT)
    return Sample(make.contiguous(old.datatype, count), block(old, 0, count))


@st.composite
def vectors(draw: st.DrawFn, olds: st.SearchStrategy[Sample]) -> Sample:
    old, length, bytewise = draw(olds), draw(st.integers(0, 3)), draw(st.booleans())
    count, stride = draw(st.integers(0, FAR)), draw(st.integers(-9, 20))
    assume(count * length * old.datatype.size <= LIMIT)
    build, unit = (make.hvector, 1) if bytewise else (make.vector, old.datatype.extent)
    offsets = [offset for i in range(count) for offset in block(old, i * stride * unit, length)]
    return Sample(build(old.datatype, count, length, stride), offsets)


@st.composite
def indexed(draw: st.DrawFn, olds: st.SearchStrategy[Sample]) -> Sample:
    old, bytewise, equal = draw(olds), draw(st.booleans()), draw(st.booleans())
    places = draw(st.lists(st.integers(-20, 60), max_size=FAR))
    if draw(st.booleans()):
        places.sort()
    number = len(places)
    every = st.lists(st.integers(0, 3), min_size=number, max_size=number)
    lengths = [draw(st.integers(0, 3))] * number if equal else draw(every)
    assume(sum(lengths) * old.datatype.size <= LIMIT)
    unit = 1 if bytewise else old.datatype.extent
    offsets = [offset for at, length in zip(places, lengths) for offset in block(old, at * unit, length)]
    if equal and number:
        build_block = make.hindexed_block if bytewise else make.indexed_block
        return Sample(build_block(old.datatype, lengths[0], places), offsets)
    build = make.hindexed if bytewise else make.indexed
    return Sample(build(old.datatype, lengths, places), offsets)


@st.composite
def structs(draw: st.DrawFn, olds: st.SearchStrategy[Sample]) -> Sample:
    parts = draw(st.lists(olds, max_size=4))
    places = [draw(st.integers(-50, 100)) for _ in parts]
    lengths = [draw(st.integers(0, 3)) for _ in parts]
    assume(sum(part.datatype.size * length for part, length in zip(parts, lengths)) <= LIMIT)
    offsets = [offset for row in zip(parts, places, lengths) for offset in block(*row)]
    return Sample(make.struct(lengths, places, [part.datatype for part in parts]), offsets)


@st.composite
def resized(draw: st.DrawFn, olds: st.SearchStrategy[Sample]) -> Sample:
    old = draw(olds)
    return Sample(make.resized(old.datatype, draw(st.integers(-9, 9)), draw(st.integers(-40, 80))), old.offsets)


@st.composite
def subarrays(draw: st.DrawFn, olds: st.SearchStrategy[Sample]) -> Sample:
    old = draw(olds)
    dims = draw(st.lists(st.tuples(*[st.integers(0, 4)] * 3), min_size=1, max_size=3))
    starts, subsizes = [dim[0] for dim in dims], [dim[1] for dim in dims]
    sizes = [max(sum(dim), 1) for dim in dims]
    order = draw(st.sampled_from([c.ORDER_C, c.ORDER_F]))
    assume(math.prod(subsizes) * old.datatype.size <= LIMIT)
    letter: Literal["C", "F"] = "C" if order == c.ORDER_C else "F"
    cells = np.reshape(np.arange(math.prod(sizes)), sizes, letter)
    part = cells[tuple(slice(start, start + n) for start, n in zip(starts, subsizes))]
    offsets = placed(old, *(cell * old.datatype.extent for cell in part.ravel(letter).tolist()))
    return Sample(make.subarray(old.datatype, sizes, subsizes, starts, order), offsets)


def derived(olds: st.SearchStrategy[Sample]) -> st.SearchStrategy[Sample]:
    kinds = (contiguous, vectors, indexed, structs, resized, subarrays)
    return st.one_of(*(kind(olds) for kind in kinds))


samples = st.recursive(st.sampled_from(BASES).map(base), derived, max_leaves=6)
counts = st.integers(0, 3) | st.just(40)
relaxed = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow]
)


class Memory(NamedTuple):
    """Memory of ``count`` elements, the index of the first one's offset 0, and of each packed byte."""

    cells: bytearray
    origin: int
    places: list[int]


def memory(sample: Sample, count: int, misalignment: int, fill: int | None = None) -> Memory:
    datatype, offsets = sample
    every = [element * datatype.extent + offset for element in range(count) for offset in offsets]
    origin = max(0, -min(every, default=0)) + misalignment
    size = origin + max(every, default=0) + 1
    assume(size < 200_000 and len(every) < 50_000)
    noise = np.random.default_rng(size).integers(0, 256, size, np.uint8).tobytes()
    cells = bytearray(noise) if fill is None else bytearray([fill]) * size
    return Memory(cells, origin, [origin + offset for offset in every])


@relaxed
@given(samples, counts, st.integers(0, 8))
def test_pack_takes_the_bytes_in_order(sample: Sample, count: int, misalignment: int) -> None:
    cells, origin, places = memory(sample, count, misalignment)
    out = bytearray(count * sample.datatype.size)
    sample.datatype.pack(memoryview(cells).toreadonly(), count, memoryview(out), origin)
    assert out == bytes(cells[place] for place in places)


@relaxed
@given(samples, counts, st.integers(0, 8), st.integers(0, 10_000))
def test_unpack_puts_them_back_and_touches_nothing_else(
    sample: Sample, count: int, misalignment: int, missing: int
) -> None:
    cells, origin, places = memory(sample, count, misalignment, fill=0xEE)
    assume(len(set(places)) == len(places))  # receiving into overlapping elements is erroneous (MPI-4.1, 3.2.2)
    nbytes = max(0, len(places) - missing)
    data = bytes(i % 251 for i in range(nbytes))
    expected = bytearray(cells)
    for place, value in zip(places, data):
        expected[place] = value
    sample.datatype.unpack_bytes(memoryview(data), memoryview(cells), nbytes, origin)
    assert cells == expected


def hollow(datatype: Type) -> bool:
    """Return whether a part is without data; as in MPICH, such parts count for the true bounds of a struct."""
    return not datatype.size or any(not count or hollow(part) for part, count in datatype.content)


@relaxed
@given(samples, counts)
def test_bounds_of_the_data(sample: Sample, count: int) -> None:
    datatype, offsets = sample
    assert datatype.size == len(offsets)
    assume(not hollow(datatype))
    assert datatype.true_lb == min(offsets)
    assert datatype.true_lb + datatype.true_extent == max(offsets) + 1
    if count:
        every = [element * datatype.extent + offset for element in (0, count - 1) for offset in offsets]
        assert datatype.span(count) == (min(every), max(every) + 1)


@relaxed
@given(samples)
def test_dense_is_one_range_from_element_to_element(sample: Sample) -> None:
    datatype, offsets = sample
    if offsets:
        assert datatype.dense == (offsets == list(range(len(offsets))) and datatype.extent == datatype.size)


@pytest.mark.parametrize("number", [5, 40])
def test_elements_in_another_order_are_not_dense(number: int) -> None:
    places = np.random.default_rng(1).permutation(number).tolist()
    datatype = make.indexed_block(base("INT").datatype, 1, places)
    assert (datatype.size, datatype.extent, datatype.dense) == (4 * number, 4 * number, False)
    out = bytearray(4 * number)
    datatype.pack(np.arange(number, dtype="i4").data.cast("B"), 1, memoryview(out))
    assert np.frombuffer(out, "i4").tolist() == places


@relaxed
@given(samples)
def test_runs_are_joined_and_in_order(sample: Sample) -> None:
    offsets, positions, lengths = (column.tolist() for column in runs(sample.datatype.typemap))
    listed = [offset + i for offset, length in zip(offsets, lengths) for i in range(length)]
    assert listed == sample.offsets
    assert positions == [sum(lengths[:i]) for i in range(len(lengths))]
    assert all(offset + length != after for offset, length, after in zip(offsets, lengths, offsets[1:]))


@relaxed
@given(samples, st.integers(0, 300))
def test_elements_and_their_bytes(sample: Sample, count: int) -> None:
    datatype = sample.datatype
    if datatype.size:
        assert datatype.elements(datatype.element_bytes(count)) == count


@pytest.mark.parametrize("rank", range(6))
@pytest.mark.parametrize("order", [c.ORDER_C, c.ORDER_F])
@pytest.mark.parametrize("arguments", [(c.DISTRIBUTE_DFLT_DARG, 2), (3, c.DISTRIBUTE_DFLT_DARG)])
def test_darray_is_the_share_of_a_process(rank: int, order: int, arguments: tuple[int, int]) -> None:
    sizes, grid = (7, 5), (3, 2)
    place = divmod(rank, 2)
    blocks = [3 if arguments[0] < 0 else arguments[0], 1 if arguments[1] < 0 else arguments[1]]
    mine = [
        [i for i in range(size) if i // length % processes == at]
        for size, length, processes, at in zip(sizes, blocks, grid, place)
    ]
    letter: Literal["C", "F"] = "C" if order == c.ORDER_C else "F"
    cells = np.reshape(np.arange(35, dtype="i4"), sizes, letter)
    kinds = (c.DISTRIBUTE_BLOCK, c.DISTRIBUTE_CYCLIC)
    datatype = make.darray(base("INT").datatype, 6, rank, sizes, kinds, arguments, grid, order)
    out = bytearray(datatype.size)
    datatype.pack(memoryview(cells.tobytes(letter)), 1, memoryview(out))
    assert bytes(out) == cells[np.ix_(*mine)].ravel(letter).tobytes()
    assert (datatype.lb, datatype.extent) == (0, 35 * 4)
