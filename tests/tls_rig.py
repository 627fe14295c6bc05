"""A lane and the server of its TLS, which is Python's ssl, between bytes in memory."""

import socket
import ssl
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path

import pytest

from native import Lane, TlsError, Trust

HOST = "voice.example"


class Server:
    """One connection's, between bytes in memory. What it says goes to the lane in pieces of these sizes, in turn."""

    def __init__(self, context: ssl.SSLContext, pieces: Sequence[int] = (2**16,)) -> None:
        self.near, self.far = socket.socketpair()
        self.far.setblocking(False)
        self.came, self.going = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.session = context.wrap_bio(self.came, self.going, server_side=True)
        self.pieces, self.turn = pieces, 0
        self.heard = bytearray()

    def close(self) -> None:
        self.near.close()
        self.far.close()

    def piece(self) -> bytes:
        self.turn += 1
        return self.going.read(self.pieces[self.turn % len(self.pieces)])

    def listen(self) -> None:
        with suppress(BlockingIOError):
            while data := self.far.recv(2**20):
                self.came.write(data)

    def shake_hands(self, lane: Lane) -> None:
        """Until both are done. Raises TlsError."""
        done = False
        while not (lane.shake_hands() and done):
            self.listen()
            # Why it refuses is told to the lane.
            with suppress(ssl.SSLError):
                done = self.session.do_handshake() is None
            self.far.sendall(self.piece())

    def hear(self) -> bytes:
        self.listen()
        with suppress(ssl.SSLWantReadError):
            while data := self.session.read(2**20):
                self.heard += data
        return bytes(self.heard)

    def say(self, data: bytes, lane: Lane) -> bytes:
        """What the lane hands over of it, and of what else waits to go."""
        handed = b""
        while data:
            data = data[self.session.write(data) :]
        while piece := self.piece():
            self.far.sendall(piece)
            lane.receive()
            while lane.handed:
                handed += lane.take()
        return handed


@cache
def trust_in(ca: Path | None) -> Trust:
    return Trust(ca)


def secured(server: Server, ca: Path | None, host: str = HOST) -> Lane:
    lane = Lane(server.near.fileno(), trust=trust_in(ca), host=host)
    server.shake_hands(lane)
    return lane


def refusal(server: Server, ca: Path | None, host: str = HOST) -> str:
    with pytest.raises(TlsError) as failure:
        secured(server, ca, host)
    return str(failure.value)
