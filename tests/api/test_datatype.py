"""``MPI.Datatype``: objects, contents, codes, pickling, packing."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

from fmi_mpi import MPI
from fmi_mpi.api.datatype import (
    TYPEDICT,
    TYPEDICT_C,
    TYPEDICT_F,
    datatype_create,
    datatype_decode,
    typealign,
    typecode,
)

INT, DOUBLE, CHAR, NULL = MPI.INT, MPI.DOUBLE, MPI.CHAR, MPI.DATATYPE_NULL
SELF = MPI.COMM_SELF
DEFAULT = MPI.DISTRIBUTE_DFLT_DARG


def constructed():
    """Return (datatype, combiner, constructor's arguments, envelope) of every constructor."""
    vector = INT.Create_vector(2, 1, 2)
    block = [MPI.DISTRIBUTE_BLOCK] * 2
    grid = {"size": 4, "rank": 1, "gsizes": [8, 8], "distribs": block, "dargs": [DEFAULT] * 2, "psizes": [2, 2]}
    return [
        (INT.Dup(), "DUP", {}, (0, 0, 0, 1)),
        (INT.Create_contiguous(3), "CONTIGUOUS", {"count": 3}, (0, 0, 1, 1)),
        (vector, "VECTOR", {"count": 2, "blocklength": 1, "stride": 2}, (0, 0, 3, 1)),
        (INT.Create_hvector(2, 1, 9), "HVECTOR", {"count": 2, "blocklength": 1, "stride": 9}, (0, 0, 3, 1)),
        (
            INT.Create_indexed([1, 2], [3, 0]),
            "INDEXED",
            {"blocklengths": [1, 2], "displacements": [3, 0]},
            (0, 0, 5, 1),
        ),
        (
            INT.Create_hindexed([1, 2], [3, 0]),
            "HINDEXED",
            {"blocklengths": [1, 2], "displacements": [3, 0]},
            (0, 0, 5, 1),
        ),
        (
            INT.Create_indexed_block(2, [3, 0]),
            "INDEXED_BLOCK",
            {"blocklength": 2, "displacements": [3, 0]},
            (0, 0, 4, 1),
        ),
        (
            INT.Create_hindexed_block(2, [3, 0]),
            "HINDEXED_BLOCK",
            {"blocklength": 2, "displacements": [3, 0]},
            (0, 0, 4, 1),
        ),
        (
            INT.Create_subarray([4, 5], [2, 3], [1, 2], MPI.ORDER_F),
            "SUBARRAY",
            {"sizes": [4, 5], "subsizes": [2, 3], "starts": [1, 2], "order": MPI.ORDER_F},
            (2, 0, 6, 1),
        ),
        (INT.Create_darray(**grid), "DARRAY", {**grid, "order": MPI.ORDER_C}, (10, 0, 2, 1)),
        (INT.Create_resized(-3, 10), "RESIZED", {"lb": -3, "extent": 10}, (0, 0, 2, 1)),
        (MPI.Datatype.Create_f90_integer(4), "F90_INTEGER", {"r": 4}, (1, 0, 0, 0)),
        (MPI.Datatype.Create_f90_real(6, 30), "F90_REAL", {"p": 6, "r": 30}, (2, 0, 0, 0)),
        (MPI.Datatype.Create_f90_complex(6, 30), "F90_COMPLEX", {"p": 6, "r": 30}, (2, 0, 0, 0)),
    ]


@pytest.mark.parametrize("case", constructed(), ids=lambda case: case[1])
def test_decoding_gives_what_it_was_made_from(case):
    datatype, name, params, envelope = case
    combiner = getattr(MPI, f"COMBINER_{name}")
    assert datatype.Get_envelope() == datatype.envelope == (*envelope, combiner)
    assert datatype.combiner == combiner
    integers, addresses, counts, datatypes = datatype.contents
    assert tuple(map(len, (integers, addresses, counts, datatypes))) == envelope
    base, found, arguments = datatype.decode()
    assert (found, arguments) == (name, params)
    assert base == (NULL if name.startswith("F90") else INT)
    assert not datatype.is_named
    assert datatype.is_predefined == name.startswith("F90")
    again = datatype_create(base, found, arguments)
    assert again.decode()[1:] == (name, params)
    assert (again.size, again.Get_extent()) == (datatype.size, datatype.Get_extent())


@pytest.mark.parametrize("case", constructed(), ids=lambda case: case[1])
def test_derived_types_can_be_pickled(case):
    datatype = case[0]
    again = pickle.loads(pickle.dumps(datatype))
    assert again.decode()[1:] == datatype.decode()[1:]
    assert again.Get_true_extent() == datatype.Get_true_extent()


def test_structs():
    inner = INT.Create_vector(2, 1, 2)
    datatype = MPI.Datatype.Create_struct([1, 2], [0, 16], [inner, DOUBLE])
    base, name, params = datatype.decode()
    assert (base, name) == (NULL, "STRUCT")
    assert (params["blocklengths"], params["displacements"]) == ([1, 2], [0, 16])
    assert params["datatypes"] == [inner, DOUBLE]
    again = pickle.loads(pickle.dumps(datatype))
    assert again.size == datatype.size
    assert datatype_decode(again)[2]["datatypes"][1] is DOUBLE
    with pytest.raises(ValueError, match="expecting 1 items, got 2"):
        MPI.Datatype.Create_struct([1], [0], [INT, DOUBLE])
    with pytest.raises(TypeError):
        MPI.Datatype.Create_struct([1], [0], [None])


def test_value_index():
    assert MPI.Datatype.Get_value_index(DOUBLE, INT) == MPI.DOUBLE_INT
    assert MPI.Datatype.Get_value_index(INT, MPI.FLOAT) == NULL
    pair = MPI.Datatype.Get_value_index(INT, MPI.LONG)
    assert (pair.combiner, pair.size, pair.extent) == (MPI.COMBINER_VALUE_INDEX, 12, 16)
    assert pair.decode() == (NULL, "VALUE_INDEX", {"value": INT, "index": MPI.LONG})
    assert pickle.loads(pickle.dumps(pair)) == pair
    pair.Free()
    assert not pair


def test_predefined_types():
    for datatype in (INT, MPI.LOGICAL, MPI.SHORT_INT, MPI.BFLOAT16_T):
        assert datatype.is_named
        assert datatype.is_predefined
        assert datatype.decode() == (datatype, "NAMED", {})
        assert datatype.decode()[0] is datatype
        assert datatype.Commit() is datatype
        assert pickle.loads(pickle.dumps(datatype)) is datatype
        assert copy.deepcopy(datatype) is datatype
        with pytest.raises(MPI.Exception) as caught:
            datatype.Get_contents()
        assert caught.value.Get_error_class() == MPI.ERR_TYPE
        with pytest.raises(MPI.Exception) as caught:
            datatype.Free()
        assert caught.value.Get_error_class() == MPI.ERR_TYPE
        assert datatype


def test_copies_and_subclasses():
    class Mine(MPI.Datatype):
        pass

    mine = Mine(INT)
    assert mine == INT
    assert mine is not INT
    assert type(mine.Dup()) is Mine
    assert type(Mine.Create_struct([1], [0], [INT])) is Mine
    vector = INT.Create_vector(2, 1, 2)
    assert MPI.Datatype(vector) == vector
    assert vector != INT.Create_vector(2, 1, 2)
    assert MPI.Datatype() == NULL
    with pytest.raises(TypeError):
        MPI.Datatype((1, 2, 3))
    with pytest.raises(TypeError):
        hash(vector)


def test_free():
    vector = INT.Create_vector(2, 1, 2)
    vector.Free()
    assert vector == NULL
    with pytest.raises(MPI.Exception):
        vector.Free()
    for datatype in (MPI.Datatype(INT), INT.Dup(), MPI.Datatype.Create_f90_integer(4), MPI.Datatype(NULL)):
        for _ in range(2):
            datatype.free()
            assert not datatype
    INT.free()
    assert INT


@pytest.mark.parametrize(
    "call",
    [
        NULL.Dup,
        NULL.Commit,
        NULL.Free,
        NULL.Get_size,
        NULL.Get_envelope,
        NULL.decode,
        lambda: NULL.size,
        lambda: NULL.extent,
        lambda: NULL.is_named,
        lambda: NULL.combiner,
        lambda: NULL.Create_contiguous(2),
        lambda: MPI.Datatype.Get_value_index(NULL, INT),
        lambda: MPI.Datatype.Get_value_index(INT, NULL),
        lambda: MPI.Datatype.Create_struct([1], [0], [NULL]),
        lambda: NULL.Pack(bytearray(4), bytearray(4), 0, SELF),
    ],
)
def test_the_null_type_is_an_error(call):
    with pytest.raises(MPI.Exception) as caught:
        call()
    assert caught.value.Get_error_class() == MPI.ERR_TYPE


def test_what_the_null_type_has():
    assert NULL.Get_name() == "MPI_DATATYPE_NULL"
    assert (NULL.typechar, NULL.typestr, NULL.is_predefined) == ("", "", True)
    assert (typecode(NULL), typealign(NULL)) == (None, None)
    with pytest.raises(ValueError, match="null"):
        NULL.tocode()


def test_names():
    assert MPI.LONG_LONG.name == "MPI_LONG_LONG_INT"
    vector = INT.Create_vector(2, 1, 2)
    assert vector.name == ""
    vector.name = "columns"
    assert vector.Get_name() == "columns"


def test_codes():
    assert MPI.Datatype.fromcode("i") is INT
    assert MPI.Datatype.fromcode("c16") == MPI.C_DOUBLE_COMPLEX
    for code in ("abc@xyz", "V", "", "<i4", None, 1):
        with pytest.raises(ValueError, match="cannot map code"):
            MPI.Datatype.fromcode(code)
    assert (MPI.AINT.tocode(), MPI.AINT.typechar, MPI.AINT.typestr) == ("p", "p", "i8")
    dup = INT.Dup().Dup()
    assert (dup.tocode(), dup.typechar, dup.typestr, typecode(dup), typealign(dup)) == ("i", "i", "i4", "i", 4)
    for datatype, align in ((MPI.INT_INT, 4), (MPI.INT_INT.Dup(), None), (INT.Create_contiguous(3), None)):
        with pytest.raises(ValueError, match="cannot map"):
            datatype.tocode()
        assert (datatype.typechar, datatype.typestr) == ("V", f"V{datatype.extent}")
        assert (typecode(datatype), typealign(datatype)) == (None, align)
    with pytest.raises(TypeError):
        typecode(1)


def test_dictionaries_of_codes():
    assert TYPEDICT["d"] is DOUBLE
    assert TYPEDICT_C["b1"] is MPI.C_BOOL
    assert TYPEDICT_F["z"] is MPI.DOUBLE_COMPLEX


def test_sequences_may_be_arrays():
    datatype = INT.Create_indexed(np.array([1, 2]), np.array([0, 4]))
    assert datatype.contents[2] == [2, 1, 2, 0, 4]
    for call in (lambda: INT.Create_indexed([1, 2], [0]), lambda: INT.Create_subarray([4, 4], [2], [0, 0])):
        with pytest.raises(ValueError, match="expecting 2 items, got 1"):
            call()
    for call in (lambda: INT.Create_indexed(2, [0]), lambda: INT.Create_contiguous(1.5)):
        with pytest.raises(TypeError):
            call()


def test_attributes_follow_a_dup():
    def double(datatype, keyval, value):
        return 2 * value

    key = MPI.Datatype.Create_keyval(copy_fn=double)
    datatype = INT.Dup()
    datatype.Set_attr(key, 4)
    again = datatype.Dup()
    assert (datatype.Get_attr(key), again.Get_attr(key), INT.Get_attr(key)) == (4, 8, None)
    datatype.Delete_attr(key)
    assert datatype.Get_attr(key) is None
    MPI.Datatype.Free_keyval(key)


# -- packing -----------------------------------------------------------------------------------------------------------


def test_pack_and_unpack():
    vector = INT.Create_vector(2, 1, 2).Create_resized(0, 16).Commit()
    source, packed, target = np.arange(8, dtype="i"), bytearray(64), np.full(8, -1, "i")
    position = vector.Pack(source, packed, 3, SELF)
    assert position == 19
    assert packed[3:19] == source[::2].tobytes()
    assert DOUBLE.Pack(np.array(1.5), packed, position, SELF) == 27
    assert vector.Unpack(packed, 3, target, SELF) == 19
    assert target.tolist() == [0, -1, 2, -1, 4, -1, 6, -1]
    assert vector.Pack_size(3, SELF) == 24


@pytest.mark.parametrize("source", [bytes(16), bytes(17), bytes(19)])
def test_pack_takes_all_whole_elements(source):
    assert INT.Pack(source, bytearray(32), 0, SELF) == 16


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda: INT.Pack([bytes(16), 2], bytearray(32), 0, SELF), TypeError),
        (lambda: INT.Pack(None, bytearray(3), 0, SELF), TypeError),
        (lambda: INT.Pack(bytes(4), None, 0, SELF), TypeError),
        (lambda: INT.Pack(bytes(4), b"1234", 0, SELF), BufferError),
        (lambda: INT.Unpack(bytes(4), 0, b"1234", SELF), BufferError),
        (lambda: INT.Pack(bytes(16), bytearray(15), 0, SELF), MPI.Exception),
        (lambda: INT.Pack(bytes(4), bytearray(8), -1, SELF), MPI.Exception),
        (lambda: INT.Unpack(bytes(4), 1, bytearray(4), SELF), MPI.Exception),
        (lambda: INT.Pack_size(-1, SELF), MPI.Exception),
        (lambda: INT.Pack_external("native", bytes(4), bytearray(8), 0), MPI.Exception),
        (lambda: INT.Create_vector(2, 1, 2).Pack(bytes(16), bytearray(16), 0, SELF), MPI.Exception),
    ],
)
def test_what_cannot_be_packed(call, error):
    with pytest.raises(error):
        call()


def test_external():
    source, packed, target = np.arange(4, dtype="l"), bytearray(64), np.zeros(4, "l")
    assert MPI.LONG.Pack_external("external32", source, packed, 1) == 17
    assert packed[1:17] == np.arange(4, dtype=">i4").tobytes()
    assert MPI.LONG.Unpack_external("external32", packed, 1, target) == 17
    assert target.tolist() == source.tolist()
    assert MPI.LONG.Pack_external_size("external32", 4) == 16
