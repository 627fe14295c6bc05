"""The sound on an analog line: what the exchange and the far end send, and a voice modem's stream between.

All of it runs in the media engine. The modem's end of the stream is a voice port with its own clock, on a socket; here
only shielded bytes are handed over between that and the modem, so that a code can stand between two of them.
"""

import array
import fcntl
import random
import re
import socket
import termios
from collections.abc import Callable

import trio

from hil.faults import Faults
from hil.network import Call, Party
from hil.plans import Plan
from hil.relay import Skew
from hil.sound import Studio
from hil.voiceboard import Open
from native import (
    FRAME_SAMPLES,
    RATE_HZ,
    Cadence,
    Dtmf,
    Event,
    Finished,
    Pace,
    Player,
    ToneKind,
    VoicePort,
    keys,
    tones,
)

# A modem's transmit buffer: a part in the engine's port, whose own limit is 200 ms, and what waits for it.
AHEAD_MS = 140
WAITING_BYTES = 1600
# Sound that is no silence: -46 dBm0, as a detector of quiet takes it.
LOUD = 164
LOOK_EVERY_S = 0.1
TURN_S = 0.02
FRAME_MS = 1000 * FRAME_SAMPLES / RATE_HZ
FULL_SCALE_DBM0 = 3.14
_AROUND_0 = bytes(byte ^ 0x80 for byte in range(256))
# <DLE><DLE>, <DLE><SUB>: in shielded sound there is no other.
_PAIR = re.compile(rb"\x10([\x10\x1a])")


