"""A simulated module at work: on the network at one end, on a byte stream at the other, in the time of trio's clock.

On an in-memory stream, a test of a driver runs on pytest-trio's autojump clock:

    network = Network()
    modem = Modem(Ec25(Profile(number="+33700000002")), network)                # hil.quectel, hil.board
    host, device = trio.testing.memory_stream_pair()
    nursery.start_soon(modem.serve_at, device)       # the driver under test has `host`
    phone = Subscriber("+33783484044", network, nursery, behaviour="answer")    # hil.subscriber

`modem.faults` says what goes wrong with answers (hil.faults); `inject`, `unplug`, `set_coverage` are the rest of its
ill luck. `hil.bench` has the same on ptys and with sound.
"""

import trio

from drivers import sms
from hil.atport import AtPort, Effect, Say
from hil.board import Answer, AudioPath, Dial, Leftover, Nmea, Press, Release, Restart, Ring, Session, Submit, Usb, Wake
from hil.device import Ends
from hil.module import Module, Stat
from hil.network import Alerting, Answered, Call, Cause, Event, Network, Offered, Pressed, Released, State
from hil.sound import Studio
from hil.voicepath import FULL_MS, LOOK_EVERY_S, ROOM_MS, VoicePath

# What a host may leave unread before a device's words are lost: far more than a boot or a long +CMGL.
UNREAD_CHUNKS = 1024
# From the last word of a module on a UART to its first one.
UART_RESTART_S = 2.0
_LEAVES = b""


