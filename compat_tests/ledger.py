"""The ledgers: TOML tables of what is known to differ, each entry with the world sizes it holds for and a reason.

Rules of this file:
- one form for every ledger: ``[section]`` and lines ``"pattern" = { np = [1, 2], reason = "..." }``; a missing np means all;
- a pattern is a shell pattern (``*`` only; brackets are plain characters, they occur in pytest's test names);
- entries are strict for who reads them: an entry that matches something that works has to be struck out.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

COUNTS = "tests"
ALL = 5  # the largest world that the suites run on


@dataclass(frozen=True)
class Entry:
    """One line of a ledger; an empty np means every world size, run=false that the test would end the process."""

    section: str
    pattern: str
    np: tuple[int, ...]
    reason: str
    run: bool = True

    def covers(self, name: str, np: int) -> bool:
        return (not self.np or np in self.np) and matches(self.pattern, name)


def matches(pattern: str, name: str) -> bool:
    return re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), name) is not None


def read(path: Path) -> list[Entry]:
    """Read a ledger; an absent file is an empty ledger."""
    if not path.exists():
        return []
    tables = tomllib.loads(path.read_text(encoding="utf-8"))
    return [
        Entry(section, pattern, tuple(line.get("np", ())), line["reason"], line.get("run", True))
        for section, table in tables.items()
        for pattern, line in table.items()
        if section != COUNTS
    ]


def counts(path: Path) -> dict[str, int]:
    """Read the table of how many tests there are, by file."""
    return dict(tomllib.loads(path.read_text(encoding="utf-8")).get(COUNTS, {})) if path.exists() else {}


def write(path: Path, head: str, entries: Iterable[Entry], counts: Mapping[str, int] | None = None) -> None:
    """Write a ledger under a comment head, sections and patterns in sorted order, with a table of counts if given."""
    lines = [f"# {line}".rstrip() for line in head.strip().splitlines()]
    if counts:
        lines += ["", f"[{COUNTS}]", *(f"{name} = {number}" for name, number in sorted(counts.items()))]
    section = None
    for entry in sorted(entries, key=lambda e: (e.section, e.pattern, e.np)):
        if entry.section != section:
            section = entry.section
            lines += ["", f"[{section}]"]
        np = f"np = {list(entry.np)}, " if entry.np else ""
        lines.append(f"{quote(entry.pattern)} = {{ {np}reason = {quote(entry.reason)} }}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def quote(text: str) -> str:
    return json.dumps(text)


def collapse(names: Iterable[str], universe: Iterable[str]) -> Iterator[str]:
    """Yield patterns that cover exactly names: ``module.Class.*`` where every test of a class in universe is among them."""
    wanted = set(names)
    classes: dict[str, set[str]] = {}
    for name in {*universe, *wanted}:
        classes.setdefault(name.rpartition(".")[0], set()).add(name)
    for owner, tests in sorted(classes.items()):
        hit = tests & wanted
        if len(hit) > 1 and hit == tests:
            yield f"{owner}.*"
        else:
            yield from sorted(hit)


def merge(found: Mapping[int, Mapping[str, str]], old: Iterable[Entry], section: str) -> list[Entry]:
    """Return entries for the names found per world size (name -> reason), keeping lines of other sizes and old reasons."""
    kept: dict[str, tuple[set[int], str]] = {}
    for entry in old:
        if entry.section == section:
            rest = {np for np in entry.np or range(1, ALL + 1) if np not in found}
            kept[entry.pattern] = (rest, entry.reason)
    for np, names in found.items():
        for pattern, reason in names.items():
            sizes, text = kept.setdefault(pattern, (set(), reason))
            kept[pattern] = (sizes | {np}, text)
    return [Entry(section, pattern, tuple(sorted(nps)), why) for pattern, (nps, why) in kept.items() if nps]
