"""Attributes: values, callbacks, what happens on copying and freeing, and their errors."""

from __future__ import annotations

import pytest

from fmi_mpi import MPI
from fmi_mpi.api.attributes import Attributes, copy_attributes, delete_attributes


class State:
    """The state of an object with attributes."""

    def __init__(self) -> None:
        self.attributes = None


class Thing(Attributes, family=True):
    """An object with attributes, and nothing else."""

    __slots__ = ()

    def _attributes_of(self):
        return self._handle

    def _predefined_attribute(self, keyval):
        return keyval == 1, "predefined"


class Other(Thing, family=True):
    """Another class of objects with attributes."""

    __slots__ = ()


@pytest.fixture
def thing():
    return Thing._wrap(State())


def duplicate(thing: Thing) -> Thing:
    state = State()
    copy_attributes(thing, state)
    return Thing._wrap(state)


@pytest.fixture
def log():
    return []


@pytest.fixture
def logging_key(log):
    def copy_fn(obj, keyval, value):
        log.append(("copy", obj, keyval, value))
        return value

    return Thing.Create_keyval(copy_fn, lambda obj, keyval, value: log.append(("delete", obj, keyval, value)))


def test_values_are_kept_as_they_are(thing):
    key, value = Thing.Create_keyval(), [1, 2]
    assert thing.Get_attr(key) is None
    thing.Set_attr(key, value)
    assert thing.Get_attr(key) is value
    thing.Delete_attr(key)
    thing.Delete_attr(key)
    assert thing.Get_attr(key) is None


@pytest.mark.parametrize(
    ("copy_fn", "copied"),
    [
        (None, None),
        (False, None),
        (True, "value"),
        (lambda obj, keyval, value: value * 2, "valuevalue"),
        (lambda obj, keyval, value: NotImplemented, None),
    ],
    ids=["None", "False", "True", "function", "NotImplemented"],
)
def test_copying(thing, copy_fn, copied):
    key = Thing.Create_keyval(copy_fn)
    thing.Set_attr(key, "value")
    assert duplicate(thing).Get_attr(key) == copied


def test_callbacks_get_object_key_and_value(thing, log, logging_key):
    thing.Set_attr(logging_key, 1)
    thing.Set_attr(logging_key, 2)
    copy = duplicate(thing)
    thing.Delete_attr(logging_key)
    delete_attributes(copy)
    assert log == [
        ("delete", thing, logging_key, 1),
        ("copy", thing, logging_key, 2),
        ("delete", thing, logging_key, 2),
        ("delete", copy, logging_key, 2),
    ]


def test_freeing_deletes_the_newest_first(thing, log):
    keys = [Thing.Create_keyval(None, lambda obj, keyval, value: log.append(value)) for _ in range(3)]
    for number, key in enumerate(keys):
        thing.Set_attr(key, number)
    delete_attributes(thing)
    assert log == [2, 1, 0] and not thing._handle.attributes


def test_attributes_outlive_their_key(thing, log, logging_key):
    thing.Set_attr(logging_key, 1)
    assert Thing.Free_keyval(logging_key) == MPI.KEYVAL_INVALID
    assert thing.Get_attr(logging_key) == 1
    with pytest.raises(MPI.Exception):
        thing.Set_attr(logging_key, 2)
    delete_attributes(thing)
    assert log == [("delete", thing, logging_key, 1)]


def fail(*arguments):
    raise ValueError("in the callback")


@pytest.mark.parametrize("callback", [fail, 5], ids=["raises", "not callable"])
def test_failing_callbacks_are_printed_and_become_errors(thing, capsys, callback):
    key = Thing.Create_keyval(callback, callback)
    thing.Set_attr(key, 1)
    for call in (lambda: thing.Set_attr(key, 2), lambda: thing.Delete_attr(key)):
        with pytest.raises(MPI.Exception) as caught:
            call()
        assert caught.value == MPI.ERR_OTHER
        assert "Error" in capsys.readouterr().err
    assert thing.Get_attr(key) == 1


def test_failing_deletion_does_not_stop_freeing(thing, capsys, log, logging_key):
    thing.Set_attr(logging_key, 1)
    thing.Set_attr(Thing.Create_keyval(None, fail), 2)
    delete_attributes(thing)
    assert "ValueError: in the callback" in capsys.readouterr().err
    assert [entry[3] for entry in log] == [1]


@pytest.mark.parametrize(("given", "found"), [(7, 7), (0, 0), (-1, (1 << 64) - 1), (True, 1)])
def test_plain_integers(thing, given, found):
    key = Thing.Create_keyval(True, nopython=True)
    thing.Set_attr(key, given)
    assert thing.Get_attr(key) == duplicate(thing).Get_attr(key) == found


@pytest.mark.parametrize("value", ["x", None, 1.5])
def test_plain_integers_only(thing, value):
    key = Thing.Create_keyval(nopython=True)
    with pytest.raises(TypeError):
        thing.Set_attr(key, value)


@pytest.mark.parametrize("key", [MPI.KEYVAL_INVALID, 123456, "of another class", "freed"])
def test_invalid_keys(thing, key):
    if key == "of another class":
        key = Other.Create_keyval()
    elif key == "freed":
        key = Thing.Create_keyval()
        Thing.Free_keyval(key)
    calls = (
        lambda: thing.Get_attr(key),
        lambda: thing.Set_attr(key, 1),
        lambda: thing.Delete_attr(key),
        lambda: Thing.Free_keyval(key),
    )
    for call in calls:
        with pytest.raises(MPI.Exception) as caught:
            call()
        assert caught.value == MPI.ERR_KEYVAL


def test_predefined_attributes_cannot_be_changed(thing):
    assert thing.Get_attr(1) == "predefined"
    for call in (lambda: thing.Set_attr(1, 2), lambda: thing.Delete_attr(1), lambda: Thing.Free_keyval(1)):
        with pytest.raises(MPI.Exception) as caught:
            call()
        assert caught.value == MPI.ERR_KEYVAL
    with pytest.raises(TypeError):
        thing.Get_attr("1")


@pytest.mark.parametrize(
    ("key", "allowed"),
    [
        (MPI.TAG_UB, range(32767, 1 << 62)),
        (MPI.WTIME_IS_GLOBAL, (0, 1)),
        (MPI.IO, (0, MPI.ANY_SOURCE)),
        (MPI.UNIVERSE_SIZE, range(1, 1 << 30)),
        (MPI.APPNUM, range(1 << 30)),
        (MPI.LASTUSEDCODE, range(MPI.ERR_LASTCODE, MPI.ERR_LASTCODE + 1000)),
    ],
)
def test_attributes_of_communicators(key, allowed):
    dup = MPI.COMM_SELF.Dup()
    assert MPI.COMM_WORLD.Get_attr(key) in allowed
    assert dup.Get_attr(key) == MPI.COMM_SELF.Get_attr(key)
    dup.Free()
