"""Counters of the service, in Prometheus' text format."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Final

__all__ = ["Metrics"]

_COUNTERS: Final = {
    "messages": "Messages received.",
    "malformed": "Messages that were none.",
    "claims": "Ranks claimed.",
    "refused": "Claims refused.",
    "duplicates": "Claims of a rank that somebody has.",
    "returned": "Members that came back.",
    "lost": "Ranks lost.",
    "aborted": "Jobs ended by a failure.",
    "finished": "Jobs ended in order.",
    "expired": "Jobs that nobody needed any more.",
    "signals": "Messages carried between ranks.",
    "pieces": "Pieces of output carried.",
    "dropped": "Messages dropped for a member that does not read.",
    "relay_calls": "Pairs joined by the relay.",
    "relay_refused": "Connections that the relay refused.",
    "relay_bytes": "Bytes relayed.",
}


class Metrics(Counter[str]):
    """Counts by name; unknown names are mistakes of the program."""

    def text(self, gauges: Mapping[str, tuple[float, str]]) -> str:
        """Return counters and ``gauges`` (name -> value and help) as text."""
        lines = []
        for name, help_text in _COUNTERS.items():
            full = f"fmi_rendezvous_{name}_total"
            lines += [f"# HELP {full} {help_text}", f"# TYPE {full} counter", f"{full} {self[name]}"]
        for name, (value, help_text) in gauges.items():
            full = f"fmi_rendezvous_{name}"
            lines += [f"# HELP {full} {help_text}", f"# TYPE {full} gauge", f"{full} {value:g}"]
        return "\n".join(lines) + "\n"
