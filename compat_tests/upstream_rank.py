"""One rank of an upstream run: execute mpi4py's own ``test/main.py`` unedited and write down what every test did.

Rules of this file:
- started by upstream.py as ``python upstream_rank.py EVENTS_DIR path/to/main.py [options of main.py]``, once per rank;
- main.py and the tests are not touched: only unittest's runner class is replaced by one that also records;
- events go to EVENTS_DIR/rank-N.jsonl, a line each, flushed at once, so that a killed rank leaves its last word:
  ["plan", [ids]], then ["start", id], then ["ok" | "fail" | "skip", id, detail]; standard library only.
"""

from __future__ import annotations

import importlib
import json
import re
import runpy
import sys
import unittest
import unittest.runner
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

PATH = re.compile(r"(?<![\w.])/(?:[^/\s'\"]+/)+")  # directories differ between machines
HOLDER = re.compile(r"(?P<what>\w+) \((?P<where>[\w.]+)\)")


def test_id(test: Any) -> str:
    """Return a dotted name: of the enclosing test for a subtest, ``module.Class.setUpClass`` for a failed fixture,
    ``module.import`` for a file that could not be imported."""
    name = getattr(test, "test_case", test).id()
    if holder := HOLDER.fullmatch(name):
        return f"{holder['where']}.{holder['what']}"
    return f"{name.rpartition('.')[2]}.import" if name.startswith("unittest.loader.") else str(name)


def flatten(suite: Any) -> Iterator[Any]:
    for test in suite:
        if isinstance(test, unittest.TestSuite):
            yield from flatten(test)
        else:
            yield test


class RecordingResult(unittest.TextTestResult):
    """The text result of unittest that also writes events."""

    events: TextIO

    def note(self, kind: str, test: Any, detail: str = "") -> None:
        print(json.dumps([kind, test_id(test), detail]), file=self.events, flush=True)

    def startTest(self, test: Any) -> None:
        self.note("start", test)
        super().startTest(test)

    def addSuccess(self, test: Any) -> None:
        self.note("ok", test)
        super().addSuccess(test)

    def addExpectedFailure(self, test: Any, err: Any) -> None:
        self.note("ok", test)
        super().addExpectedFailure(test, err)

    def addSkip(self, test: Any, reason: str) -> None:
        self.note("skip", test, reason)
        super().addSkip(test, reason)

    def addFailure(self, test: Any, err: Any) -> None:
        self.note_error(test, err)
        super().addFailure(test, err)

    def addError(self, test: Any, err: Any) -> None:
        self.note_error(test, err)
        super().addError(test, err)

    def addUnexpectedSuccess(self, test: Any) -> None:
        self.note("fail", test, "unexpected success")
        super().addUnexpectedSuccess(test)

    def addSubTest(self, test: Any, subtest: Any, err: Any) -> None:
        if err is not None:
            self.note_error(subtest, err)
        super().addSubTest(test, subtest, err)

    def note_error(self, test: Any, err: Any) -> None:
        lines = str(err[1]).strip().splitlines() or [""]
        if test_id(test).endswith(".import"):  # the message holds the traceback: its last line is the cause
            summary = lines[-1]
        else:
            summary = f"{err[0].__name__}: {lines[0]}"
        self.note("fail", test, PATH.sub("", summary)[:200])


class RecordingRunner(unittest.TextTestRunner):
    """The text runner of unittest, writing the plan first. The rank is known by then: main.py has imported MPI."""

    directory: Path
    resultclass = RecordingResult  # type: ignore[assignment]

    def run(self, test: Any) -> Any:
        rank = importlib.import_module("mpi4py.MPI").COMM_WORLD.Get_rank()
        with (self.directory / f"rank-{rank}.jsonl").open("w", encoding="utf-8") as events:
            RecordingResult.events = events
            print(json.dumps(["plan", [test_id(one) for one in flatten(test)]]), file=events, flush=True)
            return super().run(test)


def main() -> None:
    directory, script = Path(sys.argv[1]), Path(sys.argv[2])
    RecordingRunner.directory = directory
    unittest.runner.TextTestRunner = RecordingRunner  # type: ignore[misc]
    sys.argv[:] = sys.argv[2:]
    sys.path[0] = str(script.parent)
    sys.dont_write_bytecode = True
    runpy.run_path(str(script), run_name="__main__")


if __name__ == "__main__":
    main()
