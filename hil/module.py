"""What a GSM or LTE module is, apart from its command line: its calls, as 3GPP TS 27.007 has them.

A family is a class above it, with tables of commands of its own (hil.quectel and its neighbours): it tells of a call
in its own words, and has a switch for the call's sound.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, ClassVar

from hil.board import Answer, AudioPath, Dial, Press, Profile, Release, Ring, Usb
from hil.centre import NUMBER
from hil.commandline import Command, Final, Refused, Setting
from hil.phonebook import PhoneBooks
from hil.radio import Radio
from hil.storage import Storage

# 24.008 10.5.123, the causes that the bench's network gives.
CAUSES = {
    1: "Unassigned (unallocated) number",
    16: "Normal call clearing",
    17: "User busy",
    18: "No user responding",
    19: "User alerting, no answer",
    20: "Subscriber absent",
    21: "Call rejected",
    27: "Destination out of order",
}
RING_EVERY_S = 5.0


class Stat(IntEnum):
    """27.007 7.18 <stat>; RELEASED is told by URCs only, each family's in its own way."""

    RELEASED = -1
    ACTIVE = 0
    HELD = 1
    DIALING = 2
    ALERTING = 3
    INCOMING = 4
    WAITING = 5


@dataclass
class Leg:
    """One line of +CLCC."""

    index: int
    incoming: bool
    stat: Stat
    number: str
    mode: int = 0
    # Which call was answered last is the one that is heard: they are counted.
    turn: int = 0

    @property
    def kind(self) -> int:
        if not self.number:
            return 128
        return 145 if self.number.startswith("+") else 129

    def listed(self, stat: Stat | None = None) -> str:
        """As +CLCC has it, and URCs after it."""
        state = self.stat if stat is None else stat
        return f'{self.index},{self.incoming:d},{state:d},{self.mode},0,"{self.number}",{self.kind}'


# Gives the info lines of one command, or raises Refused or Final for any end but OK.
Act = Callable[[Any, Command], list[str]]


