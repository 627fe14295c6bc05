"""A customer's voice server that costs next to nothing: it reads frames by their heads, and sends ready-made ones.

    python -m tests.bench.voice [--tls FILE] [--prompt]       FILE: certificate and key

Each connection is sent 20 ms of audio every 20 ms, at a phase of its own. What it is sent is the same noise for all,
so that its place in it says which frame it was. All is written down with times of time.monotonic(), which are alike in
all processes; what came without TLS has the kernel's own time of its arrival. With --prompt it runs above all ordinary
programs where that is permitted: customers' servers are other machines. Words that it obeys, each answered:

    await N    answered when there are N connections
    count      frames in and out, CPU time
    pause      no more paced audio
    play       paced audio again
    queue N    N frames at once, to each connection
    clear      clearAudio to each connection
    forget     what came and went until now
    dump       what came and went since then, or since the last dump, by connection: {"in": [[at, base64]], "first":
               which frame of the noise the first one that went was, "out": [at], "clear": [at]}
"""

import base64
import contextlib
import gc
import hashlib
import json
import os
import random
import selectors
import socket
import ssl
import struct
import sys
import time
from collections.abc import Iterator
from functools import cache

from tests.bench.apart import say

TICK_S = 0.02
FRAME_BYTES = 160
# A connection's phase is one of these parts of a tick: so many wake-ups a tick, whatever the number of connections.
PHASES = 20
# Before it comes round again.
NOISE_S = 120
HANDSHAKE_LIMIT_S = 5.0
# RFC 6455 1.3
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
TEXT, CLOSE, PING, PONG = 1, 8, 9, 10
# asm-generic/socket.h; Python has no name for it. The kernel's clock is that of the day.
SO_TIMESTAMPNS = 35
TIMESPEC = struct.Struct("@qq")
# As the modems' (tap.py).
PRIORITY = 30


@cache
def noise(seed: int) -> bytes:
    """A-law; any 12 bytes of it stand there once."""
    return random.Random(seed).randbytes(round(NOISE_S / TICK_S) * FRAME_BYTES)


def frame(opcode: int, payload: bytes) -> bytes:
    size = len(payload)
    head = bytes([0x80 | opcode, size]) if size < 126 else bytes([0x80 | opcode, 126, size >> 8, size & 255])
    return head + payload


def message(event: str, **members: object) -> bytes:
    return frame(TEXT, json.dumps({"event": event, **members}, separators=(",", ":")).encode())


