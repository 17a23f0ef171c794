"""Errors that the layers below the API raise; the API boundary turns them into ``MPI.Exception``.

Rules of this file:
- A message says what failed, on which rank, towards whom, and what to do.
- The error class is an MPI error class from ``constants``; the boundary adds nothing to it.
"""

from __future__ import annotations

from fmi_mpi import constants

__all__ = ["AbortError", "BootstrapError", "ConfigError", "FmiError", "MPIError", "PeerFailure"]


class FmiError(RuntimeError):
    """Base of all errors of this package."""


class ConfigError(FmiError):
    """A setting is unknown or malformed; the message names the nearest known one."""


class BootstrapError(FmiError):
    """The job could not be joined; the message names who is missing and what to do."""


class MPIError(FmiError):
    """An MPI call failed.

    Args:
        error_class: one of the ``ERR_*`` constants.
        message: what failed and what to do; shown beside the error class's own string.
    """

    def __init__(self, error_class: int, message: str = "") -> None:
        super().__init__(message)
        self.error_class = error_class


class PeerFailure(MPIError):
    """Another process of the job died or cannot be reached: not the caller's mistake."""

    def __init__(self, peer: int, message: str) -> None:
        super().__init__(constants.ERR_PROC_FAILED, message)
        self.peer = peer


class AbortError(FmiError):
    """The job is being aborted by another rank or by the launcher, with exit code ``code``."""

    def __init__(self, message: str, code: int = 1) -> None:
        super().__init__(message)
        self.code = code
