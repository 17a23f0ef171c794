"""Info: MPI calls, mapping behaviour, limits, INFO_ENV."""

from __future__ import annotations

import pickle
import sys

import pytest

from fmi_mpi import MPI

NULL = MPI.INFO_NULL


@pytest.fixture
def info():
    return MPI.Info.Create({"a": "1", "b": "2"})


@pytest.mark.parametrize("items", [None, {}, [], {"k": "v"}, [("k", "v"), ("l", "w")]])
def test_create(items):
    assert MPI.Info.Create(items).items() == list(dict(items or {}).items())


def test_create_from_another(info):
    assert MPI.Info.Create(info).items() == info.items()
    assert MPI.Info.Create(NULL).items() == []


@pytest.mark.parametrize(("items", "kind"), [(123, TypeError), ([1], TypeError), ([("a",)], ValueError)])
def test_create_refuses(items, kind):
    with pytest.raises(kind):
        MPI.Info.Create(items)


def test_calls(info):
    info.Set("c", "3")
    info.Set("a", "changed")
    assert info.Get_nkeys() == 3 and [info.Get_nthkey(n) for n in range(3)] == ["a", "b", "c"]
    info.Delete("b")
    assert info.Get("b") is None and info.Get("a") == "changed"
    dup = info.Dup()
    dup.Set("a", "of the copy")
    assert dup != info and info.Get("a") == "changed"


def test_is_a_mapping(info):
    assert len(info) == 2 and "a" in info and "z" not in info and list(info) == ["a", "b"]
    assert info["a"] == "1" and info.get("z") is None and info.get("z", "0") == "0"
    assert info.keys() == ["a", "b"] and info.values() == ["1", "2"]
    info.update([("a", "x")], c="y")
    info["d"] = "z"
    del info["b"]
    assert info.items() == [("a", "x"), ("c", "y"), ("d", "z")]
    assert info.pop("c") == "y" and info.pop("c", "default") == "default"
    assert info.popitem() == ("d", "z") and info.copy().items() == [("a", "x")]
    info.clear()
    assert len(info) == 0
    for call in (info.popitem, lambda: info.pop("a"), lambda: info["a"], lambda: info.__delitem__("a")):
        with pytest.raises(KeyError):
            call()
    with pytest.raises(ValueError):
        info.pop("a", "b", "c")


def test_the_null_info_is_an_empty_mapping_that_cannot_change():
    assert len(NULL) == 0 and "a" not in NULL and list(NULL) == NULL.items() == []
    assert NULL.get("a", "0") == "0" and NULL.pop("a", "0") == "0" and NULL.copy() == NULL
    NULL.clear()
    for call in (
        lambda: NULL["a"],
        lambda: NULL.__setitem__("a", "b"),
        lambda: NULL.__delitem__("a"),
        lambda: NULL.update([]),
        lambda: NULL.pop("a"),
        NULL.popitem,
    ):
        with pytest.raises(KeyError):
            call()


@pytest.mark.parametrize(
    ("method", "arguments"),
    [
        ("Free", ()),
        ("Dup", ()),
        ("Get", ("k",)),
        ("Set", ("k", "v")),
        ("Delete", ("k",)),
        ("Get_nkeys", ()),
        ("Get_nthkey", (0,)),
    ],
)
def test_calls_refuse_the_null_info(method, arguments):
    with pytest.raises(MPI.Exception) as caught:
        getattr(NULL, method)(*arguments)
    assert caught.value == MPI.ERR_INFO


@pytest.mark.parametrize(
    ("method", "arguments", "errorclass"),
    [
        ("Set", ("", "v"), MPI.ERR_INFO_KEY),
        ("Get", ("",), MPI.ERR_INFO_KEY),
        ("Set", ("k" * (MPI.MAX_INFO_KEY + 1), "v"), MPI.ERR_INFO_KEY),
        ("Delete", ("k" * (MPI.MAX_INFO_KEY + 1),), MPI.ERR_INFO_KEY),
        ("Set", ("k", "v" * (MPI.MAX_INFO_VAL + 1)), MPI.ERR_INFO_VALUE),
        ("Delete", ("nothing",), MPI.ERR_INFO_NOKEY),
        ("Get_nthkey", (2,), MPI.ERR_ARG),
        ("Get_nthkey", (-1,), MPI.ERR_ARG),
    ],
)
def test_errors(info, method, arguments, errorclass):
    with pytest.raises(MPI.Exception) as caught:
        getattr(info, method)(*arguments)
    assert caught.value == errorclass
    assert info.items() == [("a", "1"), ("b", "2")]


def test_limits_are_reachable_and_bytes_are_text(info):
    key, value = "k" * MPI.MAX_INFO_KEY, "v" * MPI.MAX_INFO_VAL
    info.Set(key, value)
    info.Set(b"bytes", b"too")
    info.Set("empty", "")
    assert info.Get(key) == value and info["bytes"] == "too" and info.Get("empty") == ""
    for arguments in ((5, "v"), ("k", 5)):
        with pytest.raises(TypeError, match="int"):
            info.Set(*arguments)


def test_pickles_by_content(info):
    clone = pickle.loads(pickle.dumps(info))
    assert clone != info and clone.items() == info.items()


class OwnInfo(MPI.Info):
    """A user's subclass."""


def test_results_are_of_the_class_that_is_called(info):
    for made in (
        OwnInfo.Create(),
        OwnInfo(info).Dup(),
        OwnInfo(info).copy(),
        pickle.loads(pickle.dumps(OwnInfo(info))),
    ):
        assert type(made) is OwnInfo


def test_the_environment_describes_this_process():
    env = MPI.INFO_ENV
    assert env["maxprocs"] == str(MPI.COMM_WORLD.size)
    assert env["thread_level"] == "MPI_THREAD_MULTIPLE" and env["arch"]
    for call in (lambda: env.Set("a", "b"), lambda: env.Delete("arch"), env.Free, env.clear, MPI.Info(env).Free):
        with pytest.raises(MPI.Exception) as caught:
            call()
        assert caught.value == MPI.ERR_INFO
    dup = env.Dup()
    dup.Set("arch", "other")
    assert env["arch"] != "other"


@pytest.mark.parametrize(
    ("args", "command", "argv"),
    [("run it", "run it", None), (["run"], "run", None), (("run", "a", "b"), "run", "a b"), (b"run", "run", None)],
)
def test_create_env_for_other_arguments(args, command, argv):
    made = MPI.Info.Create_env(args)
    assert made["command"] == command
    assert argv is None or made["argv"] == argv
    assert made["arch"] == MPI.INFO_ENV["arch"]
    made.Free()


def test_create_env_for_this_process():
    assert MPI.Info.Create_env().items() == MPI.Info.Create_env([]).items() == MPI.INFO_ENV.items()
    with pytest.raises(TypeError):
        MPI.Info.Create_env([sys])
