"""BOTTOM, IN_PLACE and BUFFER_AUTOMATIC: integers, buffers of nothing, one value a class."""

from __future__ import annotations

import operator
import subprocess
import sys

import pytest

from fmi_mpi.data.special import BOTTOM, BUFFER_AUTOMATIC, IN_PLACE, BottomType, BufferAutomaticType, InPlaceType

CONSTANTS = [
    (BOTTOM, BottomType, 0, "BOTTOM"),
    (IN_PLACE, InPlaceType, -1, "IN_PLACE"),
    (BUFFER_AUTOMATIC, BufferAutomaticType, -2, "BUFFER_AUTOMATIC"),
]


@pytest.mark.parametrize(("constant", "kind", "value", "name"), CONSTANTS)
def test_constants_stand_for_integers(constant, kind, value, name):
    assert int(constant) == value
    assert constant == value
    assert not operator.ne(constant, value)
    assert constant != value + 1
    assert operator.ne(constant, None)
    assert hash(constant) == hash(value)
    assert bool(constant) is bool(value)
    assert repr(constant) == name
    assert constant.__reduce__() == name
    with pytest.raises(TypeError):
        constant + 1
    with pytest.raises(TypeError):
        operator.lt(constant, constant)


@pytest.mark.parametrize(("constant", "kind", "value", "name"), CONSTANTS)
def test_instances_are_equal_to_the_constant_and_to_no_other(constant, kind, value, name):
    assert kind() == constant
    assert [other == constant for other, *_ in CONSTANTS].count(True) == 1


@pytest.mark.parametrize(("constant", "kind", "value", "name"), CONSTANTS)
def test_constants_export_memory_of_no_object(constant, kind, value, name):
    view = memoryview(constant)
    assert (view.nbytes, view.readonly, view.format) == (0, False, "B")
    assert view.obj is None


def test_only_bottom_is_an_index():
    assert operator.index(BOTTOM) == 0
    with pytest.raises(TypeError):
        operator.index(IN_PLACE)


def test_its_functions_are_its_own() -> None:
    """Modules that declare other types for the same functions of the interpreter do not meet, in whatever order they load."""
    program = (
        "import fmi_mpi.channels.shm.memory as memory, fmi_mpi.data.special\n"
        "print(memory.address_of(memoryview(bytes(8))) > 0)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.stdout == "True\n", done.stderr
