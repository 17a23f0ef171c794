"""Choosing by the model: what the settings and a communicator's hints ask for.

Rules of this file:
- A profile is read when a policy is first asked for, once in a process.
- ``stamp`` is equal on all ranks exactly if they would choose alike: the profile's contents, the policy, the channel, and
  a function's memory. Ranks compare stamps before they choose.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from fmi_mpi.coll.choose import SEND, Advisor, choose
from fmi_mpi.constants import ERR_INFO_VALUE
from fmi_mpi.errors import ConfigError, MPIError
from fmi_mpi.model.policy import POLICIES
from fmi_mpi.model.profile import Profile, load
from fmi_mpi.runtime.communicator import CHANNEL, POLICY

__all__ = ["Hints", "best_for", "hints_of"]

_MIB: Final = 1 << 20


@lru_cache(maxsize=8)
def _profile(name: str) -> Profile:
    return load(name)


def _memory() -> int:
    """Return the bytes of this function, 0 if it is none."""
    text = os.environ.get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "")
    return int(text) * _MIB if text.isdecimal() else 0


@dataclass(frozen=True)
class Hints:
    """What a communicator is to go by; ``policy`` and ``channel`` are empty if nothing is asked for."""

    policy: str
    channel: str
    model: str

    @property
    def stamp(self) -> int:
        """A number of 62 bits that ranks compare, 0 for nothing asked; raises ConfigError if there is no such profile."""
        if not self.policy and not self.channel:
            return 0
        digest = _profile(self.model).digest if self.policy else ""
        text = f"{self.policy}/{self.channel}/{digest}/{_memory() if self.policy else 0}"
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 2

    def advisor(self, carrier: str, store: str) -> Advisor | None:
        """Return who chooses algorithms over these channels; None without a policy, or if the profile knows neither."""
        known = _profile(self.model).channels if self.policy else {}
        found = known.get(carrier), known.get(store)
        return Advisor(self.policy, *found, _memory()) if any(found) else None


def best_for(policy: str, model: str, channels: Sequence[str], nbytes: int) -> str:
    """Return which of these channels, in order of preference, is to carry a message of so many bytes.

    That is the first one if the profile does not know it: memory of one host is not in those of functions.
    """
    known = _profile(model).channels
    if channels[0] not in known:
        return channels[0]
    found = choose(SEND, 2, nbytes, [known[name] for name in channels if name in known], policy, memory=_memory())
    assert found is not None
    return found[0]


def hints_of(pairs: Mapping[str, str], policy: str, model: str, channels: Sequence[str]) -> Hints:
    """Return what an info object asks for.

    Args:
        pairs: the info object's. policy, model: the settings. channels: names of those that the job has.

    Raises MPIError (ERR_INFO_VALUE) if a key of ours has a value that means nothing.
    """
    asked = pairs.get(POLICY, policy)
    channel = pairs.get(CHANNEL, "")
    if asked and asked not in POLICIES:
        raise MPIError(ERR_INFO_VALUE, f"{POLICY}={asked!r}: expecting one of {', '.join(POLICIES)}")
    if channel and channel not in channels:
        raise MPIError(ERR_INFO_VALUE, f"{CHANNEL}={channel!r}: this job has {', '.join(channels)}; see --channels")
    hints = Hints(asked, channel, model)
    try:
        hints.stamp  # noqa: B018
    except ConfigError as error:
        raise MPIError(ERR_INFO_VALUE, str(error)) from None
    return hints
