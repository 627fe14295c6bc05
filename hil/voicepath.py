"""A module's end of its call's sound: a PCM tty of its own, or the sound card that it is wired to.

What is heard there before the answer is the network's ringback tone, as far as a module lets its host hear it.
"""

import os

from hil.board import AudioPath
from hil.device import Ends
from hil.network import Call, Party, State
from hil.sound import Circuit, Studio
from native import Pace, PcmPort, Player, Port, ToneKind, tones

# EC25: the uplink's backlog that makes it say +QPCMV: 0, and the one that makes it say +QPCMV: 1.
FULL_MS, ROOM_MS = 400, 100
DEPTH_EVERY_S = 0.05
COUNTRY = "FR"


class VoicePath:
    """`owner` is who speaks and hears here."""

    def __init__(self, studio: Studio, owner: Party, *, chunk_bytes: int) -> None:
        self._studio = studio
        self._owner = owner
        self._chunk_bytes = chunk_bytes
        self._ends: Ends | None = None
        # What was last asked for; without a port when the sound was stopped as a fault.
        self._wanted: tuple[Call, AudioPath] | None = None
        self._port: Port | None = None
        self._circuit: Circuit | None = None
        self._ringback: Player | None = None

    def plug(self, ends: Ends) -> None:
        self._ends = ends

    def unplug(self) -> None:
        self.tune(None, None)
        self._ends = None

    def tune(self, call: Call | None, path: AudioPath | None) -> None:
        """The sound of this call goes this way; None of either: of none."""
        wanted = (call, path) if call is not None and path is not None else None
        if wanted != self._wanted:
            self.stop()
            self._wanted = wanted
            if wanted is not None:
                self._port = self._open(wanted[1])
        if call is not None and self._port is not None:
            self._join(call, self._port)

    def _open(self, path: AudioPath) -> Port | None:
        if self._ends is None:
            return None
        if path is AudioPath.CARD:
            return self._ends.card
        if self._ends.pcm_fd is None:
            return None
        return self._studio.engine.pcm(self._ends.pcm_fd, pace=Pace.CLOCK, chunk_bytes=self._chunk_bytes)

    def _join(self, call: Call, port: Port) -> None:
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
        port, self._port = self._port, None
        circuit, self._circuit = self._circuit, None
        if port is None:
            return
        if circuit is not None:
            circuit.remove(self._owner, port)
        if isinstance(port, PcmPort):
            port.close()

    def _hush(self) -> None:
        if self._ringback is not None:
            self._ringback.close()
            self._ringback = None

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