class VoiceSound:
    """`owner` is who speaks and hears in the network; `key` is told a key's tone in what the host says.

    Of `faults` the drift of the modem's clock and a noise are looked up, as each stream begins.
    """

    def __init__(
        self,
        studio: Studio,
        owner: Party,
        plan: Plan,
        *,
        faults: Faults,
        key: Callable[[str], None],
        ran_dry: Callable[[], None],
    ) -> None:
        self._studio = studio
        self._engine = studio.engine
        self._owner = owner
        self._key = key
        self._ran_dry = ran_dry
        self._plan = plan
        self._faults = faults
        self._call: Call | None = None
        self._tone: Player | None = None
        self._noise: Player | None = None
        # Of the stream that is open, with the modem's end of its socket.
        self._port: VoicePort | None = None
        self._socket: socket.socket | None = None
        self._far: socket.socket | None = None
        self._waiting = bytearray()
        self._plays_out = False
        self._underruns = 0
        self._down: Recoder | None = None
        self._up: Recoder | None = None
        self._opened = trio.Event()
        self._closed = trio.Event()
        self._ahead = trio.Event()

    # --- the stream ---

    def open(self, stream: Open) -> None:
        self.close()
        self._socket, self._far = socket.socketpair()
        for end in (self._socket, self._far):
            end.setblocking(False)
        self._port = port = self._engine.voice(self._far.fileno(), stream.format, pace=Pace.CLOCK)
        self._underruns, self._plays_out = 0, False
        self._down = self._up = None
        ppm, sample_bytes = self._faults.drift_ppm, port.stats().sample_bytes
        if ppm or stream.signed:
            self._down = Recoder(ppm, sample_bytes, signed=stream.signed)
            self._up = Recoder(-ppm, sample_bytes, signed=stream.signed)
        port.detect_dtmf(True)
        self._studio.listen(port, self._heard)
        if self._plan.echo_db is not None:
            self._engine.connect(port, port, gain_db=-self._plan.echo_db)
        noise_dbm0 = self._plan.noise_dbm0
        if self._faults.noise_dbfs is not None:
            noise_dbm0 = self._faults.noise_dbfs + FULL_SCALE_DBM0
        if noise_dbm0 is not None:
            self._noise = self._engine.player(_noise(noise_dbm0), loop=True)
            self._engine.connect(self._noise, port)
        if self._tone is not None:
            self._engine.connect(self._tone, port)
        self._join()
        self._closed = trio.Event()
        self._opened.set()

    def close(self) -> None:
        if self._port is None or self._socket is None or self._far is None:
            return
        self._part()
        self._studio.forget(self._port)
        for each in (self._port, self._noise):
            if each is not None:
                each.close()
        # The engine keeps a duplicate of its own end until the next tick.
        self._socket.close()
        self._far.close()
        self._port = self._noise = self._socket = self._far = None
        self._waiting.clear()
        self._opened = trio.Event()
        self._closed.set()

    def play(self, data: bytes) -> None:
        self._waiting += self._up.carry(data) if self._up else data
        self._hand_over()

    def drop(self) -> None:
        self._waiting.clear()

    def play_out(self) -> None:
        self._plays_out = True

    async def room(self) -> None:
        """Until the transmit buffer can take more."""
        while len(self._waiting) > WAITING_BYTES and self._port is not None:
            await self._ahead.wait()

    # --- carried by a task, as long as the modem is served ---

    async def carry(
        self, hear: Callable[[bytes], None], loudness: Callable[[bool], None], played: Callable[[], None]
    ) -> None:
        while True:
            await self._opened.wait()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._receive, hear)
                nursery.start_soon(self._turn, played)
                nursery.start_soon(self._look, loudness)
                await self._closed.wait()
                nursery.cancel_scope.cancel()

    async def _receive(self, hear: Callable[[bytes], None]) -> None:
        while (end := self._socket) is not None:
            try:
                await trio.lowlevel.wait_readable(end)
                data = end.recv(4096)
            except (BlockingIOError, trio.ClosedResourceError, OSError):
                continue
            if not data:
                return
            hear(self._down.carry(data) if self._down else data)

    async def _turn(self, played: Callable[[], None]) -> None:
        while True:
            await trio.sleep(TURN_S)
            self._hand_over()
            if self._plays_out and not self._waiting and self._ahead_ms() < FRAME_MS:
                self._plays_out = False
                played()

    async def _look(self, loudness: Callable[[bool], None]) -> None:
        while True:
            await trio.sleep(LOOK_EVERY_S)
            if self._port is None:
                continue
            stats = self._port.stats()
            loudness(stats.peak_given >= LOUD)
            underruns, self._underruns = stats.underruns - self._underruns, stats.underruns
            if underruns:
                self._ran_dry()

    def _hand_over(self) -> None:
        if self._port is None or self._socket is None:
            return
        bytes_per_ms = 8 * self._port.stats().sample_bytes
        room = max(0, int((AHEAD_MS - self._ahead_ms()) * bytes_per_ms))
        # Pairs stay together, as what is dropped must not begin within one.
        while 0 < room < len(self._waiting) and _splits(self._waiting, room):
            room -= 1
        if room and self._waiting:
            done = self._socket.send(self._waiting[:room])
            del self._waiting[:done]
        self._ahead.set()
        self._ahead = trio.Event()

    def _ahead_ms(self) -> float:
        """What the port has not played yet, and what it has not read."""
        if self._port is None or self._far is None:
            return 0.0
        stats = self._port.stats()
        unread = array.array("i", [0])
        fcntl.ioctl(self._far, termios.FIONREAD, unread)
        return stats.depth_ms + unread[0] / (8 * stats.sample_bytes)

    # --- the line ---

    def send_tone(self, kind: ToneKind | None) -> None:
        if self._tone is not None:
            self._tone.close()
        self._tone = None if kind is None else self._engine.tone(tones(self._plan.country)[kind], loop=True)
        if self._tone is not None and self._port is not None:
            self._engine.connect(self._tone, self._port)

    def talk(self, call: Call | None) -> None:
        self._part()
        self._call = call
        self._join()

    def press(self, key: str, ms: int) -> None:
        self.sing(keys(key, on_ms=ms))

    def sing(self, cadence: Cadence) -> None:
        """By the modem itself: heard at the far end."""
        if self._call is None:
            return
        circuit, player = self._studio.circuit(self._call), self._engine.tone(cadence)
        circuit.add_source(self._owner, player)

        def over(event: Event) -> None:
            if isinstance(event, Finished):
                circuit.remove(self._owner, player)
                self._studio.forget(player)
                player.close()

        self._studio.listen(player, over)

    def _join(self) -> None:
        if self._call is not None and self._port is not None:
            circuit = self._studio.circuit(self._call)
            circuit.add_source(self._owner, self._port)
            circuit.add_sink(self._owner, self._port)

    def _part(self) -> None:
        if self._call is not None and self._port is not None:
            self._studio.circuit(self._call).remove(self._owner, self._port)

    def _heard(self, event: Event) -> None:
        if isinstance(event, Dtmf):
            self._key(event.digit)


class Recoder:
    """Shielded sound from the engine's format and clock to those of a modem, or back: samples around 0, and a clock
    that is so much faster.
    """

    def __init__(self, ppm: float, sample_bytes: int, *, signed: bool) -> None:
        self._skew = Skew(ppm, sample_bytes=sample_bytes)
        self._signed = signed
        self._half = b""

    def carry(self, data: bytes) -> bytes:
        data, self._half = self._half + data, b""
        if _splits(data, len(data)):
            data, self._half = data[:-1], data[-1:]
        sound = _PAIR.sub(lambda pair: b"\x10" if pair[1] == b"\x10" else b"\x10\x10", data)
        if self._signed:
            sound = sound.translate(_AROUND_0)
        return self._skew.carry(sound).replace(b"\x10", b"\x10\x10")


def _splits(data: bytes | bytearray, at: int) -> bool:
    """Pairs begin at even places of a run of DLE, so an odd run before `at` goes on behind it."""
    run = at - len(data[:at].rstrip(b"\x10"))
    return bool(run % 2)


def _noise(dbm0: float) -> bytes:
    """A second of it, always the same."""
    chance = random.Random(0)
    sigma = 32768 / 2**0.5 * 10 ** ((dbm0 - FULL_SCALE_DBM0) / 20)
    return array.array("h", (max(-32768, min(32767, round(chance.gauss(0, sigma)))) for _ in range(RATE_HZ))).tobytes()
