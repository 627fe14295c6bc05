"""Modems' PCM ports, and nothing else of modems: ptys with real-time sound, in a process of their own.

    python -m tests.bench.modems COUNT         says {"ports": [the ptys]}, lives until the end of its input

As an EC25 does, each sends 640 bytes every 40 ms and takes what it is sent. They share one clock: half of them send in
one tick, half in the next, which spares their host wake-ups that modems with clocks of their own would cost it.
"""

import os
import sys
import tty

from native import Engine, Pace, alaw_decode
from tests.bench.apart import say
from tests.bench.voice import noise

CHUNK_BYTES = 640


def main() -> None:
    ports = []
    with Engine() as engine:
        sound = engine.player(alaw_decode(noise(1)[: 8000 * 10]), loop=True)
        for number in range(int(sys.argv[1])):
            master, slave = os.openpty()
            tty.setraw(slave)
            os.set_blocking(master, False)
            ports.append(os.ttyname(slave))
            engine.connect(sound, engine.pcm(master, pace=Pace.CLOCK, chunk_bytes=CHUNK_BYTES))
            if number == int(sys.argv[1]) // 2:
                engine.tick()
        engine.start()
        say({"ports": ports})
        sys.stdin.read()


if __name__ == "__main__":
    main()
