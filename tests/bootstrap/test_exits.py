"""Whether a process ends in order: exceptions and exits that nobody catches count, all others do not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from fmi_mpi.bootstrap.exits import exit_code

ROOT = Path(__file__).resolve().parents[2]

PROGRAM = """
import atexit, sys, threading, _thread
from fmi_mpi.bootstrap import exits
exits.install()
exits.install()
atexit.register(lambda: print(exits.failure()))
def quietly(action):
    try:
        action()
    except BaseException as error:
        return error
def nested():
    sys.exit(9)
"""

CASES = [
    ("pass", 0, 0),
    ("sys.exit()", 0, 0),
    ("sys.exit(0)", 0, 0),
    ("sys.exit(3)", 3, 3),
    ("sys.exit('words')", 1, 1),
    ("nested()", 9, 9),
    ("1 / 0", 1, 1),
    ("raise KeyboardInterrupt", 130, -2),
    ("quietly(nested)", 0, 0),
    ("kept = quietly(nested)", 0, 0),
    ("quietly(nested); sys.exit(4)", 4, 4),
    ("quietly(lambda: 1 / 0)", 0, 0),
    ("sys.excepthook(*(lambda e: (type(e), e, None))(quietly(lambda: 1 / 0)))", 0, 0),
    ("thread = threading.Thread(target=nested); thread.start(); thread.join()", 0, 0),
    ("thread = threading.Thread(target=lambda: 1 / 0); thread.start(); thread.join()", 0, 0),
    ("exits.set_status(5)", 5, 0),
    ("exits.set_status(5); exits.set_status(0)", 0, 0),
]


@pytest.mark.parametrize(("code", "status", "returncode"), CASES)
def test_failure(code: str, status: int, returncode: int) -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM + code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.returncode) == (f"{status}\n", returncode)
    assert done.stderr.count("ZeroDivisionError") == code.count("1 / 0") - (code == "quietly(lambda: 1 / 0)")


@pytest.mark.parametrize(
    ("reason", "code"),
    [
        (None, 0), (0, 0), (7, 7), ("words", 1), (True, 1), (SystemExit(), 0), (SystemExit(7), 7), (SystemExit("w"), 1),
        (KeyboardInterrupt(), 130), (ValueError(), 1),
    ],
)  # fmt: skip
def test_exit_code(reason: object, code: int) -> None:
    assert exit_code(reason) == code
