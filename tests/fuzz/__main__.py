"""``python -m tests.fuzz TARGET --seconds 30``: fuzz a target, with coverage, by atheris (the extra ``fuzz``).

The input that breaks it is kept in a file named in the output; ``python -m tests.fuzz TARGET FILE`` runs that one again.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path


def main() -> None:
    try:
        import atheris
    except ImportError:
        sys.exit(
            "fuzzing needs atheris: pip install -e .[fuzz]; without it, tests/fuzz/test_fuzz.py runs the same targets"
        )
    with atheris.instrument_imports(include=["fmi_mpi"]):
        from .targets import TARGETS
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("file", nargs="?", type=Path, help="run this input only")
    parser.add_argument("--seconds", type=int, default=30)
    options = parser.parse_args()
    target = TARGETS[options.target]
    if options.file is not None:
        target(options.file.read_bytes())
        return
    kept = Path(".cache", "fuzz")
    kept.mkdir(parents=True, exist_ok=True)
    limits = (f"-max_total_time={options.seconds}", "-max_len=2000", "-timeout=10", "-rss_limit_mb=4096")
    atheris.Setup([sys.argv[0], *limits, f"-artifact_prefix={kept / options.target}-"], target)
    atheris.Fuzz()


main()
