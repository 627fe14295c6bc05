"""A connection's bytes: everything written is taken at once, what came is read in turns that all streams share.

Between the socket, or TLS on it, and trio-websocket. All that comes passes the lane (native.Lane); while a port shares
the connection, the audio of both directions goes no further than that.
"""

import os
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import trio

from appliance.media import Media
from appliance.tls import Tls
from native import Codec, Lane, StreamPort

READ_BYTES = 64 * 1024
# What trio-websocket is given at once: it reads all messages of it before anybody else runs.
HANDED_BYTES = 4096
# Answers to commands are never dropped; a server that orders this many and reads none is lost.
BACKLOG_LIMIT_BYTES = 2**20
# As much of an answer to a handshake as holds its status: `HTTP/1.1 404`.
STATUS_BYTES = 12
# RFC 6455 5.2: how a close frame begins.
FINAL_CLOSE = 0x88


class Outlet(trio.abc.Stream):
    """`ended` is set when nothing more will come or go."""

    def __init__(self, tcp: trio.SocketStream, tls: Tls | None) -> None:
        self.ended = trio.Event()
        # What came first, as far as it tells a status.
        self.beginning = b""
        self._tcp = tcp
        # Asked for often; -1 once it is closed.
        self._fd = tcp.socket.fileno()
        self._tls = tls
        self._lane = Lane(self._fd, sealed=tls is not None)
        self._in_turns = False
        self._arrival = trio.lowlevel.ParkingLot()
        # While somebody waits for the socket itself.
        self._looking = trio.CancelScope()
        self._unsent = bytearray()
        self._sending = 0
        self._closing = False
        self._change = trio.lowlevel.ParkingLot()

    # -- to the server -----------------------------------------------------------------------------------------------

    @property
    def backlog_bytes(self) -> int:
        return len(self._unsent) + self._sending

    def write(self, data: bytes | memoryview) -> None:
        try:
            self._send(self._tls.seal(data) if self._tls else data)
        except ssl.SSLError:
            self.cut()

    def _send(self, data: bytes | memoryview) -> None:
        if not self.backlog_bytes:
            shared = self._tls is None
            if shared and (rest := self._lane.seize()):
                data = b"".join((rest, data))
            try:
                # Past the scheduler: most of the time the kernel takes all.
                data = data[os.write(self._fd, data) :]
            except BlockingIOError:
                pass
            except OSError:
                self.cut()
            if shared and not data:
                self._lane.hold(self._closing)
        if data:
            self._unsent += data
            self._lane.hold(True)
            self._change.unpark_all()
        if self.backlog_bytes > BACKLOG_LIMIT_BYTES:
            self.cut()

    def pause(self) -> None:
        """No frame of the port's until the next `write`."""
        if self._tls is None:
            self._lane.hold(True)

    def cut(self) -> None:
        """Ends both directions now; who reads or writes hears of it."""
        self._let_go()
        self._tcp.socket.close()
        self.ended.set()
        self._change.unpark_all()
        self._arrival.unpark_all()

    def _let_go(self) -> None:
        """The descriptor's number may be another file's soon."""
        self._lane.end()
        self._fd = -1

    async def flush(self) -> None:
        """Runs as long as the connection does: sends what did not go at once."""
        try:
            while not self.ended.is_set():
                if not self._unsent:
                    self._lane.hold(self._closing)
                    await self._change.park()
                    continue
                batch, self._unsent = self._unsent, bytearray()
                self._sending = len(batch)
                await self._tcp.send_all(batch)
                self._sending = 0
                self._change.unpark_all()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self.cut()

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        if data[0] == FINAL_CLOSE:
            # RFC 6455 5.5.1: after it no frame of ours.
            self._closing = True
            self._lane.hold(True)
        self.write(bytes(data))
        await trio.lowlevel.checkpoint()
        if self.ended.is_set():
            raise trio.BrokenResourceError

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.checkpoint()

    # -- from the server ---------------------------------------------------------------------------------------------

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        await trio.lowlevel.checkpoint()
        while True:
            self._pull()
            if self._lane.handed:
                data = self._lane.take(HANDED_BYTES)
                if len(self.beginning) < STATUS_BYTES:
                    self.beginning += data[:STATUS_BYTES]
                return data
            if self._lane.ended:
                self.ended.set()
                return b""
            if self._in_turns and not self._lane.midway:
                await self._arrival.park()
            else:
                with trio.CancelScope() as self._looking, suppress(trio.ClosedResourceError):
                    await trio.lowlevel.wait_readable(self._tcp.socket)

    def _pull(self) -> None:
        """Gives the lane what came, until it has something to hand over."""
        if self._tls is None:
            self._lane.receive()
            return
        more = True
        while not self._lane.full:
            plain = self._tls.read()
            if plain:
                self._lane.feed(plain)
            elif plain is not None:
                self._lane.end()
            elif more:
                more = self._fetch(self._tls)
            else:
                break
        if owed := self._tls.owed():
            self._send(owed)

    def _fetch(self, tls: Tls) -> bool:
        """Whether there may be more."""
        try:
            data = os.read(self._fd, READ_BYTES)
        except BlockingIOError:
            return False
        except OSError:
            self._lane.end()
            return False
        tls.receive(data)
        return len(data) == READ_BYTES

    # -- shared ------------------------------------------------------------------------------------------------------

    @contextmanager
    def shared(self, port: StreamPort, media: Media) -> Iterator[None]:
        self._lane.join(port)
        self._in_turns = True
        # From now on a turn may empty the socket before whoever waits for it is told that it is readable.
        self._looking.cancel()
        try:
            with media.turns(self._lane, self._attend):
                yield
        finally:
            self._lane.leave()
            self._in_turns = False
            self._arrival.unpark_all()

    def _attend(self) -> None:
        if self._lane.unsent:
            while frame := self._lane.frame():
                self.write(frame)
        if self._lane.due:
            self._pull()
        if self._lane.handed or self._lane.ended:
            self._arrival.unpark_all()

    def learn(self, before: bytes, after: bytes, codec: Codec, rate_hz: int) -> None:
        self._lane.learn(before, after, codec, rate_hz)

    def obeyed(self) -> None:
        self._lane.obeyed()
        if not self._lane.midway:
            self._pull()
        if self._lane.handed or self._lane.ended:
            self._arrival.unpark_all()

    async def aclose(self) -> None:
        """After what was written has gone."""
        if self._tls and not self.ended.is_set():
            self._send(self._tls.farewell())
        while self.backlog_bytes and not self.ended.is_set():
            await self._change.park()
        self._let_go()
        await self._tcp.aclose()
        self.ended.set()
        self._change.unpark_all()
        self._arrival.unpark_all()
