"""A host with a voice modem's stream (ITU-T V.253), whose modem is the test's: bytes shielded and in pieces."""

import itertools
import socket

import numpy
from hypothesis import strategies as st

from native import FRAME_SAMPLES, Engine, Event, Pace, VoiceFormat
from tests.pcm_host import left_of

DLE = b"\x10"
END = b"\x10\x03"


def shielded(audio: bytes) -> bytes:
    return audio.replace(DLE, DLE + DLE)


def unshielded(wire: bytes) -> tuple[bytes, list[str]]:
    """As a modem reads it: the audio, and the codes in it."""
    audio, codes = bytearray(), []
    rest = iter(wire)
    for byte in rest:
        code = next(rest) if byte == 0x10 else None
        if code is None or code == 0x10:
            audio.append(byte)
        elif code == 0x1A:
            audio += DLE + DLE
        else:
            codes.append(chr(code))
    return bytes(audio), codes


class Host:
    """An engine with a port on a modem's stream; `modem` is the other end, written and read by hand."""

    def __init__(self, format: VoiceFormat = VoiceFormat.U8, early: bytes = b"", pace: Pace = Pace.FOLLOW) -> None:
        self.modem, self.ours = socket.socketpair()
        self.modem.setblocking(False)
        self.ours.setblocking(False)
        self.engine = Engine()
        self.port = self.engine.voice(self.ours.fileno(), format, early=early, pace=pace)
        # Samples are counted here; test_concealment.py has the rest.
        self.port.conceal(False)
        self.recorder = self.engine.recorder()
        self.engine.connect(self.port, self.recorder.left)
        self.sample_bytes = 2 if format is VoiceFormat.L16 else 1

    def say(self, samples: bytes) -> None:
        self.engine.connect(self.engine.player(samples), self.port)

    def step(self, received: bytes = b"", ticks: int = 1) -> list[Event]:
        if received:
            self.modem.sendall(received)
        self.engine.tick(ticks)
        return self.engine.events()

    def sent(self) -> bytes:
        try:
            return self.modem.recv(1 << 20)
        except BlockingIOError:
            return b""

    def heard(self) -> numpy.ndarray:
        return left_of(self.recorder)

    def frames(self, count: int) -> bytes:
        """Quiet ones, as the modem sends them."""
        return b"\x80" * (count * FRAME_SAMPLES * self.sample_bytes)

    def close(self) -> None:
        self.engine.close()
        self.modem.close()
        self.ours.close()


def pieces(wire: bytes, cuts: list[int]) -> list[bytes]:
    ends = sorted({cut % (len(wire) + 1) for cut in cuts} | {0, len(wire)})
    return [wire[begin:end] for begin, end in itertools.pairwise(ends)]


Cuts = st.lists(st.integers(0, 10**6), max_size=20)
