"""A lane: a stream's media messages on its WebSocket, past Python. Everything here is for one thread of Python's."""

import sys
from collections.abc import Callable
from typing import Any

from native._engine import ffi, lib
from native.engine import Engine
from native.faults import check, made
from native.ports import Codec, StreamPort

# What lanes tell.
HANDED: int = lib.LANE_HANDED
ENDED: int = lib.LANE_ENDED
UNSENT: int = lib.LANE_UNSENT
DUE: int = lib.LANE_DUE
FULL: int = lib.LANE_FULL


class Lane:
    """One connection's, from its first byte on.

    It reads and writes that socket itself, without waiting, until `end`, on the lanes' thread (`Lanes.start`) or when
    it is told to; a sealed one, under TLS, it only looks at: `feed` tells it what came, `frame` what is to be sent. It
    knows the ends of WebSocket messages, and of the answer to
    the handshake before them; what it does not play is handed over by `take`.
    """

    # Messages above this size are never played.
    MOST_BYTES: int = lib.LANE_MOST_BYTES

    def __init__(self, fd: int, *, sealed: bool = False) -> None:
        self._pointer = ffi.gc(made(lib.lane_create(fd, sealed)), lib.lane_destroy)
        self._port: StreamPort | None = None
        self._news: int = 0
        self._frame = memoryview(b"")
        self._frame_pointer: Any = ffi.NULL

    @property
    def handed(self) -> bool:
        """Something waits to be taken; until then no more is read."""
        return bool(self._news & HANDED)

    @property
    def ended(self) -> bool:
        """Nothing more will come, nor be sent."""
        return bool(self._news & ENDED)

    def end(self) -> None:
        """Before its socket is closed. What came is handed over."""
        self._news = lib.lane_end(self._pointer)

    def join(self, port: StreamPort) -> None:
        """Sends what this port hears from now on, and plays what was learned."""
        if port._pointer is not None:
            check(lib.lane_join(self._pointer, port._pointer))
            port._leave, self._port = self.leave, port
            frame = bytearray(lib.lane_frame_bytes(self._pointer))
            self._frame, self._frame_pointer = memoryview(frame), ffi.from_buffer(frame)

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

    @property
    def due(self) -> bool:
        """Sealed: there is something to be read."""
        return bool(self._news & DUE)

    def receive(self) -> None:
        """Reads what is there, unless something waits to be taken."""
        self._news = lib.lane_receive(self._pointer)

    @property
    def full(self) -> bool:
        """No room for the next 16 KiB: what came has to be taken or obeyed first, or was the last."""
        return bool(self._news & FULL)

    def feed(self, data: bytes | bytearray | memoryview) -> None:
        """
        Raises:
            OSError: more than there is room for.
        """
        self._news = lib.lane_feed(self._pointer, ffi.from_buffer(data), len(data))
        check(self._news)

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

    @property
    def unsent(self) -> bool:
        """A frame, or the rest of one, is the caller's to send."""
        return bool(self._news & UNSENT)

    def frame(self) -> memoryview:
        """What is to be sent next, until the next call: what the socket left of a frame, or a frame. Empty: nothing."""
        return self._frame[: lib.lane_frame(self._pointer, self._frame_pointer)]

    def hold(self, on: bool) -> None:
        """No frame while on. It is set when the socket left a part of one."""
        lib.lane_hold(self._pointer, on)

    def seize(self) -> bytes:
        """Holds, and gives what the socket left of a frame that was begun: this goes before anything else."""
        lib.lane_hold(self._pointer, True)
        return bytes(self.frame())


class Lanes:
    """Lanes that take turns together, in one call or on a thread of their own: all of them cost one wake-up."""

    def __init__(self) -> None:
        self._pointer = ffi.gc(made(lib.lanes_create()), lib.lanes_destroy)
        self._attend: dict[Lane, Callable[[], None]] = {}

    def __len__(self) -> int:
        return len(self._attend)

    def add(self, lane: Lane, attend: Callable[[], None]) -> None:
        """Raises: OSError: EBUSY: it is among these, or others."""
        check(lib.lanes_add(self._pointer, lane._pointer))
        self._attend[lane] = attend

    def remove(self, lane: Lane) -> None:
        """When this returns, no turn touches it any more."""
        lib.lanes_remove(lane._pointer)
        del self._attend[lane]

    def start(self, engine: Engine, look_s: float) -> None:
        """From now on turns are taken on a thread: after each tick of the engine's in which a stream heard something,
        and `look_s` after each turn. The engine's `fd` tells of news. Its end is the thread's.

        Raises:
            OSError: EBUSY: the thread runs, or the engine has other lanes.
        """
        check(lib.lanes_start(self._pointer, engine._pointer, round(1000 * look_s)))

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
