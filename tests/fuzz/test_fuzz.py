"""Each target briefly, without a fuzzer that learns: no bytes raise anything but what is documented."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from .targets import TARGETS


@pytest.mark.parametrize("target", TARGETS)
@settings(max_examples=150, deadline=None)
@given(data=st.binary(max_size=600))
def test_target(target: str, data: bytes) -> None:
    TARGETS[target](data)
