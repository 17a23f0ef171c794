"""MPI.Exception, the boundary, and what error handlers do."""

from __future__ import annotations

import pickle

import pytest

from fmi_mpi import MPI
from fmi_mpi.api import exception
from fmi_mpi.api.errhandler import ErrhandlerImpl
from fmi_mpi.constants import ERR_RANK, ERR_TAG
from fmi_mpi.errors import MPIError


def test_compares_like_its_code():
    error = MPI.Exception(MPI.ERR_RANK)
    assert error == MPI.ERR_RANK and error == MPI.Exception(MPI.ERR_RANK)
    assert error != MPI.ERR_TAG and error != "text" and error != None  # noqa: E711
    assert MPI.Exception(MPI.SUCCESS) < error <= MPI.ERR_RANK < MPI.Exception(MPI.ERR_LASTCODE)
    assert error >= MPI.ERR_RANK and error > MPI.SUCCESS
    assert hash(error) == hash(MPI.ERR_RANK) and int(error) == MPI.ERR_RANK
    assert error and not MPI.Exception()
    with pytest.raises(TypeError):
        error < "text"  # noqa: B015


def test_tells_code_class_and_string():
    error = MPI.Exception(MPI.ERR_TRUNCATE)
    assert error.Get_error_code() == error.error_code == MPI.ERR_TRUNCATE
    assert error.Get_error_class() == error.error_class == MPI.ERR_TRUNCATE
    assert error.Get_error_string() == error.error_string == str(error) == "MPI_ERR_TRUNCATE: message truncated"
    assert repr(error) == f"MPI.Exception({MPI.ERR_TRUNCATE})"


@pytest.mark.parametrize("code", [-1, MPI.SUCCESS - 1, -100])
def test_a_negative_code_is_unknown(code):
    assert MPI.Exception(code) == MPI.ERR_UNKNOWN


@pytest.mark.parametrize(
    ("code", "kind"), [("3", TypeError), (None, TypeError), (b"3", TypeError), (1 << 40, OverflowError)]
)
def test_refuses_what_is_no_code(code, kind):
    with pytest.raises(kind):
        MPI.Exception(code)


def test_an_unknown_code_still_prints():
    code = MPI.ERR_LASTCODE + 999
    error = MPI.Exception(code)
    assert error == code and error.error_class == MPI.ERR_UNKNOWN
    assert str(code) in str(error)


def test_pickles():
    error = pickle.loads(pickle.dumps(MPI.Exception(MPI.ERR_RANK)))
    assert type(error) is MPI.Exception and error == MPI.ERR_RANK


def test_the_boundary_translates_and_notes_the_detail():
    @exception.boundary
    def fail(rank: int) -> None:
        """Fail."""
        raise MPIError(ERR_RANK, f"rank {rank} is not there")

    with pytest.raises(MPI.Exception) as caught:
        fail(7)
    assert caught.value == ERR_RANK
    assert caught.value.__notes__ == ["fmi_mpi: rank 7 is not there"]
    assert caught.value.__cause__ is None and caught.value.__suppress_context__
    assert fail.__doc__ == "Fail."


@pytest.mark.parametrize("kind", [ValueError, TypeError, KeyError, BufferError, OverflowError])
def test_the_boundary_lets_errors_of_arguments_pass(kind):
    @exception.boundary
    def fail() -> None:
        raise kind("argument")

    with pytest.raises(kind):
        fail()


def test_a_users_handler_is_called_and_the_call_still_fails():
    called = []
    handler = ErrhandlerImpl("user", "Test", lambda obj, code: called.append((obj, code)))
    with pytest.raises(MPI.Exception) as caught:
        exception.handle_error(MPIError(ERR_TAG, "bad tag"), handler, "object")
    assert called == [("object", ERR_TAG)] and caught.value == ERR_TAG
    handler.release()


class _World:
    proc = 3

    def __init__(self) -> None:
        self.aborted: list[int] = []

    def abort(self, code: int, message: str) -> None:
        self.aborted.append(code)
        self.message = message


@pytest.fixture
def world(monkeypatch):
    from fmi_mpi.runtime import process

    stub = _World()
    monkeypatch.setattr(process, "current", lambda: stub)
    return stub


@pytest.mark.parametrize("kind", ["fatal", "abort"])
def test_fatal_handlers_end_the_job_and_say_why(kind, world):
    with pytest.raises(MPI.Exception):  # the stub does not exit
        exception.handle_error(MPIError(ERR_TAG, "bad tag"), ErrhandlerImpl(kind), None)
    assert world.aborted == [ERR_TAG]
    assert world.message == "MPI_ERR_TAG: invalid tag: bad tag"


def test_an_exception_in_a_handler_ends_the_job(world, capsys):
    def fail(obj: object, code: int) -> None:
        raise ZeroDivisionError("in the handler")

    handler = ErrhandlerImpl("user", "Test", fail)
    with pytest.raises(MPI.Exception):
        exception.handle_error(MPIError(ERR_TAG), handler, None)
    assert world.aborted == [1]
    assert "ZeroDivisionError: in the handler" in capsys.readouterr().err
    handler.release()
