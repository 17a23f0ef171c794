"""Error handlers: predefined ones, those of users, and the objects that have them."""

from __future__ import annotations

import gc

import pytest

import fmi_mpi
from fmi_mpi import MPI
from fmi_mpi.api.errhandler import policy

LIMIT = 32


@pytest.fixture(params=["Comm", "Session"])
def owner(request):
    made = MPI.COMM_SELF.Dup() if request.param == "Comm" else MPI.Session.Init()
    yield made
    made.free()


@pytest.mark.parametrize("handler", [MPI.ERRORS_RETURN, MPI.ERRORS_ABORT, MPI.ERRORS_ARE_FATAL])
def test_get_returns_what_was_set(owner, handler):
    before = owner.Get_errhandler()
    owner.Set_errhandler(handler)
    found = owner.Get_errhandler()
    assert found == handler and found is not handler
    found.Free()
    assert found == MPI.ERRHANDLER_NULL and handler
    owner.Set_errhandler(before)
    assert owner.Get_errhandler() == before


def test_a_users_handler_gets_object_and_code(owner):
    called = []
    handler = type(owner).Create_errhandler(lambda obj, code: called.append((obj == owner, code)))
    owner.Set_errhandler(handler)
    handler.Free()
    assert not handler
    owner.Call_errhandler(MPI.ERR_OTHER)
    owner.Call_errhandler(MPI.SUCCESS)
    assert called == [(True, MPI.ERR_OTHER), (True, MPI.SUCCESS)]


def test_a_failing_call_goes_to_the_handler_and_raises():
    called = []
    comm = MPI.COMM_SELF.Dup()
    handler = MPI.Comm.Create_errhandler(lambda obj, code: called.append(code))
    comm.Set_errhandler(handler)
    with pytest.raises(MPI.Exception) as caught:
        comm.Send(bytearray(1), dest=99)
    assert caught.value == MPI.ERR_RANK and called == [MPI.ERR_RANK]
    handler.Free()
    comm.Free()


def test_returning_handlers_do_nothing_when_called(owner):
    owner.Set_errhandler(MPI.ERRORS_RETURN)
    assert owner.Call_errhandler(MPI.ERR_OTHER) is None
    with pytest.raises(TypeError):
        owner.Call_errhandler("code")


@pytest.mark.parametrize("cls", [MPI.Comm, MPI.Session])
def test_the_number_of_users_handlers_is_limited_and_freeing_makes_room(cls):
    gc.collect()
    made = [cls.Create_errhandler(lambda obj, code: None) for _ in range(LIMIT)]
    with pytest.raises(RuntimeError, match=str(LIMIT)):
        cls.Create_errhandler(lambda obj, code: None)
    made.pop().Free()
    made.append(cls.Create_errhandler(lambda obj, code: None))
    del made
    gc.collect()
    cls.Create_errhandler(lambda obj, code: None).Free()


def test_the_limit_is_per_class():
    made = [MPI.Comm.Create_errhandler(lambda obj, code: None) for _ in range(LIMIT)]
    MPI.Session.Create_errhandler(lambda obj, code: None).Free()
    for handler in made:
        handler.Free()


@pytest.mark.parametrize("function", [None, 5])
def test_only_functions_become_handlers(function):
    with pytest.raises(TypeError):
        MPI.Comm.Create_errhandler(function)


def test_null_and_foreign_handlers_are_refused(owner):
    other = MPI.Session if isinstance(owner, MPI.Comm) else MPI.Comm
    foreign = other.Create_errhandler(lambda obj, code: None)
    for handler in (MPI.ERRHANDLER_NULL, foreign):
        with pytest.raises(MPI.Exception) as caught:
            owner.Set_errhandler(handler)
        assert caught.value == MPI.ERR_ERRHANDLER
    with pytest.raises(TypeError):
        owner.Set_errhandler(None)
    foreign.Free()


@pytest.mark.parametrize(
    ("null", "errorclass"),
    [(MPI.COMM_NULL, MPI.ERR_COMM), (MPI.SESSION_NULL, MPI.ERR_SESSION)],
    ids=["Comm", "Session"],
)
@pytest.mark.parametrize("method", ["Get_errhandler", "Set_errhandler", "Call_errhandler"])
def test_null_objects_have_no_handler(null, errorclass, method):
    arguments = {"Get_errhandler": (), "Set_errhandler": (MPI.ERRORS_RETURN,), "Call_errhandler": (0,)}[method]
    with pytest.raises(MPI.Exception) as caught:
        getattr(null, method)(*arguments)
    assert caught.value == errorclass


def test_freeing():
    for handler in (MPI.ERRORS_RETURN, MPI.ERRORS_ABORT, MPI.ERRORS_ARE_FATAL):
        handler.Free()
        assert handler
    with pytest.raises(MPI.Exception) as caught:
        MPI.ERRHANDLER_NULL.Free()
    assert caught.value == MPI.ERR_ERRHANDLER


@pytest.mark.parametrize(
    ("errors", "handler"),
    [
        ("exception", MPI.ERRORS_RETURN),
        ("default", MPI.ERRORS_ARE_FATAL),
        ("fatal", MPI.ERRORS_ARE_FATAL),
        ("abort", MPI.ERRORS_ABORT),
    ],
)
def test_the_policy_follows_the_options(monkeypatch, errors, handler):
    monkeypatch.setattr(fmi_mpi.rc, "errors", errors)
    assert policy() is handler._handle
    session = MPI.Session.Init()
    assert session.Get_errhandler() == handler
    session.Finalize()


def test_an_unknown_policy_names_the_known_ones(monkeypatch):
    monkeypatch.setattr(fmi_mpi.rc, "errors", "ignore")
    with pytest.raises(ValueError, match=r"'ignore'.*exception, default, fatal, abort"):
        policy()
