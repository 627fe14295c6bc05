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
from native import FRAME_SAMPLES, Codec, Engine, Pace, StreamPort

TICKS = 50
# Against an engine that does not tick; nothing is measured with it.
LIMIT_S = 30
NOISE = os.urandom(2 * FRAME_SAMPLES * TICKS)
KEY = native.dtmf("5")
FORMATS = [(Codec.PCMA, 8000), (Codec.PCMU, 8000), (Codec.L16, 8000), (Codec.L16, 44100), (Codec.L16, 48000)]


def populate(engine: Engine, far: Engine) -> list[StreamPort]:
    """A hall in which all hear all; far plays the devices."""
    hall = engine.conference()
    streams = [engine.stream(codec, rate, prefix=b"<", suffix=b">") for codec, rate in FORMATS]
    for pace in Pace:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        theirs.setblocking(False)
        line = engine.pcm(ours.detach(), pace=pace)
        line.detect_dtmf(True)
        engine.connect(line, hall)
        engine.connect(hall, line, gain_db=-6)
        far.connect(far.player(KEY, loop=True), far.pcm(theirs.detach(), pace=Pace.CLOCK))
    frames, recorder = engine.frames(), engine.recorder()
    frames.push(NOISE)
    for source in (*streams, frames, engine.player(NOISE), engine.player(KEY, loop=True)):
        engine.connect(source, hall)
        engine.connect(source, recorder.left, gain_db=-3)
    for sink in (*streams, frames, recorder.right):
        engine.connect(hall, sink)
    return streams


def run() -> None:
    with Engine() as engine, Engine() as far, selectors.DefaultSelector() as selector:
        streams = populate(engine, far)
        kinds = {type(port) for port in engine._ports.values()}
        assert kinds == set(native.Port.__subclasses__()), "a kind of port that is not tried here"
        selector.register(engine.fd, selectors.EVENT_READ)
        engine.start()
        told: set[type] = set()
        tick = 0
        while tick < TICKS or not told >= {native.Dtmf, native.Played, native.Cleared, native.Finished}:
            assert selector.select(LIMIT_S), "the engine told nothing"
            told |= {type(event) for event in engine.events()}
            tick = engine.stats().ticks
            far.tick()
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
