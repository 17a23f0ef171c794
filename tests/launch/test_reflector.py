"""The reflector against those who ask, and against everybody else; the client against reflectors that lie."""

from __future__ import annotations

import os
import selectors
import socket
import threading
from collections.abc import Callable, Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fmi_mpi.bootstrap.reflector import (
    ANSWER_SIZE,
    REQUEST_SIZE,
    Inquiry,
    answer,
    is_request,
    read_answer,
    request,
)
from fmi_mpi.launch.reflector import Reflector

HOST = "127.0.0.1"


class Server:
    """A reflector and the loop that serves it."""

    def __init__(self, limit: int = 100) -> None:
        self.selector = selectors.DefaultSelector()
        self.reflector = Reflector(self.selector, HOST, limit=limit)

    def pump(self, seconds: float = 0) -> None:
        for key, _ in self.selector.select(seconds):
            key.data()

    def pump_until(self, condition: Callable[[], bool]) -> None:
        for _ in range(1000):
            if condition():
                return
            self.pump(0.01)
        raise AssertionError("the reflector does not get there")

    def client(self) -> socket.socket:
        client = socket.create_connection((HOST, self.reflector.ports[0]))
        client.setblocking(False)
        self.pump(1)
        return client

    def close(self) -> None:
        self.reflector.close()
        self.reflector.close()
        self.selector.close()


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


def bound() -> socket.socket:
    """Return a socket that holds a port for an inquiry to share."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    sock.bind(("", 0))
    return sock


def is_cut_off(server: Server, client: socket.socket) -> bool:
    for _ in range(100):
        server.pump(0.01)
        try:
            if not client.recv(1 << 12):
                return True
        except BlockingIOError:
            pass
        except ConnectionResetError:
            return True
    return False


@pytest.mark.parametrize("endpoint", [("192.0.2.7", 1), ("255.255.255.255", 65535), ("2001:db8::1", 4711)])
def test_answers_tell_the_endpoint_only_to_who_asked(endpoint: tuple[str, int]) -> None:
    nonce = os.urandom(18)
    told = answer(request(nonce), endpoint)
    assert read_answer(told, nonce) == endpoint
    assert read_answer(told, os.urandom(18)) is None
    assert all(read_answer(told[:size], nonce) is None for size in range(len(told)))
    assert read_answer(told + b"x", nonce) is None


@given(st.binary(max_size=80))
def test_bytes_that_are_no_answer(data: bytes) -> None:
    assert read_answer(data, bytes(18)) is None or data.startswith(b"FMI-RFL1" + bytes(18))
    assert not is_request(data) or len(data) == REQUEST_SIZE


def test_both_ports_see_the_same_endpoint(server: Server) -> None:
    with bound() as own:
        port = own.getsockname()[1]
        inquiry = Inquiry([(HOST, port) for port in server.reflector.ports], port)
        loop = threading.Thread(target=server.pump_until, args=(lambda: inquiry.done,))
        loop.start()
        inquiry.wait(5)
        loop.join()
        assert inquiry.public == (HOST, port) and not inquiry.symmetric and not inquiry.failure
        inquiry.close()


@pytest.mark.parametrize(
    "data", [b"x", b"FMI-RFL2" + bytes(18), request(bytes(18)) + b"x", b"GET / HTTP/1.1\r\n\r\n", b"\0" * 5000]
)
def test_whoever_sends_anything_else_learns_nothing(server: Server, data: bytes) -> None:
    client = server.client()
    client.send(data)
    if len(data) < REQUEST_SIZE:
        client.shutdown(socket.SHUT_WR)
    assert is_cut_off(server, client)
    other = server.client()
    other.send(request(bytes(18)))
    server.pump_until(lambda: _has(other))
    assert read_answer(other.recv(1000), bytes(18)) == other.getsockname()


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.binary(min_size=1, max_size=60), max_size=4))
def test_any_bytes_leave_the_server_alive(server: Server, pieces: list[bytes]) -> None:
    with server.client() as client:
        for piece in pieces:
            try:
                client.send(piece)
            except OSError:
                break
            server.pump()
    server.pump()


def test_the_oldest_stranger_gives_way() -> None:
    server = Server(limit=3)
    asker = server.client()
    asker.send(request(bytes(18)))
    server.pump_until(lambda: _has(asker))
    clients = [server.client() for _ in range(4)]
    assert is_cut_off(server, clients[0]) and is_cut_off(server, clients[1])
    assert not is_cut_off(server, clients[3])
    assert len(asker.recv(1000)) == ANSWER_SIZE
    assert not is_cut_off(server, asker)
    server.close()


@pytest.mark.parametrize("reply", [b"", b"x" * ANSWER_SIZE, b"x" * (ANSWER_SIZE + 10)])
def test_a_reflector_that_lies(reply: bytes) -> None:
    with socket.create_server((HOST, 0)) as listener, bound() as own:
        inquiry = Inquiry([listener.getsockname()], own.getsockname()[1])
        connection, _ = listener.accept()
        connection.send(reply)
        connection.close()
        inquiry.wait(5)
        assert inquiry.public is None and "reflector" in inquiry.failure


def test_a_reflector_that_is_silent_or_absent() -> None:
    with socket.create_server((HOST, 0)) as listener, bound() as own:
        port = own.getsockname()[1]
        inquiry = Inquiry([listener.getsockname()], port)
        inquiry.wait(0.05)
        assert "does not answer within 0.05 s" in inquiry.failure and inquiry.public is None
        inquiry.close()
        absent = Inquiry([(HOST, 1)], port)
        absent.wait(5)
        assert "Connection refused" in absent.failure
        nobody = Inquiry([], port)
        nobody.wait(5)
        assert nobody.done and nobody.public is None


def _has(sock: socket.socket) -> bool:
    try:
        return bool(sock.recv(1, socket.MSG_PEEK))
    except BlockingIOError:
        return False
