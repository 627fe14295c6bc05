"""A connection's bytes: everything written is taken at once, what came is read in turns that all streams share.

Between the socket and trio-websocket. Both directions pass the lane (native.Lane), and TLS there; while a port shares
the connection, its audio goes no further than that.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress

import trio

from appliance.media import Media
from native import Codec, Lane, StreamPort, Trust

# What trio-websocket is given at once: it reads all messages of it before anybody else runs.
HANDED_BYTES = 4096
# Answers to commands are never dropped; a server that orders this many and reads none is lost.
BACKLOG_LIMIT_BYTES = 2**20
# As much of an answer to a handshake as holds its status: `HTTP/1.1 404`.
STATUS_BYTES = 12
# RFC 6455 5.2: how a close frame begins.
FINAL_CLOSE = 0x88


class Outlet(trio.abc.Stream):
    """`ended` is set when nothing more will come or go.

    Raises:
        ValueError: with `trust`, that no certificate can be for such a host.
    """

    def __init__(self, tcp: trio.SocketStream, *, trust: Trust | None = None, host: str = "") -> None:
        self.ended = trio.Event()
        # What came first, as far as it tells a status.
        self.beginning = b""
        self._tcp = tcp
        self._lane = Lane(tcp.socket.fileno(), trust=trust, host=host)
        self._in_turns = False
        self._arrival = trio.lowlevel.ParkingLot()
        # While somebody waits for the socket itself.
        self._looking = trio.CancelScope()
        self._closing = False
        self._change = trio.lowlevel.ParkingLot()

    async def shake_hands(self) -> None:
        """TLS's, before anything else and while `flush` runs.

        Raises:
            TlsError: the server is not to be trusted, speaks no TLS that we do, or is gone.
        """
        # A server may choose keys that take half a second (ffdhe8192), and authorities are read from the disk.
        while not await trio.to_thread.run_sync(self._lane.shake_hands):
            self._change.unpark_all()
            await trio.lowlevel.wait_readable(self._tcp.socket)

    @property
    def fault(self) -> str:
        """Why TLS has ended, if it has."""
        return self._lane.fault

    # -- to the server -----------------------------------------------------------------------------------------------

    @property
    def backlog_bytes(self) -> int:
        return self._lane.unsent_bytes

    def write(self, data: bytes | memoryview) -> None:
        self._lane.send(data)
        self._lane.hold(self._closing)
        self._tell()
        if self.backlog_bytes > BACKLOG_LIMIT_BYTES:
            self.cut()

    def pause(self) -> None:
        """No frame of the port's until the next `write`."""
        self._lane.hold(True)

    def cut(self) -> None:
        """Ends both directions now; who reads or writes hears of it."""
        # The descriptor's number may be another file's soon.
        self._lane.end()
        self._tcp.socket.close()
        self.ended.set()
        self._tell()

    def _tell(self) -> None:
        """Those who wait, of what the lane has for them."""
        self._change.unpark_all()
        if self._lane.handed or self._lane.ended:
            self._arrival.unpark_all()
            # The socket need not be readable for it any more.
            self._looking.cancel()

    async def flush(self) -> None:
        """Runs as long as the connection does: sends what did not go at once."""
        with suppress(trio.ClosedResourceError):
            # Also when the server has ended its direction: our answer to that still goes.
            while True:
                if self._lane.unsent:
                    await trio.lowlevel.wait_writable(self._tcp.socket)
                    self._lane.flush()
                    self._tell()
                else:
                    await self._change.park()

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
            self._lane.receive()
            if self._lane.unsent:
                # TLS has an answer, or may now send what it could not before.
                self._change.unpark_all()
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

    # -- shared ------------------------------------------------------------------------------------------------------

    @contextmanager
    def shared(self, port: StreamPort, media: Media) -> Iterator[None]:
        self._lane.join(port)
        self._in_turns = True
        # From now on a turn may empty the socket before whoever waits for it is told that it is readable.
        self._looking.cancel()
        try:
            with media.turns(self._lane, self._tell):
                yield
        finally:
            self._lane.leave()
            self._in_turns = False
            self._arrival.unpark_all()

    def learn(self, before: bytes, after: bytes, codec: Codec, rate_hz: int) -> None:
        self._lane.learn(before, after, codec, rate_hz)

    def obeyed(self) -> None:
        self._lane.obeyed()
        if not self._lane.midway:
            self._lane.receive()
        self._tell()

    async def aclose(self) -> None:
        """After what was written has gone."""
        self._lane.farewell()
        while self.backlog_bytes:
            self._change.unpark_all()
            await self._change.park()
        self._lane.end()
        await self._tcp.aclose()
        self.ended.set()
        self._tell()
