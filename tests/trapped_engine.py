"""Every kind of port on an engine's own thread. Run by tests/test_thread.py, which has set a trap for that thread.

With `break` as argument, this thread takes the other one's name and does what it must not.
"""

import ctypes
import os
import selectors
import socket
import sys
import threading

import native
from native import FRAME_SAMPLES, Codec, DeviceLine, Engine, Pace, Port, StreamPort, VoiceFormat, VoicePort, callerid
from native._engine import ffi, lib

TICKS = 50
# Against an engine that does not tick; nothing is measured with it.
LIMIT_S = 30
NOISE = os.urandom(2 * FRAME_SAMPLES * TICKS)
KEY = native.dtmf("5")
ANNA = callerid.sound(native.CallerIdKind.BELL202, native.Caller(number="12"))
CARD_RATE_HZ = 48000
FORMATS = [(Codec.PCMA, 8000), (Codec.PCMU, 8000), (Codec.L16, 8000), (Codec.L16, 44100), (Codec.L16, 48000)]


# What the engine tells when all has been tried.
ALL_TOLD = {native.Dtmf, native.Played, native.Cleared, native.Finished, native.StreamEnded, native.CallerId}


def cable() -> tuple[int, int]:
    ends = socket.socketpair()
    for end in ends:
        end.setblocking(False)
    return ends[0].detach(), ends[1].detach()


def populate(engine: Engine, far: Engine) -> tuple[list[StreamPort], list[VoicePort], DeviceLine]:
    """A hall in which all hear all; far plays the devices. Returns our streams, its modems, and a sound card's."""
    hall, sound = engine.conference(), far.player(KEY, loop=True)
    streams = [engine.stream(codec, rate, prefix=b"<", suffix=b">") for codec, rate in FORMATS]
    lines: list[Port] = []
    modems = []
    for pace in Pace:
        ours, theirs = cable()
        lines.append(engine.pcm(ours, pace=pace))
        far.connect(sound, far.pcm(theirs, pace=Pace.CLOCK))
    for format in VoiceFormat:
        ours, theirs = cable()
        lines.append(engine.voice(ours, format))
        modems.append(far.voice(theirs, format, pace=Pace.CLOCK))
        far.connect(sound, modems[-1])
    card = engine.device(CARD_RATE_HZ)
    lines.append(card)
    for line in lines:
        line.detect_dtmf(True)
        line.detect_tones("FR")
        line.measure(True)
        line.process(agc=True, denoise=True)
        line.cancel_echo(32)
        engine.connect(line, hall)
        engine.connect(hall, line, gain_db=-6)
    for line, kind in zip(lines, native.CallerIdKind, strict=False):
        line.detect_caller_id(kind)
    engine.player(ANNA).detect_caller_id(native.CallerIdKind.BELL202)
    frames, recorder = engine.frames(), engine.recorder()
    frames.push(NOISE)
    for source in (*streams, frames, engine.player(NOISE), engine.tone(native.keys("5"), loop=True)):
        engine.connect(source, hall)
        engine.connect(source, recorder.left, gain_db=-3)
    for sink in (*streams, frames, recorder.right):
        engine.connect(hall, sink)
    return streams, modems, card.open_line()


def call(card: DeviceLine) -> None:
    """As a card's thread does it."""
    count = CARD_RATE_HZ // 50
    lib.device_call(card, ffi.from_buffer("int16_t[]", NOISE), ffi.new("int16_t[]", count), count)


def run() -> None:
    with Engine() as engine, Engine() as far, selectors.DefaultSelector() as selector:
        streams, modems, card = populate(engine, far)
        kinds = {type(port) for port in engine._ports.values()}
        assert kinds == set(native.Port.__subclasses__()), "a kind of port that is not tried here"
        selector.register(engine.fd, selectors.EVENT_READ)
        engine.start()
        told: set[type] = set()
        tick = 0
        while tick < TICKS or not told >= ALL_TOLD:
            assert selector.select(LIMIT_S), "the engine told nothing"
            told |= {type(event) for event in engine.events()}
            tick = engine.stats().ticks
            far.tick()
            call(card)
            if tick >= TICKS:
                for modem in modems:
                    modem.leave(b"\x10\x03")
                modems.clear()
            for stream, (codec, rate) in zip(streams, FORMATS, strict=True):
                while stream.take() is not None:
                    pass
                stream.play(NOISE[: rate // 50 * 4], codec, rate)
                stream.checkpoint(tick)
                if tick % 10 == 0:
                    stream.clear(tick)
        # What goes away does so in a tick, too.
        for port in list(engine._ports.values()):
            port.close()
        engine.connect(engine.player(KEY), stream := engine.stream(Codec.PCMA, 8000, prefix=b"", suffix=b""))
        while stream.take() is None:
            assert selector.select(LIMIT_S), "the engine told nothing"
            engine.events()


def break_it() -> None:
    libc = ctypes.CDLL(None)
    libc.pthread_setname_np.argtypes = [ctypes.c_ulong, ctypes.c_char_p]
    libc.pthread_setname_np(threading.get_ident(), b"branchline-rt")
    os.getppid()
    bytearray(1 << 20)


if __name__ == "__main__":
    break_it() if "break" in sys.argv else run()
