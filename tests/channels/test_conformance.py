"""Every channel passes the shared suite."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from fmi_mpi.channels.conformance import CHECKS, Subject

from .subjects import SUBJECTS


@pytest.mark.timeout(60)
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__.removeprefix("check_"))
@pytest.mark.parametrize("subject", SUBJECTS, ids=lambda subject: subject.name)
def test_conformance(subject: Subject, check: Callable[[Subject], None]) -> None:
    check(subject)
