"""The object model: copies, comparison, pickling, freeing, handles as integers, memory of handles."""

from __future__ import annotations

import copy
import ctypes
import gc
import operator
import pickle
import weakref

import pytest

from fmi_mpi import MPI
from fmi_mpi.api import objects
from fmi_mpi.api.group import Group
from fmi_mpi.runtime.group import GroupImpl

NULLS = [
    MPI.DATATYPE_NULL,
    MPI.REQUEST_NULL,
    MPI.INFO_NULL,
    MPI.ERRHANDLER_NULL,
    MPI.SESSION_NULL,
    MPI.GROUP_NULL,
    MPI.OP_NULL,
    MPI.MESSAGE_NULL,
    MPI.COMM_NULL,
]
CONSTANTS = [MPI.INFO_ENV, MPI.GROUP_EMPTY, MPI.ERRORS_RETURN, MPI.ERRORS_ABORT, MPI.ERRORS_ARE_FATAL, MPI.SUM, MPI.INT]
ALL = [*NULLS, *CONSTANTS, MPI.COMM_WORLD, MPI.COMM_SELF]
ids = [type(obj).__name__ for obj in ALL]


class OwnGroup(Group):
    """A user's subclass, with attributes of its own."""


@pytest.mark.parametrize("obj", ALL, ids=ids)
def test_copies_share_the_handle(obj):
    clone = type(obj)(obj)
    assert clone is not obj
    assert operator.eq(clone, obj) is True and operator.ne(clone, obj) is False
    assert bool(clone) == bool(obj)
    clone._handle = object()
    assert operator.eq(clone, obj) is False and operator.ne(clone, obj) is True


@pytest.mark.parametrize("one", NULLS)
@pytest.mark.parametrize("other", NULLS)
def test_null_handles_of_different_classes_differ(one, other):
    assert (one == other) is (one is other)
    if one is not other:
        with pytest.raises(TypeError, match=f"expecting {type(one).__name__}, got {type(other).__name__}"):
            type(one)(other)


@pytest.mark.parametrize("obj", ALL, ids=ids)
def test_objects_are_neither_hashable_nor_ordered(obj):
    with pytest.raises(TypeError):
        hash(obj)
    with pytest.raises(TypeError):
        obj < obj  # noqa: B015
    for other in (12345, None, "text"):
        assert obj != other and not operator.eq(obj, other)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("obj", ALL, ids=ids)
def test_constants_pickle_by_name_and_copies_as_copies(obj, protocol):
    assert pickle.loads(pickle.dumps(obj, protocol)) is obj
    clone = pickle.loads(pickle.dumps(type(obj)(obj), protocol))
    assert clone is not obj and clone == obj


def test_subclasses_keep_their_class():
    clone = OwnGroup(MPI.GROUP_EMPTY)
    clone.note = "mine"
    assert type(copy.copy(clone)) is OwnGroup
    assert type(clone.Dup()) is OwnGroup
    assert clone == MPI.GROUP_EMPTY


def test_others_refuse_to_be_pickled():
    with pytest.raises(ValueError, match="Group"):
        pickle.dumps(MPI.COMM_SELF.Get_group())


@pytest.mark.parametrize("obj", [*CONSTANTS, MPI.COMM_WORLD], ids=lambda obj: type(obj).__name__)
def test_constants_survive_free(obj):
    for _ in range(3):
        obj.free()
        assert obj


@pytest.mark.parametrize("obj", [MPI.INFO_ENV, MPI.GROUP_EMPTY, MPI.ERRORS_RETURN], ids=lambda obj: type(obj).__name__)
def test_a_copy_of_a_constant_becomes_null_when_freed(obj):
    clone = type(obj)(obj)
    for _ in range(3):
        clone.free()
        assert not clone
    assert obj


@pytest.mark.parametrize("obj", ALL, ids=ids)
def test_handles_are_integers_and_lead_back(obj):
    assert obj.handle >= 0 and (obj.handle == 0) is not bool(obj)
    for there, back in (("toint", "fromint"), ("py2f", "f2py")):
        again = getattr(type(obj), back)(getattr(obj, there)())
        assert again == obj and type(again) is type(obj)
    assert type(obj).fromhandle(obj.handle).handle == obj.handle
    with pytest.raises(AttributeError):
        obj.handle = 1


def test_a_handle_of_another_class_is_refused():
    with pytest.raises(ValueError, match="no Info has the handle"):
        MPI.Info.fromhandle(MPI.SUM.handle)
    with pytest.raises(TypeError):
        MPI.Info.fromhandle("1")


def test_handles_do_not_keep_states_alive():
    group = Group._wrap(GroupImpl((3, 4)))
    number, state = group.handle, weakref.ref(group._handle)
    del group
    gc.collect()
    assert state() is None
    with pytest.raises(ValueError, match=str(number)):
        Group.fromhandle(number)


def test_writing_a_handle_into_the_memory_of_another():
    source, target = MPI.GROUP_EMPTY, MPI.Group()
    read = ctypes.c_void_p.from_address(objects.address_of(source))
    written = ctypes.c_void_p.from_address(objects.address_of(target))
    assert read.value == objects.handle_of(source)
    assert source != target
    written.value = read.value
    assert source == target and target.Get_size() == 0


@pytest.mark.parametrize("function", [objects.handle_of, objects.address_of, objects.size_of])
def test_memory_functions_take_mpi_objects_only(function):
    with pytest.raises(TypeError, match="NoneType"):
        function(None)


def test_sizes_of_objects_and_classes_agree():
    assert objects.size_of(MPI.COMM_WORLD) == objects.size_of(MPI.Comm) == ctypes.sizeof(ctypes.c_void_p)
    assert objects.size_of(MPI.Status()) == objects.size_of(MPI.Status) == 4 * MPI.F_STATUS_SIZE
