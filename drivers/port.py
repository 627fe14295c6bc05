"""One AT port: a stream with a dialogue on it, where commands take turns and news never waits for them."""

import contextlib
import errno
import fcntl
import logging
import os
import re
import termios
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

import serial
import trio

from drivers.at import Dialogue, Final, Info, Prompt, Urc
from drivers.errors import CommandError, CommandTimeout, LineAbsent, LineBlocked, LineLost

log = logging.getLogger(__name__)

# So many bytes are parsed between two turns of the scheduler.
READ_BYTES = 2048
# The shortest URCs (`RDY` and its line end) of two such reads: who takes all there is whenever it is woken, loses none.
URC_QUEUE = 1024
# A list of calls has seven lines at most, a phone book or 40 messages some hundred.
INFO_LIMIT = 1000

# Leaves a stuck prompt, and ends half a line of somebody else's.
WAKE = b"\x1b\r"
# What this brings forth is over when it falls silent; it takes some 10 ms on USB.
SETTLE_S = 0.2
# They undo the modes in which no OK is ever seen (V.250 6.2.4-6.2.6), and ask what is local and refused by no module.
# Answers come in order: when one is there, those of all commands before it were there or are lost. Each asks something
# else, so that a late answer to one is not taken for the next one's. The last is for modules that take no extended
# command behind basic ones.
PROBES = ("ATE0V1Q0+CMEE?", "ATE0V1Q0+CRC?", "AT+CREG?")
PROBE_LIMIT_S = 3
# Modules take up to 10 s for a prompt; some phones lose what comes in the same millisecond as theirs.
PROMPT_LIMIT_S = 10
PROMPT_REST_S = 0.1
_ENTERED, _LEFT = b"\x1a", b"\x1b"
# An order that nobody waits for any more is mostly answered by then; if not, the port is brought in step anew.
HEAR_OUT_S = 2
# A message may be out already, and whoever sent it would send it again.
ENTRY_HEAR_OUT_S = 10

GONE = "the device is gone"

# Not for any log, whatever its level.
_PIN = re.compile(rb"(AT\+CPIN=)[^\r]*")


@dataclass
class Counters:
    """What went wrong on the port and was mended, since it was opened."""

    timeouts: int = 0
    resyncs: int = 0
    # From commands without an answer to the next answer.
    silent_s: float = 0
    # Lines that belong to nothing, and URCs that nobody took in time.
    noise: int = 0
    urcs_lost: int = 0


@dataclass(frozen=True)
class Entry:
    """What a command asks for by a prompt. `wanted` is asked at the last moment: if not, nothing is entered."""

    text: str
    wanted: Callable[[], bool]


@dataclass
class _Exchange:
    lines: list[str] = field(default_factory=list)
    final: str | None = None
    over: trio.Event = field(default_factory=trio.Event)
    # A prompt came, or none will.
    turned: trio.Event = field(default_factory=trio.Event)
    prompted: bool = False
    # Why its prompt was left.
    left: str | None = None

    def end(self) -> None:
        self.turned.set()
        self.over.set()


