"""Typemaps against a naive model: an element as the list of its bytes' offsets, in the order of the data."""

from __future__ import annotations

from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fmi_mpi.data import constructors
from fmi_mpi.data.datatype import Type
from fmi_mpi.data.predefined import TYPES, simple
from fmi_mpi.data.typemap import Block, Scatter, runs

Bytes = list[int]
"""The offset of every byte of an element."""

ORIGIN = 1 << 14
MEMORY = bytes((7 * i + i // 251) % 253 for i in range(2 * ORIGIN))


def model(datatype: Type) -> Bytes:
    """Return the model of a predefined type."""
    if datatype is TYPES["SHORT_INT"]:
        return [0, 1, 4, 5, 6, 7]
    return list(range(datatype.size))


def placed(bytes_: Bytes, extent: int, displacements: list[int], blocklengths: list[int]) -> Bytes:
    """Return the model of blocks of elements."""
    return [
        at + i * extent + offset
        for at, count in zip(displacements, blocklengths)
        for i in range(count)
        for offset in bytes_
    ]


predefined = st.sampled_from(["CHAR", "SHORT", "INT", "DOUBLE", "SHORT_INT"]).map(
    lambda name: (TYPES[name], model(TYPES[name]))  # type: ignore[arg-type]
)


@st.composite
def derived(draw: st.DrawFn, inner: st.SearchStrategy[tuple[Type, Bytes]], least: int = 0) -> tuple[Type, Bytes]:
    """Types derived from ``inner``; no count is below ``least``."""
    small = st.integers(least, 3)
    old, bytes_ = draw(inner)
    extent = old.extent
    kind = draw(
        st.sampled_from(["contiguous", "vector", "hvector", "indexed", "hindexed", "block", "struct", "resized"])
    )
    if kind == "contiguous":
        count = draw(small)
        return constructors.contiguous(old, count), placed(bytes_, extent, [0], [count])
    if kind in ("vector", "hvector"):
        count, length, stride = draw(small), draw(small), draw(st.integers(-5, 6))
        step = stride * extent if kind == "vector" else stride
        made = getattr(constructors, kind)(old, count, length, stride)
        return made, placed(bytes_, extent, [i * step for i in range(count)], [length] * count)
    number = draw(st.integers(least, 20))
    at = draw(st.lists(st.integers(-40, 60), min_size=number, max_size=number))
    lengths = draw(st.lists(small, min_size=number, max_size=number))
    if kind == "indexed":
        at = [place // 4 for place in at]
        return constructors.indexed(old, lengths, at), placed(bytes_, extent, [a * extent for a in at], lengths)
    if kind == "hindexed":
        return constructors.hindexed(old, lengths, at), placed(bytes_, extent, at, lengths)
    if kind == "block":
        length = draw(small)
        return constructors.hindexed_block(old, length, at), placed(bytes_, extent, at, [length] * number)
    if kind == "struct":
        other, other_bytes = draw(predefined)
        made = constructors.struct([1, 2], [at[0] if at else 0, 9], [old, other])
        first = placed(bytes_, extent, [at[0] if at else 0], [1])
        return made, first + placed(other_bytes, other.extent, [9], [2])
    lb, new_extent = draw(st.integers(-9, 9)), draw(st.integers(-20, 90))
    return constructors.resized(old, lb, new_extent), bytes_


types = st.recursive(predefined, derived, max_leaves=3).filter(lambda pair: len(pair[1]) < 2000)
without_empty_parts = st.recursive(predefined, partial(derived, least=1), max_leaves=3).filter(
    lambda pair: len(pair[1]) < 2000
)


def offsets(bytes_: Bytes, extent: int, count: int) -> Bytes:
    return [ORIGIN + i * extent + offset for i in range(count) for offset in bytes_]


@settings(max_examples=300, deadline=None)
@given(types, st.integers(0, 4))
def test_pack_takes_the_bytes_of_the_model(pair: tuple[Type, Bytes], count: int) -> None:
    datatype, bytes_ = pair
    assert datatype.size == len(bytes_)
    packed = bytearray(count * datatype.size)
    datatype.pack(memoryview(MEMORY), count, memoryview(packed), ORIGIN)
    assert packed == bytes(MEMORY[at] for at in offsets(bytes_, datatype.extent, count))


@settings(max_examples=300, deadline=None)
@given(types, st.integers(1, 4), st.data())
def test_unpack_writes_the_bytes_of_the_model_and_no_others(
    pair: tuple[Type, Bytes], count: int, data: st.DataObject
) -> None:
    datatype, bytes_ = pair
    places = offsets(bytes_, datatype.extent, count)
    received = data.draw(st.integers(0, len(places)))
    if len(set(places)) < len(places):
        received = 0  # a type that writes a byte twice must not be received
    packed = bytes((5 * i + 1) % 256 for i in range(len(places)))
    memory = bytearray(2 * ORIGIN)
    expected = bytearray(2 * ORIGIN)
    for at, value in zip(places[:received], packed):
        expected[at] = value
    datatype.unpack_bytes(memoryview(packed), memoryview(memory), received, ORIGIN)
    assert memory == expected


@settings(max_examples=200, deadline=None)
@given(without_empty_parts, st.integers(1, 4))
def test_span_and_true_bounds_are_those_of_the_model(pair: tuple[Type, Bytes], count: int) -> None:
    datatype, bytes_ = pair
    assert datatype.true_lb == min(bytes_)
    assert datatype.true_extent == max(bytes_) + 1 - min(bytes_)
    places = offsets(bytes_, datatype.extent, count)
    assert datatype.span(count) == (min(places) - ORIGIN, max(places) + 1 - ORIGIN)


@settings(max_examples=200, deadline=None)
@given(types)
def test_dense_means_one_gap_free_run(pair: tuple[Type, Bytes]) -> None:
    datatype, bytes_ = pair
    gap_free = bool(bytes_) and bytes_ == list(range(len(bytes_))) and datatype.extent == len(bytes_)
    assert datatype.dense == gap_free


def test_runs_come_in_the_order_of_the_data() -> None:
    backwards = constructors.hindexed(simple("INT"), [1, 1, 1], [16, 8, 0])
    found = runs(backwards.typemap)
    assert found.positions.tolist() == [0, 4, 8]
    assert found.offsets.tolist() == [16, 8, 0]


def test_a_regular_pattern_is_one_block_whatever_made_it() -> None:
    column = constructors.vector(simple("DOUBLE"), 100, 1, 7)
    listed = constructors.indexed_block(simple("DOUBLE"), 1, [7 * i for i in range(100)])
    assert column.typemap == listed.typemap
    assert column.typemap == (Block(0, 0, 8, ((100, 56, 8),)),)


def test_repeating_a_pattern_does_not_write_it_out() -> None:
    million = constructors.contiguous(constructors.vector(simple("INT"), 1000, 1, 2), 1000)
    (piece,) = million.typemap
    assert type(piece) is Block
    assert len(piece.dims) == 2


def test_many_irregular_runs_are_a_scatter() -> None:
    places = [i * i for i in range(200)]
    (piece,) = constructors.indexed_block(simple("INT"), 1, places).typemap
    assert type(piece) is Scatter
    assert len(piece.lengths) == 199  # 0 and 1 adjoin


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("length", [3, 700])
def test_scatters_of_short_and_of_long_runs_move_alike(count: int, length: int) -> None:
    places = [i * (length + i) for i in range(30)]
    datatype = constructors.hindexed_block(simple("BYTE"), length, places)
    memory = bytes(i % 241 for i in range(datatype.extent * count))
    packed = bytearray(datatype.size * count)
    datatype.pack(memoryview(memory), count, memoryview(packed))
    expected = [
        memory[i * datatype.extent + at : i * datatype.extent + at + length] for i in range(count) for at in places
    ]
    assert packed == b"".join(expected)
    back = bytearray(len(memory))
    datatype.unpack(memoryview(packed), memoryview(back), count)
    again = bytearray(len(packed))
    datatype.pack(memoryview(back), count, memoryview(again))
    assert again == packed
