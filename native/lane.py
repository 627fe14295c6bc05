"""A lane: a stream's media messages on its WebSocket, past Python. It is for one thread of Python's at a time."""

import errno
import os
import sys
from collections.abc import Callable

from native._engine import ffi, lib
from native.engine import Engine
from native.faults import check, made
from native.owned import Owned
from native.terminals import Codec, StreamPort

# What lanes tell.
HANDED: int = lib.LANE_HANDED
ENDED: int = lib.LANE_ENDED
UNSENT: int = lib.LANE_UNSENT


class TlsError(OSError):
    """Why there is no TLS with that server."""


class Trust:
    """Whose certificates a lane believes: the system's authorities, and those in the PEM file `ca`.

    It reads files.

    Raises:
        ValueError: there is no certificate in `ca`.
    """

    def __init__(self, ca: str | os.PathLike[str] | None = None) -> None:
        path = ffi.NULL if ca is None else os.fsencode(ca)
        self._pointer = ffi.gc(
            made(lib.tls_trust_create(path), f"{ca}: has no certificate that can be read"), lib.tls_trust_destroy
        )


class Lane(Owned):
    """One connection's, from its first byte on.

    It reads and writes that socket, without waiting, until `end`: on the lanes' thread (`Lanes.start`) or when it is
    told to. With `trust` all of it is under TLS, and `host`, in ASCII, is who must answer. It knows the ends of
    WebSocket messages, and of the answer to the handshake before them; what it does not play is handed over by `take`.

    Raises:
        ValueError: no certificate can be for such a host.
    """

    # Messages above this size are never played.
    MOST_BYTES: int = lib.LANE_MOST_BYTES

    def __init__(self, fd: int, *, trust: Trust | None = None, host: str = "") -> None:
        whom = ffi.NULL if trust is None else trust._pointer
        fault = f"no server is called {host!r}"
        if not (host.isascii() and host.isprintable()):
            raise ValueError(fault)
        super().__init__(made(lib.lane_create(fd, whom, host.encode()), fault), lib.lane_destroy)
        self._port: StreamPort | None = None
        self._news: int = 0

    def shake_hands(self) -> bool:
        """TLS's, if there is any: first of all, and whenever the socket is readable, until it is done.

        Raises:
            TlsError: the server is not to be trusted, speaks no TLS that we do, or is gone.
        """
        done: int = lib.lane_shake_hands(self._pointer)
        self._news = lib.lane_flush(self._pointer)
        if done < 0:
            raise TlsError(self.fault or "cut off in the TLS handshake")
        return done == 1

    @property
    def fault(self) -> str:
        """What was wrong with TLS, once it has ended; empty: nothing."""
        return str(ffi.string(lib.lane_fault(self._pointer)).decode())

    @property
    def handed(self) -> bool:
        """Something waits to be taken; until then no more is read."""
        return bool(self._news & HANDED)

    @property
    def ended(self) -> bool:
        """Nothing more will come."""
        return bool(self._news & ENDED)

    def end(self) -> None:
        """Before its socket is closed: nothing more goes. What came is handed over."""
        self._news = lib.lane_end(self._pointer)

    def join(self, port: StreamPort) -> None:
        """Sends what this port hears from now on, and plays what was learned.

        Raises:
            OSError: EBUSY: it has joined another port, or another lane this one.
        """
        if self._port not in (None, port) or port._leave not in (None, self.leave):
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))
        if port._pointer is not None:
            check(lib.lane_join(self._pointer, port._pointer))
            port._leave, self._port = self.leave, port

    def leave(self) -> None:
        """All that comes is handed over again. A port that closes is left by itself."""
        lib.lane_leave(self._pointer)
        if self._port is not None:
            self._port._leave = None
            self._port = None

    def learn(self, before: bytes, after: bytes, codec: Codec, rate_hz: int) -> None:
        """Text messages that have audio in base64 between these two are to be played. The last four are known."""
        texts = ffi.from_buffer(before), ffi.from_buffer(after)
        pattern = ffi.new("lane_pattern *", (*texts, len(before), len(after), codec.value, rate_hz))
        lib.lane_learn(self._pointer, pattern)

    # -- what comes

    def receive(self) -> None:
        """Reads what is there, unless something waits to be taken."""
        self._news = lib.lane_receive(self._pointer)

    def take(self, most: int = sys.maxsize) -> bytes:
        """What is handed over, so many bytes at most."""
        data = bytearray(min(most, lib.lane_handed(self._pointer)))
        self._news = lib.lane_take(self._pointer, ffi.from_buffer(data), len(data))
        return bytes(data)

    @property
    def midway(self) -> bool:
        """What comes next belongs to a message too long for turns: whoever takes it has to `receive` it, too."""
        return bool(lib.lane_midway(self._pointer))

    def obeyed(self) -> None:
        """One of the messages handed over: until all are, what could be played waits behind them."""
        self._news = lib.lane_obeyed(self._pointer)

    # -- what goes

    def send(self, data: bytes | bytearray | memoryview) -> None:
        """All of it between two frames, now or when the socket takes it; to a server that is gone, into the void."""
        self._news = lib.lane_send(self._pointer, ffi.from_buffer(data), len(data))

    def farewell(self) -> None:
        """TLS's word that nothing more will be sent (RFC 8446 6.1). The server's own is not waited for."""
        self._news = lib.lane_farewell(self._pointer)

    def flush(self) -> None:
        """Whenever the socket is writable, and something is unsent."""
        self._news = lib.lane_flush(self._pointer)

    @property
    def unsent(self) -> bool:
        """Something waits for the socket."""
        return bool(self._news & UNSENT)

    @property
    def unsent_bytes(self) -> int:
        return int(lib.lane_unsent(self._pointer))

    def hold(self, on: bool) -> None:
        """No frame while on."""
        lib.lane_hold(self._pointer, on)


