"""A lane's other end: servers that send bytes, and what a lane has sent them."""

import base64
import socket
import weakref
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from native import Codec, Engine, Lane, Lanes, StreamPort

HEAD = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"
PREFIX, SUFFIX = b'{"payload":"', b'"}'
FRAME_PREFIX, FRAME_SUFFIX = b'{"event":"playAudio","media":{"payload":"', b'"}}'

SOUND = np.random.default_rng(3).integers(0, 256, 1000).astype("u1").tobytes()


def open_stream(engine: Engine) -> StreamPort:
    return engine.stream(Codec.PCMA, 8000, prefix=PREFIX, suffix=SUFFIX)


@contextmanager
def connected() -> Iterator[tuple[socket.socket, socket.socket]]:
    """A lane's own, and the server's, who has answered the handshake."""
    near, far = socket.socketpair()
    with near, far:
        near.setblocking(False)
        far.setblocking(False)
        far.send(HEAD)
        yield near, far


def open_lane(port: StreamPort, fd: int) -> Lane:
    """With a message learned."""
    lane = Lane(fd)
    join(lane, port)
    return lane


def join(lane: Lane, port: StreamPort) -> None:
    lane.join(port)
    lane.learn(FRAME_PREFIX, FRAME_SUFFIX, Codec.PCMA, 8000)


class Fed(Lane):
    """With a server of its own, after the handshake."""

    def __init__(self, port: StreamPort | None = None) -> None:
        self.near, self.far = socket.socketpair()
        weakref.finalize(self, self.near.close)
        weakref.finalize(self, self.far.close)
        self.far.setblocking(False)
        super().__init__(self.near.fileno())
        self.feed(HEAD)
        assert self.take() == HEAD
        if port:
            join(self, port)

    def feed(self, data: bytes) -> None:
        self.far.sendall(data)
        self.receive()

    def pause(self) -> None:
        """What comes next is measured."""
        for _ in range(20):
            self.receive()


def frame(payload: bytes, first: int = 0x81) -> bytes:
    size = len(payload)
    if size < 126:
        return bytes([first, size]) + payload
    if size < 2**16:
        return bytes([first, 126]) + size.to_bytes(2, "big") + payload
    return bytes([first, 127]) + size.to_bytes(8, "big") + payload


def played(data: bytes) -> bytes:
    return frame(FRAME_PREFIX + base64.b64encode(data) + FRAME_SUFFIX)


def taken(lane: Lane) -> bytes:
    return lane.take() if lane.handed else b""


def serve(*lanes: Lane) -> list[int]:
    """One turn of these; who had news, by their place."""
    together, news = Lanes(), []
    for place, lane in enumerate(lanes):
        together.add(lane, lambda place=place: news.append(place))  # type: ignore[misc]
    together.turn()
    return news


def unmasked(data: bytes) -> tuple[bytes, bytes, bytes]:
    """The first frame's mask and payload, and what follows."""
    assert data[0] == 0x81
    assert data[1] & 0x80
    digits = {126: 2, 127: 8}.get(data[1] & 127, 0)
    size = int.from_bytes(data[2 : 2 + digits], "big") if digits else data[1] & 127
    at = 2 + digits
    mask, payload = data[at : at + 4], data[at + 4 : at + 4 + size]
    assert len(payload) == size
    return mask, bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload)), data[at + 4 + size :]


def sent(lane: Lane, far: socket.socket) -> list[bytes]:
    """The payloads of what goes in one turn."""
    serve(lane)
    try:
        data = far.recv(2**20)
    except BlockingIOError:
        return []
    payloads = []
    while data:
        _, payload, data = unmasked(data)
        payloads.append(payload)
    return payloads
