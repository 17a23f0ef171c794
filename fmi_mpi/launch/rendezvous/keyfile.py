"""The service's key pair, kept in a file so that its URL stays the same when it is started again."""

from __future__ import annotations

import os

from fmi_mpi.errors import BootstrapError

__all__ = ["load", "make"]


def make() -> tuple[str, str]:
    """Return a new public and secret key (Z85)."""
    import zmq

    public, secret = zmq.curve_keypair()
    return public.decode(), secret.decode()


def load(path: str) -> tuple[str, str]:
    """Return the public and the secret key of a file, which is made, for its owner's eyes only, if there is none.

    Raises BootstrapError, OSError.
    """
    import zmq

    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        with open(path, encoding="ascii", errors="replace") as file:
            if os.fstat(file.fileno()).st_mode & 0o077:
                raise BootstrapError(f"{path} may be read by others; chmod 600 it, or start with a new file") from None
            secret = file.read(100).strip()
        try:
            return zmq.curve_public(secret.encode()).decode(), secret
        except (ValueError, zmq.ZMQError):
            raise BootstrapError(f"{path} holds no key; name a file of 'fmi-mpi rendezvous', or none") from None
    public, secret = make()
    with open(descriptor, "w", encoding="ascii") as file:
        file.write(secret + "\n")
    return public, secret
