"""A program at the AT and PCM ports of a simulated line: the least that a driver does."""

import os
import random
from array import array
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import trio
import trio.testing

from hil.bench import Bench, BenchLine, Host
from hil.board import Profile
from hil.subscriber import PhoneCall

OWN, OTHER, ANNA = "+33700000002", "+33700000003", "+33783484044"
FINALS = ("OK", "ERROR", "NO CARRIER", "BUSY", "+CME ERROR")
# Against a test that would hang; nothing is measured with it.
LIMIT_S = 60


def speech(seconds: float, seed: int = 1) -> bytes:
    """Noise: no two parts of it are alike, and none is silent."""
    chance = random.Random(seed)
    return array("h", (chance.randint(1, 20000) for _ in range(int(8000 * seconds)))).tobytes()


class Driver:
    """The least that a program at the AT port does: a command, its answer, and what else was said."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self._text = ""
        self.news: list[str] = []

    async def line(self) -> str:
        while True:
            line, found, rest = self._text.partition("\r\n")
            if found:
                self._text = rest
                if line:
                    return line
            elif data := await self._stream.receive_some():
                self._text += data.decode("latin-1")
            else:
                raise EOFError

    async def ask(self, command: str) -> list[str]:
        await self._stream.send_all(f"{command}\r".encode())
        answer: list[str] = []
        while not (answer and answer[-1].startswith(FINALS)):
            answer.append(await self.line())
        return answer

    async def until(self, start: str) -> str:
        while True:
            line = await self.line()
            self.news.append(line)
            if line.startswith(start):
                return line

    async def set_up(self) -> None:
        for command in ("ATE0", 'AT+CLIP=1;+QTONEDET=1;+QINDCFG="ccinfo",1,0', "AT+QPCMV=0;+QPCMV=1,0"):
            assert (await self.ask(command))[-1] == "OK"


@asynccontextmanager
async def one_line(tmp_path: Path, profile: Profile | None = None) -> AsyncIterator[tuple[Bench, Host, Driver]]:
    lines = [BenchLine("one", OWN, profile=profile), BenchLine("two", OTHER)]
    async with Bench(lines, directory=tmp_path, realtime=False) as bench:
        host = bench.connect("one")
        with host.pcm:
            driver = Driver(host.at)
            await driver.set_up()
            yield bench, host, driver


class Tape:
    """A host at the PCM port: takes what comes, chunk by chunk, and gives as much back, as a driver does."""

    def __init__(self, host: Host, words: bytes = b"") -> None:
        self._pcm = host.pcm
        self._words = words
        self.heard = b""
        self.chunks: list[int] = []

    def turn(self) -> None:
        try:
            data = self._pcm.recv(65536)
        except BlockingIOError:
            return
        self.heard += data
        self.chunks.append(len(data))
        self._pcm.send(self._words[:640] or bytes(640))
        self._words = self._words[640:]


def run(bench: Bench, ticks: int, *tapes: Tape) -> None:
    for _ in range(ticks):
        bench.engine.tick()
        for tape in tapes:
            tape.turn()


async def answered(bench: Bench, driver: Driver, *, play: bytes = b"") -> PhoneCall:
    call = bench.subscriber(ANNA).dial(OWN, play=play)
    await driver.until("RING")
    await driver.ask("ATA")
    await call.answered()
    await trio.testing.wait_all_tasks_blocked()
    return call


def open_tty(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
