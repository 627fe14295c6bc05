"""What has the tty of one of the bench's analog lines: it speaks to the modem, and hears and says its stream."""

import math
from array import array
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from hil.analog import AnalogLine
from hil.bench import Bench, BenchLine
from hil.plans import Plan
from hil.subscriber import PhoneCall
from native import FRAME_SAMPLES, Engine, Tone, ToneKind, ulaw_decode, ulaw_encode

OURS, THEIRS = "+33159133354", "+33783484044"
ENGLISH, INDIAN, AMERICAN = "+442079460000", "+911123456789", "+12025550143"
# Against a test that would hang, on the autojump clock.
PATIENCE_S = 100
OK, CONNECT = b"\r\nOK\r\n", b"\r\nCONNECT\r\n"
SILENCE = b"\xff" * FRAME_SAMPLES


def speech(seed: int, seconds: float = 1.0) -> bytes:
    """A sweep, no two parts of which are alike; as u-law has it, so that it passes unchanged."""
    count = int(8000 * seconds)
    swept = (round(8000 * math.sin(2 * math.pi * at * (200 + 100 * seed + at / 40) / 8000)) for at in range(count))
    return ulaw_decode(ulaw_encode(array("h", swept).tobytes()))


def taken_apart(stream: bytes) -> tuple[bytes, str]:
    """Its sound, and its codes but for `u`: this host is no better than others at the beginning."""
    sound, codes, rest = bytearray(), "", iter(stream)
    for byte in rest:
        code = next(rest, None) if byte == 0x10 else 0
        if code == 0x1A:
            sound += b"\x10\x10"
        elif code in (0, 0x10):
            sound.append(byte)
        elif code is not None and code != ord("u"):
            codes += chr(code)
    return bytes(sound), codes


def found(sound: bytes, country: str = "FR") -> list[ToneKind]:
    """What the engine's own detector says of it."""
    with Engine() as engine:
        player = engine.player(ulaw_decode(sound))
        player.detect_tones(country)
        engine.tick(len(sound) // FRAME_SAMPLES + 1)
        return [event.kind for event in engine.events() if isinstance(event, Tone)]


def loudest(sound: bytes) -> int:
    return max(map(abs, array("h", ulaw_decode(sound))))


class Host:
    """What has the line's tty, and ticks the bench's engine as it goes."""

    def __init__(self, bench: Bench, line: AnalogLine, stream: trio.abc.Stream) -> None:
        self.bench = bench
        self.line = line
        self.stream = stream
        self.read = bytearray()

    async def until(self, what: bytes) -> bytes:
        """All up to and with it."""
        with trio.fail_after(PATIENCE_S):
            while what not in self.read:
                self.read += await self.stream.receive_some()
        end = self.read.index(what) + len(what)
        taken = bytes(self.read[:end])
        del self.read[:end]
        return taken

    async def command(self, text: str, final: bytes = OK) -> bytes:
        await self.stream.send_all(text.encode() + b"\r")
        return await self.until(final)

    async def set_up(self, *more: str, country: str = "3D", sampling: str = "131") -> None:
        for text in ("ATE0", f"AT+GCI={country};+VCID=1", f"AT+FCLASS=8;+VSD=128,0;+VIT=0;+VSM={sampling}", *more):
            await self.command(text)

    async def take(self, call: PhoneCall) -> None:
        """A call that rings."""
        await self.until(b"R")
        await self.command("AT+VLS=1")
        await call.answered()
        await self.command("AT+VTR", CONNECT)

    async def tick(self, count: int = 1) -> None:
        """As in real time: a frame, and its 20 ms."""
        for _ in range(count):
            self.bench.engine.tick()
            await trio.sleep(0.02)

    async def hear(self, frames: int, say: bytes = b"") -> bytes:
        """The stream; for each frame that came, one is sent: of `say`, as long as there is any."""
        heard = bytearray(self.read)
        self.read.clear()

        async def listen() -> None:
            while True:
                heard.extend(await self.stream.receive_some())

        async with trio.open_nursery() as nursery:
            nursery.start_soon(listen)
            await self.stream.send_all(SILENCE)
            for at in range(frames):
                await self.tick()
                frame = say[at * FRAME_SAMPLES :] + SILENCE
                await self.stream.send_all(frame[:FRAME_SAMPLES].replace(b"\x10", b"\x10\x10"))
            nursery.cancel_scope.cancel()
        return bytes(heard)


@asynccontextmanager
async def analog(
    tmp_path: Path, model: str = "cx93010", number: str = OURS, plan: Plan | None = None
) -> AsyncIterator[Host]:
    lines = [BenchLine("fxo", number, model, plan=plan)]
    async with Bench(lines, directory=tmp_path, realtime=False) as bench:
        line = bench.line("fxo").modem
        assert isinstance(line, AnalogLine)
        host = bench.connect("fxo")
        try:
            yield Host(bench, line, host.at)
        finally:
            host.pcm.close()
            await host.at.aclose()
