"""USB over time: who comes and goes, who is who by IMEI, and the power of a port."""

import contextlib
import logging
import os
import shutil
import stat
import subprocess
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path

import trio
from inotify_simple import INotify, flags

from drivers.errors import LineAbsent, LineError, LineLost
from drivers.models import COMMON_URCS, Sound, UsbId
from drivers.port import SETTLE_S, WAKE, Port, close_tty, open_tty
from drivers.replies import bare
from drivers.usb import Ports, UsbDevice, candidates, ports_of, scan

log = logging.getLogger(__name__)

# Should an event be lost, or come from a directory that is not watched.
RESCAN_S = 30
# A device's nodes come one after another, and udev's names and permissions behind them.
QUIET_S = 0.3
RESTLESS_S = 3
_EVENTS = flags.CREATE | flags.DELETE | flags.ATTRIB | flags.MOVED_TO | flags.MOVED_FROM

# Who takes an order to start anew says OK and is gone a second or so later; who is deaf may obey without a word.
RESET_ANSWER_S = 5
# uhubctl switches off, waits, and switches on; it looks through all hubs first.
POWER_OFF_S = 3
POWER_LIMIT_S = 20


class Bus:
    """`watch` has to run. `ttys` are those that have names of their own: their directories are watched,
    too, and neither they nor what is plugged in at `ports` are asked for their IMEI, as a line is opening them.
    """

    def __init__(
        self,
        sysfs: Path = Path("/sys"),
        dev: Path = Path("/dev"),
        *,
        ports: Collection[str] = (),
        ttys: Collection[Path] = (),
        uhubctl: str = "uhubctl",
    ) -> None:
        self._sysfs = sysfs
        self._dev = dev
        self._ports = frozenset(ports)
        self._ttys = frozenset(ttys)
        self._directories = {
            dev,
            dev / "snd",
            dev / "serial/by-path",
            dev / "branchline",
            *(tty.parent for tty in ttys),
        }
        self._news = trio.Event()
        # IMEIs by port and enumeration: asked for once each, whoever wants to know.
        self._imeis: dict[tuple[str, int], str] = {}
        # Of those that could not be asked the last time, why.
        self.unasked: dict[str, str] = {}
        self._asking: set[tuple[str, int]] = set()
        self._asked = trio.Event()
        self._nursery: trio.Nursery | None = None
        self._uhubctl = shutil.which(uhubctl)

    # --- who is there ---

    async def devices(self) -> dict[str, UsbDevice]:
        # A sick hub may take its time.
        return await trio.to_thread.run_sync(scan, self._sysfs, self._dev)

    async def device_of(self, tty: Path) -> UsbDevice | None:
        """Which device's it is, under whatever name; None for a tty that is on no USB."""

        def find() -> UsbDevice | None:
            node = tty.resolve()
            devices = scan(self._sysfs, self._dev).values()
            return next(
                (device for device in devices if node in (each.resolve() for each in device.ttys.values())), None
            )

        return await trio.to_thread.run_sync(find)

    async def watch(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Never returns."""
        async with trio.open_nursery() as self._nursery:
            task_status.started()
            try:
                with INotify(nonblocking=True) as inotify:
                    await self._hear(inotify)
            except OSError as exc:
                # fs.inotify.max_user_instances, for one.
                log.warning("devices that come and go are seen each %d s only: %s", RESCAN_S, exc)
            while True:
                await trio.sleep(RESCAN_S)
                self._tell()

    async def _hear(self, inotify: INotify) -> None:
        while True:
            for directory in self._directories:
                # Watched already is no error; not there, or not any more, it is asked for again the next time.
                with contextlib.suppress(OSError):
                    inotify.add_watch(directory, _EVENTS)
            with trio.move_on_after(RESCAN_S):
                await trio.lowlevel.wait_readable(inotify.fileno())
                await self._settle(inotify)
            self._tell()

    def _tell(self) -> None:
        self._news.set()
        self._news = trio.Event()

    async def _settle(self, inotify: INotify) -> None:
        with trio.move_on_after(RESTLESS_S):
            while True:
                inotify.read(timeout=0)
                with trio.move_on_after(QUIET_S) as quiet:
                    await trio.lowlevel.wait_readable(inotify.fileno())
                if quiet.cancelled_caught:
                    return

    async def changed(self, sight: Callable[[], object], before: object) -> None:
        """Until what `sight` returns, called in a thread, is not `before`."""
        while True:
            news = self._news
            if await trio.to_thread.run_sync(sight) != before:
                return
            await news.wait()

    def sight(self, paths: Collection[Path], device: Callable[[UsbDevice], bool] | None = None) -> object:
        """What stands at the paths, and which of such devices are there: to be compared. May block."""
        seen = [each for each in scan(self._sysfs, self._dev).values() if device(each)] if device else []
        nodes = [*paths, *(tty for each in seen for tty in each.ttys.values())]
        return [(each.port, each.devnum, each.id, each.card) for each in seen], [_node(path) for path in nodes]

    # --- who is who ---

    async def ports_by_imei(self, imei: str, ids: Sequence[UsbId], sound: Sound) -> tuple[UsbDevice, list[Ports]]:
        """Asks those that nobody has open and that were not asked since they were plugged in.

        Raises: LineAbsent, with a sentence for people.
        """
        devices = await self.devices()
        alive = {_key(device) for device in devices.values()}
        self._imeis = {key: value for key, value in self._imeis.items() if key in alive}
        taken = {path.resolve() for path in self._ttys}
        unknown = [
            device
            for device in candidates(devices, ids)
            if _key(device) not in self._imeis
            and device.port not in self._ports
            and taken.isdisjoint(tty.resolve() for tty in device.ttys.values())
        ]
        if not self._known(imei, devices.values()):
            for device in unknown:
                self._ask_soon(device, ids)
        # Those that keep silent delay nobody else.
        while not self._known(imei, devices.values()) and any(_key(device) in self._asking for device in unknown):
            await self._asked.wait()
        for device in self._known(imei, devices.values()):
            return device, ports_of(device, ids, sound)
        but = [
            f"{device.port} could not be asked: {why}" for device in unknown if (why := self.unasked.get(device.port))
        ]
        raise LineAbsent("; ".join([f"no modem with IMEI {imei} is plugged in", *but]))

    def _known(self, imei: str, devices: Iterable[UsbDevice]) -> list[UsbDevice]:
        return [device for device in devices if self._imeis.get(_key(device)) == imei]

    def learn(self, device: UsbDevice, imei: str) -> None:
        """From who has it open."""
        if imei:
            self._imeis[_key(device)] = imei

    async def imei_of(self, device: UsbDevice, ids: Sequence[UsbId]) -> str | None:
        """Of a module that nobody has open; None: it does not say, or is in use."""
        self._ask_soon(device, ids)
        while _key(device) in self._asking:
            await self._asked.wait()
        return self._imeis.get(_key(device))

    def _ask_soon(self, device: UsbDevice, ids: Sequence[UsbId]) -> None:
        assert self._nursery is not None, "nobody watches"
        if _key(device) not in self._asking | self._imeis.keys():
            self._asking.add(_key(device))
            self._nursery.start_soon(self._ask, device, ids)

    async def _ask(self, device: UsbDevice, ids: Sequence[UsbId]) -> None:
        self.unasked.pop(device.port, None)
        try:
            for ports in ports_of(device, ids, Sound.AT):
                if _key(device) not in self._imeis:
                    await self._ask_at(device, ports.at)
        except LineError as exc:
            self.unasked[device.port] = str(exc)
        finally:
            self._asking.discard(_key(device))
            self._asked.set()
            self._asked = trio.Event()

    async def _ask_at(self, device: UsbDevice, at: Path) -> None:
        try:
            self.learn(device, await ask_imei(at))
            self.unasked.pop(device.port, None)
        except* LineError as group:
            self.unasked[device.port] = str(group.exceptions[0])

    # --- the upper rungs of recovery ---

    @property
    def has_power_switch(self) -> bool:
        return self._uhubctl is not None

    async def power_cycle(self, port: str) -> None:
        """Off and on again. Raises: LineError, with a sentence for people."""
        if self._uhubctl is None:
            raise LineError("uhubctl is not installed")
        hub, _, number = port.rpartition(".")
        if not hub:
            # At the root: port 1 of bus 2 is 2-1.
            hub, _, number = port.partition("-")
        command = [self._uhubctl, "-l", hub, "-p", number, "-a", "cycle", "-d", str(POWER_OFF_S)]
        with trio.move_on_after(POWER_LIMIT_S):
            done = await trio.run_process(
                command, check=False, capture_stdout=True, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL
            )
            if done.returncode:
                said = done.stdout.decode(errors="replace").strip().splitlines()
                raise LineError(f"uhubctl: port {number} of hub {hub}: {said[-1] if said else done.returncode}")
            return
        raise LineError(f"uhubctl: port {number} of hub {hub}: not done in {POWER_LIMIT_S} s")


async def ask_imei(at: Path) -> str:
    """Empty: it does not say. Raises: LineError, also in an exception group."""
    fd = await open_tty(str(at))
    try:
        async with trio.lowlevel.FdStream(os.dup(fd)) as stream, trio.open_nursery() as nursery:
            port = Port(stream, urcs=COMMON_URCS, name=str(at))
            nursery.start_soon(port.listen)
            await port.synchronise()
            imei = bare(await port.command("AT+CGSN"))
            nursery.cancel_scope.cancel()
    finally:
        close_tty(fd)
    return imei if imei.isdecimal() else ""


async def start_anew(at: Path, command: str) -> None:
    """A module may obey that does not answer any more. Raises: LineLost."""
    fd = await open_tty(str(at))
    try:
        async with trio.lowlevel.FdStream(os.dup(fd)) as stream:
            await order_anew(stream, command)
    except (trio.BrokenResourceError, trio.ClosedResourceError) as exc:
        raise LineLost(f"{at}: {exc}") from exc
    finally:
        close_tty(fd)


async def order_anew(stream: trio.abc.Stream, command: str) -> None:
    """Returns when the module took the order, is gone, or had the time to take it."""
    with trio.move_on_after(RESET_ANSWER_S):
        await stream.send_all(WAKE)
        await trio.sleep(SETTLE_S)
        await stream.send_all(command.encode() + b"\r")
        heard = b""
        while b"\nOK\r" not in heard and (data := await stream.receive_some(1024)):
            heard = heard[-16:] + bytes(data)


def _key(device: UsbDevice) -> tuple[str, int]:
    return device.port, device.devnum


def _node(path: Path) -> object:
    try:
        status = path.stat()
    except OSError:
        return None
    # A name that leads elsewhere, another device under it, a permission that was given.
    return status.st_ino, status.st_rdev, stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid
