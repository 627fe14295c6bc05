"""A voice modem's one tty, on which the AT dialogue and the call's audio take turns; and its way out, DTR.

Whoever runs the AT port reads here, and gets words only. The stream is either ours, and what is in it but codes is
forgotten, or lent to the media engine, which then is alone on the tty.
"""

import contextlib
import errno
import fcntl
import logging
import os
import struct
import termios
from collections.abc import Callable, Iterator
from functools import partial
from typing import Protocol

import trio

from drivers.dle import Begun, Code, Ended, Piece, Splitter, Words
from drivers.errors import LineLost
from drivers.port import close_tty, open_tty
from native import TICK_S

log = logging.getLogger(__name__)

# An engine reads and writes until the tick after its port was closed.
ENGINE_LEAVES_S = 3 * TICK_S
# For an on-hook that the modem obeys in any state; less is taken for a glitch (Conexant).
DTR_LOW_S = 0.6
# The driver's own waits; a Conexant's ACM port that has wedged holds this ioctl for ever.
DTR_LIMIT_S = 3.0
# ENOTTY, EINVAL, or of a socket: there is no such wire.
_DTR = struct.pack("I", termios.TIOCM_DTR)
NO_FD = -1


class Device(Protocol):
    """The tty itself. Raises of its methods: trio's errors of a stream, OSError, LineLost."""

    @property
    def fd(self) -> int: ...

    async def receive(self) -> bytes: ...

    async def send(self, data: bytes) -> None: ...

    async def drop_dtr(self) -> None: ...

    async def aclose(self) -> None: ...


class TtyDevice:
    """Made by `open_device`."""

    def __init__(self, path: str, fd: int) -> None:
        self._path = path
        self._use(fd)

    def _use(self, fd: int) -> None:
        self.fd = fd
        self._stream = trio.lowlevel.FdStream(os.dup(fd))

    async def receive(self) -> bytes:
        return bytes(await self._stream.receive_some())

    async def send(self, data: bytes) -> None:
        await self._stream.send_all(data)

    async def drop_dtr(self) -> None:
        """Raises: LineLost: the driver does not come back from it, or the tty is gone."""
        try:
            await self._set_dtr(False)
        except OSError:
            # A pty has none. What a driver does with DTR at the last close is all that there is.
            await self.aclose()
            await trio.sleep(DTR_LOW_S)
            self._use(await open_tty(self._path))
        else:
            await trio.sleep(DTR_LOW_S)
            await self._set_dtr(True)

    async def _set_dtr(self, on: bool) -> None:
        if self.fd == NO_FD:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        order = partial(fcntl.ioctl, self.fd, termios.TIOCMBIS if on else termios.TIOCMBIC, _DTR)
        with trio.move_on_after(DTR_LIMIT_S):
            await trio.to_thread.run_sync(order, abandon_on_cancel=True)
            return
        raise LineLost("the modem's driver hangs: unplug the modem")

    async def aclose(self) -> None:
        """Again is no error: a reopening that fails has closed it, and the number may be another file's by now."""
        fd, self.fd = self.fd, NO_FD
        try:
            await self._stream.aclose()
        finally:
            if fd != NO_FD:
                close_tty(fd)


async def open_device(path: str) -> TtyDevice:
    """Raises: LineLost."""
    return TtyDevice(path, await open_tty(path))


class VoiceTty(trio.abc.Stream):
    """`on_code` is told of each code that comes while the engine has not the tty, and must not wait."""

    def __init__(self, device: Device, on_code: Callable[[str], None]) -> None:
        self.escapes = 0
        # Set while there is no stream, nor anything to come of the last one.
        self.words_only = trio.Event()
        self.words_only.set()
        self._device = device
        self._on_code = on_code
        self._splitter = Splitter()
        self._words = bytearray()
        # Whether the tty is ours, and since when.
        self._free = trio.Event()
        self._free.set()
        self._free_at = 0.0
        self._reading = trio.CancelScope()

    @property
    def fd(self) -> int:
        return self._device.fd

    @property
    def in_stream(self) -> bool:
        return self._splitter.in_stream

    @property
    def heard_bytes(self) -> int:
        """Of audio, in this stream, as long as it was ours."""
        return self._splitter.heard_bytes

    # --- the AT port's ---

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._free.wait()
        await self._device.send(bytes(data))

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.checkpoint()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """As much as there is: what has been read can't be put back."""
        while not self._words:
            if not self._free.is_set():
                await self._free.wait()
                continue
            with trio.CancelScope() as self._reading:
                await trio.sleep_until(self._free_at)
                data = await self._device.receive()
                if not data:
                    return b""
                self._take(self._splitter.receive(data))
        words, self._words = bytes(self._words), bytearray()
        return words

    async def aclose(self) -> None:
        await self._device.aclose()

    def _take(self, pieces: list[Piece]) -> None:
        for piece in pieces:
            match piece:
                case Words(data):
                    self._words += data
                case Code(character):
                    self._on_code(character)
                case Begun():
                    self.words_only = trio.Event()
                case Ended():
                    log.debug("end of the stream")
        if not self._splitter.in_stream and not self._splitter.result_due:
            self.words_only.set()

    # --- the stream ---

    @contextlib.contextmanager
    def stream_wanted(self) -> Iterator[None]:
        """Around the command that begins it."""
        self._splitter.wanted = True
        try:
            yield
        finally:
            self._splitter.wanted = False

    def lend(self) -> bytes:
        """To the engine. Returns what it must have read before."""
        assert self._splitter.in_stream
        self._pause()
        return self._splitter.midway

    def take_back(self, beyond: bytes | None) -> None:
        """`beyond`: what the engine read behind the stream's end; None: it goes on, and is ours."""
        if beyond is None:
            self._free_at = trio.current_time() + ENGINE_LEAVES_S
        else:
            self._take(self._splitter.end(beyond))
        self._free.set()

    async def leave(self, sequence: bytes) -> None:
        """Ours. Sends what should end it. Raises: LineLost."""
        await self._free.wait()
        await trio.sleep_until(self._free_at)
        try:
            await self._device.send(sequence)
        except (OSError, trio.BrokenResourceError, trio.ClosedResourceError) as exc:
            raise LineLost("the device is gone") from exc

    def waive_result(self) -> None:
        self._splitter.waive_result()
        self._take([])

    async def escape(self) -> None:
        """Whatever state the modem is in, it is on-hook and hears commands after that. Raises: LineLost."""
        self.escapes += 1
        self._pause()
        try:
            await self._device.drop_dtr()
        except OSError as exc:
            raise LineLost("the device is gone") from exc
        finally:
            self._splitter = Splitter()
            self._take([])
            self._free.set()

    def _pause(self) -> None:
        self._free = trio.Event()
        self._reading.cancel()
