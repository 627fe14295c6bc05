"""An analog line with a voice modem on it, at work: on the network at one end, on a tty at the other.

    network = Network()
    line = AnalogLine("+33159133354", network, studio, model="cx93010", plan=PLANS["FR"])
    nursery.start_soon(line.serve, ends)            # the driver under test has the other end of ends.at

The exchange's line (hil.exchange) and the modem (hil.voicemodem) decide; here their orders are carried out, in the time
of trio's clock, and with the sound of hil.voicesound. The line is on the network whether a modem is plugged in or not:
it rings to nobody. `line.faults` says what goes wrong.

A pty has no modem-control lines. DTR falls when the host closes its end: `hung_up`.
"""

from datetime import datetime

import phonenumbers
import trio

from hil import voiceboard
from hil.device import Ends
from hil.exchange import (
    Answer,
    Current,
    Dial,
    Effect,
    ExchangeLine,
    Identify,
    LineState,
    Press,
    Release,
    Reverse,
    Ring,
    Ringing,
    Talk,
    Tone,
)
from hil.network import Alerting, Answered, Call, Cause, Event, Network, Offered, Pressed, Released, State
from hil.plans import PLANS, Plan
from hil.sound import Studio
from hil.voiceboard import Close, Drop, Hook, Key, Open, Play, PlayOut, Say, Sing, VoiceFaults
from hil.voicemodels import VOICE_MODELS
from hil.voicemodem import VoiceModem
from hil.voicesound import VoiceSound
from native import Caller

# What a host may leave unread: words, and far less of a stream, which is of the present.
UNREAD_CHUNKS, UNREAD_SOUNDS = 1024, 30


def country_of(number: str) -> str:
    """The country whose number it is, if its exchanges are known here; else the United States."""
    try:
        region = phonenumbers.region_code_for_number(phonenumbers.parse(number))
    except phonenumbers.NumberParseException:
        region = None
    return region if region is not None and region in PLANS else "US"


