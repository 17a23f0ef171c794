"""Starting and ending MPI, what can be asked at which time, and the shape of the namespace."""

from __future__ import annotations

import subprocess
import sys
import threading
import typing

import pytest

import fmi_mpi.typing
from fmi_mpi import MPI
from fmi_mpi.api import docs


def run(program: str) -> str:
    """Run a program in a process of its own; returns its output."""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


LATER = "import fmi_mpi; fmi_mpi.rc.initialize = False; from fmi_mpi import MPI; "


def test_importing_initializes():
    assert MPI.Is_initialized() is True and MPI.Is_finalized() is False
    with pytest.raises(MPI.Exception) as caught:
        MPI.Init()
    assert caught.value == MPI.ERR_OTHER


@pytest.mark.parametrize("start", ["MPI.Init()", "MPI.Init_thread()", "MPI.Init_thread(MPI.THREAD_SINGLE)"])
def test_states_from_before_init_to_after_finalize(start):
    asked = "(MPI.Is_initialized(), MPI.Is_finalized(), bool(MPI.COMM_WORLD))"
    program = f"{LATER} a = {asked}; {start}; b = {asked}; MPI.Finalize(); c = {asked}; print(a, b, c)"
    assert run(program) == "(False, False, False) (True, False, True) (True, True, True)"


def test_what_can_be_used_before_init():
    program = f"""{LATER}
print(MPI.Get_version(), MPI.Info.Create({{"a": "1"}}).items(), MPI.GROUP_EMPTY.size, MPI.Exception(MPI.ERR_TAG))
try:
    MPI.Query_thread()
except MPI.Exception as error:
    print(error == MPI.ERR_OTHER, error.__notes__[0])
"""
    expected = (
        "(4, 1) [('a', '1')] 0 MPI_ERR_TAG: invalid tag\nTrue fmi_mpi: MPI is not initialized; call MPI.Init() first"
    )
    assert run(program) == expected


def test_a_session_works_without_init():
    program = f"""{LATER}
session = MPI.Session.Init()
print(session.Create_group("mpi://WORLD").size, MPI.Is_initialized())
session.Finalize()
MPI.Init()
print(MPI.Is_initialized(), MPI.COMM_WORLD.size)
"""
    assert run(program) == "1 False\nTrue 1"


def test_nothing_after_finalize():
    program = """
from fmi_mpi import MPI
MPI.Finalize()
for call in (MPI.Init, MPI.Query_thread, MPI.COMM_WORLD.Get_rank, MPI.Session.Init):
    try:
        call()
    except MPI.Exception as error:
        print(error == MPI.ERR_OTHER)
"""
    assert run(program).split() == ["True"] * 4


@pytest.mark.parametrize(("errors", "handler"), [("exception", "ERRORS_RETURN"), ("fatal", "ERRORS_ARE_FATAL")])
def test_the_error_option_sets_the_handlers_of_the_first_communicators(errors, handler):
    program = f"""
import fmi_mpi
fmi_mpi.rc.errors = {errors!r}
from fmi_mpi import MPI
print([comm.Get_errhandler() == MPI.{handler} for comm in (MPI.COMM_WORLD, MPI.COMM_SELF)])
"""
    assert run(program) == "[True, True]"


def test_fatal_errors_end_the_process():
    program = "import fmi_mpi; fmi_mpi.rc.errors = 'fatal'; from fmi_mpi import MPI; MPI.COMM_WORLD.send(1, 99)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == MPI.ERR_RANK
    assert "MPI_ERR_RANK" in done.stderr


def test_attributes_of_self_are_deleted_at_the_end():
    program = """
from fmi_mpi import MPI
key = MPI.Comm.Create_keyval(None, lambda comm, key, value: print(value, comm == MPI.COMM_SELF))
MPI.COMM_SELF.Set_attr(key, "deleted")
MPI.Comm.Free_keyval(key)
"""
    assert run(program) == "deleted True"


def test_threads():
    assert MPI.Query_thread() == MPI.THREAD_MULTIPLE
    assert MPI.Is_thread_main() is True
    answers = []
    thread = threading.Thread(target=lambda: answers.append(MPI.Is_thread_main()))
    thread.start()
    thread.join()
    assert answers == [False]


def test_versions_and_names():
    assert MPI.Get_version() == (MPI.VERSION, MPI.SUBVERSION)
    assert MPI.get_vendor()[0] in MPI.Get_library_version()
    assert len(MPI.Get_library_version()) < MPI.MAX_LIBRARY_VERSION_STRING
    assert 0 < len(MPI.Get_processor_name()) < MPI.MAX_PROCESSOR_NAME
    assert MPI.Get_abi_version() == (-1, -1)
    assert MPI.Get_abi_info()["mpi_count_size"] == "8"
    assert set(MPI.Get_hw_resource_info().values()) <= {"true", "false"}


def test_time():
    times = [MPI.Wtime() for _ in range(100)]
    assert times == sorted(times) and type(times[0]) is float
    assert 0 < MPI.Wtick() < 1e-3


def test_profiling_levels_are_integers():
    assert [MPI.Pcontrol(level) for level in (0, 1, 2)] == [None] * 3
    with pytest.raises(TypeError):
        MPI.Pcontrol("1")


def example(a: int, /, b: str = "x", *rest: int, c: MPI.Info = MPI.INFO_NULL, **more: int) -> bool:
    """Return whether it is an example."""
    return True


def test_docstrings_begin_with_the_signature():
    assert (
        docs.signature(example)
        == "example(a: int, /, b: str = 'x', *rest: int, c: MPI.Info = INFO_NULL, **more: int) -> bool"
    )
    lines = MPI.Info.Get.__doc__.split("\n")
    assert lines == ["Get(self, key: str) -> str | None", "Return the value of a key, or None."]
    assert MPI.Status.source.__doc__.startswith("source: int\n")
    docs.embed_signatures({"Info": MPI.Info, "Get_version": MPI.Get_version})
    assert MPI.Info.Get.__doc__.split("\n") == lines
    assert MPI.Get_version.__doc__.count("Get_version") == 1


def test_the_namespace_holds_nothing_foreign():
    for name, value in vars(MPI).items():
        if not name.startswith("_") and isinstance(value, type):
            assert value.__module__ == "fmi_mpi.MPI", name
        assert type(value) is not type(sys) or name == "__builtins__", name


@pytest.mark.parametrize("name", fmi_mpi.typing.__all__)
def test_types_of_arguments_can_be_evaluated(name):
    hint = getattr(fmi_mpi.typing, name)
    assert typing.get_type_hints(type("Annotated", (), {"__annotations__": {"argument": hint}})) == {"argument": hint}
