"""Sessions: process sets, hints, buffers, and what a finalized one refuses."""

from __future__ import annotations

import pickle

import pytest

from fmi_mpi import MPI

NULL = MPI.SESSION_NULL


@pytest.fixture
def session():
    made = MPI.Session.Init()
    yield made
    made.free()


def test_begins_and_ends(session):
    assert session and session != MPI.SESSION_NULL and MPI.Session(session) == session
    session.Finalize()
    assert session == MPI.SESSION_NULL
    with pytest.raises(MPI.Exception) as caught:
        session.Finalize()
    assert caught.value == MPI.ERR_SESSION
    session.free()


def test_process_sets(session):
    names = [session.Get_nth_pset(n) for n in range(session.Get_num_psets())]
    assert names == ["mpi://WORLD", "mpi://SELF"]
    for name, comm in zip(names, (MPI.COMM_WORLD, MPI.COMM_SELF), strict=True):
        assert session.Get_pset_info(name)["mpi_size"] == str(comm.size)
        for spelling in (name, name.lower(), name.encode()):
            assert session.Create_group(spelling).Compare(comm.Get_group()) == MPI.IDENT
        assert MPI.Group.Create_from_session_pset(session, name).size == comm.size


def test_groups_outlive_the_session():
    session = MPI.Session.Init()
    group = session.Create_group("mpi://SELF")
    session.Finalize()
    assert group.rank == 0


@pytest.mark.parametrize(
    ("method", "arguments"),
    [("Get_nth_pset", (-1,)), ("Get_nth_pset", (2,)), ("Get_pset_info", ("@",)), ("Create_group", ("@",))],
)
def test_unknown_process_sets(session, method, arguments):
    with pytest.raises(MPI.Exception) as caught:
        getattr(session, method)(*arguments)
    assert caught.value == MPI.ERR_ARG


@pytest.mark.parametrize(
    ("method", "arguments"),
    [
        ("Finalize", ()),
        ("Get_num_psets", ()),
        ("Get_nth_pset", (0,)),
        ("Get_info", ()),
        ("Get_pset_info", ("mpi://SELF",)),
        ("Create_group", ("mpi://SELF",)),
        ("Detach_buffer", ()),
        ("Flush_buffer", ()),
        ("Iflush_buffer", ()),
    ],
)
def test_the_null_session_is_refused(method, arguments):
    with pytest.raises(MPI.Exception) as caught:
        getattr(NULL, method)(*arguments)
    assert caught.value == MPI.ERR_SESSION


def test_hints():
    session = MPI.Session.Init(MPI.Info.Create({"thread_level": "MPI_THREAD_SINGLE"}))
    assert session.Get_info()["thread_level"] == "MPI_THREAD_MULTIPLE"
    session.Finalize()
    with pytest.raises(MPI.Exception) as caught:
        MPI.Session.Init(MPI.Info.Create({"thread_level": "bogus"}))
    assert caught.value == MPI.ERR_OTHER and "MPI_THREAD_FUNNELED" in caught.value.__notes__[0]


def test_error_handler_at_the_beginning():
    session = MPI.Session.Init(errhandler=MPI.ERRORS_ABORT)
    assert session.Get_errhandler() == MPI.ERRORS_ABORT
    session.Finalize()
    with pytest.raises(MPI.Exception) as caught:
        MPI.Session.Init(errhandler=MPI.ERRHANDLER_NULL)
    assert caught.value == MPI.ERR_ERRHANDLER


def test_buffers(session):
    buffer = bytearray(1 << 12)
    session.Attach_buffer(buffer)
    with pytest.raises(MPI.Exception) as caught:
        session.Attach_buffer(bytearray(1))
    assert caught.value == MPI.ERR_BUFFER
    session.Flush_buffer()
    session.Iflush_buffer().Wait()
    detached = session.Detach_buffer()
    assert memoryview(detached).nbytes == len(buffer)
    session.Attach_buffer(MPI.BUFFER_AUTOMATIC)
    assert session.Detach_buffer() == MPI.BUFFER_AUTOMATIC


def test_does_not_pickle(session):
    with pytest.raises(ValueError, match="Session"):
        pickle.dumps(session)
