"""How pkl5 wraps an object: by any protocol, when asked to, and never handing an object back to its owner."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from fmi_mpi.util import pkl5

ARRAY = np.arange(100.0)


@pytest.fixture(autouse=True)
def defaults() -> Iterator[None]:
    yield
    pkl5.pickle.__init__()


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("threshold", [0, None])
def test_the_wrapper_unpickles_to_the_object(protocol: int, threshold: int | None) -> None:
    pkl5.pickle.THRESHOLD = threshold
    (got, text) = pickle.loads(pickle.dumps(pkl5._Packed((ARRAY, "text")), protocol))
    assert (got == ARRAY).all() and text == "text"


def test_buffers_stay_out_of_band() -> None:
    pkl5.pickle.THRESHOLD = 0
    left_out: list[Any] = []
    data = pickle.dumps(pkl5._Packed(ARRAY), 5, buffer_callback=left_out.append)
    assert max(len(view.raw()) for view in left_out) == ARRAY.nbytes
    assert len(data) < ARRAY.nbytes
    assert (pickle.loads(data, buffers=left_out) == ARRAY).all()


def test_what_is_not_sent_is_not_pickled() -> None:
    nowhere = pkl5.Intracomm(pkl5.MPI.COMM_SELF)
    nowhere.send(lambda: None, pkl5.MPI.PROC_NULL)
    with pytest.raises((AttributeError, pickle.PicklingError)):
        nowhere.send(lambda: None, 0)


def test_own_objects_come_back_as_copies() -> None:
    alone = pkl5.Intracomm(pkl5.MPI.COMM_SELF)
    own = [1]
    for got in (
        alone.bcast(own),
        alone.gather(own)[0],
        alone.allgather(own)[0],
        alone.scatter([own]),
        alone.alltoall([own])[0],
    ):
        assert got == own and got is not own


def test_irecv_says_what_to_do_instead() -> None:
    with pytest.raises(RuntimeError, match="mprobe"):
        pkl5.Intracomm(pkl5.MPI.COMM_SELF).irecv()
