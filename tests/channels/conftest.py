"""Let pytest explain the assertions of the shared suite."""

import pytest

pytest.register_assert_rewrite("fmi_mpi.channels.conformance")