def unmasked(masked: bytes, mask: bytes) -> bytes:
    key = (mask * (len(masked) // 4 + 1))[: len(masked)]
    return (int.from_bytes(masked, "big") ^ int.from_bytes(key, "big")).to_bytes(len(masked), "big")


def shake_hands(tcp: socket.socket) -> str:
    """As a server; the path that was asked for. Raises: OSError: it took too long, or ended."""
    tcp.settimeout(HANDSHAKE_LIMIT_S)
    tcp.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    request = b""
    while not request.endswith(b"\r\n\r\n"):
        data = tcp.recv(4096)
        if not data:
            raise ConnectionResetError("no request")
        request += data
    key = next(line.split()[1] for line in request.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key:"))
    accept = base64.b64encode(hashlib.sha1(key + GUID).digest())
    head = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
    tcp.sendall(head + accept + b"\r\n\r\n")
    return request.split()[1].decode()


class Connection:
    def __init__(self, tcp: socket.socket) -> None:
        self.socket = tcp
        self.came: list[tuple[float, bytes]] = []
        self.went: list[float] = []
        self.clears: list[float] = []
        self.next_frame = 0
        self._unread = bytearray()
        self._unsent = b""

    def send(self, data: bytes) -> None:
        """What does not go at once goes with the next."""
        data = self._unsent + data
        try:
            self._unsent = data[self.socket.send(data) :]
        except (BlockingIOError, ssl.SSLWantWriteError):
            self._unsent = data
        except OSError:
            # Reset: reading will tell of the end.
            return

    def _receive(self) -> tuple[bytes, float]:
        """What is there, and when it came."""
        if isinstance(self.socket, ssl.SSLSocket):
            return self.socket.recv(65536), time.monotonic()
        data, told, _, _ = self.socket.recvmsg(65536, socket.CMSG_SPACE(TIMESPEC.size))
        now, now_ns = time.monotonic(), time.time_ns()
        for _, kind, stamp in told:
            if kind == SO_TIMESTAMPNS:
                seconds, nanoseconds = TIMESPEC.unpack(stamp)
                return data, now - (now_ns - seconds * 1_000_000_000 - nanoseconds) / 1e9
        return data, now

    def read(self) -> bool:
        """All that is there; False at the end."""
        while True:
            try:
                data, now = self._receive()
            except (BlockingIOError, ssl.SSLWantReadError):
                return True
            except OSError:
                return False
            self._unread += data
            if not data or not self._take(now):
                return False
            # TLS may hold more than its socket tells of.
            if not isinstance(self.socket, ssl.SSLSocket):
                return True

    def _take(self, now: float) -> bool:
        """Clients' frames are masked (RFC 6455 5.1): they are put by as they are."""
        unread, at = self._unread, 0
        while len(unread) >= at + 8:
            size, head = unread[at + 1] & 127, 6
            if size == 126:
                size, head = unread[at + 2] << 8 | unread[at + 3], 8
            end = at + head + size
            if end > len(unread):
                break
            opcode = unread[at] & 15
            whole = bytes(unread[at + head - 4 : end])
            at = end
            if opcode == TEXT:
                self.came.append((now, whole))
            elif opcode == PING:
                self.send(frame(PONG, unmasked(whole[4:], whole[:4])))
            elif opcode == CLOSE:
                self.send(frame(CLOSE, unmasked(whole[4:], whole[:4])))
                return False
        del unread[:at]
        return True

    def forget(self) -> None:
        self.came, self.went, self.clears = [], [], []

    def dump(self) -> dict[str, object]:
        media: list[tuple[float, str]] = []
        for at, masked in self.came:
            told = json.loads(unmasked(masked[4:], masked[:4]))
            if told["event"] == "media":
                media.append((at, told["media"]["payload"]))
        dump = {"in": media, "first": self.next_frame - len(self.went), "out": self.went, "clear": self.clears}
        self.forget()
        return dump


class Server:
    def __init__(self, tls: ssl.SSLContext | None) -> None:
        self._tls = tls
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self._phases: list[list[Connection]] = [[] for _ in range(PHASES)]
        self._accepted = 0
        self._awaited: int | None = None
        self._paused = False
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._selector.register(sys.stdin, selectors.EVENT_READ)
        media = {"contentType": "audio/PCMA", "sampleRate": 8000}
        codes = noise(0)
        payloads = (base64.b64encode(codes[at : at + FRAME_BYTES]) for at in range(0, len(codes), FRAME_BYTES))
        self._frames = [message("playAudio", media={**media, "payload": text.decode()}) for text in payloads]
        say({"port": self._listener.getsockname()[1]})

    def run(self) -> None:
        """Until the end of its input."""
        slot, slot_s = 0, TICK_S / PHASES
        due = time.monotonic()
        while True:
            for key, _ in self._selector.select(max(0.0, due - time.monotonic())):
                if key.fileobj is self._listener:
                    self._accept()
                elif isinstance(key.data, Connection):
                    if not key.data.read():
                        self._close(key.data)
                elif not self._obey(sys.stdin.readline().split()):
                    return
            while time.monotonic() >= due:
                for connection in () if self._paused else self._phases[slot]:
                    self._play(connection)
                slot, due = (slot + 1) % PHASES, due + slot_s

    def _connections(self) -> Iterator[Connection]:
        for phase in self._phases:
            yield from phase

    def _accept(self) -> None:
        tcp, _ = self._listener.accept()
        tcp.settimeout(HANDSHAKE_LIMIT_S)
        tcp.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        if self._tls:
            tcp = self._tls.wrap_socket(tcp, server_side=True)
        shake_hands(tcp)
        tcp.setblocking(False)
        connection = Connection(tcp)
        self._selector.register(tcp, selectors.EVENT_READ, connection)
        # Seven has no divisor in common with the phases: neighbours are far apart.
        self._phases[7 * self._accepted % PHASES].append(connection)
        self._accepted += 1
        self._tell_awaited()

    def _close(self, connection: Connection) -> None:
        self._selector.unregister(connection.socket)
        connection.socket.close()
        for phase in self._phases:
            if connection in phase:
                phase.remove(connection)

    def _play(self, connection: Connection) -> None:
        connection.went.append(time.monotonic())
        connection.send(self._frames[connection.next_frame])
        connection.next_frame = (connection.next_frame + 1) % len(self._frames)

    def _tell_awaited(self) -> None:
        if self._awaited is not None and sum(map(len, self._phases)) >= self._awaited:
            self._awaited = None
            say({})

    def _obey(self, words: list[str]) -> bool:
        match words:
            case ["await", count]:
                self._awaited = int(count)
                self._tell_awaited()
            case ["count"]:
                say(self._count())
            case ["pause"]:
                self._paused = True
                say({})
            case ["play"]:
                self._paused = False
                say({})
            case ["queue", count]:
                for connection in self._connections():
                    for _ in range(int(count)):
                        self._play(connection)
                say({})
            case ["clear"]:
                for connection in self._connections():
                    connection.clears.append(time.monotonic())
                    connection.send(message("clearAudio"))
                say({})
            case ["forget"]:
                for connection in self._connections():
                    connection.forget()
                say({})
            case ["dump"]:
                say([connection.dump() for connection in self._connections()])
            case _:
                return False
        return True

    def _count(self) -> dict[str, float]:
        return {
            "in": sum(len(connection.came) for connection in self._connections()),
            "out": sum(len(connection.went) for connection in self._connections()),
            "cpu_s": time.process_time(),
            "at": time.monotonic(),
        }


def main() -> None:
    # What is written down is no garbage, and looking through it for some makes frames late.
    gc.disable()
    tls = None
    if "--prompt" in sys.argv:
        with contextlib.suppress(PermissionError):
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(PRIORITY))
    if "--tls" in sys.argv:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(sys.argv[sys.argv.index("--tls") + 1])
    Server(tls).run()


if __name__ == "__main__":
    main()
