"""What a Quectel EC25 is, apart from its command line: calls with their URCs, and the switch of their audio.

Described by 3GPP TS 27.007 where a clause is named, by the module's ways ("EC25") elsewhere.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

from hil.board import Answer, Dial, Release, Ring
from hil.commandline import Final, Refused
from hil.radio import Radio

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
    """27.007 8.18 <stat>; RELEASED is ccinfo's own."""

    RELEASED = -1
    ACTIVE = 0
    HELD = 1
    DIALING = 2
    ALERTING = 3
    INCOMING = 4
    WAITING = 5


# EC25: ^DSCI counts the same states its own way.
DSCI_STAT = {
    Stat.HELD: 1,
    Stat.DIALING: 2,
    Stat.ACTIVE: 3,
    Stat.INCOMING: 4,
    Stat.WAITING: 5,
    Stat.RELEASED: 6,
    Stat.ALERTING: 7,
}


@dataclass
class Leg:
    """One line of +CLCC."""

    index: int
    incoming: bool
    stat: Stat
    number: str
    mode: int = 0

    @property
    def kind(self) -> int:
        if not self.number:
            return 128
        return 145 if self.number.startswith("+") else 129

    def listed(self, stat: Stat | None = None) -> str:
        """As +CLCC and ccinfo have it."""
        state = self.stat if stat is None else stat
        return f'{self.index},{self.incoming:d},{state:d},{self.mode},0,"{self.number}",{self.kind}'


class Module(Radio):
    def forget(self) -> None:
        super().forget()
        self.calls: dict[int, Leg] = {}
        if self.profile.data_bearer:
            self.calls[1] = Leg(1, False, Stat.ACTIVE, "", mode=1)
        self.last_cause: int | None = None
        self.pcm_mode: int | None = None
        # The voice path is set up by QPCMV's change from 0 to 1 and is spent by one call.
        self._pcm_fresh = False

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
        self.orders.append(Dial(leg.index, number, withheld))

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
        if self.indications["all"] and self.indications["ring"]:
            self.tell("+CRING: VOICE" if self.setting("+CRC", "0") == "1" else "RING")
        if self.setting("+CLIP", "0") == "1":
            self.tell(f'+CLIP: "{leg.number}",{leg.kind},"",0,"",{0 if leg.number else 1}')
        if count == int(self.setting("S0", "0")):
            self.orders.append(Answer(leg.index))
        self.agenda.at(self.now + RING_EVERY_S, lambda: self._ring(leg, count + 1))

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
            self.tell_state(leg)

    def released(self, index: int, cause: int, *, locally: bool) -> None:
        """The network ended a call; EC25 has a result code for it only when the far end did it."""
        leg = self.calls.pop(index, None)
        if leg is None:
            return
        self.last_cause = cause
        self.tell_state(leg, Stat.RELEASED)
        if not locally:
            busy = cause == 17 and self.setting("X", "4") in ("3", "4")
            self.tell("BUSY" if busy else "NO ANSWER" if cause in (18, 19) else "NO CARRIER")
        if not self.in_call:
            self._pcm_fresh = self._pcm_fresh and leg.stat in (Stat.INCOMING, Stat.WAITING)
            for waiting in self.legs(Stat.WAITING):
                waiting.stat = Stat.INCOMING
                self.tell_state(waiting)
                self._ring(waiting, 1)

    def order_release(self, leg: Leg, cause: int) -> None:
        self.orders.append(Release(leg.index, cause))

    def pressed(self, key: str) -> None:
        if self.setting("+QTONEDET", "0") == "1":
            self.tell(f"+QTONEDET: {ord(key)}")

    @property
    def audible(self) -> bool:
        """Call audio runs on the PCM interface now."""
        return self.pcm_mode == 0 and self._pcm_fresh and bool(self.legs(Stat.ACTIVE))

    def set_pcm(self, on: bool, mode: int) -> None:
        """AT+QPCMV. EC25: not in a call, and one mode does not replace another but by way of 0."""
        if not self.profile.voice or self.in_call:
            raise Refused
        if not on:
            self.pcm_mode, self._pcm_fresh = None, False
        elif self.pcm_mode is None:
            self.pcm_mode, self._pcm_fresh = mode, True
        elif self.pcm_mode != mode:
            raise Refused

    def tell_state(self, leg: Leg, stat: Stat | None = None) -> None:
        self.indicate("ccinfo", leg.listed(stat))
        if self.setting("^DSCI", "0") == "1":
            state = DSCI_STAT[leg.stat if stat is None else stat]
            self.tell(f"^DSCI: {leg.index},{leg.incoming:d},{state},0,{leg.number},{leg.kind}")
