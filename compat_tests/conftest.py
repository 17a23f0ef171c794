"""One suite on two implementations: the fixture `MPI` is the module under test, `record` what both have to agree on.

Rules of this file:
- `--mpi=both` (the default, where both can be imported) runs every test on mpi4py and then on fmi_mpi in one process,
  and compares on every rank what the two runs recorded; `--mpi=NAME` runs one of them alone;
- all ranks run the same tests in the same order; each test's outcome is agreed between ranks (agreement.py); rank 0 reports;
- known differences stand in ledger.toml and are strict where both run (alone, there is nothing to differ from).
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Iterator
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pytest

from compat_tests import ledger
from compat_tests.agreement import Agreement, Watchdog
from compat_tests.support import freeze, make_comm

IMPLEMENTATIONS = ("mpi4py", "fmi_mpi")
LEDGER = Path(__file__).with_name("ledger.toml")


class Run:
    """What this run knows: the implementations by name, the agreement between ranks, and the values recorded."""

    def __init__(self, modules: dict[str, Any], timeout: float) -> None:
        self.modules = modules
        self.agreement = Agreement(list(modules.values()))
        stderr = os.fdopen(os.dup(2), "w")  # before a test's capture takes descriptor 2
        self.watchdog = Watchdog(self.agreement.rank, timeout, stderr)
        self.recorded: dict[str, dict[str, list[Any]]] = {}


RUN = pytest.StashKey[Run]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("parity between MPI implementations")
    group.addoption("--mpi", choices=["both", *IMPLEMENTATIONS], default="both", help="which to run (default: both)")
    group.addoption("--timeout", type=float, default=60.0, help="seconds a test may take (default: 60)")
    group.addoption("--large", action="store_true", help="run the tests that need several GiB of memory, too")


def load(choice: str) -> dict[str, Any]:
    """Import the chosen implementations; `both` takes what can be imported, at least one."""
    modules, problems = {}, []
    for name in IMPLEMENTATIONS if choice == "both" else (choice,):
        try:
            modules[name] = importlib.import_module(f"{name}.MPI")
        except ImportError as error:
            problems.append(f"{name}: {error}")
    if not modules:
        raise pytest.UsageError("no implementation of MPI: " + "; ".join(problems))
    if len({module.COMM_WORLD.Get_size() for module in modules.values()}) > 1:
        raise pytest.UsageError(
            "the worlds differ in size: start with mpirun to compare both, or choose one with --mpi"
        )
    return modules


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    run = config.stash[RUN] = Run(load(config.getoption("mpi")), config.getoption("timeout"))
    if run.agreement.rank:
        config.pluginmanager.unregister(config.pluginmanager.getplugin("terminalreporter"))
        reporter = pytest.TerminalReporter(config, open(os.devnull, "w"))  # noqa: SIM115 - as long as the run
        config.pluginmanager.register(reporter, "terminalreporter")


def pytest_unconfigure(config: pytest.Config) -> None:
    if run := config.stash.get(RUN, None):
        run.agreement.close()


def pytest_report_header(config: pytest.Config) -> list[str]:
    run = config.stash[RUN]
    worlds = [f"{name} ({module.get_vendor()[0]})" for name, module in run.modules.items()]
    return [f"{' and '.join(worlds)} on {run.agreement.size} ranks"]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "MPI" in metafunc.fixturenames:
        metafunc.parametrize("MPI", list(metafunc.config.stash[RUN].modules), indirect=True)


def implementation_of(item: pytest.Item) -> str:
    """Return the name of the implementation that a test runs on, or nothing for a test of several."""
    call = getattr(item, "callspec", None)
    return str(call.params.get("MPI", "")) if call else ""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    run = config.stash[RUN]
    entries = ledger.read(LEDGER)
    strict = len(run.modules) == len(IMPLEMENTATIONS)
    for item in items:
        name, fixture = item.nodeid.rpartition("/")[2], implementation_of(item)
        for entry in entries:
            if on_this_run(run, entry.section, fixture) and entry.covers(name, run.agreement.size):
                item.add_marker(pytest.mark.xfail(reason=entry.reason, run=entry.run, strict=strict))
        if item.get_closest_marker("large") and not config.getoption("large"):
            item.add_marker(pytest.mark.skip(reason="needs --large"))


def on_this_run(run: Run, section: str, implementation: str) -> bool:
    """Tell whether a ledger section (an implementation, or a vendor of mpi4py's library) is about this test."""
    names = [implementation] if implementation else list(run.modules)
    return section in names or section in [run.modules[name].get_vendor()[0] for name in names]


def pytest_collection_finish(session: pytest.Session) -> None:
    if not session.config.stash[RUN].agreement.same([item.nodeid for item in session.items]):
        raise pytest.UsageError("the ranks collected different tests")


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    with item.config.stash[RUN].watchdog.watch(item.nodeid):
        return (yield)


def agreed(item: pytest.Item) -> Iterator[None]:
    run = item.config.stash[RUN]
    with run.agreement.step(lambda error: str(item.repr_failure(pytest.ExceptionInfo.from_exception(error)))):
        return (yield)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> Iterator[None]:
    return (yield from agreed(item))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    run = item.config.stash[RUN]
    with run.agreement.step(lambda error: str(item.repr_failure(pytest.ExceptionInfo.from_exception(error)))):
        result = yield
        compare(run, item)
        return result


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> Iterator[None]:
    return (yield from agreed(item))


def pair_key(item: pytest.Item) -> str:
    """Return a name that the runs of one test on different implementations share."""
    return item.nodeid.replace(implementation_of(item) or "\0", "MPI")


def compare(run: Run, item: pytest.Item) -> None:
    """Fail if this test, on the implementation it just ran on, recorded other values than on the one before."""
    values = run.recorded.get(pair_key(item), {})
    name = implementation_of(item)
    for other, theirs in values.items():
        for place, (mine, their) in enumerate(zip_longest(values[name], theirs, fillvalue="nothing")):
            if mine != their:
                pytest.fail(
                    f"recorded value {place} differs\nE  {name}: {mine!r}\nE  {other}: {their!r}", pytrace=False
                )


@pytest.fixture
def MPI(request: pytest.FixtureRequest) -> Any:
    """The implementation under test."""
    return request.config.stash[RUN].modules[request.param]


@pytest.fixture
def implementations(request: pytest.FixtureRequest) -> dict[str, Any]:
    """All implementations of this run by name, for tests that compare them step by step."""
    return request.config.stash[RUN].modules


@pytest.fixture
def agreement(request: pytest.FixtureRequest) -> Agreement:
    return request.config.stash[RUN].agreement


@pytest.fixture
def record(request: pytest.FixtureRequest) -> Callable[..., None]:
    """Record values that have to be the same on every implementation, rank by rank."""
    run = request.config.stash[RUN]
    values = run.recorded.setdefault(pair_key(request.node), {}).setdefault(implementation_of(request.node), [])
    return lambda *found: values.extend(map(freeze, found))


@pytest.fixture
def comm(request: pytest.FixtureRequest, MPI: Any) -> Iterator[Any]:
    """A fresh communicator: a copy of the world, or what the parameter (a name in support.COMMS) asks for."""
    made = make_comm(MPI, getattr(request, "param", "world"))
    yield made
    made.Free()
