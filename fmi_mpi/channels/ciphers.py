"""What channels that encrypt have in common: AES-256-GCM by the package ``cryptography``, keys made of the job's secret.

Rules of this file:
- The job's secret itself encrypts nothing: HKDF makes a key of it for each purpose, which ``info`` names.
"""

from __future__ import annotations

from fmi_mpi.errors import ConfigError

__all__ = ["derive", "require"]


def require() -> None:
    """Raise ConfigError if the package is not there."""
    try:
        import cryptography  # noqa: F401
    except ImportError:
        raise ConfigError("FMI_ENCRYPT=1 needs the package cryptography: pip install 'fmi_mpi[encryption]'") from None


def derive(secret: bytes, salt: bytes, info: bytes) -> bytes:
    """Return a key of 32 bytes for the purpose ``info``; ``salt`` tells those of one purpose apart."""
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    return HKDF(SHA256(), 32, salt, info).derive(secret)