class AnalogLine:
    ttys = ("at",)
    has_card = False
    shared_tty = True
    restarts = False

    def __init__(
        self,
        number: str,
        network: Network,
        studio: Studio,
        *,
        model: str,
        plan: Plan | None = None,
    ) -> None:
        """`plan` None: what lines of the number's country are."""
        plan = plan or PLANS[country_of(number)]
        self.model = model
        self.faults = VoiceFaults()
        self.usb = VOICE_MODELS[model].usb
        self.number = number
        self.calls: list[Call] = []
        self.exchange = ExchangeLine(plan, complete=self._is_known, faults=self.faults)
        self.voice_modem = VoiceModem(VOICE_MODELS[model], self.faults)
        self._network = network
        self._sound = VoiceSound(studio, self, plan, faults=self.faults, key=self._key, ran_dry=self._ran_dry)
        self._powered = True
        self._words: trio.MemorySendChannel[bytes] | None = None
        self._overrun = False
        self._stalled_until = float("-inf")
        self._scope = trio.CancelScope()
        self._moved = trio.Event()
        network.join(self)

    @property
    def country(self) -> str:
        return self.exchange.plan.country

    @property
    def configured(self) -> dict[str, object]:
        """What a box has to be told of the line, beside its number."""
        plan, told = self.exchange.plan, dict[str, object]()
        if plan.country != country_of(self.number):
            told["country"] = plan.country
        if plan.polarity:
            told["polarity"] = True
        return told

    # --- its host ---

    async def serve(self, ends: Ends) -> None:
        words, spoken = trio.open_memory_channel[bytes](UNREAD_CHUNKS)
        self._words = words
        try:
            async with ends.at, trio.open_nursery() as nursery:
                self._scope = nursery.cancel_scope
                if not self._powered:
                    self._powered = True
                    self._act(self.voice_modem.power_on(trio.current_time()))
                nursery.start_soon(self._speak, ends.at, spoken)
                nursery.start_soon(self._keep_time)
                nursery.start_soon(self._sound.carry, self._hear, self._loudness, self._played)
                await self._listen(ends.at)
                nursery.cancel_scope.cancel()
        finally:
            self._words = None
            if self._powered:
                self.hung_up()
                # Nobody keeps time any more, to tell a recall from the end.
                self._carry_out(self.exchange.cut_off(trio.current_time()))

    async def _listen(self, stream: trio.abc.ReceiveStream) -> None:
        try:
            async for data in stream:
                await trio.sleep_until(self._stalled_until)
                self._act(self.voice_modem.receive(bytes(data), trio.current_time()))
                # A full transmit buffer is all the flow control that USB has.
                await self._sound.room()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return

    async def _speak(self, stream: trio.abc.SendStream, spoken: trio.MemoryReceiveChannel[bytes]) -> None:
        try:
            async for data in spoken:
                await trio.sleep_until(self._stalled_until)
                await stream.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return

    async def _keep_time(self) -> None:
        while True:
            self._moved = trio.Event()
            deadline = min(self.voice_modem.deadline, self.exchange.deadline)
            with trio.move_on_at(deadline):
                await self._moved.wait()
            now = trio.current_time()
            if self.exchange.deadline <= now:
                self._carry_out(self.exchange.elapse(now))
            if self.voice_modem.deadline <= now:
                self._act(self.voice_modem.elapse(now))

    def hung_up(self) -> None:
        """The host let DTR fall: it closed its end."""
        self._act(self.voice_modem.hung_up(trio.current_time()))

    def inject(self, data: bytes) -> None:
        self._act([Say(data)])

    def stall(self, seconds: float) -> None:
        """The USB: nothing passes for so long, and then all of it at once."""
        self._stalled_until = trio.current_time() + seconds

    def unplug(self) -> None:
        """Off the bus, and off the line: without power its relay falls."""
        now = trio.current_time()
        self._powered = False
        self._act(self.voice_modem.power_off())
        self._sound.close()
        self._carry_out(self.exchange.cut_off(now))
        self._scope.cancel()

    # --- the stream ---

    def _hear(self, data: bytes) -> None:
        """From the line, for the host; who does not read in time loses it."""
        if self._words is None or self._words.statistics().current_buffer_used > UNREAD_SOUNDS:
            self._overrun = True
            return
        now = trio.current_time()
        self._act(self.voice_modem.heard(data, now))
        if self._overrun:
            self._overrun = False
            self._act(self.voice_modem.ran_over(now))

    def _loudness(self, loud: bool) -> None:
        self._act(self.voice_modem.sound(loud, trio.current_time()))

    def _ran_dry(self) -> None:
        self._act(self.voice_modem.ran_dry(trio.current_time()))

    def _played(self) -> None:
        self._act(self.voice_modem.played(trio.current_time()))

    def call_moved(self, call: Call, state: State) -> None:
        """All that concerns us is told us as a party."""

    def stop_sound(self) -> None:
        self._sound.close()

    # --- the network ---

    def refuses(self) -> Cause | None:
        return None if self.exchange.state is LineState.IDLE else Cause.BUSY

    def told(self, event: Event) -> None:
        now = trio.current_time()
        if isinstance(event, Offered) and self.refuses():
            # Lifted between the network's question and its offer.
            self._network.release(event.call, Cause.BUSY)
            return
        if isinstance(event, Offered):
            self.calls.append(event.call)
            self._carry_out(self.exchange.offered(self._caller(event.call), now))
            return
        if event.call not in self.calls:
            return
        match event:
            case Alerting():
                self._carry_out(self.exchange.alerting(now))
            case Answered() if event.call.caller is self:
                self._carry_out(self.exchange.answered(now))
            case Pressed(key=key):
                self._act(self.voice_modem.key_heard(key, now))
            case Released(call=call):
                # The way of speech goes first, and it needs to know of the call.
                self._carry_out(self.exchange.cleared(call.cause or Cause.NORMAL, now))
                self.calls.remove(call)

    def _caller(self, call: Call) -> Caller:
        # The Pi's own clock says nothing here: an exchange knows the time of day.
        time = datetime.now().strftime("%m%d%H%M")
        if call.presented is None:
            return Caller(absence="P", time=time)
        return Caller(number=self._as_told(call.presented), time=time)

    def _as_told(self, number: str) -> str:
        """As people of this country dial it."""
        try:
            parsed = phonenumbers.parse(number)
        except phonenumbers.NumberParseException:
            return number
        dialed = phonenumbers.format_out_of_country_calling_number(parsed, self.country)
        return "".join(each for each in dialed if each.isdigit())

    def _is_known(self, digits: str) -> bool:
        return self._network.party(self._international(digits)) is not None

    def _international(self, digits: str) -> str:
        try:
            parsed = phonenumbers.parse(digits, self.country)
        except phonenumbers.NumberParseException:
            return digits
        if not phonenumbers.is_possible_number(parsed):
            return digits
        return phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164)

    # --- orders ---

    def _act(self, effects: list[voiceboard.Effect]) -> None:
        """The modem's."""
        for effect in effects:
            match effect:
                case Say(data):
                    self._say(data)
                case Hook(off):
                    self._carry_out((self.exchange.lifted if off else self.exchange.hung_up)(trio.current_time()))
                case Key(key, ms):
                    self._sound.press(key, ms)
                    self._key(key)
                case Sing(cadence):
                    self._sound.sing(cadence)
                case Open():
                    self._sound.open(effect)
                case Close():
                    self._sound.close()
                case Play(data):
                    self._sound.play(data)
                case Drop():
                    self._sound.drop()
                case PlayOut():
                    self._sound.play_out()
        self._moved.set()

    def _say(self, data: bytes) -> None:
        if self._words is None:
            return
        try:
            self._words.send_nowait(data)
        except trio.WouldBlock:
            # The host does not read: a device has no place for more either.
            return

    def _key(self, key: str) -> None:
        """A key's tone is on the line: by the modem, or in what the host says."""
        self._carry_out(self.exchange.key(key, trio.current_time()))

    def _carry_out(self, effects: list[Effect]) -> None:
        """The exchange's."""
        for effect in effects:
            self._on_the_wires(effect)
            self._in_the_network(effect)
        self._moved.set()

    def _on_the_wires(self, effect: Effect) -> None:
        now, modem = trio.current_time(), self.voice_modem
        match effect:
            case Ring(on):
                self._act(modem.ring(on, now))
            case Identify():
                self._act(modem.identified(effect, now))
            case Reverse():
                self._act(modem.reversed(now))
            case Current(on):
                self._act(modem.current(on, now))
            case Tone(kind):
                self._sound.send_tone(kind)
                self._act(modem.tone(kind, self.country, now))
            case Talk(on):
                self._sound.talk(self.calls[0] if on and self.calls else None)

    def _in_the_network(self, effect: Effect) -> None:
        match effect:
            case Dial(number):
                call = Call(self, self._international(number))
                self.calls.append(call)
                self._network.dial(call)
            case Ringing():
                self._network.ring(self.calls[0])
            case Answer():
                self._network.answer(self.calls[0])
            case Release(cause):
                for call in list(self.calls):
                    self._network.release(call, cause)
            case Press(key):
                for call in self.calls:
                    self._network.press(call, self, key)
