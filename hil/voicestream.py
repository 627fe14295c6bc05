r"""A voice modem's stream as the modem has it (ITU-T V.253): what it is sent taken apart, what it says kept whole.

    host to modem     audio, <DLE><DLE>, <DLE><SUB>, <DLE>code; some codes end it, each kind of stream by another
    modem to host     shielded audio from the line, codes between two of its bytes

Sound is not touched here: shielded as it is, it goes to and comes from the media engine's port, which is the modem's
end of such a stream itself, and has its clock.
"""

from dataclasses import dataclass
from enum import Enum

from hil.voicemodels import CAN, DLE, ETX, FS, SUB, VoiceModel


class Mode(Enum):
    TRANSMIT = "+VTX"
    RECEIVE = "+VRX"
    DUPLEX = "+VTR"


@dataclass(frozen=True)
class Sound:
    """For the line, shielded."""

    data: bytes


@dataclass(frozen=True)
class Forget:
    """What was sent and not played yet is void."""


@dataclass(frozen=True)
class Over:
    """The host has ended the stream. `rest` are commands again."""

    rest: bytes


Piece = Sound | Forget | Over


class VoiceStream:
    def __init__(self, mode: Mode, model: VoiceModel) -> None:
        self.mode = mode
        self._model = model
        self._escaped = False
        # Pairs of DLE directly before: some want a number of them before what ends the stream.
        self._pairs = 0
        self._half = b""

    @property
    def hears(self) -> bool:
        """The host is sent sound."""
        return self.mode is not Mode.TRANSMIT

    @property
    def speaks(self) -> bool:
        return self.mode is not Mode.RECEIVE

    def receive(self, data: bytes, *, obey: bool = True) -> list[Piece]:
        """`obey` False: what ends the stream is ignored, as by a modem that hangs in it."""
        pieces: list[Piece] = []
        sound = bytearray()
        at = 0
        while at < len(data):
            if not self._escaped:
                code_at = data.find(DLE, at)
                end = len(data) if code_at < 0 else code_at
                if end > at:
                    self._pairs = 0
                sound += data[at:end]
                self._escaped, at = code_at >= 0, end + 1
                continue
            self._escaped = False
            code, at = data[at], at + 1
            if code in (DLE, SUB):
                sound += bytes((DLE, code))
                self._pairs += code == DLE
                continue
            if code in (CAN, FS):
                sound.clear()
                pieces.append(Forget())
            elif obey and self._ends(code):
                pieces += self._sound(sound)
                pieces.append(Over(data[at:]))
                return pieces
            self._pairs = 0
        return pieces + self._sound(sound)

    def send(self, data: bytes) -> bytes:
        """Of shielded sound from the line, whole pairs: a code may stand behind each."""
        if not self.hears:
            return b""
        data, self._half = self._half + data, b""
        tail = len(data) - len(data.rstrip(bytes((DLE,))))
        if tail % 2:
            data, self._half = data[:-1], data[-1:]
        return data.replace(bytes((DLE,) * 4), bytes((DLE, SUB))) if self._model.packs_dles else data

    def _sound(self, sound: bytearray) -> list[Piece]:
        return [Sound(bytes(sound))] if sound and self.speaks else []

    def _ends(self, code: int) -> bool:
        match self.mode:
            case Mode.DUPLEX:
                return code == self._model.ends_duplex
            case Mode.RECEIVE:
                return code in self._model.ends_receive
            case Mode.TRANSMIT:
                return code == ETX and 1 + 2 * self._pairs >= self._model.transmit_end_dles