class Module(Radio):
    """`audio`, and what tells of calls and keys, is a family's; here it is 27.007's alone."""

    maker: ClassVar[str]
    title: ClassVar[str]
    firmware: ClassVar[str]
    usb: ClassVar[Usb | None] = None
    # Commands by name, and parameters with a range by theirs.
    commands: ClassVar[Mapping[str, Act]]
    settings: ClassVar[Mapping[str, Setting]]
    # What a module has for its calls' sound, and the bytes that it sends at once on a PCM tty.
    audio_paths: frozenset[AudioPath] = frozenset()
    chunk_bytes: ClassVar[int] = 640
    # So long its answers take, by name of command; and so long it is deaf behind the result of a hang-up.
    delays_s: ClassVar[Mapping[str, float]] = {}
    rest_s: ClassVar[float] = 0.0
    # Memories for messages, with their slots; and what an empty slot reads as: nothing, or an error.
    memories: ClassVar[Mapping[str, int]] = {"SM": 25, "ME": 255, "SR": 20}
    default_memory: ClassVar[str] = "SM"
    reads_empty_slots: ClassVar[bool] = True
    # How a full one is told of.
    full_word: ClassVar[str] = '+SMS FULL: "{}"'
    # How USSD is written: by AT+CSCS, or packed whatever that says.
    packs_ussd: ClassVar[bool] = False

    def __init__(self, profile: Profile) -> None:
        # Of the SIM and the module, which outlive a restart.
        self.storage = Storage(self.memories)
        self.books = PhoneBooks(profile.number)
        self.service_centre = NUMBER
        self.sent_messages = 0
        super().__init__(profile)

    def forget(self) -> None:
        super().forget()
        self._turns = 0
        # Its command interpreter has died; the rest of it has not.
        self.dead = False
        # Told by +CMT or +CDS, and not yet acknowledged.
        self.unacknowledged: str | None = None
        self.calls: dict[int, Leg] = {}
        if self.profile.data_bearer:
            self.calls[1] = Leg(1, False, Stat.ACTIVE, "", mode=1)
        self.last_cause: int | None = None

    @property
    def version(self) -> str:
        """AT+CGMR."""
        return self.profile.firmware or self.firmware

    def parameter(self, name: str) -> str:
        """Of `settings`, as it is now."""
        return self.setting(name, self.settings[name].default)

    def power_off(self) -> None:
        super().power_off()
        self.calls.clear()

    def set_functionality(self, level: int) -> None:
        """With the radio off no call can go on."""
        super().set_functionality(level)
        if level != 1:
            for leg in self.voice:
                self.order_release(leg, 16)

    @property
    def voice(self) -> Iterator[Leg]:
        return (leg for leg in self.calls.values() if leg.mode == 0)

    def legs(self, *stats: Stat) -> list[Leg]:
        return [leg for leg in self.voice if leg.stat in stats]

    @property
    def in_call(self) -> bool:
        """Past ATD or ATA: from here on the voice path cannot be set up."""
        return bool(self.legs(Stat.DIALING, Stat.ALERTING, Stat.ACTIVE, Stat.HELD))

    def memory(self, place: int) -> str:
        """The one chosen by AT+CPMS for reading (0), writing (1), and what comes (2)."""
        return self.setting(f"memory {place}", self.default_memory)

    def tell_full(self, memory: str) -> None:
        self.tell(self.full_word.format(memory))

    @property
    def waits(self) -> bool:
        """Call waiting, a service of the network (22.083) that holds until it is switched off."""
        return self.setting("waiting", "1") == "1"

    def free_index(self) -> int:
        return next(index for index in range(1, 8) if index not in self.calls)

    def dial(self, number: str, withheld: bool) -> None:
        self.need_sim()
        if any(self.voice):
            raise Refused(3)
        if not self.callable:
            raise Final("NO CARRIER")
        self.last_cause = None
        leg = Leg(self.free_index(), False, Stat.DIALING, number)
        self.calls[leg.index] = leg
        self.tell_state(leg)
        self.books.note("DC", number)
        self.orders.append(Dial(leg.index, number, withheld))
        if self.faults.false_no_carrier:
            raise Final("NO CARRIER")

    def offered(self, index: int, number: str | None) -> None:
        """The network asked `refuses` before: there is room for this call."""
        waiting = any(self.voice)
        leg = Leg(index, True, Stat.WAITING if waiting else Stat.INCOMING, number or "")
        self.calls[index] = leg
        self.tell_state(leg)
        self.orders.append(Ring(index))
        if waiting:
            if self.setting("+CCWA", "0") == "1":
                self.tell(f'+CCWA: "{leg.number}",{leg.kind},1')
        else:
            self._ring(leg, 1)

    def _ring(self, leg: Leg, count: int) -> None:
        if self.calls.get(leg.index) is not leg or leg.stat is not Stat.INCOMING:
            return
        self.tell_ring(leg)
        if count == int(self.setting("S0", "0")):
            self.orders.append(Answer(leg.index))
        self.agenda.at(self.now + RING_EVERY_S, lambda: self._ring(leg, count + 1))

    def tell_ring(self, leg: Leg) -> None:
        self.tell("+CRING: VOICE" if self.parameter("+CRC") == "1" else "RING")
        self.tell_caller(leg)

    def tell_caller(self, leg: Leg) -> None:
        if self.setting("+CLIP", "0") == "1":
            self.tell(f'+CLIP: "{leg.number}",{leg.kind},"",0,"",{0 if leg.number else 1}')

    def answer(self) -> None:
        """ATA; a waiting call is not its affair (27.007 6.6)."""
        ringing = self.legs(Stat.INCOMING)
        if not ringing:
            raise Final("NO CARRIER")
        self.answer_leg(ringing[0])

    def answer_leg(self, leg: Leg) -> None:
        self.orders.append(Answer(leg.index))

    def cause_text(self) -> str:
        """AT+CEER (27.007 6.10)."""
        return CAUSES.get(self.last_cause or 0, "No cause information available")

    def moved(self, index: int, stat: Stat) -> None:
        """The network moved a call on."""
        if (leg := self.calls.get(index)) is not None and leg.stat is not stat:
            leg.stat = stat
            if stat is Stat.ACTIVE:
                self._turns += 1
                leg.turn = self._turns
            self.tell_state(leg)

    def released(self, index: int, cause: int, *, locally: bool) -> None:
        """The network ended a call; `locally`: as we had asked it to."""
        leg = self.calls.pop(index, None)
        if leg is None:
            return
        self.last_cause = cause
        if leg.incoming:
            self.books.note("RC" if leg.turn else "MC", leg.number)
        self.tell_end(leg, cause, locally=locally)
        if not self.in_call:
            for waiting in self.legs(Stat.WAITING):
                waiting.stat = Stat.INCOMING
                self.tell_state(waiting)
                self._ring(waiting, 1)

    def order_release(self, leg: Leg, cause: int) -> None:
        self.orders.append(Release(leg.index, cause))

    def press(self, keys: str) -> None:
        """We send keys. Raises: Refused without a call."""
        active = self.legs(Stat.ACTIVE)
        if not active:
            raise Refused(3)
        self.orders.extend(Press(active[0].index, key) for key in keys)

    # --- what a family does its own way ---

    def refusal(self, refused: Refused) -> str | None:
        """A result of its own for what it does not take."""
        return None

    def listed(self, leg: Leg) -> str:
        """A line of AT+CLCC behind its colon."""
        return leg.listed()

    def tell_state(self, leg: Leg, stat: Stat | None = None) -> None:
        """A call began or moved; `stat` is another than its own where the two differ."""

    def tell_end(self, leg: Leg, cause: int, *, locally: bool) -> None:
        """A result code only when the far end did it."""
        if not locally:
            self.tell_result(cause)

    def tell_result(self, cause: int) -> None:
        busy = cause == 17 and self.setting("X", "4") in ("3", "4")
        self.tell("BUSY" if busy else "NO ANSWER" if cause in (18, 19) else "NO CARRIER")

    def pressed(self, key: str) -> None:
        """The far end's key was heard in the call."""

    @property
    def audio(self) -> AudioPath | None:
        """Where the sound of the call is to be heard now."""
        return None

    @property
    def audible(self) -> bool:
        return self.audio is not None

    @property
    def choppy(self) -> bool:
        """That sound stutters."""
        return False

    @property
    def heard(self) -> int | None:
        """The index of the call whose sound that is: one at a time, the one answered last."""
        in_sound = self.legs(Stat.ACTIVE) or self.legs(Stat.DIALING, Stat.ALERTING)
        return max(in_sound, key=lambda leg: leg.turn).index if in_sound else None

    def buffer_filled(self, full: bool) -> None:
        """The host wrote faster than real time, or may go on."""
