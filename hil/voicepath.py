"""A module's end of its call's sound: a PCM tty of its own, or the sound card that it is wired to.

What is heard there before the answer is the network's ringback tone, as far as a module lets its host hear it.
"""

import os
import random
from array import array
from itertools import count

import trio

from hil.board import NMEA_FIX, AudioPath
from hil.device import Ends
from hil.module import Module
from hil.network import Call, Party, State
from hil.relay import Relay
from hil.sound import Circuit, Studio
from native import RATE_HZ, Pace, PcmPort, Player, Port, ToneKind, tones

# EC25: the uplink's backlog that makes it say +QPCMV: 0, and the one that makes it say +QPCMV: 1.
FULL_MS, ROOM_MS = 400, 100
# How often the host's pace is looked at, and sound that stutters is switched.
LOOK_EVERY_S = 0.05
# Of these looks, the ones in which stuttering sound is there.
CHOPPY = (True, True, True, False)
NMEA_EVERY_S = 1.0
COUNTRY = "FR"
FULL_SCALE = 32767


class VoicePath:
    """`owner` is who speaks and hears here; `plug` first, and `tend` while there is a host."""

    def __init__(self, studio: Studio, owner: Party, module: Module) -> None:
        self._studio = studio
        self._owner = owner
        self._module = module
        self._ends: Ends | None = None
        self._nursery: trio.Nursery | None = None
        # What was last asked for; without a port when the sound was stopped as a fault.
        self._wanted: tuple[Call, AudioPath] | None = None
        self._tuned_for = self._disturbance
        self._port: Port | None = None
        self._stirred = trio.Event()
        # Sound is not in one of its gaps.
        self._there = True
        self._circuit: Circuit | None = None
        # What is played to the host and is nobody's speech.
        self._ringback: Player | None = None
        self._noise: Player | None = None
        self._relay: Relay | None = None
        self._relaying = trio.CancelScope()

    def plug(self, ends: Ends) -> None:
        self._ends = ends

    async def tend(self) -> None:
        """Until it is cancelled, which unplugs."""
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                for look in count():
                    while self._port is None and not self._module.faults.nmea:
                        await self._stirred.wait()
                    await trio.sleep(LOOK_EVERY_S)
                    self._stutter(look)
                    if self._module.faults.nmea and look % round(NMEA_EVERY_S / LOOK_EVERY_S) == 0:
                        self.say(NMEA_FIX)
        finally:
            self.tune(None, None)
            self._ends = self._nursery = None

    async def sounding(self) -> None:
        """Returns when there is a call's sound."""
        while self._port is None:
            await self._stirred.wait()

    def _stir(self) -> None:
        self._stirred.set()
        self._stirred = trio.Event()

    # --- the call ---

    def tune(self, call: Call | None, path: AudioPath | None) -> None:
        """The sound of this call goes this way; None of either: of none."""
        wanted = (call, path) if call is not None and path is not None else None
        if wanted != self._wanted:
            self.stop()
            self._wanted, self._tuned_for = wanted, self._disturbance
            if wanted is not None:
                self._port = self._open(wanted[1])
                self._stir()
        if call is not None and self._port is not None:
            self._join(call, self._port)

    def faults_changed(self) -> None:
        """The sound of a call that is on, too."""
        self._stir()
        if self._tuned_for != self._disturbance:
            self._tune_again()

    @property
    def _disturbance(self) -> tuple[float, float | None]:
        return self._module.faults.drift_ppm, self._module.faults.noise_dbfs

    def _tune_again(self) -> None:
        if self._wanted is not None:
            wanted, self._wanted = self._wanted, None
            self.tune(*wanted)

    def _open(self, path: AudioPath) -> Port | None:
        if self._ends is None:
            return None
        if path is AudioPath.CARD:
            return self._ends.card
        if self._ends.pcm_fd is None:
            return None
        return self._studio.engine.pcm(
            self._relayed(self._ends.pcm_fd), pace=Pace.CLOCK, chunk_bytes=self._module.chunk_bytes
        )

    def _relayed(self, pcm_fd: int) -> int:
        """The tty, or what stands before it."""
        faults = self._module.faults
        if self._nursery is None or not (faults.drift_ppm or faults.stalls):
            return pcm_fd
        self._relay = Relay(pcm_fd, chunk_bytes=self._module.chunk_bytes, drift_ppm=faults.drift_ppm)
        self._relaying = trio.CancelScope()
        self._nursery.start_soon(self._run_relay, self._relay, self._relaying)
        return self._relay.engine_fd

    @staticmethod
    async def _run_relay(relay: Relay, scope: trio.CancelScope) -> None:
        with scope:
            await relay.run()

    def _join(self, call: Call, port: Port) -> None:
        noise_dbfs = self._module.faults.noise_dbfs
        if noise_dbfs is not None and self._noise is None:
            self._noise = self._studio.engine.player(_noise(noise_dbfs), loop=True)
            self._studio.engine.connect(self._noise, port)
        if self._module.faults.echo_db is not None:
            self._studio.engine.connect(port, port, gain_db=-self._module.faults.echo_db)
        else:
            self._studio.engine.disconnect(port, port)
        if call.state is State.ACTIVE:
            self._hush()
            if self._circuit is None:
                self._circuit = self._studio.circuit(call)
                self._circuit.add_source(self._owner, port)
                self._circuit.add_sink(self._owner, port)
        elif self._ringback is None and call.state is State.ALERTING:
            self._ringback = self._studio.engine.tone(tones(COUNTRY)[ToneKind.RINGBACK], loop=True)
            self._studio.engine.connect(self._ringback, port)

    def stop(self) -> None:
        """Until another call, or another path, is tuned to."""
        self._hush()
        if self._noise is not None:
            self._noise.close()
            self._noise = None
        self._relaying.cancel()
        self._relay = None
        port, self._port = self._port, None
        circuit, self._circuit = self._circuit, None
        if port is None:
            return
        if circuit is not None:
            circuit.remove(self._owner, port)
        self._studio.engine.disconnect(port, port)
        self._there = True
        port.mute(False)
        port.deafen(False)
        if self._ends is None or port is not self._ends.card:
            port.close()

    def _hush(self) -> None:
        if self._ringback is not None:
            self._ringback.close()
            self._ringback = None

    def _stutter(self, look: int) -> None:
        choppy = self._module.choppy or self._module.faults.choppy
        there = not choppy or CHOPPY[look % len(CHOPPY)]
        if self._port is not None and there is not self._there:
            self._there = there
            self._port.mute(not there)
            self._port.deafen(not there)

    # --- faults ---

    def stall(self, seconds: float) -> None:
        """USB stands still, then gives all at once. With `faults.stalls` from the call's begin a relay stands by."""
        if self._relay is None:
            self._tune_again()
        if self._relay is not None:
            self._relay.stall(seconds)

    def say(self, data: bytes) -> None:
        """Bytes on the PCM tty that are no call's audio: NMEA, or what a last call left there."""
        if self._ends is not None and self._ends.pcm_fd is not None:
            try:
                os.write(self._ends.pcm_fd, data)
            except BlockingIOError:
                return

    @property
    def backlog_ms(self) -> float:
        """What the host wrote, and the air has not taken yet."""
        return self._port.stats().depth_ms if isinstance(self._port, PcmPort) else 0.0


def _noise(dbfs: float) -> bytes:
    """A second of it; uniform noise has its peak 4.8 dB above its level."""
    peak = min(FULL_SCALE, FULL_SCALE * 10 ** (dbfs / 20) * 3**0.5 / 2**0.5)
    chance = random.Random(0)
    return array("h", (round(chance.uniform(-peak, peak)) for _ in range(RATE_HZ))).tobytes()
