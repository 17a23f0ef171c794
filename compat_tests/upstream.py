"""Run mpi4py's own test-suite, unedited, on fmi_mpi, and hold the outcome against the ledger.

Rules of this file:
- the judge is the source distribution of mpi4py from the package index (or ``--sdist``), unpacked as it is into the
  repository's ``.cache/``; a launch per test file, killed after ``--timeout`` seconds, so that no file hangs another;
- a test counts once over all ranks: failed when it failed on any, or when any rank never got to its end; then skipped
  when any rank skipped it; else passed;
- upstream.toml lists by name the failures and the skips beyond those of the reference, with reasons; it is strict both
  ways. upstream_reference.toml is what mpi4py on MPICH skips; write it anew with ``--reference mpich --write-reference``;
- standard library only.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from compat_tests import ledger

VERSION = "4.1.2"
HERE = Path(__file__).resolve().parent
CACHE = HERE.parent / ".cache"
LEDGER = HERE / "upstream.toml"
REFERENCE = HERE / "upstream_reference.toml"
LEDGER_HEAD = f"""
What mpi4py {VERSION}'s own tests do otherwise here than on MPICH: failures by name, and skips beyond MPICH's
(upstream_reference.toml). A file that cannot be imported is one failure, `file.import`. Strict: strike out what is mended. Written by `python -m compat_tests.upstream --write-ledger`;
reasons may be edited, they are kept.
"""
REFERENCE_HEAD = f"""
The tests that mpi4py {VERSION} on MPICH skips or fails itself, by world size; larger worlds count as the largest one.
Written by `python -m compat_tests.upstream --reference mpich --write-reference` with cffi, dill and PyYAML installed.
"""
GRACE = 5.0
LAUNCH = "(launch)"


@dataclass
class Outcome:
    """What one test file did: test id -> detail (reason) for each kind, and the seconds it took."""

    module: str
    passed: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    missing: int = 0  # tests that the reference has and no rank came to
    seconds: float = 0.0

    @property
    def tests(self) -> set[str]:
        return {*self.passed, *self.failed, *self.skipped}

    def summary(self) -> str:
        counts = f"{len(self.passed):5} passed {len(self.failed):4} failed {len(self.skipped):4} skipped"
        counts += f" {self.missing:4} missing" if self.missing else " " * 13
        return f"{self.module:24} {counts} {self.seconds:7.1f} s"


def fetch(sdist: Path | None) -> Path:
    """Return the unpacked source tree of mpi4py, downloading the archive with pip once if no path is given."""
    tree = CACHE / f"mpi4py-{VERSION}"
    archive = sdist or CACHE / f"mpi4py-{VERSION}.tar.gz"
    if archive.is_dir():
        return archive.resolve()
    if not archive.exists():
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", "mpi4py"]
        subprocess.run([*pip, f"mpi4py=={VERSION}", "-d", str(CACHE)], check=True)
    if not (tree / "test" / "main.py").exists():
        CACHE.mkdir(exist_ok=True)
        with tarfile.open(archive) as tar:
            # By attribute, since 3.11.0 to 3.11.3 do not know the argument.
            tar.extraction_filter = getattr(tarfile, "data_filter", None)
            tar.extractall(CACHE)
    return tree


def command(options: argparse.Namespace, np: int) -> list[str]:
    """Return the launch command up to and including the Python that each rank runs."""
    python = options.python
    beside = Path(python).parent
    if options.reference:
        launcher = str(beside / "mpiexec") if (beside / "mpiexec").exists() else "mpiexec"
        open_mpi = ["--allow-run-as-root", "--oversubscribe"] if options.reference == "openmpi" else []
        return [launcher, *open_mpi, "-n", str(np), python]
    fmirun = [str(beside / "fmirun")] if (beside / "fmirun").exists() else [python, "-m", "fmi_mpi.launch"]
    channels = ["--channels", options.channels] if options.channels else []
    return [*fmirun, "-n", str(np), "--alias-mpi4py", "--timeout", str(options.timeout), *channels, python]


def environment(options: argparse.Namespace) -> dict[str, str]:
    env = dict(os.environ)
    if not options.reference:
        env["PYTHONPATH"] = os.pathsep.join(filter(None, [str(HERE.parent), env.get("PYTHONPATH")]))
    if options.reference == "openmpi":
        env.setdefault("PRTE_MCA_rmaps_default_mapping_policy", ":oversubscribe")
    return env


def run_file(options: argparse.Namespace, tree: Path, np: int, module: str) -> Outcome:
    """Launch one test file on np ranks and collect what every rank wrote down; the log stays beside the events."""
    directory = CACHE / "upstream" / f"{options.reference or 'fmi_mpi'}-np{np}" / module
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    script = tree / "test" / "main.py"
    rank = [str(HERE / "upstream_rank.py"), str(directory), str(script), "-v", "-i", rf"^{module}\.py$"]
    begin = time.monotonic()
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(
            [*command(options, np), *rank],
            cwd=tree,
            env=environment(options),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            status = process.wait(options.timeout + GRACE)
            ending = f"exit status {status}"
        except subprocess.TimeoutExpired:
            ending = f"no end after {options.timeout:g} s"
        finally:
            end_session(process)
    outcome = collect(directory, np, module, ending)
    outcome.seconds = time.monotonic() - begin
    outcome.missing = max(0, ledger.counts(REFERENCE).get(module, 0) - len(outcome.tests))
    return outcome


def end_session(process: subprocess.Popen[bytes]) -> None:
    """End the launcher and all that it started: first politely, so that it cleans up, then for certain."""
    with contextlib.suppress(ProcessLookupError):
        if process.poll() is None:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(GRACE)
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def collect(directory: Path, np: int, module: str, ending: str) -> Outcome:
    """Merge the events of all ranks into one outcome; what a rank began or planned but did not end is a failure."""
    outcome = Outcome(module)
    logs = [read_events(directory / f"rank-{rank}.jsonl") for rank in range(np)]
    planned = {name for log in logs for kind, name, _ in log if kind == "plan"}
    for rank, log in enumerate(logs):
        if not log:
            outcome.failed[f"{module}.{LAUNCH}"] = f"rank {rank} never reached its tests ({ending})"
            continue
        ended = {"ok": outcome.passed, "fail": outcome.failed, "skip": outcome.skipped}
        for kind, name, detail in log:
            if kind in ended and name not in outcome.failed:
                ended[kind][name] = detail
        done = {name for kind, name, _ in log if kind in ended}
        begun = {name for kind, name, _ in log if kind == "start"} - done
        skipped_classes = tuple(name.removesuffix("setUpClass") for name in done if name.endswith(".setUpClass"))
        for name in planned - done:
            if not (skipped_classes and name.startswith(skipped_classes)):
                where = "inside" if name in begun else "before"
                outcome.failed.setdefault(name, f"rank {rank} stopped {where} this test ({ending})")
    for name in outcome.failed:
        outcome.passed.pop(name, None)
        outcome.skipped.pop(name, None)
    for name in outcome.skipped:
        outcome.passed.pop(name, None)
    return outcome


def read_events(path: Path) -> list[tuple[str, str, str]]:
    """Read the events of a rank as (kind, test, detail); the plan gives one event per test."""
    events: list[tuple[str, str, str]] = []
    with contextlib.suppress(FileNotFoundError, json.JSONDecodeError):  # the last line of a killed rank may be cut
        for line in path.read_text(encoding="utf-8").splitlines():
            kind, name, *detail = json.loads(line)
            if kind == "plan":
                events += [("plan", one, "") for one in name]
            else:
                events.append((kind, name, detail[0] if detail else ""))
    return events


def expected_skips(np: int) -> list[ledger.Entry]:
    """Return the reference's entries that hold for np ranks; larger worlds than recorded count as the largest."""
    entries = ledger.read(REFERENCE)
    known = {size for entry in entries for size in entry.np}
    size = np if np in known else max(known, default=np)
    return [entry for entry in entries if entry.section == "skips" and size in entry.np]