class Port:
    """Somebody has to run `listen`; `synchronise` comes before the first command.

    `urcs` gives the news with the prefixes named at the start, in order; it ends when the port is lost. It holds
    URC_QUEUE lines; more are counted and lost, as answers must not wait for whoever is slow to take news. `name` is
    what the log calls it.
    """

    def __init__(
        self, stream: trio.abc.Stream, *, urcs: tuple[str, ...], probes: tuple[str, ...] = PROBES, name: str = "port"
    ) -> None:
        self.counters = Counters()
        self.lost: str | None = None
        # When the first command was sent of those without an answer since.
        self.silent_since: float | None = None
        self._kind: type[LineLost] = LineLost
        self._prefixes = urcs
        self._probes = probes
        self._stream = stream
        self._name = name
        self._dialogue = Dialogue(urcs)
        self._news, self.urcs = trio.open_memory_channel[str](URC_QUEUE)
        self._turn = trio.Lock()
        self._exchange: _Exchange | None = None
        self._in_step = False

    async def listen(self) -> None:
        """Returns when the device is gone: whoever waits for it is told by LineLost."""
        try:
            while data := await self._stream.receive_some(READ_BYTES):
                # An echo, too.
                log.debug("%s < %r", self._name, _PIN.sub(rb"\1...", data))
                self._take(bytes(data))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        # The end of the stream is what an unplugged tty reads as; others say EIO.
        self.lose(GONE, LineAbsent)

    async def command(self, text: str, *, limit_s: float = 5, entry: Entry | None = None) -> list[str]:
        """The answer's lines. When cancelled, it is heard out for HEAR_OUT_S first, as a command cannot be taken back;
        whoever asked is told at its next checkpoint.

        Raises:
            CommandError: the device refused.
            CommandTimeout: it did not say; the next command brings the port in step first.
            LineLost: the port is gone, or could not be brought in step.
        """
        async with self._turn:
            if not self._in_step:
                await self._resynchronise()
            return await self._ask(text, limit_s, entry=entry)

    async def synchronise(self) -> None:
        """Whatever state another program, or our own crash, left the port in. Raises: LineLost."""
        async with self._turn:
            await self._resynchronise()

    async def _resynchronise(self) -> None:
        self.counters.resyncs += 1
        for probe in self._probes:
            # Not a sleep after it: a device that takes no bytes must not hold us.
            with trio.move_on_after(SETTLE_S):
                await self._send(WAKE)
                await trio.sleep_forever()
            with contextlib.suppress(CommandError, CommandTimeout):
                await self._ask(probe, PROBE_LIMIT_S, probe=True)
                self._in_step = True
                return
        raise self.lose("no answer to AT commands")

    async def _ask(self, text: str, limit_s: float, *, probe: bool = False, entry: Entry | None = None) -> list[str]:
        exchange = self._exchange = _Exchange()
        sent_at = trio.current_time()
        deadline = sent_at + limit_s
        try:
            # Half a line would be the start of the next one.
            with trio.CancelScope(deadline=deadline, shield=True):
                await self._send(self._dialogue.send(text, probe=probe))
            try:
                if entry is not None:
                    await self._enter(entry, exchange)
                with trio.move_on_at(deadline if exchange.left is None else trio.current_time() + HEAR_OUT_S):
                    await exchange.over.wait()
            except trio.Cancelled:
                entered = entry is not None and exchange.left is None
                with trio.move_on_after(ENTRY_HEAR_OUT_S if entered else HEAR_OUT_S, shield=True):
                    await exchange.over.wait()
        finally:
            self._exchange = None
            self._dialogue.abandon()
        if self.lost is not None:
            raise self.loss()
        if exchange.final is None:
            self._in_step = False
        if exchange.left is not None:
            raise CommandError(public(text), exchange.left)
        if exchange.final is None:
            self.counters.timeouts += 1
            if self.silent_since is None:
                self.silent_since = sent_at
            raise CommandTimeout(f"{public(text)}: no answer in {limit_s} s")
        if self.silent_since is not None:
            self.counters.silent_s += trio.current_time() - self.silent_since
            self.silent_since = None
        if not exchange.final.startswith(("OK", "CONNECT", "VCON")):
            raise CommandError(public(text), exchange.final)
        return exchange.lines

    async def _enter(self, entry: Entry, exchange: _Exchange) -> None:
        """Whichever way this ends, the module is not left waiting at its prompt."""
        end = _LEFT
        exchange.left = "cancelled"
        try:
            with trio.move_on_after(PROMPT_LIMIT_S):
                await exchange.turned.wait()
            if not exchange.prompted:
                exchange.left = "no prompt"
                return
            await trio.sleep(PROMPT_REST_S)
            exchange.left = None if entry.wanted() else "withdrawn"
            if exchange.left is None:
                end = entry.text.encode("ascii") + _ENTERED
        finally:
            if exchange.final is not None:
                # Refused, or not in need of it.
                exchange.left = None
            elif self.lost is None:
                with trio.move_on_after(HEAR_OUT_S, shield=True):
                    await self._send(end)

    async def _send(self, data: bytes) -> None:
        if self.lost is not None:
            raise self.loss()
        log.debug("%s > %r", self._name, _PIN.sub(rb"\1...", data))
        try:
            await self._stream.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as exc:
            raise self.lose(GONE, LineAbsent) from exc

    def _take(self, data: bytes) -> None:
        for event in self._dialogue.receive(data):
            match event, self._exchange:
                case Info(text), _Exchange(lines=lines) if len(lines) < INFO_LIMIT:
                    lines.append(text)
                case Final(text), _Exchange() as exchange:
                    exchange.final = text
                    exchange.end()
                case Prompt(), _Exchange() as exchange:
                    # Nothing else of ours asks for one: what another command brings forth runs into its limit.
                    exchange.prompted = True
                    exchange.turned.set()
                case Urc(text), _ if text.startswith(self._prefixes):
                    self._tell(text)
                case Urc("OK" | "ERROR"), exchange if exchange is None or exchange.final is not None:
                    # A result too many: one before it was not what it was taken for.
                    self._in_step = False
                    self.counters.noise += 1
                case _:
                    self.counters.noise += 1

    def _tell(self, text: str) -> None:
        try:
            self._news.send_nowait(text)
        except trio.WouldBlock:
            self.counters.urcs_lost += 1

    def lose(self, why: str, kind: type[LineLost] = LineLost) -> LineLost:
        """Ends the port, for whoever is on it; the first reason is the one that counts."""
        if self.lost is None:
            self.lost, self._kind = why, kind
        self._news.close()
        if self._exchange is not None:
            self._exchange.end()
        return self.loss()

    def loss(self) -> LineLost:
        """Why the port is lost, to be raised by whoever finds it so."""
        return self._kind(self.lost or "closed", silent_since=self.silent_since)


