"""POSIX files as a store, their locks, and the shared pointer in its side file."""

from __future__ import annotations

import fcntl
import multiprocessing
import os
import threading
from pathlib import Path

import pytest

from fmi_mpi import constants as c
from fmi_mpi.errors import MPIError
from fmi_mpi.runtime import filepointer, filestore
from fmi_mpi.runtime.filepointer import SharedPointer
from fmi_mpi.runtime.filestore import delete, open_store

RW = c.MODE_RDWR | c.MODE_CREATE


def name_of(path: Path) -> bytes:
    return os.fsencode(path)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data"


def test_read_write_size(path: Path) -> None:
    store = open_store(name_of(path), RW)
    store.write(3, memoryview(b"abc"))
    assert store.size() == 6
    into = bytearray(b"......")
    assert store.read(2, memoryview(into)) == 4
    assert bytes(into) == b"\0abc.."
    assert store.read(100, memoryview(into)) == 0
    store.resize(4)
    store.allocate(2)
    assert store.size() == 4
    store.allocate(9)
    assert store.size() == 9
    store.sync()
    store.close()
    assert path.read_bytes() == b"\0\0\0a" + bytes(5)


@pytest.mark.parametrize("prefix", ["", "ufs:", "file:"])
def test_prefixes(path: Path, prefix: str) -> None:
    name = prefix.encode() + name_of(path)
    open_store(name, RW).close()
    assert path.exists()
    assert filestore.local_path(name) == name_of(path)
    delete(name)
    assert not path.exists()


def test_a_colon_in_a_name(tmp_path: Path) -> None:
    name = name_of(tmp_path / "a:b")
    open_store(name, RW).close()
    assert (tmp_path / "a:b").exists()


@pytest.mark.parametrize(
    ("name", "amode", "error"),
    [
        ("missing", c.MODE_RDONLY, c.ERR_NO_SUCH_FILE),
        ("missing", c.MODE_RDWR, c.ERR_NO_SUCH_FILE),
        ("no/x", RW, c.ERR_NO_SUCH_FILE),
        ("there", RW | c.MODE_EXCL, c.ERR_FILE_EXISTS),
        ("there/x", RW, c.ERR_BAD_FILE),
        (".", c.MODE_RDWR, c.ERR_BAD_FILE),
        ("x" * 5000, RW, c.ERR_BAD_FILE),
    ],
)
def test_cannot_open(tmp_path: Path, name: str, amode: int, error: int) -> None:
    (tmp_path / "there").touch()
    with pytest.raises(MPIError) as caught:
        open_store(name_of(tmp_path / name), amode)
    assert caught.value.error_class == error


@pytest.mark.parametrize(("name", "error"), [("missing", c.ERR_NO_SUCH_FILE), (".", c.ERR_BAD_FILE)])
def test_cannot_delete(tmp_path: Path, name: str, error: int) -> None:
    with pytest.raises(MPIError) as caught:
        delete(name_of(tmp_path / name) + b"/" * (name == "."))
    assert caught.value.error_class == error


@pytest.mark.parametrize(
    ("amode", "readable", "writable"),
    [(c.MODE_RDONLY, True, False), (c.MODE_WRONLY, False, True), (c.MODE_RDWR, True, True)],
)
def test_modes(path: Path, amode: int, readable: bool, writable: bool) -> None:
    path.touch()
    store = open_store(name_of(path), amode)
    assert (store.readable, store.writable) == (readable, writable)
    with store.locked(0, 4, exclusive=writable) as alone:
        assert alone
    with store.locked(0, 4, exclusive=not writable) as alone:
        assert alone == (readable and writable)
    store.close()


def test_pipe(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    keep = os.open(pipe, os.O_RDWR)
    store = open_store(name_of(pipe), c.MODE_RDONLY)
    with pytest.raises(MPIError) as caught:
        store.read(0, memoryview(bytearray(1)))
    assert caught.value.error_class == c.ERR_UNSUPPORTED_OPERATION
    store.close()
    os.close(keep)


def test_locks_exclude_another_open_of_the_same_process(path: Path) -> None:
    first, second, third = (open_store(name_of(path), RW) for _ in range(3))
    order: list[str] = []

    def other() -> None:
        with second.locked(2, 6, True):
            order.append("second")

    with first.locked(0, 4, True):
        thread = threading.Thread(target=other)
        thread.start()
        with third.locked(8, 9, True):  # another range is free
            order.append("first")
    thread.join()
    assert order == ["first", "second"]
    first.close()
    second.close()
    third.close()


# -- shared pointer --------------------------------------------------------------------------------------------------


def test_pointer(path: Path) -> None:
    first, second = SharedPointer(name_of(path), 5), SharedPointer(name_of(path), 5)
    first.reset(True)
    second.reset(False)
    assert not path.exists()
    assert (first.add(3), second.get(), second.add(4), first.get()) == (0, 3, 3, 7)
    second.set(1)
    assert first.get() == 1
    first.reset(True)
    second.reset(False)
    assert second.get() == 0
    second.close(False)
    first.close(True)
    assert not path.exists()
    first.close(True)


def test_pointer_begins_where_it_is_told(path: Path) -> None:
    pointer = SharedPointer(name_of(path), 5)
    assert (pointer.get(), pointer.add(2), pointer.get()) == (5, 5, 7)
    pointer.close(True)


def test_pointer_without_locks(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filepointer, "lock", lambda fd, kind: kind == fcntl.F_UNLCK)
    with pytest.raises(MPIError, match="does not support locks"):
        SharedPointer(name_of(path), 0).get()


def test_pointer_without_a_place(path: Path) -> None:
    with pytest.raises(MPIError, match="no shared file pointer"):
        SharedPointer(name_of(path / "x"), 0).get()


def _take(name: bytes, times: int, found: multiprocessing.SimpleQueue[list[int]]) -> None:
    pointer = SharedPointer(name, 0)
    found.put([pointer.add(1) for _ in range(times)])


def test_pointer_of_several_processes(path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    found = context.SimpleQueue()
    workers = [context.Process(target=_take, args=(name_of(path), 200, found)) for _ in range(3)]
    for worker in workers:
        worker.start()
    numbers = [number for _ in workers for number in found.get()]
    for worker in workers:
        worker.join()
    assert sorted(numbers) == list(range(600))