def judge(np: int, outcomes: Sequence[Outcome]) -> list[str]:
    """Return a line for each difference from the ledger: what fails or skips unlisted, what is listed and works."""
    listed = ledger.read(LEDGER)
    reference = expected_skips(np)
    complaints = []
    for outcome in outcomes:
        for section, found, word in (("failures", outcome.failed, "FAILED"), ("skips", outcome.skipped, "SKIPPED")):
            entries = [entry for entry in listed if entry.section == section and (not entry.np or np in entry.np)]
            for name, why in sorted(found.items()):
                excused = section == "skips" and any(ledger.matches(entry.pattern, name) for entry in reference)
                if not excused and not any(entry.covers(name, np) for entry in entries):
                    complaints.append(f"{word} {name}: {why}")
            for entry in entries:
                if entry.pattern.partition(".")[0] != outcome.module:
                    continue
                hit = {name for name in outcome.tests if ledger.matches(entry.pattern, name)}
                complaints += [f"MENDED {name}: strike it out of [{section}]" for name in sorted(hit - set(found))]
                if not hit:
                    complaints.append(f"UNKNOWN {entry.pattern}: listed in [{section}], names no test")
    return complaints


def write_ledger(np: int, outcomes: Sequence[Outcome]) -> None:
    """Replace the ledger's lines for np and for the files run by what was found; other lines and old reasons stay."""
    reference = expected_skips(np)
    old = ledger.read(LEDGER)
    ran = {outcome.module for outcome in outcomes}
    entries = [entry for entry in old if entry.pattern.partition(".")[0] not in ran]
    for section in ("failures", "skips"):
        found: dict[str, str] = {}
        for outcome in outcomes:
            names = outcome.failed if section == "failures" else outcome.skipped
            new = {
                name: why
                for name, why in names.items()
                if section == "failures" or not any(ledger.matches(entry.pattern, name) for entry in reference)
            }
            for pattern in ledger.collapse(new, outcome.tests):
                found[pattern] = next(why for name, why in sorted(new.items()) if ledger.matches(pattern, name))
        mine = [entry for entry in old if entry.pattern.partition(".")[0] in ran]
        entries += ledger.merge({np: found}, mine, section)
    ledger.write(LEDGER, LEDGER_HEAD, entries)