def public(command: str) -> str:
    """Error messages are logged; the numbers that people call, and the keys that they press, are not."""
    return re.sub(r"^(ATD|AT\+VTS=|AT\^DTMF=|AT\+CUSD=1,|AT\+CPIN=).*", r"\1", command)


_PLAIN: dict[int, tuple[str, type[LineLost]]] = {
    errno.ENOENT: ("no such device", LineAbsent),
    errno.ENODEV: ("no such device", LineAbsent),
    errno.ENXIO: ("no such device", LineAbsent),
    errno.EACCES: ("permission denied", LineBlocked),
    errno.EPERM: ("permission denied", LineBlocked),
    # The one by TIOCEXCL, the other by flock.
    errno.EBUSY: ("in use by another program", LineBlocked),
    errno.EAGAIN: ("in use by another program", LineBlocked),
}


# struct serial_struct of linux/serial.h, on machines of 64 bits, and ASYNC_CLOSING_WAIT_NONE.
_SERIAL_STRUCT_BYTES = 72
_CLOSING_WAIT = slice(40, 42)
_CLOSING_WAIT_NONE = b"\xff\xff"


async def open_tty(path: str) -> int:
    """A file descriptor, raw 8N1 and exclusive, with nothing stale in either direction. Raises: LineLost."""
    # These ioctls wait for the device, and a sick one takes seconds.
    return await trio.to_thread.run_sync(_open_tty, path)


def close_tty(fd: int) -> None:
    """Free for whoever opens it next; any descriptor will do.

    Not to be waited for: the last close of a serial tty goes on until the device took what was written, or for 30 s
    (Linux' closing_wait), and USB drivers do not always drop it when flushed.
    """
    with contextlib.suppress(OSError, termios.error):
        termios.tcflush(fd, termios.TCIOFLUSH)
        # It outlives us on a pty, whose other end is still open.
        fcntl.ioctl(fd, termios.TIOCNXCL)
        # A duplicate that is still open elsewhere, a tick of the media engine long, must not keep the next call out.
        fcntl.flock(fd, fcntl.LOCK_UN)
    if os.isatty(fd):
        threading.Thread(target=os.close, args=(fd,), name="close_tty", daemon=True).start()
    else:
        os.close(fd)


def _close_at_once(fd: int) -> None:
    """Where the driver and our rights (CAP_SYS_ADMIN) allow it: who opens a tty that is being closed waits, too."""
    with contextlib.suppress(OSError):
        settings = bytearray(_SERIAL_STRUCT_BYTES)
        fcntl.ioctl(fd, termios.TIOCGSERIAL, settings)
        settings[_CLOSING_WAIT] = _CLOSING_WAIT_NONE
        fcntl.ioctl(fd, termios.TIOCSSERIAL, settings)


def _open_tty(path: str) -> int:
    try:
        # The rate means nothing on USB. `exclusive` takes the flock before anything is changed on the device.
        with serial.Serial(path, 115200, exclusive=True) as device:
            fcntl.ioctl(device, termios.TIOCEXCL)
            attributes = termios.tcgetattr(device)
            # pyserial sets 0, with which a non-blocking read says "end" where it means "nothing yet".
            attributes[6][termios.VMIN] = 1
            termios.tcsetattr(device, termios.TCSANOW, attributes)
            termios.tcflush(device, termios.TCIOFLUSH)
            _close_at_once(device.fileno())
            # The lock and the settings stay with the duplicate.
            return os.dup(device.fileno())
    except (OSError, termios.error) as exc:
        why, kind = _PLAIN.get(getattr(exc, "errno", None) or 0, (str(exc), LineLost))
        raise kind(f"{path}: {why}") from exc
