"""gammu, a program that is not ours, at a simulated line: it finds there what it finds at a device."""

import re
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
import trio

from hil.bench import Bench, BenchLine, Line
from hil.board import profile_of
from hil.network import Cause
from hil.subscriber import Subscriber

pytestmark = pytest.mark.skipif(shutil.which("gammu") is None, reason="gammu is not installed (apt-get install gammu)")

OURS, ANNA = "+33700000002", "+33783484044"
# One of each family.
MODELS = ["ec25", "e1550", "sim7600", "generic"]
# Nothing is measured with it: a program that asks at its own pace, on a machine that may be busy.
LIMIT_S = 120
TEXT, LONG_TEXT = "Salut, ça va ? €", "A long text, in parts that gammu has to put together. " * 6
# Its own wish for a text that is not ASCII, whatever the locale.
ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "HOME": "/nonexistent"}


@dataclass
class Gammu:
    """At a line, by a configuration file of its own."""

    line: Line
    phone: Subscriber
    configuration: Path

    @property
    def log(self) -> Path:
        return self.configuration.with_suffix(".log")

    def command(self, *command: str) -> list[str]:
        return ["gammu", "-c", str(self.configuration), *command]

    async def run(self, *command: str) -> str:
        """What it prints. Several commands are a batch: it takes seconds to find out what device it has."""
        batch = self.configuration.with_suffix(".batch")
        batch.write_text("".join(f"{each}\n" for each in command))
        done = await trio.run_process(
            self.command("batch", str(batch)),
            capture_stdout=True,
            stderr=subprocess.STDOUT,
            stdin=b"",
            env=ENVIRONMENT,
            check=False,
        )
        said = done.stdout.decode()
        assert done.returncode == 0, said
        return said

    async def logged(self, said: str) -> None:
        # Somebody else's program, somebody else's file: there is nothing to wait for but its growth.
        while not self.log.exists() or said not in self.log.read_text(errors="replace"):  # noqa: ASYNC110
            await trio.sleep(0.05)


@asynccontextmanager
async def gammu_at(model: str, tmp_path: Path) -> AsyncIterator[Gammu]:
    configuration = tmp_path / "gammu"
    async with Bench([BenchLine("one", OURS, model)], directory=tmp_path) as bench:
        line = bench.line("one")
        phone = bench.subscriber(ANNA, behaviour="no-answer")
        gammu = Gammu(line, phone, configuration)
        configuration.write_text(
            f"[gammu]\ndevice = {line.at_path}\nconnection = at\nlogfile = {gammu.log}\nlogformat = textall\n"
        )
        with trio.fail_after(LIMIT_S):
            yield gammu


Story = Callable[[str, Path], Awaitable[None]]


def for_each_family(story: Story) -> Callable[[Path], Awaitable[None]]:
    """All at once: most of the time gammu sleeps."""

    async def test(tmp_path: Path) -> None:
        async with trio.open_nursery() as nursery:
            for model in MODELS:
                (tmp_path / model).mkdir()
                nursery.start_soon(story, model, tmp_path / model, name=model)

    return test


@for_each_family
async def test_it_knows_the_line_and_its_messages_cross_both_ways(model: str, tmp_path: Path) -> None:
    async with gammu_at(model, tmp_path) as gammu:
        module = gammu.line.gsm.module
        gammu.phone.text(OURS, TEXT)
        gammu.phone.text(OURS, LONG_TEXT)
        said = await gammu.run(
            "identify",
            "getsmsc",
            "geteachsms",
            f'sendsms TEXT {ANNA} -text "{TEXT}" -unicode',
            f'sendsms TEXT {ANNA} -report -len 1000 -text "{LONG_TEXT}"',
            "deleteallsms 1",
            "deleteallsms 3",
        )
        fields = dict(re.findall(r"^(\w[\w ]*?) +: (.*)$", said, re.MULTILINE))
        profile = profile_of(OURS)
        assert fields["Manufacturer"] in (module.maker, module.maker.title())
        assert module.title in fields["Model"]
        assert fields["Firmware"] == module.version
        assert (fields["IMEI"], fields["SIM IMSI"]) == (profile.imei, profile.imsi)
        assert TEXT in said
        assert LONG_TEXT.strip() in said
        assert "4 SMS parts in 2 SMS sequences" in said
        assert [(await gammu.phone.texted(count)).body for count in (1, 2)] == [TEXT, LONG_TEXT]
        assert [len(module.storage[memory]) for memory in ("SM", "ME")] == [0, 0]


@for_each_family
async def test_it_sees_a_call_come_and_go(model: str, tmp_path: Path) -> None:
    async with gammu_at(model, tmp_path) as gammu:
        # A file: a pipe that nobody reads would stop it.
        shown = tmp_path / "shown"
        with shown.open("wb") as out:
            async with trio.open_nursery() as nursery:
                monitor = partial(trio.run_process, gammu.command("monitor"), stdout=out, env=ENVIRONMENT, check=False)
                process = await nursery.start(monitor)
                # It has asked for news of calls; and a ring in the midst of that confuses it.
                await gammu.logged("+CBC: ")
                call = gammu.phone.dial(OURS)
                await call.alerting()
                await gammu.logged("+CLIP: ")
                call.hang_up()
                assert await call.ended() == Cause.NORMAL
                process.send_signal(signal.SIGINT)
        said = shown.read_text()
        assert f'incoming call from "{ANNA}"' in said
        # How it ended is told in each family's own words, of which gammu knows some; all note whose call was missed.
        assert f'General number       : "{ANNA}"' in await gammu.run("getmemory MC 1")


@for_each_family
async def test_it_dials_and_hangs_up(model: str, tmp_path: Path) -> None:
    async with gammu_at(model, tmp_path) as gammu:
        await gammu.run(f"dialvoice {ANNA}")
        (call,) = gammu.phone.calls
        assert call.number == OURS
        # In a run of its own: gammu does not expect news between its command and the answer, and these have some.
        await gammu.run("cancelcall")
        assert await call.ended() == Cause.NORMAL
        assert gammu.line.gsm.module.books["DC"][1].number == ANNA