def write_reference(np: int, outcomes: Sequence[Outcome]) -> None:
    """Replace the reference's lines for np and the files run: a section of skips, and one of failures of its own."""
    old = ledger.read(REFERENCE)
    ran = {outcome.module for outcome in outcomes}
    entries = [entry for entry in old if entry.pattern.partition(".")[0] not in ran]
    mine = [entry for entry in old if entry.pattern.partition(".")[0] in ran]
    for section in ("skips", "failures"):
        found: dict[str, str] = {}
        for outcome in outcomes:
            names = outcome.skipped if section == "skips" else outcome.failed
            for pattern in ledger.collapse(names, outcome.tests):
                found[pattern] = next(why for name, why in sorted(names.items()) if ledger.matches(pattern, name))
        entries += ledger.merge({np: found}, mine, section)
    counts = ledger.counts(REFERENCE) | {outcome.module: len(outcome.tests) for outcome in outcomes}
    ledger.write(REFERENCE, REFERENCE_HEAD, entries, counts)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m compat_tests.upstream", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("files", nargs="*", help="test files or modules (test_comm, test_p2p_buf.py); default all")
    parser.add_argument("-n", "--np", type=int, default=3, help="number of ranks (default %(default)s)")
    parser.add_argument("-j", "--jobs", type=int, default=1, help="files at the same time (default %(default)s)")
    parser.add_argument("--channels", help="channels of the job, for example tcp (default: fmirun's own choice)")
    parser.add_argument("--timeout", type=float, default=300.0, help="seconds a file may take (default %(default)g)")
    parser.add_argument("--sdist", type=Path, help="an archive of mpi4py or its unpacked tree, instead of a download")
    parser.add_argument("--python", default=sys.executable, help="the Python that the ranks run")
    parser.add_argument("--reference", choices=["mpich", "openmpi"], help="run the real mpi4py of --python instead")
    parser.add_argument("--write-ledger", action="store_true", help="write what was found into upstream.toml")
    parser.add_argument("--write-reference", action="store_true", help="write what was found into the reference")
    options = parser.parse_args(arguments)
    if options.write_reference and options.reference != "mpich":
        parser.error("--write-reference needs --reference mpich")
    if options.write_ledger and options.reference:
        parser.error("--write-ledger is about fmi_mpi, not about the reference")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the chosen files and return the exit status: 0 when all is as the ledger says."""
    options = parse(arguments)
    tree = fetch(options.sdist)
    modules = sorted(path.stem for path in (tree / "test").glob("test_*.py"))
    if chosen := [Path(name).stem for name in options.files]:
        if unknown := set(chosen) - set(modules):
            print(f"no such test file: {', '.join(sorted(unknown))}", file=sys.stderr)
            return 2
        modules = chosen
    outcomes = []
    with ThreadPoolExecutor(options.jobs) as pool:
        for outcome in pool.map(lambda module: run_file(options, tree, options.np, module), modules):
            print(outcome.summary(), flush=True)
            outcomes.append(outcome)
    total = Counter[str]()
    for outcome in outcomes:
        total.update(passed=len(outcome.passed), failed=len(outcome.failed), skipped=len(outcome.skipped))
        total.update(missing=outcome.missing)
    kinds = ("passed", "failed", "skipped", "missing")
    print(f"np={options.np}: " + ", ".join(f"{total[kind]} {kind}" for kind in kinds))
    if options.write_reference:
        write_reference(options.np, outcomes)
    if options.reference:
        for outcome in outcomes:
            for name, why in outcome.failed.items():
                print(f"FAILED {name}: {why}")
        return int(bool(total["failed"]))
    if options.write_ledger:
        write_ledger(options.np, outcomes)
    complaints = judge(options.np, outcomes)
    print("\n".join(complaints or ["as the ledger says"]))
    return int(bool(complaints))


if __name__ == "__main__":
    sys.exit(main())
