"""A simulated voice modem with its clock, the line and its host in the test's hand."""

from hil.exchange import Identify
from hil.voiceboard import Effect, Say, VoiceFaults
from hil.voicemodels import VOICE_MODELS
from hil.voicemodem import VoiceModem
from native import Caller, CallerIdKind, ToneKind

OK = b"\r\nOK\r\n"
MODELS = sorted(VOICE_MODELS)
CALLER = Caller(number="0783484044", name="A NAME", time="07211423")


class Rig:
    """A modem with its clock, and all that it said and asked for."""

    def __init__(self, model: str = "cx93010", faults: VoiceFaults | None = None, *set_up: str) -> None:
        self.modem = VoiceModem(VOICE_MODELS[model], faults)
        self.now = 0.0
        self.log: list[tuple[float, Effect]] = []
        for command in ("ATE0", *set_up):
            self.command(command)

    def do(self, effects: list[Effect]) -> bytes:
        """What the host was told."""
        self.log += [(round(self.now, 3), effect) for effect in effects]
        return b"".join(effect.data for effect in effects if isinstance(effect, Say))

    def type(self, data: bytes) -> bytes:
        return self.do(self.modem.receive(data, self.now))

    def command(self, text: str) -> bytes:
        return self.type(text.encode() + b"\r")

    def wait(self, seconds: float) -> bytes:
        said, until = b"", self.now + seconds
        while self.modem.deadline <= until:
            self.now = max(self.now, self.modem.deadline)
            said += self.do(self.modem.elapse(self.now))
        self.now = until
        return said

    def ring(self, *times: float) -> bytes:
        """On and off by turns, for so long each."""
        said = b""
        for at, seconds in enumerate(times):
            said += self.do(self.modem.ring(at % 2 == 0, self.now)) + self.wait(seconds)
        return said

    def identify(self, kind: CallerIdKind, caller: Caller = CALLER, *, before_ring: bool = False) -> bytes:
        return self.do(self.modem.identified(Identify(kind, caller, before_ring, 0.6), self.now)) + self.wait(0.6)

    def tone(self, kind: ToneKind | None, country: str = "FR", seconds: float = 0.0) -> bytes:
        return self.do(self.modem.tone(kind, country, self.now)) + self.wait(seconds)

    def wanted(self, *kinds: type) -> list[Effect]:
        return [effect for _, effect in self.log if isinstance(effect, kinds)]


def voice(model: str = "cx93010", *, faults: VoiceFaults | None = None, country: str = "3D") -> Rig:
    """In class 8, on hook."""
    return Rig(model, faults, f"AT+GCI={country}", "AT+VCID=1", "AT+FCLASS=8", "AT+VSD=128,0", "AT+VIT=0")


def off_hook(model: str = "cx93010", *, faults: VoiceFaults | None = None, country: str = "3D") -> Rig:
    rig = voice(model, faults=faults, country=country)
    assert rig.command("AT+VLS=1").endswith(OK)
    return rig


def streaming(model: str = "cx93010", mode: str = "VTR", *, faults: VoiceFaults | None = None) -> Rig:
    rig = off_hook(model, faults=faults)
    assert rig.command(f"AT+{mode}") == b"\r\nCONNECT\r\n"
    return rig
