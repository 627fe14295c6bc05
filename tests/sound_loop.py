"""Plays a tone into a sound card that hears itself, and prints what came back.

`python -m tests.sound_loop NAME RATE_HZ`, a process of its own, as ALSA reads its configuration from HOME once. Two
seconds of what was heard go to the standard output as 16-bit samples, then the port's figures as JSON; a LineLost goes
there as `{"lost": ...}`.
"""

import dataclasses
import json
import math
import sys
from array import array

import trio

from drivers.errors import LineLost
from drivers.sound import open_sound
from native import RATE_HZ, Engine

TONE_HZ = 1000
AMPLITUDE = 6000
KEPT_SAMPLES = 2 * RATE_HZ
# For a machine that is busy elsewhere: 20 ms do on one that is not.
LATENCY_S = 0.1
LIMIT_S = 30


async def loop(name: str, rate_hz: int) -> tuple[bytes, dict[str, object]]:
    period = [round(AMPLITUDE * math.sin(2 * math.pi * TONE_HZ * i / RATE_HZ)) for i in range(RATE_HZ // TONE_HZ)]
    heard = array("h")
    with Engine() as engine:
        async with open_sound(engine, name, rate_hz=rate_hz, latency_s=LATENCY_S) as port:
            recorder = engine.recorder()
            engine.connect(engine.player(array("h", period).tobytes(), loop=True), port)
            engine.connect(port, recorder.left)
            engine.start()
            with trio.fail_after(LIMIT_S):
                while len(heard) < KEPT_SAMPLES:
                    await trio.sleep(0.1)
                    left = array("h", recorder.read())[0::2]
                    # The way there and back, before the tone.
                    heard += left if heard or any(left) else array("h")
            return heard[:KEPT_SAMPLES].tobytes(), dataclasses.asdict(port.stats())


if __name__ == "__main__":
    sound: bytes = b""
    try:
        sound, facts = trio.run(loop, sys.argv[1], int(sys.argv[2]))
    except LineLost as exc:
        facts = {"lost": str(exc)}
    sys.stdout.buffer.write(sound + json.dumps(facts).encode())
