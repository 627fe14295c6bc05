"""TLS in a lane against `openssl s_server`, which does on command what Python's ssl does not."""

import select
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from native import Lane, Trust
from tests.certificates import Certified, certify

LIMIT_S = 20


@pytest.fixture
def certified(tmp_path: Path) -> Certified:
    return certify(tmp_path, "127.0.0.1")


@pytest.fixture
def commanded(certified: Certified, tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """`openssl s_server`, which takes commands, on an address of its choice."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    servers = []

    def serve(*options: str) -> subprocess.Popen[bytes]:
        command = ["openssl", "s_server", "-accept", "127.0.0.1:0", "-cert", certified.key, *options]
        servers.append(
            subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        )
        return servers[-1]

    yield serve
    for server in servers:
        server.kill()
        server.communicate()


def line_with(server: subprocess.Popen[bytes], word: bytes) -> bytes:
    assert server.stdout
    return next(line for line in server.stdout if word in line)


@contextmanager
def connected(server: subprocess.Popen[bytes], ca: Path) -> Iterator[tuple[Lane, socket.socket]]:
    port = int(line_with(server, b"ACCEPT").split(b":")[-1])
    with socket.create_connection(("127.0.0.1", port)) as near:
        near.setblocking(False)
        lane = Lane(near.fileno(), trust=Trust(ca), host="127.0.0.1")
        while not lane.shake_hands():
            await_bytes(near)
        lane.send(b"before\n")
        line_with(server, b"before")
        yield lane, near
        lane.end()


def await_bytes(near: socket.socket, above: int = 0) -> int:
    """How many wait, above what waited before."""
    deadline = time.monotonic() + LIMIT_S
    while select.select([near], [], [], LIMIT_S)[0] and time.monotonic() < deadline:
        if (size := len(near.recv(2**16, socket.MSG_PEEK))) > above:
            return size
    raise AssertionError("nothing came")


def order(server: subprocess.Popen[bytes], line: bytes) -> None:
    assert server.stdin
    server.stdin.write(line)
    server.stdin.flush()


def test_new_keys_are_taken(certified: Certified, commanded: Callable[..., subprocess.Popen[bytes]]) -> None:
    server = commanded("-tls1_3")
    with connected(server, certified.ca) as (lane, near):
        order(server, b"K\n")
        await_bytes(near)
        lane.receive()
        lane.send(b"after\n")
        # Both sides have new keys by now: ours was asked for, too.
        line_with(server, b"after")
        order(server, b"said\r\n")
        while not lane.handed:
            await_bytes(near)
            lane.receive()
        assert lane.take() == b"said\r\n"


def test_a_new_handshake_is_refused(certified: Certified, commanded: Callable[..., subprocess.Popen[bytes]]) -> None:
    server = commanded("-tls1_2")
    with connected(server, certified.ca) as (lane, near):
        order(server, b"R\n")
        await_bytes(near)
        lane.receive()
        lane.send(b"after\n")
        line_with(server, b"no renegotiation")