class Lanes(Owned):
    """Lanes that take turns together, in one call or on a thread of their own: all of them cost one wake-up."""

    def __init__(self) -> None:
        super().__init__(made(lib.lanes_create()), lib.lanes_destroy)
        self._attend: dict[Lane, Callable[[], None]] = {}

    def __len__(self) -> int:
        return len(self._attend)

    def add(self, lane: Lane, attend: Callable[[], None]) -> None:
        """Raises: OSError: EBUSY: it is among these, or others."""
        check(lib.lanes_add(self._pointer, lane._pointer))
        self._attend[lane] = attend

    def remove(self, lane: Lane) -> None:
        """When this returns, no turn touches it any more. Raises: KeyError: it is not among these."""
        del self._attend[lane]
        lib.lanes_remove(lane._pointer)

    def start(self, engine: Engine, look_s: float) -> None:
        """From now on turns are taken on a thread: after each tick of the engine's in which a stream heard something,
        and `look_s` after each turn. The engine's `fd` tells of news. Its end is the thread's.

        Raises:
            ValueError: less than a millisecond.
            OSError: EBUSY: the thread runs, or the engine has other lanes.
        """
        started = lib.lanes_start(self._pointer, engine._pointer, round(1000 * look_s))
        check(started, f"a look every {look_s:g} s")

    def stop(self) -> None:
        """Waits for the turn that is being taken."""
        lib.lanes_stop(self._pointer)

    @property
    def running(self) -> bool:
        """The thread is."""
        return bool(lib.lanes_running(self._pointer))

    def turn(self) -> None:
        """Each reads and sends, unless the thread sees to it; then those with something for Python are attended to."""
        told = bytearray(len(self._attend))
        if lib.lanes_turn(self._pointer, ffi.from_buffer(told)):
            for news, (lane, attend) in zip(told, list(self._attend.items()), strict=True):
                if news and lane in self._attend:
                    lane._news = news
                    attend()
