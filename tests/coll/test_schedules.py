"""Cuts, trees and folds: properties that the algorithms rest on."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fmi_mpi.coll.objects.blobs import pack, unpack
from fmi_mpi.coll.schedules import bounds, fold, offsets, tree

SIZES = range(1, 40)


@given(elements=st.integers(0, 1000), parts=st.integers(1, 40), granule=st.sampled_from((1, 2, 12, 16)))
def test_bounds_cut_at_granules_into_even_blocks(elements: int, parts: int, granule: int) -> None:
    cut = bounds(elements * granule, parts, granule)
    blocks = [last - first for first, last in pairwise(cut)]
    assert cut[0] == 0 and cut[-1] == elements * granule and len(blocks) == parts
    assert all(offset % granule == 0 for offset in cut)
    assert blocks == sorted(blocks, reverse=True) and blocks[0] - blocks[-1] in (0, granule)


def test_offsets() -> None:
    assert offsets((3, 0, 5)) == (0, 3, 3, 8)


@pytest.mark.parametrize("size", SIZES)
def test_tree_covers_all_ranks_once(size: int) -> None:
    for root in {0, size // 2, size - 1}:
        places = [tree(size, rank, root) for rank in range(size)]
        assert [rank for rank in range(size) if places[rank].parent < 0] == [root]
        assert sorted(child for place in places for child in place.children) == sorted(set(range(size)) - {root})
        for rank, place in enumerate(places):
            assert all(places[child].parent == rank for child in place.children)
            assert place.branches == tuple((places[child].relative, places[child].span) for child in place.children)
            assert place.span == 1 + sum(span for _, span in place.branches)


@pytest.mark.parametrize("size", SIZES)
def test_fold_leaves_a_power_of_two_in_rank_order(size: int) -> None:
    folds = [fold(size, rank) for rank in range(size)]
    places = {found.place: rank for rank, found in enumerate(folds) if found.place >= 0}
    assert list(places) == list(range(folds[0].power)) and folds[0].power * 2 > size >= folds[0].power
    for rank, found in enumerate(folds):
        assert found.peers == tuple(places[found.place ^ (1 << k)] for k in range(len(found.peers)))
        if found.place < 0:
            assert found.partner == rank + 1 and folds[rank + 1].partner == rank
    assert sum(found.place < 0 for found in folds) == folds[0].rest == size - folds[0].power


@given(st.lists(st.tuples(st.lists(st.binary(max_size=200), min_size=1, max_size=3), st.integers(0, 3)), max_size=12))
def test_packed_blobs_come_out_aligned(blobs: list[tuple[list[bytes], int]]) -> None:
    message = memoryview(b"".join(pack([([memoryview(part) for part in parts], flags) for parts, flags in blobs])))
    received = unpack(message)
    assert [(bytes(view), flags) for view, flags in received] == [(b"".join(parts), flags) for parts, flags in blobs]
    assert len(message) % 64 == 0


@pytest.mark.parametrize("count", [1, 5, 200])
def test_packing_large_blobs_copies_none_of_them(count: int) -> None:
    large = memoryview(bytearray(100_000 // count))
    views = pack([((large,), 0)] * count)
    if count < 200:
        assert sum(view.obj is large.obj for view in views) == count
    else:
        assert len(views) == 1
