"""Ports and published names, groups that connect at a port, processes that join over a socket."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from compat_tests.support import outcome


def test_names(MPI: Any, comm: Any, record: Any) -> None:
    if comm.Get_rank() == 0:
        port, other, service = MPI.Open_port(), MPI.Open_port(), f"service of {id(comm)}"
        record(port != other, len(port) < MPI.MAX_PORT_NAME)
        record(outcome(MPI, MPI.Lookup_name, service), outcome(MPI, MPI.Unpublish_name, service, port))
        MPI.Publish_name(service, port)
        record(outcome(MPI, MPI.Publish_name, service, port), outcome(MPI, MPI.Publish_name, service, other))
        record(MPI.Lookup_name(service) == port)
        MPI.Unpublish_name(service, port)
        record(outcome(MPI, MPI.Lookup_name, service))
        MPI.Close_port(port)
        MPI.Close_port(other)
    comm.Barrier()


@pytest.mark.parametrize("accepting", [1, 2], ids=["one accepts", "two accept"])
@pytest.mark.parametrize("root", ["first", "last"])
def test_connection(MPI: Any, comm: Any, accepting: int, root: str, record: Any) -> None:
    """Several times through the same port, which the others learn by its published name."""
    rank, size = comm.Get_rank(), comm.Get_size()
    if size <= accepting:
        pytest.skip("needs two groups")
    part = comm.Split(int(rank >= accepting))
    leader = 0 if root == "first" else part.Get_size() - 1
    port, service = None, f"connection {comm.bcast(id(comm))}"
    if rank < accepting and part.Get_rank() == leader:
        port = MPI.Open_port()
        MPI.Publish_name(service, port)
    comm.Barrier()
    if rank >= accepting and part.Get_rank() == leader:
        port = MPI.Lookup_name(service)
    for number in range(3):
        between = (part.Accept if rank < accepting else part.Connect)(port, root=leader)
        record(between.Get_size(), between.Get_remote_size(), type(between).__name__)
        record(between.allgather((number, rank)))
        between.Disconnect()
        record(between == MPI.COMM_NULL)
    comm.Barrier()
    if rank < accepting and part.Get_rank() == leader:
        MPI.Unpublish_name(service, port)
        MPI.Close_port(port)
    part.Free()


def test_join(MPI: Any, comm: Any, record: Any) -> None:
    rank = comm.Get_rank()
    if comm.Get_size() < 2:
        pytest.skip("needs two processes")
    if rank < 2:
        if rank == 0:
            with socket.create_server(("127.0.0.1", 0)) as server:
                comm.send(server.getsockname(), 1)
                connection = server.accept()[0]
        else:
            connection = socket.create_connection(comm.recv(source=0))
        with connection:
            between = MPI.Comm.Join(connection.fileno())
        record(between.Get_rank(), between.Get_size(), between.Get_remote_size())
        record(between.sendrecv(rank, 0, source=0))
        between.Free()
    comm.Barrier()
    record(outcome(MPI, MPI.COMM_SELF.Accept, "", root=1))
