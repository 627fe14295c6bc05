"""What a configured line is plugged into: its device found, opened, and seen to be the one that is meant."""

from collections.abc import AsyncIterator, Callable, Collection
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Protocol

import trio

from appliance.config import Device, LineConfig
from appliance.fields import USB_PORT
from appliance.ladder import Rung
from appliance.trunk import Whereabouts
from drivers.bus import Bus, start_anew
from drivers.errors import LineAbsent, LineBlocked, LineError
from drivers.line import Identity, Line
from drivers.models import Sound
from drivers.usb import Ports, UsbDevice, at_port, ports_of


class Resettable(Device, Protocol):
    @property
    def reset(self) -> str:
        """The order to start anew; empty where there is none."""


class ModemJack:
    """appliance.trunk.Jack. `open_ports` is the driver's; `in_use` says whether any line has a call: some hubs switch
    all their ports at once.
    """

    def __init__(
        self,
        line: LineConfig,
        model: Resettable,
        bus: Bus,
        *,
        open_ports: Callable[[Ports], AbstractAsyncContextManager[Line]],
        in_use: Callable[[], bool],
    ) -> None:
        self.ports: Ports | None = None
        self.device: UsbDevice | None = None
        self._line = line
        self._model = model
        self._bus = bus
        self._open_ports = open_ports
        self._in_use = in_use
        self._seen: object = None
        # Of the compositions that the device may have, the one which is tried next, and whether it ever worked.
        self._choice = 0
        self._works = False
        self._own_card = line.card == "usb"
        # The modem's own tty is all that is to be found where the sound is a card of another device.
        self._sound = line.sound(model)
        if self._sound is Sound.CARD and not self._own_card:
            self._sound = Sound.AT

    @property
    def whereabouts(self) -> Whereabouts:
        ports = self.ports
        sound = (ports.pcm or ports.card or ports.at) if ports else ""
        return Whereabouts(self._line.model, self._place, str(ports.at) if ports else "", str(sound))

    @property
    def _place(self) -> str:
        """The USB port where there is one, or the tty."""
        if self.device is not None:
            return f"usb {self.device.port}"
        line = self._line
        return f"usb {line.usb}" if line.usb else f"imei {line.imei}" if line.at is None else str(line.at)

    # --- opening ---

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Line]:
        self._seen = await trio.to_thread.run_sync(self._sight)
        ports = await self.find()
        # Should it fail, another composition of the device is tried the next time.
        self._choice += not self._works
        async with self._open_ports(ports) as line:
            self._choice -= not self._works
            self._works = True
            self._confirm(line.identity)
            if self.device is not None:
                self._bus.learn(self.device, line.identity.imei)
            yield line

    async def find(self) -> Ports:
        """Raises: LineError, with a sentence for people."""
        devices = await self._bus.devices()
        if self._line.at is not None:
            for path in (self._line.at, self._line.pcm):
                if path is not None and not await trio.Path(path).exists():
                    raise LineAbsent(f"{path}: no such device")
            self.device = await self._bus.device_of(self._line.at)
            choices = [Ports(self._line.at, self._line.pcm)]
        elif self._line.usb is not None:
            self.device = at_port(devices, self._line.usb, self._model.title, self._model.usb)
            choices = ports_of(self.device, self._model.usb, self._sound)
        else:
            assert self._line.imei is not None
            self.device, choices = await self._bus.ports_by_imei(self._line.imei, self._model.usb, self._sound)
        ports = choices[self._choice % len(choices)]
        if self._line.card is not None and not self._own_card:
            ports = Ports(ports.at, card=self._card(devices))
        self.ports = ports
        return ports

    def _card(self, devices: dict[str, UsbDevice]) -> str | None:
        """By the name that ALSA gives it. Raises: LineAbsent."""
        name = self._line.card
        if name is None or not USB_PORT.fullmatch(name):
            return name
        device = devices.get(name)
        if device is None or device.card is None:
            raise LineAbsent(f"no sound card is plugged in at USB port {name}")
        return device.card

    def _confirm(self, identity: Identity) -> None:
        for what, wanted, there in (
            ("the module's IMEI", self._line.imei, identity.imei),
            ("the SIM's ICCID", self._line.iccid, identity.iccid),
        ):
            # Some do not tell.
            if wanted and there and wanted != there:
                raise LineBlocked(f"{what} is {there}, and not {wanted}: another one is plugged in at {self._place}")

    # --- recovery ---

    async def changed(self) -> None:
        await self._bus.changed(self._sight, self._seen)

    def _sight(self) -> object:
        line = self._line
        paths = [path for path in (line.at, line.pcm) if path is not None]
        return self._bus.sight(paths, self._concerns if line.at is None or line.card else None)

    def _concerns(self, device: UsbDevice) -> bool:
        line = self._line
        if line.card == device.port:
            return True
        if line.at is not None:
            return False
        return device.port == line.usb if line.usb else device.is_one_of(self._model.usb)

    @property
    def possible(self) -> Collection[Rung]:
        rungs = {Rung.REOPEN}
        if self._model.reset and self.ports is not None:
            rungs.add(Rung.RESET)
        if self._port is not None and self._bus.has_power_switch and not self._in_use():
            rungs.add(Rung.POWER)
        return rungs

    async def climb(self, rung: Rung) -> None:
        if rung is Rung.RESET and self.ports is not None:
            # It may have come back under another name.
            await start_anew((await self.find()).at, self._model.reset)
        elif rung is Rung.POWER and self._port is not None:
            if self._in_use():
                raise LineError("another line has a call, which could lose its power, too")
            await self._bus.power_cycle(self._port)

    @property
    def _port(self) -> str | None:
        return self._line.usb or (self.device.port if self.device else None)
