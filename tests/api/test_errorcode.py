"""Error classes, codes and strings, and their removal."""

from __future__ import annotations

import pytest

from fmi_mpi import MPI
from fmi_mpi.api.errortable import ErrorTable
from fmi_mpi.constants import ERR_ARG, ERR_LASTCODE, ERR_OTHER, ERR_UNKNOWN
from fmi_mpi.errors import MPIError

CLASSES = sorted({value for name, value in vars(MPI).items() if name.startswith("ERR_")} - {ERR_LASTCODE})


@pytest.fixture
def table():
    return ErrorTable()


@pytest.mark.parametrize("errorclass", [MPI.SUCCESS, *CLASSES])
def test_predefined_codes_are_their_classes_and_have_strings(errorclass):
    assert MPI.Get_error_class(errorclass) == errorclass
    assert MPI.Get_error_string(errorclass).startswith("MPI_")


def test_new_classes_and_codes_come_after_the_last(table):
    first = table.add_class()
    assert first == table.last_used > ERR_LASTCODE
    code = table.add_code(first)
    assert code == table.last_used == first + 1
    assert table.class_of(code) == first and table.class_of(first) == first
    assert table.class_of(table.add_code(ERR_OTHER)) == ERR_OTHER


def test_the_last_used_code_never_shrinks(table):
    first = table.add_class()
    table.remove_class(first)
    assert table.last_used == first
    assert table.add_class() == first + 1
    assert table.class_of(first) == ERR_UNKNOWN


def test_strings_are_empty_until_set_and_after_removal(table):
    code = table.add_code(table.add_class())
    assert table.string_of(code) == ""
    table.add_string(code, "first")
    table.add_string(code, "second")
    assert table.string_of(code) == "second"
    table.remove_string(code)
    assert table.string_of(code) == ""


def test_long_strings_are_cut(table):
    code = table.add_class()
    table.add_string(code, "x" * 9999)
    assert len(table.string_of(code)) == MPI.MAX_ERROR_STRING - 1


def test_removal_goes_from_strings_over_codes_to_classes(table):
    errorclass = table.add_class()
    code = table.add_code(errorclass)
    table.add_string(code, "text")
    table.add_string(errorclass, "text")
    with pytest.raises(MPIError, match="still has codes"):
        table.remove_class(errorclass)
    with pytest.raises(MPIError, match="still has a string"):
        table.remove_code(code)
    table.remove_string(code)
    table.remove_code(code)
    with pytest.raises(MPIError, match="still has a string"):
        table.remove_class(errorclass)
    table.remove_string(errorclass)
    table.remove_class(errorclass)
    with pytest.raises(MPIError, match="not an error class"):
        table.remove_class(errorclass)


@pytest.mark.parametrize(
    ("method", "arguments"),
    [
        ("remove_class", (0,)),
        ("remove_code", (0,)),
        ("remove_string", (0,)),
        ("remove_class", (ERR_OTHER,)),
        ("add_code", (999999999,)),
        ("add_string", (ERR_OTHER, "text")),
    ],
)
def test_predefined_and_unknown_ones_stay_as_they_are(table, method, arguments):
    with pytest.raises(MPIError) as caught:
        getattr(table, method)(*arguments)
    assert caught.value.error_class == ERR_ARG


def test_the_functions_raise_mpi_exceptions():
    with pytest.raises(MPI.Exception) as caught:
        MPI.Remove_error_class(MPI.SUCCESS)
    assert caught.value == MPI.ERR_ARG
    with pytest.raises(TypeError):
        MPI.Get_error_class("3")
    with pytest.raises(TypeError):
        MPI.Add_error_string(MPI.Add_error_class(), 5)


def test_the_attribute_follows():
    code = MPI.Add_error_class()
    assert MPI.COMM_SELF.Get_attr(MPI.LASTUSEDCODE) == code
    MPI.Add_error_string(code, b"bytes")
    assert MPI.Get_error_string(code) == "bytes" == str(MPI.Exception(code))
