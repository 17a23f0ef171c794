"""The package itself: cheap to import, with mpi4py's ``rc`` and configuration functions."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import fmi_mpi


def test_import_loads_nothing() -> None:
    code = "import sys; before = set(sys.modules); import fmi_mpi; print(*(set(sys.modules) - before))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert set(loaded) <= {"fmi_mpi", "fmi_mpi.rc", "__future__"}


def test_rc() -> None:
    rc = fmi_mpi.Rc(threads=False)
    assert (rc.threads, rc.thread_level, rc.finalize) == (False, "multiple", None)
    rc(errors="fatal")
    assert rc.__dict__ == {"threads": False, "errors": "fatal"}
    with pytest.raises(TypeError, match=r"'bogus'.*initialize, threads"):
        rc(threads=True, bogus=1)
    with pytest.raises(TypeError, match="'bogus'"):
        rc.bogus = 1  # type: ignore[attr-defined]
    with pytest.raises(AttributeError):
        _ = rc.bogus  # type: ignore[attr-defined]
    assert rc.threads is False
    assert repr(rc) == "<fmi_mpi.rc>"


def test_rc_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fmi_mpi, "rc", fmi_mpi.Rc(errors="exception"))
    variables = {
        "INITIALIZE": "0",
        "THREADS": "yes",
        "ERRORS": "fatal",
        "IRECV_BUFSZ": "1",
        "FINALIZE": "off",
        "BOGUS": "1",
    }
    fmi_mpi._read_environment({f"MPI4PY_RC_{name}": value for name, value in variables.items()})
    expected = {"initialize": False, "threads": True, "errors": "fatal", "irecv_bufsz": 1, "finalize": False}
    assert fmi_mpi.rc.__dict__ == expected


def test_configuration() -> None:
    assert Path(fmi_mpi.get_include()).parent == Path(fmi_mpi.__file__).parent
    assert fmi_mpi.get_config() == {}


def test_profile(tmp_path: Path) -> None:
    (tmp_path / "libtool.so").touch()
    for name in ("tool", "libtool.so"):
        with pytest.warns(UserWarning, match="calls no C library"):
            fmi_mpi.profile(name, path=tmp_path)
    with pytest.raises(ValueError, match="'absent' not found"):
        fmi_mpi.profile("absent", path=[str(tmp_path)])
