"""Ports and the names under which they are published (MPI-4.1, 11.4).

Rules of this file:
- What is published is found by the processes of the same job and host.
"""

from __future__ import annotations

from fmi_mpi.api.exception import boundary
from fmi_mpi.api.info import INFO_NULL, Info
from fmi_mpi.api.traits import text
from fmi_mpi.runtime import names
from fmi_mpi.runtime.process import world

__all__ = ["Close_port", "Lookup_name", "Open_port", "Publish_name", "Unpublish_name"]


@boundary
def Open_port(info: Info = INFO_NULL) -> str:
    """Return the name of a new port, at which this process can accept connections."""
    return str(names.open_port(world()))


@boundary
def Close_port(port_name: str) -> None:
    """Close a port; raises Exception (ERR_PORT) if the name is that of none."""
    names.port_named(text(port_name))


@boundary
def Publish_name(service_name: str, port_name: str, info: Info = INFO_NULL) -> None:
    """Make a port's name known under a service's name."""
    names.publish(world(), text(service_name), text(port_name))


@boundary
def Unpublish_name(service_name: str, port_name: str, info: Info = INFO_NULL) -> None:
    """Make a service's name unknown."""
    text(port_name)
    names.unpublish(world(), text(service_name))


@boundary
def Lookup_name(service_name: str, info: Info = INFO_NULL) -> str:
    """Return the name of the port that has been published under a service's name."""
    return names.lookup(world(), text(service_name))
