"""Memory of objects that are no Python buffers: DLPack and the CUDA array interface."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import numpy as np
import pytest

from fmi_mpi.data.buffers import acquire, type_of_code
from fmi_mpi.data.message import message_recv, message_send


class DLPack:
    """Offers a numpy array through DLPack only; ``old`` as producers before version 1 do."""

    def __init__(self, values: np.ndarray[Any, Any], old: bool = False) -> None:
        self.values = values
        self.old = old

    def __dlpack_device__(self) -> Any:
        return self.values.__dlpack_device__()

    def __dlpack__(self, **options: Any) -> Any:
        if self.old and set(options) - {"stream"}:
            raise TypeError("unexpected keyword argument")
        return self.values.__dlpack__(**options)


class Cuda:
    """Describes host memory by a CUDA array interface."""

    def __init__(self, values: np.ndarray[Any, Any], **changes: Any) -> None:
        self.values = values
        found = {
            "version": 3,
            "data": (values.ctypes.data, False),
            "typestr": values.dtype.str,
            "shape": values.shape,
            "strides": values.strides,
            "descr": [("", values.dtype.str)],
        }
        found.update(changes)
        self.__cuda_array_interface__: Any = {key: value for key, value in found.items() if value is not ...}


@pytest.fixture(params=["dlpack", "old dlpack", "cuda"])
def wrap(request: pytest.FixtureRequest) -> Any:
    return {"dlpack": DLPack, "old dlpack": lambda values: DLPack(values, old=True), "cuda": Cuda}[request.param]


@pytest.mark.parametrize("code", ["b", "B", "h", "i", "L", "f", "d", "F", "D", "?"])
@pytest.mark.parametrize("shape", [(6,), (2, 3), (), (0,), (1, 3, 1)])
def test_bytes_and_type(wrap: Any, code: str, shape: tuple[int, ...]) -> None:
    values = (np.arange(6) % 2).astype(code)[: int(np.prod(shape))].reshape(shape)
    message = message_send(wrap(values))
    assert bytes(message.payload()) == values.tobytes()
    assert message.datatype.size == values.itemsize
    assert message.count == values.size


def test_fortran_order(wrap: Any) -> None:
    values = np.arange(6.0).reshape(2, 3).T
    assert bytes(message_send(wrap(values)).payload()) == values.tobytes("F")


def test_gaps(wrap: Any) -> None:
    with pytest.raises(BufferError):
        message_send(wrap(np.arange(12.0).reshape(3, 4)[:, :2]))
    with pytest.raises(BufferError):
        message_send(wrap(np.zeros((2, 3, 4)).transpose(0, 2, 1)))


def test_receives_in_place(wrap: Any) -> None:
    values = np.zeros(4, "i")
    view, finish = message_recv(wrap(values)).sink()
    assert finish is None
    view[:] = np.arange(4, dtype="i").tobytes()
    assert values.tolist() == [0, 1, 2, 3]


def test_view_keeps_the_memory(wrap: Any) -> None:
    owner = wrap(np.arange(1000.0))
    alive = weakref.ref(owner)
    view = acquire(owner, False)[0]
    del owner
    gc.collect()
    assert alive() is not None
    assert np.frombuffer(view).sum() == 499500.0
    del view
    gc.collect()
    assert alive() is None


# -- DLPack ----------------------------------------------------------------------------------------------------------


def test_read_only_dlpack() -> None:
    values = np.arange(3.0)
    values.flags.writeable = False
    try:
        values.__dlpack__(max_version=(1, 0))
    except (BufferError, TypeError):
        pytest.skip("this numpy does not export read-only arrays")
    assert bytes(message_send(DLPack(values)).payload()) == values.tobytes()
    with pytest.raises(BufferError):
        message_recv(DLPack(values))


@pytest.mark.parametrize(
    ("device", "error"),
    [
        (None, TypeError),
        (lambda: None, TypeError),
        (lambda: (None, 0), TypeError),
        (lambda: (1, None), TypeError),
        (lambda: (1,), ValueError),
        (lambda: (1, 0, 1), ValueError),
    ],
)
def test_bad_device(device: Any, error: type[Exception]) -> None:
    buf = DLPack(np.arange(3.0))
    buf.__dlpack_device__ = device  # type: ignore[method-assign]
    with pytest.raises(error):
        message_send(buf)


@pytest.mark.parametrize("capsule", [None, 0, object()])
def test_no_capsule(capsule: Any) -> None:
    buf = DLPack(np.arange(3.0))
    buf.__dlpack__ = lambda **options: capsule  # type: ignore[method-assign]
    with pytest.raises(BufferError):
        message_send(buf)


def test_used_capsule() -> None:
    values = np.arange(3.0)
    buf = DLPack(values)
    capsule = values.__dlpack__()
    buf.__dlpack__ = lambda **options: capsule  # type: ignore[method-assign]
    for _ in range(2):
        assert bytes(message_send(buf).payload()) == values.tobytes()

    class Again:
        def __dlpack__(self, **options: Any) -> Any:
            return capsule

        def __dlpack_device__(self) -> Any:
            return 1, 0

    np.from_dlpack(Again())
    with pytest.raises(BufferError):
        message_send(buf)


# -- CUDA array interface --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("missing", ["strides", "descr"])
@pytest.mark.parametrize("value", [None, ...])
def test_optional_entries(missing: str, value: Any) -> None:
    values = np.arange(3.0)
    assert bytes(message_send(Cuda(values, **{missing: value})).payload()) == values.tobytes()


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"data": ...}, KeyError),
        ({"data": None}, TypeError),
        ({"data": 0}, TypeError),
        ({"data": (1,)}, ValueError),
        ({"data": ()}, ValueError),
        ({"data": (1, False, None)}, ValueError),
        ({"mask": True}, BufferError),
        ({"typestr": ...}, KeyError),
        ({"typestr": None}, TypeError),
        ({"typestr": 42}, TypeError),
        ({"typestr": "<fX"}, ValueError),
        ({"shape": ...}, KeyError),
        ({"shape": None}, TypeError),
        ({"shape": 3}, TypeError),
        ({"shape": (3, -1), "strides": None}, BufferError),
        ({"strides": 42}, TypeError),
        ({"strides": (7,)}, BufferError),
        ({"descr": 42}, TypeError),
        ({"typestr": ">f8", "descr": None}, BufferError),
        ({"typestr": "#f8", "descr": None}, BufferError),
    ],
    ids=str,
)
def test_bad_entries(changes: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        message_send(Cuda(np.arange(3.0), **changes))


@pytest.mark.parametrize("interface", [None, [("data", 0)]])
def test_interface_is_no_dictionary(interface: Any) -> None:
    buf = Cuda(np.arange(3.0))
    buf.__cuda_array_interface__ = interface
    with pytest.raises(TypeError):
        message_send(buf)


def test_order_of_bytes_not_applicable() -> None:
    values = np.arange(3, dtype="i")
    assert bytes(message_send(Cuda(values, typestr="|i4", descr=[("", "|i4")])).payload()) == values.tobytes()


def test_read_only_cuda() -> None:
    values = np.arange(3.0)
    buf = Cuda(values, data=(values.ctypes.data, True))
    assert bytes(message_send(buf).payload()) == values.tobytes()
    with pytest.raises(BufferError):
        message_recv(buf)


def test_structured_description_is_ignored_with_a_warning() -> None:
    values = np.arange(6.0)
    buf = Cuda(values, shape=(2,), strides=(24,), typestr="|V24", descr=[("", "<f8")] * 3)
    with pytest.warns(RuntimeWarning, match="descr"):
        message = message_send(buf)
    assert bytes(message.payload()) == values.tobytes()


# -- format codes ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prefix", ["", "@", "=", "<" if np.little_endian else ">"])
@pytest.mark.parametrize("code", ["i", "d", "B", "?"])
def test_native_codes(prefix: str, code: str) -> None:
    assert type_of_code(prefix + code) is type_of_code(code)


@pytest.mark.parametrize(("code", "error"), [("", KeyError), ("zz", KeyError), ("T{i:a:}", KeyError), ("\0", KeyError)])
def test_unknown_codes(code: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        type_of_code(code)


def test_foreign_byte_order() -> None:
    with pytest.raises(BufferError):
        type_of_code((">" if np.little_endian else "<") + "i")
