"""Files: modes, sizes, views, all forms of access, shared and ordered pointers, error classes."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compat_tests.support import constant_name, outcome, status_fields

FORMS = ("blocking", "nonblocking", "split")


@pytest.fixture
def folder(comm: Any) -> Iterator[Path]:
    """A directory that all ranks of ``comm`` know."""
    name = comm.bcast(tempfile.mkdtemp() if comm.Get_rank() == 0 else None)
    yield Path(name)
    comm.Barrier()
    if comm.Get_rank() == 0:
        shutil.rmtree(name)


def filled(comm: Any, path: Path, data: bytes) -> Path:
    """Write a file for all ranks."""
    if comm.Get_rank() == 0:
        path.write_bytes(data)
    comm.Barrier()
    return path


def opened(MPI: Any, comm: Any, path: Path, *modes: str) -> Any:
    return MPI.File.Open(comm, path, amode(MPI, *modes or ("RDWR", "CREATE")))


def amode(MPI: Any, *modes: str) -> int:
    return sum(getattr(MPI, f"MODE_{mode}") for mode in modes)


def access(file: Any, form: str, name: str, *args: Any, status: Any = None) -> None:
    """Read or write by the name of the blocking call in one of the three forms, to its end."""
    if form == "blocking":
        getattr(file, name)(*args, status)
    elif form == "nonblocking":
        getattr(file, f"I{name.lower()}")(*args).Wait(status)
    else:
        getattr(file, f"{name}_begin")(*args)
        getattr(file, f"{name}_end")(args[-1], status)


# -- opening, closing, deleting --------------------------------------------------------------------------------------

AMODES = {
    "none": (), "create alone": ("CREATE",), "two": ("RDONLY", "WRONLY"), "three": ("RDONLY", "WRONLY", "RDWR"),
    "read and create": ("RDONLY", "CREATE"), "read and excl": ("RDONLY", "EXCL"), "sequential": ("RDWR", "SEQUENTIAL"),
    "read": ("RDONLY",), "write": ("WRONLY",), "both": ("RDWR",), "create": ("RDWR", "CREATE"),
    "excl": ("RDWR", "CREATE", "EXCL"), "excl alone": ("WRONLY", "EXCL"), "unique": ("RDWR", "UNIQUE_OPEN"),
    "append": ("WRONLY", "CREATE", "APPEND"),
}  # fmt: skip


@pytest.mark.parametrize("there", [True, False], ids=["there", "missing"])
@pytest.mark.parametrize("modes", AMODES.values(), ids=AMODES)
def test_modes(MPI: Any, comm: Any, folder: Path, record: Any, modes: tuple[str, ...], there: bool) -> None:
    path = folder / "data"
    if there:
        filled(comm, path, b"12345678")

    def open_and_ask() -> None:
        file = opened(MPI, comm, path, *modes) if modes else MPI.File.Open(comm, path, 0)
        record(file.Get_amode() == amode(MPI, *modes), file.Get_size(), file.Get_position())
        record(file.Get_group() == MPI.GROUP_NULL, file.group_size, file.group_rank)
        file.Close()
        record(bool(file), file == MPI.FILE_NULL)

    found = outcome(MPI, open_and_ask)
    record(found if comm.Get_rank() == 0 else found == "fine")  # MPICH knows the reason on rank 0 only
    comm.Barrier()
    record(path.exists() and path.read_bytes())


NAMES = {
    "directory": lambda folder: folder, "in no directory": lambda folder: folder / "x" / "y",
    "in a file": lambda folder: folder / "data" / "x", "long": lambda folder: folder / ("x" * 5000),
    "number": lambda folder: 3, "None": lambda folder: None, "null byte": lambda folder: "a\0b",
    "bytes": lambda folder: os.fsencode(folder / "data"), "text": lambda folder: str(folder / "data"),
    "prefix": lambda folder: f"ufs:{folder / 'data'}",
}  # fmt: skip


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_names(MPI: Any, comm: Any, folder: Path, record: Any, name: Any) -> None:
    filled(comm, folder / "data", b"123")
    found = outcome(MPI, lambda: MPI.File.Open(comm, name(folder), MPI.MODE_RDWR | MPI.MODE_CREATE).Close())
    record(found if comm.Get_rank() == 0 else found == "fine")
    comm.Barrier()
    if comm.Get_rank() == 0 and name is not NAMES["prefix"]:
        record(outcome(MPI, MPI.File.Delete, name(folder)))
        record(outcome(MPI, MPI.File.Delete, name(folder)))


@pytest.mark.parametrize("kind", ["COMM_NULL", "None", "Intercomm"])
def test_wrong_communicator(MPI: Any, comm: Any, record: Any, kind: str) -> None:
    wrong = {"COMM_NULL": MPI.COMM_NULL, "None": None, "Intercomm": MPI.Intercomm() if hasattr(MPI, "Intercomm") else 0}
    record(outcome(MPI, MPI.File.Open, wrong[kind], "/dev/null", MPI.MODE_RDONLY))


def test_different_modes(MPI: Any, comm: Any, folder: Path, record: Any) -> None:
    path = filled(comm, folder / "data", b"123")
    mode = MPI.MODE_RDONLY if comm.Get_rank() == 0 else MPI.MODE_WRONLY
    record(outcome(MPI, lambda: MPI.File.Open(comm, path, mode).Close()))


def test_delete_on_close(MPI: Any, comm: Any, folder: Path, record: Any) -> None:
    file = opened(MPI, comm, folder / "data", "RDWR", "CREATE", "DELETE_ON_CLOSE")
    record((folder / "data").exists())
    file.Write_ordered(b"x")
    comm.Barrier()
    file.Close()
    record((folder / "data").exists(), sorted(path.name for path in folder.iterdir()))


NULL_CALLS: dict[str, tuple[Any, ...]] = {
    "Close": (), "Get_size": (), "Set_size": (1,), "Preallocate": (1,), "Get_amode": (), "Get_group": (),
    "Get_info": (), "Set_view": (), "Get_view": (), "Read": (bytearray(1),), "Write": (b"1",),
    "Read_at": (0, bytearray(1)), "Write_at": (0, b"1"), "Iread": (bytearray(1),), "Iwrite_at": (0, b"1"),
    "Read_all": (bytearray(1),), "Read_shared": (bytearray(1),), "Write_ordered": (b"1",), "Seek": (0,),
    "Seek_shared": (0,), "Get_position": (), "Get_position_shared": (), "Get_byte_offset": (0,), "Sync": (),
    "Get_atomicity": (), "Set_atomicity": (True,), "Read_all_begin": (bytearray(1),), "Read_all_end": (bytearray(1),),
    "free": (), "Get_errhandler": (),
}  # fmt: skip


@pytest.mark.parametrize("call", NULL_CALLS)
def test_null(MPI: Any, record: Any, call: str) -> None:
    record(outcome(MPI, getattr(MPI.FILE_NULL, call), *NULL_CALLS[call]))
    record(outcome(MPI, getattr(MPI.FILE_NULL, call), 1, 2, 3, 4, 5, 6))


# -- size ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("call", ["Set_size", "Preallocate"])
@pytest.mark.parametrize("mode", ["RDWR", "WRONLY"])
def test_sizes(MPI: Any, comm: Any, folder: Path, record: Any, call: str, mode: str) -> None:
    file = opened(MPI, comm, folder / "data", mode, "CREATE")
    for size in (10, 3, 0, 1 << 12, 7, -1, 5.5):
        record(size, outcome(MPI, getattr(file, call), size), file.Get_size(), file.size, file.Get_position())
        comm.Barrier()
    record(outcome(MPI, getattr(file, call), comm.Get_rank() + 20))
    record(outcome(MPI, getattr(file, call), "9"), outcome(MPI, getattr(file, call), None))
    file.Close()


# -- access ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("together", [False, True], ids=["alone", "all"])
def test_explicit_offsets(MPI: Any, comm: Any, folder: Path, record: Any, together: bool, form: str) -> None:
    if form == "split" and not together:
        pytest.skip("split calls are collective")
    suffix = "_all" if together else ""
    file = opened(MPI, comm, folder / "data")
    file.Set_view(2, MPI.INT)
    rank, size = comm.Get_rank(), comm.Get_size()
    status = MPI.Status()
    data = np.arange(4, dtype="i") + 10 * rank
    access(file, form, f"Write_at{suffix}", 4 * rank, data, status=status)
    record(status.Get_count(MPI.INT), file.Get_position())
    file.Sync()
    comm.Barrier()
    file.Sync()
    places = [(4 * ((rank + 1) % size), 4), (0, 0)]
    if (form, together) != ("nonblocking", True):  # MPICH gives more than there is
        places += [(4 * size - 1, 3), (4 * size + 5, 3)]
    for offset, count in places:
        into = np.full(count, -1, "i")
        access(file, form, f"Read_at{suffix}", offset, into, status=status)
        record(into, status.Get_count(MPI.INT), status.Get_elements(MPI.BYTE), file.Get_position())
    comm.Barrier()
    file.Close()
    record((folder / "data").read_bytes())


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("together", [False, True], ids=["alone", "all"])
def test_individual_pointer(MPI: Any, comm: Any, folder: Path, record: Any, together: bool, form: str) -> None:
    if form == "split" and not together:
        pytest.skip("split calls are collective")
    suffix = "_all" if together else ""
    file = opened(MPI, comm, folder / "data")
    rank = comm.Get_rank()
    file.Set_view(8 * rank * 5, MPI.DOUBLE)
    for part in (2, 0, 3):
        access(file, form, f"Write{suffix}", np.full(part, float(rank + part)))
        record(file.Get_position())
    comm.Barrier()
    file.Seek(0)
    for count in (1, 4, 0):
        into, status = np.zeros(count), MPI.Status()
        access(file, form, f"Read{suffix}", into, status=status)
        record(into, status.Get_count(MPI.DOUBLE), file.Get_position())
    comm.Barrier()
    file.Close()
    record((folder / "data").read_bytes())


def test_end_of_file(MPI: Any, comm: Any, folder: Path, record: Any) -> None:
    file = opened(MPI, comm, filled(comm, folder / "data", bytes(range(100))), "RDONLY")
    for name in ("Read", "Read_all"):
        file.Seek(98)
        into, status = bytearray(b"\xff" * 8), MPI.Status()
        getattr(file, name)(into, status)
        record(into, status_fields(MPI, status), file.Get_position() if name == "Read" else None)
    file.Seek(98)
    file.Iread(into).Wait()
    record(file.Get_position())
    comm.Barrier()
    file.Close()


def test_memory_with_gaps(MPI: Any, comm: Any, folder: Path, record: Any) -> None:
    column = MPI.INT.Create_vector(3, 1, 2).Create_resized(0, 28).Commit()
    file = opened(MPI, MPI.COMM_SELF, folder / f"data{comm.Get_rank()}")
    file.Write([np.arange(14, dtype="i"), 2, column])
    record((folder / f"data{comm.Get_rank()}").read_bytes())
    into, status = np.full(14, -1, "i"), MPI.Status()
    file.Read_at(0, [into, 2, column], status)
    record(into, status.Get_elements(MPI.INT), status.Get_count(column))
    file.Close()


def test_far_away(MPI: Any, comm: Any, folder: Path, record: Any) -> None:
    file = opened(MPI, comm, folder / "data")
    file.Write_at((1 << 33) + comm.Get_rank(), b"x")
    comm.Barrier()
    into = bytearray(comm.Get_size())
    file.Read_at(1 << 33, into)
    record(into, file.Get_size())
    comm.Barrier()
    file.Close()


ERRORS = {
    "negative offset": lambda MPI, file: file.Read_at(-1, bytearray(4)),
    "negative offset, writing": lambda MPI, file: file.Write_at(-1, bytes(4)),
    "negative offset, nonblocking": lambda MPI, file: file.Iread_at(-1, bytearray(4)),
    "no multiple": lambda MPI, file: file.Read_at(0, bytearray(6)),
    "no multiple, writing": lambda MPI, file: file.Write(bytes(3)),
    "no multiple, shared": lambda MPI, file: file.Write_shared(bytes(3)),
    "text": lambda MPI, file: file.Write("text"),
    "read-only buffer": lambda MPI, file: file.Read(bytes(4)),
    "None": lambda MPI, file: file.Read(None),
    "null datatype": lambda MPI, file: file.Read([bytearray(4), 1, MPI.DATATYPE_NULL]),
    "negative count": lambda MPI, file: file.Read([bytearray(4), -1, MPI.BYTE]),
    "uncommitted": lambda MPI, file: file.Read([bytearray(4), 1, MPI.INT.Create_contiguous(1)]),
    "offset of text": lambda MPI, file: file.Read_at("0", bytearray(4)),
    "offset of None": lambda MPI, file: file.Read_at(None, bytearray(4)),
    "float offset": lambda MPI, file: file.Read_at(1.0, bytearray(4)),
    "seek negative": lambda MPI, file: file.Seek(-1),
    "seek before": lambda MPI, file: file.Seek(-100, MPI.SEEK_CUR),
    "seek before the end": lambda MPI, file: file.Seek(-100, MPI.SEEK_END),
    "seek whence": lambda MPI, file: file.Seek(0, 77),
    "seek shared negative": lambda MPI, file: file.Seek_shared(-1),
    "seek shared whence": lambda MPI, file: file.Seek_shared(0, 77),
    "byte offset": lambda MPI, file: file.Get_byte_offset(-1),
    "type extent": lambda MPI, file: file.Get_type_extent(MPI.DATATYPE_NULL),
    "info None": lambda MPI, file: file.Set_info(None),
    "end without begin": lambda MPI, file: file.Read_all_end(bytearray(4)),
    "view: negative": lambda MPI, file: file.Set_view(-1),
    "view: current": lambda MPI, file: file.Set_view(MPI.DISPLACEMENT_CURRENT),
    "view: null etype": lambda MPI, file: file.Set_view(0, MPI.DATATYPE_NULL),
    "view: null filetype": lambda MPI, file: file.Set_view(0, MPI.INT, MPI.DATATYPE_NULL),
    "view: None": lambda MPI, file: file.Set_view(0, None),
    "view: no multiple": lambda MPI, file: file.Set_view(0, MPI.INT, MPI.SHORT),
    "view: uncommitted": lambda MPI, file: file.Set_view(0, MPI.INT, MPI.INT.Create_contiguous(2)),
    "view: datarep": lambda MPI, file: file.Set_view(0, MPI.INT, MPI.INT, "other"),
    "view: empty datarep": lambda MPI, file: file.Set_view(0, MPI.INT, MPI.INT, ""),
    "view: datarep of 3": lambda MPI, file: file.Set_view(0, MPI.INT, MPI.INT, 3),
}


@pytest.mark.parametrize("name", ERRORS)
def test_mistakes(MPI: Any, comm: Any, folder: Path, record: Any, name: str) -> None:
    path = folder / f"data{comm.Get_rank()}"
    path.write_bytes(bytes(range(40)))
    file = opened(MPI, MPI.COMM_SELF, path)
    file.Set_view(0, MPI.INT)
    record(outcome(MPI, ERRORS[name], MPI, file), file.Get_position(), file.Get_view()[0])
    file.Close()


ACCESSES = ("Read", "Read_at", "Read_all", "Iread", "Iread_at", "Write", "Write_at", "Write_all", "Iwrite", "Iwrite_at")


@pytest.mark.parametrize("name", ACCESSES)
@pytest.mark.parametrize("mode", ["RDONLY", "WRONLY", "RDWR"])
def test_what_a_mode_allows(MPI: Any, comm: Any, folder: Path, record: Any, mode: str, name: str) -> None:
    path = folder / f"data{comm.Get_rank()}"
    path.write_bytes(bytes(40))
    file = opened(MPI, MPI.COMM_SELF, path, mode)
    args = (0,) if "at" in name else ()
    buffers = [bytearray(4)]
    if name.startswith("I") or name.endswith("_all"):  # the others let nothing pass in MPICH
        buffers.append(bytearray())
    for buffer in buffers:

        def call(buffer: bytearray = buffer) -> None:
            request = getattr(file, name)(*args, buffer)
            if request is not None:
                request.Wait()

        record(outcome(MPI, call))
    file.Close()


# -- views -----------------------------------------------------------------------------------------------------------

VIEWS: dict[str, Any] = {
    "int": lambda MPI: (MPI.INT, MPI.INT),
    "contiguous": lambda MPI: (MPI.INT, MPI.INT.Create_contiguous(3)),
    "vector": lambda MPI: (MPI.INT, MPI.INT.Create_vector(2, 1, 2).Create_resized(0, 16)),
    "leading gap": lambda MPI: (MPI.INT, MPI.INT.Create_indexed([1, 2], [1, 3]).Create_resized(0, 24)),
    "odd bytes": lambda MPI: (MPI.INT, MPI.BYTE.Create_hindexed([4, 2, 2], [0, 6, 11])),
    "lower bound": lambda MPI: (MPI.INT, MPI.INT.Create_resized(4, 8)),
    "below": lambda MPI: (MPI.INT, MPI.INT.Create_resized(-4, 8)),
    "etype with gap": lambda MPI: (MPI.INT.Create_resized(0, 8), MPI.INT.Create_resized(0, 8)),
    "subarray": lambda MPI: (MPI.INT, MPI.INT.Create_subarray([4, 5], [2, 3], [1, 1])),
    "fortran": lambda MPI: (MPI.INT, MPI.INT.Create_subarray([4, 5], [2, 3], [1, 1], MPI.ORDER_F)),
    "darray": lambda MPI: (
        MPI.INT,
        MPI.INT.Create_darray(2, 1, [7, 3], [MPI.DISTRIBUTE_CYCLIC] * 2, [2, 1], [2, 1]),
    ),
    "struct": lambda MPI: (
        MPI.BYTE,
        MPI.Datatype.Create_struct([1, 2], [0, 8], [MPI.INT, MPI.SHORT]).Create_resized(0, 16),
    ),
    "shorts": lambda MPI: (MPI.SHORT, MPI.INT.Create_vector(3, 2, 4)),
}  # fmt: skip


@pytest.mark.parametrize("datarep", ["native", "external32"])
@pytest.mark.parametrize("name", VIEWS)
def test_views(MPI: Any, comm: Any, folder: Path, record: Any, name: str, datarep: str) -> None:
    path = folder / f"data{comm.Get_rank()}"
    path.write_bytes(bytes(range(200)))
    file = opened(MPI, MPI.COMM_SELF, path)
    etype, filetype = (datatype.Commit() for datatype in VIEWS[name](MPI))
    file.Set_view(12, etype, filetype, datarep)
    disp, *types, given = file.Get_view()
    record(disp, given, [(datatype.Get_extent(), datatype.size, datatype.is_predefined) for datatype in types])
    record([file.Get_byte_offset(offset) for offset in range(14)])
    per = 24 // etype.size
    for offset in (0, 1, per):
        into = np.zeros(6, "i")
        file.Read_at(offset, into)
        record(into, file.Get_position())
    file.Seek(1)
    file.Write(np.arange(6, dtype="i") + 1000)
    record(path.read_bytes(), file.Get_position())
    for size in range(12, 80):
        file.Set_size(size)
        file.Seek(0, MPI.SEEK_END)
        record(size, file.Get_position())
    file.Close()


def test_views_differ_by_rank(MPI: Any, comm: Any, folder: Path, record: Any) -> None:
    rank, size = comm.Get_rank(), comm.Get_size()
    file = opened(MPI, comm, folder / "data")
    stripes = MPI.INT.Create_vector(50, 3, 3 * size).Create_resized(0, 4 * 150 * size).Commit()
    file.Set_view(12 * rank + 5, MPI.INT, stripes)
    for part in range(4):
        file.Write_all(np.arange(99, dtype="i") + 1000 * rank + 99 * part)
    file.Sync()
    comm.Barrier()
    file.Seek(30)
    into = np.zeros(200, "i")
    file.Read_all(into)
    record(into, file.Get_position(), file.Get_size())
    file.Close()
    record((folder / "data").read_bytes())


def test_neighbours_do_not_lose_bytes(MPI: Any, comm: Any, folder: Path, record: Any) -> None:
    rank, size = comm.Get_rank(), comm.Get_size()
    file = opened(MPI, comm, folder / "data")
    filetype = MPI.BYTE.Create_vector(64, 1, size).Create_resized(0, 64 * size).Commit()
    file.Set_view(rank, MPI.BYTE, filetype)
    for turn in range(40):
        file.Write_at(0, bytes([turn + 40 * rank]) * 640)
    comm.Barrier()
    file.Close()
    record((folder / "data").read_bytes())


def test_a_view_moves_the_pointers(MPI: Any, comm: Any, folder: Path, record: Any) -> None:
    file = opened(MPI, comm, filled(comm, folder / "data", bytes(range(100))))
    file.Seek(5)
    file.Seek_shared(6)
    record(file.Get_position(), file.Get_position_shared())
    comm.Barrier()
    file.Set_view(3, MPI.SHORT)
    record(file.Get_position(), file.Get_position_shared())
    comm.Barrier()
    file.Seek_shared(-1, MPI.SEEK_END)
    record(file.Get_position_shared())
    comm.Barrier()
    file.Seek_shared(2, MPI.SEEK_CUR)
    record(file.Get_position_shared())
    file.Close()


# -- shared pointer --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["blocking", "nonblocking"])
def test_shared_pointer(MPI: Any, comm: Any, folder: Path, record: Any, form: str) -> None:
    rank, size = comm.Get_rank(), comm.Get_size()
    file = opened(MPI, comm, folder / "data")
    file.Set_view(4, MPI.INT)
    for turn in range(5):
        access(file, form, "Write_shared", np.full(turn, rank, "i"))
    comm.Barrier()
    record(file.Get_position_shared(), file.Get_position(), file.Get_size())
    comm.Barrier()
    file.Seek_shared(0)
    found = []
    for _ in range(5):
        into = np.zeros(2, "i")
        access(file, form, "Read_shared", into)
        found.extend(into.tolist())
    found = sorted(number for numbers in comm.allgather(found) for number in numbers)
    record(found, file.Get_position_shared())
    comm.Barrier()
    file.Seek_shared(10 * size - 1)
    status = MPI.Status()
    access(file, form, "Read_shared", np.zeros(2, "i"), status=status)
    record(sorted(comm.allgather(status.Get_count(MPI.INT))))
    record(file.Get_position_shared())
    comm.Barrier()
    file.Close()


@pytest.mark.parametrize("form", ["blocking", "split"])
def test_ordered(MPI: Any, comm: Any, folder: Path, record: Any, form: str) -> None:
    rank = comm.Get_rank()
    file = opened(MPI, comm, folder / "data")
    file.Set_view(1, MPI.SHORT)
    status = MPI.Status()
    for turn in range(3):
        access(file, form, "Write_ordered", np.full(rank + turn, 10 * rank + turn, "h"), status=status)
        comm.Barrier()
        record(status.Get_count(MPI.SHORT), file.Get_position_shared(), file.Get_position())
        comm.Barrier()
    file.Sync()
    file.Seek_shared(1)
    into = np.full(2, -1, "h")
    access(file, form, "Read_ordered", into, status=status)
    record(into, status.Get_count(MPI.SHORT))
    comm.Barrier()
    record(file.Get_position_shared())
    file.Close()
    record((folder / "data").read_bytes(), sorted(path.name for path in folder.iterdir()))


def test_append(MPI: Any, comm: Any, folder: Path, record: Any) -> None:
    file = opened(MPI, comm, filled(comm, folder / "data", b"12345678"), "RDWR", "APPEND")
    record(file.Get_position(), file.Get_position_shared())
    comm.Barrier()
    file.Write_ordered(b"ab")
    comm.Barrier()
    record(file.Get_position(), file.Get_position_shared())
    comm.Barrier()
    file.Set_view(0)
    record(file.Get_position(), file.Get_position_shared())
    file.Close()
    record((folder / "data").read_bytes())


SEQUENTIAL: dict[str, tuple[Any, ...]] = {
    "Read": (bytearray(2),), "Read_at": (0, bytearray(2)), "Read_all": (bytearray(2),), "Iread": (bytearray(2),),
    "Iread_at": (0, bytearray(2)), "Read_all_begin": (bytearray(2),), "Seek": (0,), "Seek_shared": (0,),
    "Get_position": (), "Get_position_shared": (), "Get_byte_offset": (0,), "Set_size": (1,), "Set_view": (),
    "Get_size": (), "Get_amode": (), "Read_ordered": (bytearray(2),),
}  # fmt: skip


def test_sequential(MPI: Any, comm: Any, folder: Path, record: Any) -> None:
    data = bytes(range(100))
    file = opened(MPI, comm, filled(comm, folder / "data", data), "RDONLY", "SEQUENTIAL")
    for name, args in SEQUENTIAL.items():
        record(name, outcome(MPI, getattr(file, name), *args))
    comm.Barrier()
    file.Set_view(MPI.DISPLACEMENT_CURRENT, MPI.SHORT)
    record(file.Get_view()[0])
    into = np.zeros(2, "h")
    file.Read_ordered(into)
    record(into)
    file.Close()


# -- split collectives -----------------------------------------------------------------------------------------------


def test_split_mistakes(MPI: Any, comm: Any, folder: Path, record: Any) -> None:
    file = opened(MPI, comm, filled(comm, folder / "data", bytes(range(100))))
    first, second = bytearray(4), bytearray(4)
    record(outcome(MPI, file.Write_at_all_end, b""))
    file.Read_all_begin(first)
    record(outcome(MPI, file.Read_all_begin, second), outcome(MPI, file.Write_at_all_begin, 0, b""))
    file.Read(second)
    record(second)
    status = MPI.Status()
    file.Read_all_end(first, status)
    record(first, status.Get_count(), file.Get_position())
    record(outcome(MPI, file.Read_all_end, first))
    file.Read_all_begin(first)
    file.Close()
    record(bool(file))


# -- everything else -------------------------------------------------------------------------------------------------


def test_atomicity(MPI: Any, comm: Any, folder: Path, record: Any) -> None:
    rank = comm.Get_rank()
    file = opened(MPI, comm, folder / "data")
    record(file.Get_atomicity(), file.atomicity)
    file.atomicity = True
    record(file.Get_atomicity())
    blocks = MPI.BYTE.Create_vector(32, 1, 2).Create_resized(0, 64).Commit()
    file.Set_view(0, MPI.BYTE, blocks)
    for _ in range(10):
        file.Write_at(0, bytes([rank + 1]) * 256)
        into = bytearray(256)
        file.Read_at(0, into)
        record(len(set(into)))
    comm.Barrier()
    file.Set_atomicity(False)
    record(file.Get_atomicity())
    file.Close()


def test_error_handlers(MPI: Any, comm: Any, folder: Path, record: Any) -> None:
    file = opened(MPI, comm, folder / "data")
    record(file.Get_errhandler() == MPI.ERRORS_RETURN, MPI.FILE_NULL.Get_errhandler() == MPI.ERRORS_RETURN)
    calls: list[Any] = []

    def handler(where: Any, code: int) -> None:
        calls.append((where == file, constant_name(MPI, MPI.Get_error_class(code), "ERR_ARG", "ERR_NO_SUCH_FILE")))

    mine = MPI.File.Create_errhandler(handler)
    file.Set_errhandler(mine)
    outcome(MPI, file.Seek, -1)
    record(calls, file.Get_errhandler() == mine)
    MPI.FILE_NULL.Set_errhandler(mine)
    outcome(MPI, MPI.File.Delete, folder / "missing")
    record(calls, MPI.FILE_NULL.Get_errhandler() == mine)
    other = opened(MPI, comm, folder / "data")
    record(other.Get_errhandler() == MPI.ERRORS_RETURN)
    MPI.FILE_NULL.Set_errhandler(MPI.ERRORS_RETURN)
    other.Close()
    file.Close()
    record(file.Get_errhandler() == MPI.ERRORS_RETURN)
    mine.Free()


def test_info(MPI: Any, comm: Any, folder: Path, record: Any) -> None:
    file = opened(MPI, comm, folder / "data")
    record(type(file.info).__name__)
    file.Set_info(MPI.INFO_NULL)
    file.info = MPI.Info.Create({"access_style": "read_once"})
    record([file.Get_type_extent(datatype) for datatype in (MPI.INT, MPI.DOUBLE, MPI.LONG_DOUBLE, MPI.DOUBLE_INT)])
    file.Close()


DATAREPS: dict[str, dict[str, Any]] = {
    "once": {}, "long": {"datarep": "n" * 200}, "longest": {"datarep": "n" * 120}, "empty": {"datarep": ""},
    "number": {"datarep": 3}, "no extent": {"extent_fn": None},
    "functions": {"read_fn": lambda *args: None, "write_fn": lambda *args: None},
}  # fmt: skip


@pytest.mark.parametrize("name", DATAREPS)
def test_data_representations(MPI: Any, record: Any, name: str) -> None:
    defaults = {"read_fn": None, "write_fn": None, "extent_fn": lambda datatype: datatype.extent}
    given = {"datarep": f"compat {name}", **defaults, **DATAREPS[name]}
    record(outcome(MPI, MPI.Register_datarep, **given))
    if name in ("functions", "once"):
        record(outcome(MPI, MPI.Register_datarep, **given))
