"""Ports and published names of a job's processes (MPI-4.1, 11.4).

Rules of this file:
- A port's name tells the job, the process that has opened it, and its number there, which makes the (negative) tag of
  messages to it in the internal space of the world.
- Published names are files in the directory that the job's processes on this host share, one a name, so they end with
  the job; a process without such a directory keeps them to itself.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
from typing import TYPE_CHECKING, Final, NamedTuple

from fmi_mpi.constants import ERR_NAME, ERR_PORT, ERR_SERVICE
from fmi_mpi.errors import MPIError

if TYPE_CHECKING:
    from fmi_mpi.runtime.world import World

__all__ = ["Port", "lookup", "open_port", "port_named", "publish", "unpublish"]

_SCHEME: Final = "fmi_mpi"
_LAST_TAG: Final = -2
_numbers = itertools.count()
_own: dict[str, str] = {}


class Port(NamedTuple):
    """An address at which a process accepts connections."""

    job: str
    proc: int
    number: int

    @property
    def tag(self) -> int:
        """Tag of messages to the port."""
        return _LAST_TAG - self.number

    def __str__(self) -> str:
        return f"{_SCHEME}:{self.job}:{self.proc}:{self.number}"


def open_port(world: World) -> Port:
    """Return a port that this process has not had yet."""
    return Port(world.bootstrap.identity.job, world.proc, next(_numbers))


def port_named(name: str) -> Port:
    """Return the port of a name; raises MPIError (ERR_PORT) if it is none."""
    scheme, _, rest = name.partition(":")
    job, *numbers = rest.rsplit(":", 2)
    if scheme != _SCHEME or len(numbers) != 2 or not all(map(str.isdecimal, numbers)):
        raise MPIError(ERR_PORT, f"{name!r} is not the name of a port; MPI.Open_port() gives one")
    return Port(job, *map(int, numbers))


def _path(directory: str, service: str) -> str:
    return os.path.join(directory, "name-" + hashlib.sha256(service.encode()).hexdigest())


def publish(world: World, service: str, port: str) -> None:
    """Make a port's name known under a service's; raises MPIError (ERR_NAME) if that is taken."""
    directory = world.bootstrap.directory
    taken = False
    if directory is None:
        taken = service in _own
        _own.setdefault(service, port)
    else:
        path = _path(directory, service)
        draft = f"{path}-{world.proc}-{next(_numbers)}"
        with open(draft, "w", encoding="utf-8") as file:
            file.write(port)
        try:
            os.link(draft, path)  # whole, and only if there is none
        except FileExistsError:
            taken = True
        finally:
            os.unlink(draft)
    if taken:
        raise MPIError(ERR_NAME, f"the service {service!r} is published already")


def lookup(world: World, service: str) -> str:
    """Return the name of the port of a service; raises MPIError (ERR_NAME) if nobody has published it."""
    directory = world.bootstrap.directory
    if directory is None:
        port = _own.get(service)
        if port is not None:
            return port
    else:
        with contextlib.suppress(FileNotFoundError), open(_path(directory, service), encoding="utf-8") as file:
            return file.read()
    raise MPIError(ERR_NAME, f"no process of this job has published the service {service!r}")


def unpublish(world: World, service: str) -> None:
    """Make a service's name unknown; raises MPIError (ERR_SERVICE) if it is not published."""
    directory = world.bootstrap.directory
    known = True
    if directory is None:
        known = _own.pop(service, None) is not None
    else:
        try:
            os.unlink(_path(directory, service))
        except FileNotFoundError:
            known = False
    if not known:
        raise MPIError(ERR_SERVICE, f"the service {service!r} is not published")