class Modem:
    """hil.device.Device. Without a studio it has no sound."""

    shared_tty = False

    def __init__(self, module: Module, network: Network, studio: Studio | None = None, *, model: str = "") -> None:
        self.module = module
        self.model = model
        self.port = AtPort(module)
        self.faults = self.port.faults
        self.voice = VoicePath(studio, self, module) if studio else None
        # The module asked to come back by itself: AT+CFUN=1,1, and not AT+QPOWD.
        self.restarts = False
        self._network = network
        self._calls: dict[int, Call] = {}
        self._hung_up: list[Call] = []
        self._powered = True
        self._words: trio.MemorySendChannel[bytes] | None = None
        self._scope = trio.CancelScope()
        self._moved = trio.Event()
        network.join(self)

    @property
    def ttys(self) -> tuple[str, ...]:
        return ("at", "pcm") if AudioPath.PCM in self.module.audio_paths else ("at",)

    @property
    def has_card(self) -> bool:
        return AudioPath.CARD in self.module.audio_paths

    @property
    def usb(self) -> Usb | None:
        return self.module.usb

    @property
    def number(self) -> str:
        return self.module.profile.number

    @property
    def calls(self) -> list[Call]:
        return list(self._calls.values())

    # --- its host ---

    async def serve(self, ends: Ends) -> None:
        """As `serve_at`, and with sound."""
        assert self.voice is not None
        self.voice.plug(ends)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.voice.tend)
            nursery.start_soon(self._watch_backlog, self.voice)
            await self.serve_at(ends.at)
            nursery.cancel_scope.cancel()

    async def _watch_backlog(self, voice: VoicePath) -> None:
        """EC25 tells its host when it writes faster than the air takes it."""
        full = False
        while True:
            if not full:
                await voice.sounding()
            await trio.sleep(LOOK_EVERY_S)
            if full != (voice.backlog_ms > (ROOM_MS if full else FULL_MS)):
                full = not full
                self.buffer_full(full)

    async def serve_at(self, stream: trio.abc.Stream) -> None:
        """Until the host closes its end, or the module leaves it: by `unplug`, or by a restart of its own.

        A module that was unplugged is plugged by serving it again: it boots, and says so on this stream.
        """
        words, spoken = trio.open_memory_channel[bytes](UNREAD_CHUNKS)
        self._words = words
        try:
            async with stream, trio.open_nursery() as nursery:
                self._scope = nursery.cancel_scope
                if not self._powered:
                    self._power_on()
                nursery.start_soon(self._speak, stream, spoken)
                nursery.start_soon(self._keep_time)
                await self._listen(stream)
                nursery.cancel_scope.cancel()
        finally:
            self._words = None

    async def _listen(self, stream: trio.abc.ReceiveStream) -> None:
        try:
            async for data in stream:
                self._hear(bytes(data))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return

    def _hear(self, data: bytes) -> None:
        if self._powered:
            self._act(self.port.receive(data, trio.current_time()))

    async def _speak(self, stream: trio.abc.SendStream, spoken: trio.MemoryReceiveChannel[bytes]) -> None:
        try:
            async for data in spoken:
                if data == _LEAVES:
                    self._scope.cancel()
                await stream.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return

    async def _keep_time(self) -> None:
        while True:
            self._moved = trio.Event()
            with trio.move_on_at(self.port.deadline):
                await self._moved.wait()
            if self.port.deadline <= trio.current_time():
                self._act(self.port.elapse(trio.current_time()))

    def _say(self, data: bytes) -> None:
        if self._words is None:
            return
        try:
            self._words.send_nowait(data)
        except trio.WouldBlock:
            # The host does not read: a device has no place for more either.
            return

    # --- its sound ---

    def call_moved(self, call: Call, state: State) -> None:
        """Nothing that its own news of the call have not moved."""

    def stop_sound(self) -> None:
        if self.voice:
            self.voice.stop()

    def _tune(self) -> None:
        if self.voice:
            call = self._calls.get(self.module.heard or 0)
            self.voice.tune(call, self.module.audio)

    def hung_up(self) -> None:
        """A call goes on: AT&D of a GSM module is about data."""

    def inject(self, data: bytes) -> None:
        """Bytes on the AT port as if the module had said them: noise, URCs it does not mean, half a line."""
        self._act([Say(data)])

    # --- its power and its air ---

    def unplug(self) -> None:
        """Off the bus and off the network at once: without power it says nothing to either."""
        self._leave()
        self._scope.cancel()

    def _leave(self) -> None:
        self._powered = False
        self.port.power_off()
        self._calls.clear()
        self._hung_up.clear()
        self._network.leave(self)

    def _restart_in_place(self, again: bool) -> None:
        """A tty of a UART stays, whoever is behind it."""
        if again:
            module = self.module
            module.agenda.at(trio.current_time() + UART_RESTART_S, lambda: module.orders.append(Wake()))

    def _power_on(self) -> None:
        self._powered, self.restarts = True, False
        self._network.join(self)
        self._act(self.port.power_on(trio.current_time()))

    def set_coverage(self, stat: int) -> None:
        """What the antenna finds, as a 27.007 7.2 <stat>: 1 home, 2 searching, 3 denied, 5 roaming."""
        self._act(self.port.set_coverage(stat, trio.current_time()))

    def set_signal(self, rssi: int) -> None:
        self._act(self.port.set_signal(rssi, trio.current_time()))

    def set_sim(self, there: bool) -> None:
        """Taken out, at which its calls end, or put in."""
        if not there:
            self._drop_calls()
        self.module.now = trio.current_time()
        self.module.set_sim(there)
        self._act(self.port.elapse(trio.current_time()))

    def lock(self, pin: str | None) -> None:
        """Another SIM is put in, that wants this PIN, or none."""
        self._drop_calls()
        self.module.now = trio.current_time()
        self.module.lock(pin)
        self._act(self.port.elapse(trio.current_time()))

    def _drop_calls(self) -> None:
        for call in self.calls:
            self._network.release(call, Cause.OUT_OF_ORDER)

    def faults_changed(self) -> None:
        """Those that were set take effect without a further event."""
        self.module.now = trio.current_time()
        self.module.flood()
        if self.voice:
            self.voice.faults_changed()
        self._act(self.port.elapse(trio.current_time()))

    def stall(self, seconds: float) -> None:
        """Its PCM stands still for so long, and then all comes at once."""
        self.faults.stalls = True
        if self.voice:
            self.voice.stall(seconds)

    def buffer_full(self, full: bool) -> None:
        """The device's uplink buffer filled, or has room again."""
        self._act(self.port.buffer_full(full, trio.current_time()))

    # --- the network ---

    def refuses(self) -> Cause | None:
        return self.port.refuses()

    def take_message(self, pdu: str) -> bool:
        """hil.centre.Recipient."""
        if not self._powered:
            return False
        taken, effects = self.port.message(pdu, trio.current_time())
        self._act(effects)
        return taken

    def told(self, event: Event) -> None:
        now = trio.current_time()
        if isinstance(event, Offered):
            index, effects = self.port.offered(event.call.presented, now)
            self._calls[index] = event.call
            self._act(effects)
            return
        index = next((index for index, call in self._calls.items() if call is event.call), 0)
        match event:
            case _ if not index:
                return
            case Alerting():
                self._act(self.port.moved(index, Stat.ALERTING, now))
            case Answered():
                self._act(self.port.moved(index, Stat.ACTIVE, now))
            case Pressed(key=key):
                self._act(self.port.pressed(key, now))
            case Released(call=call):
                locally = call in self._hung_up
                if locally:
                    self._hung_up.remove(call)
                del self._calls[index]
                self._act(self.port.released(index, call.cause or Cause.NORMAL, now, locally=locally))

    def _act(self, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case Say(data):
                    self._say(data)
                case Nmea(data) | Leftover(data):
                    if self.voice:
                        self.voice.say(data)
                case Dial(index, number, withheld):
                    self._calls[index] = call = Call(self, number, withheld)
                    self._network.dial(call)
                case Submit(pdu, reference):
                    message = sms.decode(pdu)
                    assert isinstance(message, sms.Submit)
                    self._network.centre.submit(self.number, message, reference, trio.current_time())
                case Session(text):
                    if (answer := self._network.menus.ask(self.number, text)) is not None:
                        self._act(self.port.menu(*answer, trio.current_time()))
                case Restart(again):
                    self._leave()
                    if self.module.usb is None:
                        self._restart_in_place(again)
                    else:
                        self.restarts = again
                        self._say(_LEAVES)
                case Wake():
                    self._power_on()
                case _:
                    # One line may hang up twice.
                    if (concerned := self._calls.get(effect.index)) is not None:
                        self._order(concerned, effect)
        self._tune()
        self._moved.set()
        # It may have room for a message now, or be there again.
        self._network.centre.knock(self.number, trio.current_time())

    def _order(self, call: Call, order: Ring | Answer | Release | Press) -> None:
        match order:
            case Ring():
                self._network.ring(call)
            case Answer():
                if call.state is not State.ACTIVE:
                    self._network.answer(call)
            case Release(cause=cause):
                self._hung_up.append(call)
                self._network.release(call, cause)
            case Press(key=key):
                self._network.press(call, self, key)
