"""The seam between a line of the bench, which has ttys and can be unplugged, and what is plugged in there.

`hil.modem.Modem` is one for GSM. A new kind of device is a class of this shape, and an entry in `hil.bench.MODELS`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import trio

from hil.board import Profile, Usb
from hil.faults import Faults
from hil.network import Call, Network, Party, State
from hil.plans import Plan
from hil.sound import Studio
from native import Port


@dataclass(frozen=True)
class BenchLine:
    """`profile` where the SIM or the firmware is a special one; its number counts then. `plan` is an analog line's, in
    place of what its number's country has.
    """

    name: str
    number: str
    model: str = "ec25"
    profile: Profile | None = None
    plan: Plan | None = None


@dataclass(frozen=True)
class Ends:
    """A device's ends for one life on the bus. Descriptors are non-blocking, and the line's to close.

    `at` and `at_fd` are the same tty: bytes taken from one are not there for the other. `card` is the sound card's
    analog end: what the host plays comes out of it, what goes in is captured by the host.
    """

    at: trio.abc.Stream
    # None where `at` is in memory, which is so for no device that has `shared_tty`.
    at_fd: int | None
    # None unless "pcm" is among its `ttys`.
    pcm_fd: int | None
    # None unless it `has_card`.
    card: Port | None


class Device(Party, Protocol):
    """A party of the network from the start, plugged in or not."""

    # What its model is called in a configuration of the box.
    model: str

    # "at" and, where calls have a tty of their own, "pcm".
    @property
    def ttys(self) -> tuple[str, ...]: ...

    # Its calls are heard through a sound card of the host.
    @property
    def has_card(self) -> bool: ...

    # Its AT tty is its calls' audio tty, too: V.253.
    shared_tty: bool

    # None: it stands on a UART.
    @property
    def usb(self) -> Usb | None: ...

    # Off the bus of its own accord, and back again in a while.
    restarts: bool

    @property
    def faults(self) -> Faults: ...

    @property
    def calls(self) -> list[Call]: ...

    async def serve(self, ends: Ends) -> None:
        """One life on the bus: until the host's end of `at` is closed, `unplug`, or a restart of its own.

        After the last two it boots when it is served again.
        """

    def unplug(self) -> None: ...

    def hung_up(self) -> None:
        """The host closed its AT tty, which lets DTR fall."""

    def inject(self, data: bytes) -> None:
        """Bytes on the AT port as if the device had said them."""

    def call_moved(self, call: Call, state: State) -> None:
        """Observes the network, all calls of it."""

    def stall(self, seconds: float) -> None:
        """USB stands still for so long, in the midst of sound, and then all comes at once."""

    def stop_sound(self) -> None:
        """As a fault: the call goes on without."""


Maker = Callable[[BenchLine, Network, Studio], Device]
