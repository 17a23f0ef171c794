"""File views against a naive model: the offset in the file of every byte of the stream."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fmi_mpi import constants as c
from fmi_mpi.data import constructors, fileview
from fmi_mpi.data.datatype import Type
from fmi_mpi.data.fileview import View, windows
from fmi_mpi.data.predefined import BYTE, simple
from fmi_mpi.data.typemap import Scatter
from fmi_mpi.errors import MPIError

INT = simple("INT")
SHORT = simple("SHORT")


def committed(datatype: Type) -> Type:
    datatype.ready = True
    return datatype


def blocks(lengths: list[int], displacements: list[int], extent: int | None = None, old: Type = BYTE) -> Type:
    made = constructors.hindexed(old, lengths, displacements)
    return committed(made if extent is None else constructors.resized(made, 0, extent))


def bytes_of(view: View, start: int, nbytes: int) -> list[int]:
    """Return the offset of every byte that an access has, in the order of the data."""
    found: list[int] = []
    for chunk in view.extents(start, nbytes):
        for offset, position, length in zip(*(column.tolist() for column in chunk)):
            assert position == len(found)
            assert length > 0
            found.extend(range(offset, offset + length))
    return found


def model(disp: int, pattern: list[int], extent: int, start: int, nbytes: int) -> list[int]:
    """Return the same, byte by byte. ``pattern``: offsets of the bytes of one filetype."""
    size = len(pattern)
    return [disp + i // size * extent + pattern[i % size] for i in range(start, start + nbytes)] if size else []


@st.composite
def patterns(draw: st.DrawFn) -> tuple[list[int], list[int], int]:
    """Draw lengths and displacements of blocks that neither overlap nor go back, and an extent."""
    number = draw(st.integers(1, 6))
    lengths, displacements, at = [], [], 0
    for _ in range(number):
        at += draw(st.integers(0, 5))
        lengths.append(draw(st.integers(0, 4)))
        displacements.append(at)
        at += lengths[-1]
    return lengths, displacements, draw(st.integers(1, 40)) if draw(st.booleans()) else at + draw(st.integers(0, 5))


@settings(deadline=None)
@given(patterns(), st.integers(0, 9), st.integers(0, 60), st.integers(0, 60), st.sampled_from([1, 2, 7, 1 << 16]))
def test_extents_and_offsets(
    pattern: tuple[list[int], list[int], int], disp: int, start: int, nbytes: int, chunk: int
) -> None:
    lengths, displacements, extent = pattern
    view = View(disp, BYTE, blocks(lengths, displacements, extent))
    offsets = [at + i for at, length in zip(displacements, lengths) for i in range(length)]
    wanted = model(disp, offsets, extent, start, nbytes)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fileview, "_CHUNK", chunk)
        assert bytes_of(view, start, nbytes) == wanted
    for i, offset in enumerate(wanted):
        assert view.byte_offset(start + i) == offset
    if wanted:
        low, high = view.span(start, nbytes)
        assert low <= min(wanted) and max(wanted) < high


@settings(deadline=None)
@given(patterns(), st.integers(0, 9), st.integers(0, 100), st.sampled_from([1, 2, 3]))
def test_visible(pattern: tuple[list[int], list[int], int], disp: int, size: int, unit: int) -> None:
    lengths, displacements, extent = pattern
    lengths, displacements, extent = ([unit * n for n in numbers] for numbers in (lengths, displacements, [extent]))
    etype = committed(constructors.contiguous(BYTE, unit))
    view = View(disp, etype, blocks(lengths, displacements, extent[0]))
    offsets = [at + i for at, length in zip(displacements, lengths) for i in range(length)]
    below = [offset for offset in model(disp, offsets, extent[0], 0, len(offsets) * 110) if offset < size]
    assert view.visible(size) == -(-len(below) // unit)


@pytest.mark.parametrize(
    ("filetype", "start", "nbytes", "wanted"),
    [
        (BYTE, 5, 3, [(15, 3)]),
        (blocks([4, 4], [0, 8], 16), 0, 16, [(10, 4), (18, 4), (26, 4), (34, 4)]),
        (blocks([4, 4], [0, 8], 16), 2, 4, [(12, 2), (18, 2)]),
        (blocks([4], [0], 8), 4, 4, [(18, 4)]),
        (blocks([4], [4], 8), 2, 4, [(16, 2), (22, 2)]),
        (blocks([8], [0], 4), 0, 16, [(10, 8), (14, 8)]),
        (blocks([2, 2], [0, 2], 4), 1, 9, [(11, 9)]),
        (blocks([3], [0], -8), 0, 6, [(10, 3), (2, 3)]),
        (blocks([0], [0]), 0, 6, []),
    ],
    ids=["dense", "two blocks", "parts", "second", "leading gap", "interleaved", "no gaps", "backwards", "no data"],
)  # fmt: skip
def test_table(filetype: Type, start: int, nbytes: int, wanted: list[tuple[int, int]]) -> None:
    view = View(10, BYTE, filetype)
    found = [
        run for chunk in view.extents(start, nbytes) for run in zip(chunk.offsets.tolist(), chunk.lengths.tolist())
    ]
    assert found == wanted


@pytest.mark.parametrize(
    ("disp", "etype", "filetype", "writable", "error"),
    [
        (-1, BYTE, BYTE, True, c.ERR_ARG),
        (0, INT, SHORT, True, c.ERR_ARG),
        (0, INT, blocks([4, 2], [0, 8]), True, c.ERR_ARG),
        (0, INT, constructors.contiguous(INT, 2), True, c.ERR_TYPE),
        (0, constructors.contiguous(INT, 1), INT, True, c.ERR_TYPE),
        (8, INT, blocks([4], [-4]), True, c.ERR_IO),
        (0, INT, blocks([4, 4], [8, 0]), False, c.ERR_IO),
        (0, INT, blocks([4, 4], [0, 2]), True, c.ERR_IO),
    ],
)
def test_refused(disp: int, etype: Type, filetype: Type, writable: bool, error: int) -> None:
    with pytest.raises(MPIError) as caught:
        View(disp, etype, filetype, writable)
    assert caught.value.error_class == error


def test_overlap_may_be_read() -> None:
    view = View(0, INT, blocks([4, 4], [0, 2]), writable=False)
    assert bytes_of(view, 0, 8) == [0, 1, 2, 3, 2, 3, 4, 5]


def test_small_access_to_a_large_filetype() -> None:
    at = list(range(0, 1 << 20, 4))
    view = View(0, BYTE, blocks([2] * len(at), at))
    (chunk,) = view.extents(200_001, 4)
    assert list(map(list, chunk)) == [[400_001, 400_004, 400_008], [0, 1, 3], [1, 2, 1]]


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(-30, 30), st.integers(1, 9)), min_size=1, max_size=20),
    st.integers(0, 20),
    st.sampled_from([5, 1 << 20]),
)
def test_windows(steps: list[tuple[int, int]], gap: int, reach: int) -> None:
    lengths = np.array([length for _, length in steps], np.int64)
    moves = np.array([step for step, _ in steps], np.int64)
    offsets = 1000 + np.cumsum(moves + lengths) - lengths
    chunk = Scatter(offsets, np.cumsum(lengths) - lengths, lengths)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fileview, "_REACH", reach)
        found = list(windows(chunk, gap))
    assert [window.first for window in found] == [0, *(window.last for window in found[:-1])]
    assert found[-1].last == len(steps)
    for window in found:
        runs = list(zip(offsets[window.first : window.last].tolist(), lengths[window.first : window.last].tolist()))
        assert (window.low, window.high) == (runs[0][0], sum(runs[-1]))
        assert len(runs) == 1 or window.high - window.low <= reach
        for (offset, length), (following, _) in itertools.pairwise(runs):
            assert 0 <= following - offset - length <= gap
