"""Every model of the bench that has a SIM, in a call: by its own commands, at its tty or its sound card."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import trio
from trio.testing import wait_all_tasks_blocked

from hil.bench import QUECTEL, Bench, BenchLine, Host
from hil.subscriber import PhoneCall
from tests.bench_rig import ANNA, OWN, Driver, Tape


@dataclass(frozen=True)
class Ways:
    """What brings a call's sound to the host: before ATD or ATA, behind it, in the call; and what ends it there."""

    before: str = "AT"
    behind: str = "AT"
    within: str = "AT"
    after: str = "AT"


HUAWEI = ("e1550", "e173", "e3131")
WIRED = ("sim800", "sim900", "a7672", "generic")
WAYS = {
    **dict.fromkeys(QUECTEL, Ways(before="AT+QPCMV=0;+QPCMV=1,0")),
    **{f"{name}-uac": Ways(before="AT+QPCMV=0;+QPCMV=1,2") for name in QUECTEL},
    **dict.fromkeys(HUAWEI, Ways(behind="AT^DDSETEX=2")),
    **dict.fromkeys(("sim7600", "sim7600-v2"), Ways(within="AT+CPCMREG=1", after="AT+CPCMREG=0,1")),
    **dict.fromkeys(WIRED, Ways()),
}
WITH_TTY = [name for name in WAYS if "uac" not in name and name not in WIRED]


class Card(Tape):
    """The same at a sound card."""

    def __init__(self, host: Host, words: bytes = b"") -> None:
        super().__init__(host, words)
        assert host.card is not None
        self._card = host.card

    def turn(self) -> None:
        self._card.push(self._words[:320] or bytes(320))
        self._words = self._words[320:]
        while (frame := self._card.pull()) is not None:
            self.heard += frame


class Plain(Driver):
    """Takes its time behind each command, as sticks want it."""

    async def ask(self, command: str) -> list[str]:
        answer = await super().ask(command)
        await trio.sleep(0.1)
        return answer


@asynccontextmanager
async def one_line(model: str, tmp_path: Path) -> AsyncIterator[tuple[Bench, Host, Plain]]:
    async with Bench([BenchLine("one", OWN, model)], directory=tmp_path, realtime=False) as bench:
        host = bench.connect("one")
        with host.pcm:
            driver = Plain(host.at)
            assert (await driver.ask("ATE0"))[-1] == "OK"
            yield bench, host, driver


async def order(driver: Plain, ways: Ways, command: str) -> None:
    assert (await driver.ask(ways.before))[-1] == "OK"
    assert "OK" in await driver.ask(command)
    assert (await driver.ask(ways.behind))[-1] == "OK"


async def sounding(bench: Bench, driver: Plain, ways: Ways) -> PhoneCall:
    """A call to us is up, with its sound."""
    call = bench.phone(ANNA).dial(OWN)
    await trio.sleep(0.2)
    await order(driver, ways, "ATA")
    await call.answered()
    await trio.sleep(0.2)
    assert (await driver.ask(ways.within))[-1] == "OK"
    await wait_all_tasks_blocked()
    return call


def tape_of(bench: Bench, host: Host, words: bytes = b"") -> Tape:
    return Card(host, words) if bench.line("one").modem.has_card else Tape(host, words)
