"""The bench as its users have it: calls over AT streams, sound over PCM ports, ptys, and the command."""

import fcntl
import json
import os
import random
import signal
import subprocess
import sys
import termios
import wave
from array import array
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock
from typer.testing import CliRunner

from hil.bench import Bench, BenchLine, Host
from hil.board import Profile
from hil.cli import bench as bench_command
from hil.network import Cause
from hil.subscriber import PATIENCE_S, CallEnded, PhoneCall
from hil.tty import Pty

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


# --- signalling, in no time ---


async def test_a_bench_may_have_more_ttys_than_a_user_has_inotifies_and_each_knows_its_own_host(tmp_path: Path) -> None:
    hung_up: list[int] = []
    told = trio.Event()
    with ExitStack() as stack:
        async with trio.open_nursery() as nursery:
            for number in range(150):
                pty = stack.enter_context(Pty(tmp_path / str(number)))

                def note(number: int = number) -> None:
                    hung_up.append(number)
                    if len(hung_up) == 2:
                        told.set()

                pty.on_hang_up = note
                nursery.start_soon(pty.tend)
            for number in (7, 140):
                os.close(os.open(tmp_path / str(number), os.O_RDWR | os.O_NOCTTY))
            with trio.fail_after(LIMIT_S):
                await told.wait()
            nursery.cancel_scope.cancel()
    assert sorted(hung_up) == [7, 140]


async def test_an_incoming_call_from_ring_to_hang_up(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with one_line(tmp_path) as (bench, _, driver):
        phone = bench.subscriber(ANNA)
        call = phone.dial("0700000002")
        await driver.until("+CLIP")
        await driver.until("+CLIP")
        assert driver.news == [
            f'+QIND: "ccinfo",1,1,4,0,0,"{ANNA}",145',
            *["RING", f'+CLIP: "{ANNA}",145,"",0,"",0'] * 2,
        ]
        assert await driver.ask("ATA") == ["OK"]
        await call.answered()
        assert await driver.ask("AT+CLCC") == [
            f'+QIND: "ccinfo",1,1,0,0,0,"{ANNA}",145',
            f'+CLCC: 1,1,0,0,0,"{ANNA}",145',
            "OK",
        ]
        await call.press("8#")
        assert [await driver.line() for _ in "8#"] == ["+QTONEDET: 56", "+QTONEDET: 35"]
        assert await driver.ask("AT+VTS=5") == ["OK"]
        assert call.keys == "5"
        assert await driver.ask("AT+CHUP") == ["OK"]
        assert await call.ended() == Cause.NORMAL
        assert await driver.line() == f'+QIND: "ccinfo",1,1,-1,0,0,"{ANNA}",145'


async def test_an_outgoing_call_that_the_far_end_ends(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with one_line(tmp_path) as (bench, _, driver):
        phone = bench.subscriber(ANNA, answers_after_s=3)
        began_at = trio.current_time()
        assert await driver.ask(f"ATD{ANNA};") == ["OK"]
        await driver.until('+QIND: "ccinfo",1,0,0')
        assert trio.current_time() - began_at == pytest.approx(3)
        states = [line.split(",")[3] for line in driver.news]
        assert states == ["2", "3", "0"]
        phone.calls[0].hang_up()
        assert await driver.until("NO CARRIER") == "NO CARRIER"


@pytest.mark.parametrize(
    ("behaviour", "told", "after_s"),
    [("busy", "BUSY", 0), ("reject", "NO CARRIER", 2), ("no-answer", "NO ANSWER", PATIENCE_S)],
)
async def test_an_outgoing_call_that_fails(
    tmp_path: Path, autojump_clock: MockClock, behaviour: str, told: str, after_s: float
) -> None:
    async with one_line(tmp_path) as (bench, _, driver):
        bench.subscriber(ANNA, behaviour=behaviour, answers_after_s=2)
        began_at = trio.current_time()
        assert await driver.ask(f"ATD{ANNA};") == ["OK"]
        assert await driver.until(told) == told
        assert trio.current_time() - began_at == pytest.approx(after_s)


async def test_a_caller_who_loses_patience_and_one_whom_we_reject(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with one_line(tmp_path) as (bench, _, driver):
        phone = bench.subscriber(ANNA)
        call = phone.dial(OWN)
        await driver.until("RING")
        call.hang_up()
        await driver.until("NO CARRIER")
        call = phone.dial(OWN)
        await driver.until("RING")
        await driver.ask("AT+CHUP")
        with pytest.raises(CallEnded, match="21"):
            await call.answered()


async def test_one_line_may_answer_and_hang_up_twice(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with one_line(tmp_path) as (bench, _, driver):
        call = bench.subscriber(ANNA).dial(OWN)
        await driver.until("+CLIP")
        assert await driver.ask("ATAA+CHUP;+CHUP;H") == ["OK"]
        assert await call.ended() == Cause.REJECTED
        assert await driver.ask("AT+CLCC") == [*driver_states("0", "-1"), "OK"]


def driver_states(*states: str) -> list[str]:
    return [f'+QIND: "ccinfo",1,1,{state},0,0,"{ANNA}",145' for state in states]


async def test_two_modems_call_one_another(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with one_line(tmp_path) as (bench, _, driver):
        far = bench.connect("two")
        with far.pcm:
            other = Driver(far.at)
            await other.set_up()
            await driver.ask(f"ATD{OTHER};")
            assert await other.until("+CLIP") == f'+CLIP: "{OWN}",145,"",0,"",0'
            await driver.until("NO ANSWER")
            await driver.ask(f"ATD{OTHER};")
            await other.until("RING")
            await other.ask("ATA")
            await driver.until('+QIND: "ccinfo",1,0,0')
            await driver.ask("AT+CHUP")
            await other.until("NO CARRIER")


async def test_a_restart_leaves_the_stream_and_boots_on_the_next(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with one_line(tmp_path) as (bench, _, driver):
        phone = bench.subscriber(ANNA)
        assert await driver.ask("AT+CFUN=1,1") == ["OK"]
        with pytest.raises(EOFError):
            await driver.line()
        assert await phone.dial(OWN).ended() == Cause.UNALLOCATED
        again = bench.connect("one")
        with again.pcm:
            driver = Driver(again.at)
            await driver.until("+QIND: PB DONE")
            assert driver.news[:3] == ["RDY", "+CFUN: 1", "+CPIN: READY"]


async def test_unplugged_in_a_call_the_far_end_hears_of_it(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with one_line(tmp_path) as (bench, _, driver):
        phone = bench.subscriber(ANNA)
        await driver.ask(f"ATD{ANNA};")
        await driver.until('+QIND: "ccinfo",1,0,0')
        await bench.line("one").unplug()
        with pytest.raises(EOFError):
            await driver.line()
        assert await phone.calls[0].ended() == Cause.OUT_OF_ORDER


async def test_a_flood_that_nobody_reads_stalls_neither_bench_nor_network(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with one_line(tmp_path) as (bench, _, driver):
        for _ in range(5000):
            bench.line("one").modem.inject(b'\r\n+QIND: "csq",20,99\r\n')
        bench.subscriber(ANNA).dial(OWN)
        await driver.until("RING")


async def test_a_busy_phone_is_busy_for_a_second_caller(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with one_line(tmp_path) as (bench, _, driver):
        anna, bert = bench.subscriber(ANNA), bench.subscriber("+33600000001")
        await driver.ask(f"ATD{ANNA};")
        await driver.until('+QIND: "ccinfo",1,0,0')
        assert await bert.dial(ANNA).ended() == Cause.BUSY
        assert [call.number for call in anna.calls] == [OWN]


# --- sound, by hand ---


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


async def test_sound_crosses_both_ways_sample_by_sample(tmp_path: Path, autojump_clock: MockClock) -> None:
    said, replied = speech(1), speech(1, seed=2)
    async with one_line(tmp_path) as (bench, host, driver):
        call = await answered(bench, driver, play=said)
        tape = Tape(host, replied)
        run(bench, 100, tape)
        assert said in tape.heard
        assert replied in call.heard()
        assert said in call.spoken()
        # What is not said is digital silence.
        assert not any(tape.heard.replace(said, b""))
        assert not any(call.heard().replace(replied, b""))


async def test_the_device_sends_640_bytes_every_40_ms(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with one_line(tmp_path) as (bench, host, driver):
        await answered(bench, driver)
        tape = Tape(host)
        run(bench, 500, tape)
        assert tape.chunks == [640] * 250


async def test_without_qpcmv_before_the_call_nothing_is_sent_at_all(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with one_line(tmp_path) as (bench, host, driver):
        await driver.ask("AT+QPCMV=0")
        call = await answered(bench, driver, play=speech(0.2))
        tape = Tape(host)
        run(bench, 50, tape)
        assert tape.chunks == []
        assert not any(call.heard())


async def test_a_second_call_is_silent_without_a_new_qpcmv(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with one_line(tmp_path) as (bench, host, driver):
        call = await answered(bench, driver)
        tape = Tape(host)
        run(bench, 10, tape)
        call.hang_up()
        await driver.until("NO CARRIER")
        run(bench, 10, tape)
        assert tape.chunks == [640] * 5
        phone = bench.phone(ANNA)
        for expected in (5, 10):
            call = phone.dial(OWN)
            await driver.until("RING")
            await driver.ask("ATA")
            await call.answered()
            run(bench, 10, tape)
            assert tape.chunks == [640] * expected
            call.hang_up()
            await driver.until("NO CARRIER")
            assert await driver.ask("AT+QPCMV=0;+QPCMV=1,0") == ["OK"]


async def test_bytes_written_before_the_call_are_not_heard_in_it(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with one_line(tmp_path) as (bench, host, driver):
        host.pcm.send(speech(0.1))
        call = await answered(bench, driver)
        run(bench, 20, Tape(host))
        assert not any(call.heard())


async def test_who_writes_faster_than_the_air_takes_is_told_to_stop_and_to_go_on(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with one_line(tmp_path) as (bench, host, driver):
        await answered(bench, driver)
        bench.engine.tick()
        host.pcm.send(speech(0.6))
        bench.engine.tick()
        await driver.until("+QPCMV: 0")
        bench.engine.tick(30)
        await driver.until("+QPCMV: 1")


async def test_a_stream_that_stops_leaves_the_call_up(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with one_line(tmp_path) as (bench, host, driver):
        await answered(bench, driver)
        tape = Tape(host)
        run(bench, 10, tape)
        bench.line("one").modem.stop_sound()
        run(bench, 10, tape)
        assert tape.chunks == [640] * 5
        assert (await driver.ask("AT+CLCC"))[-2] == f'+CLCC: 1,1,0,0,0,"{ANNA}",145'


async def test_gnss_is_mixed_into_the_call(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with one_line(tmp_path, Profile(number=OWN, gnss=True)) as (bench, host, driver):
        await answered(bench, driver)
        tape = Tape(host)
        run(bench, 4, tape)
        await trio.sleep(1.5)
        run(bench, 4, tape)
        assert b"$GPGGA" in tape.heard


async def test_two_modems_hear_one_another(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with one_line(tmp_path) as (bench, host, driver):
        far = bench.connect("two")
        with far.pcm:
            other = Driver(far.at)
            await other.set_up()
            await driver.ask(f"ATD{OTHER};")
            await other.until("RING")
            await other.ask("ATA")
            await driver.until('+QIND: "ccinfo",1,0,0')
            said = speech(0.4)
            near, distant = Tape(host, said), Tape(far)
            run(bench, 40, near, distant)
            assert said in distant.heard


async def test_keys_are_heard_as_tones_too(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with one_line(tmp_path) as (bench, host, driver):
        call = await answered(bench, driver)
        await call.press("1")
        tape = Tape(host)
        run(bench, 20, tape)
        loud = max(array("h", tape.heard))
        assert loud > 3000
        assert await driver.until("+QTONEDET") == "+QTONEDET: 49"


# --- on ptys, in real time ---


def open_tty(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)


async def echo_pcm(fd: int, heard: bytearray) -> None:
    """Gives back what comes until the device goes, a third of a second behind: that much may the machine stall."""
    stream = trio.lowlevel.FdStream(fd)
    try:
        async for data in stream:
            await stream.send_all(data if heard else bytes(5120) + data)
            heard += data
    except trio.BrokenResourceError:
        return


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110
        await trio.sleep(0.01)


def part_heard(said: bytes, heard: bytes) -> float:
    """How many of its frames of 20 ms are there, whole."""
    frames = [said[at : at + 320] for at in range(0, len(said), 320)]
    return sum(frame in heard for frame in frames) / len(frames)


async def test_sound_crosses_a_pty_in_real_time_and_an_unplug_ends_it(tmp_path: Path) -> None:
    said = speech(0.5)
    with trio.fail_after(LIMIT_S):
        async with Bench([BenchLine("one", OWN)], directory=tmp_path) as bench, trio.open_nursery() as nursery:
            line, phone = bench.line("one"), bench.subscriber(ANNA)
            at = trio.lowlevel.FdStream(open_tty(line.at_path))
            driver, pcm, heard = Driver(at), open_tty(line.pcm_path), bytearray()
            await driver.set_up()
            call = phone.dial(OWN, play=said)
            await driver.until("RING")
            await driver.ask("ATA")
            nursery.start_soon(echo_pcm, pcm, heard)
            await call.answered()
            # A machine that stalls loses frames as a loaded box does: then it is said again.
            while part_heard(said, call.heard()) < 0.98:
                call.say(said)
                await call.said()
                await trio.sleep(0.5)
            assert part_heard(said, bytes(heard)) >= 0.98
            await line.unplug()
            assert os.listdir(tmp_path) == ["usb"]
            with pytest.raises((EOFError, trio.BrokenResourceError)):
                await driver.until("nothing more")
            assert await call.ended() == Cause.OUT_OF_ORDER
            await line.plug()
            driver = Driver(trio.lowlevel.FdStream(open_tty(line.at_path)))
            assert await driver.until("+CPIN") == "+CPIN: READY"


async def test_a_port_is_as_new_after_its_last_close(tmp_path: Path) -> None:
    with trio.fail_after(LIMIT_S):
        async with Bench([BenchLine("one", OWN)], directory=tmp_path) as bench:
            path = bench.line("one").at_path
            for _ in range(3):
                fd = open_tty(path)
                fcntl.ioctl(fd, termios.TIOCEXCL)
                stream = trio.lowlevel.FdStream(fd)
                driver = Driver(stream)
                assert (await driver.ask("AT"))[-1] == "OK"
                await stream.aclose()
                await until(lambda: not exclusive(path))


def exclusive(path: Path) -> bool:
    fd = open_tty(path)
    try:
        flag = bytearray(4)
        # TIOCGEXCL, which termios does not name.
        fcntl.ioctl(fd, 0x80045440, flag)
        return any(flag)
    finally:
        os.close(fd)


async def test_unplugged_and_plugged_at_once_it_is_there_in_the_end(tmp_path: Path) -> None:
    with trio.fail_after(LIMIT_S):
        async with Bench([BenchLine("one", OWN)], directory=tmp_path) as bench:
            line = bench.line("one")
            for _ in range(3):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(line.unplug)
                    nursery.start_soon(line.plug)
                await line.plug()
                assert line.at_path.is_symlink()
                stream = trio.lowlevel.FdStream(open_tty(line.at_path))
                await Driver(stream).until("+CPIN: READY")
                await stream.aclose()


async def test_switched_off_it_is_gone_until_it_is_plugged(tmp_path: Path) -> None:
    with trio.fail_after(LIMIT_S):
        async with Bench([BenchLine("one", OWN)], directory=tmp_path) as bench:
            line = bench.line("one")
            assert (await Driver(trio.lowlevel.FdStream(open_tty(line.at_path))).ask("AT+QPOWD"))[-1] == "OK"
            await until(lambda: not line.at_path.is_symlink())
            await line.plug()
            await Driver(trio.lowlevel.FdStream(open_tty(line.at_path))).until("RDY")


async def test_a_restart_brings_the_ports_back_under_their_names(tmp_path: Path) -> None:
    with trio.fail_after(LIMIT_S):
        async with Bench([BenchLine("one", OWN)], directory=tmp_path, enumeration_s=0.1) as bench:
            path = bench.line("one").at_path
            driver = Driver(trio.lowlevel.FdStream(open_tty(path)))
            assert (await driver.ask("AT+CFUN=1,1"))[-1] == "OK"
            with pytest.raises((EOFError, trio.BrokenResourceError)):
                await driver.until("nothing more")
            await until(path.exists)
            await Driver(trio.lowlevel.FdStream(open_tty(path))).until("RDY")


# --- the command ---


class Command:
    """`branchline bench` as another process has it, and in this one where that makes no difference."""

    def __init__(self, tmp_path: Path) -> None:
        self._control = ["--control", str(tmp_path / "bench.sock")]

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "hil.cli", *arguments, *self._control]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def run(self, *arguments: str) -> Any:
        out, err = self.start(*arguments).communicate(timeout=LIMIT_S)
        assert out, err
        return json.loads(out)

    def invoke(self, *arguments: str) -> Any:
        return json.loads(CliRunner().invoke(bench_command, [*arguments, *self._control]).stdout)

    def fail(self, *arguments: str) -> str:
        result = CliRunner().invoke(bench_command, [*arguments, *self._control])
        assert result.exit_code == 1
        assert isinstance(result.exception, SystemExit)
        return result.stderr


def test_the_command_from_up_to_the_end(tmp_path: Path) -> None:
    command, config = Command(tmp_path), tmp_path / "box.toml"
    heard, bad = tmp_path / "heard.wav", tmp_path / "bad.wav"
    with wave.open(str(bad), "wb") as file:
        file.setparams((2, 2, 44100, 0, "NONE", ""))
        file.writeframes(bytes(16))
    assert "start one by" in command.fail("status")
    up = command.start(
        "up", "--line", f"ec25:{OWN}", "--line", f"ec25:{OTHER}", "--name", "office", "--directory", str(tmp_path),
        "--subscriber", f"{ANNA}=no-answer", "--write-config", str(config),
    )  # fmt: skip
    try:
        assert up.stdout is not None
        ready = json.loads(up.stdout.readline())
        assert [line["name"] for line in ready["lines"]] == ["office", "line2"]
        assert all(Path(line["at"]).exists() and Path(line["pcm"]).exists() for line in ready["lines"])
        assert f'number = "{OWN}"' in config.read_text()
        dialing = command.start(
            "dial", "--from", "+33600000001", "--to", ANNA, "--dtmf", "1",
            "--hang-up-after", "0.3", "--record", str(heard),
        )  # fmt: skip
        assert command.run("status")["engine"]["ticks"] >= 0
        while not command.invoke("status")["calls"]:
            pass
        assert command.invoke("answer", ANNA) == {"answered": "+33600000001"}
        out, _ = dialing.communicate(timeout=LIMIT_S)
        answer = json.loads(out)
        assert (answer["outcome"], answer["cause"]) == ("answered", 16)
        with wave.open(str(heard)) as file:
            assert file.getframerate() == 8000
        assert command.invoke("dial", "--from", ANNA, "--to", "+33999999999")["outcome"] == "unknown number"
        assert command.run("hang-up", ANNA) == {"hung_up": 0}
        assert command.invoke("unplug", "office")["plugged"] is False
        assert command.invoke("plug", "office")["plugged"] is True
        assert "no line" in command.fail("unplug", "attic")
        assert "does not ring" in command.fail("answer", ANNA)
        assert "by ATD" in command.fail("dial", "--from", OWN, "--to", ANNA)
        assert "44100 Hz" in command.fail("dial", "--from", ANNA, "--to", OWN, "--play", str(bad))
        assert "another bench" in command.fail("up", "--line", f"ec25:{OWN}")
        up.send_signal(signal.SIGINT)
        assert up.wait(LIMIT_S) == 0
        assert not (tmp_path / "office-at").is_symlink()
    finally:
        up.kill()
        up.communicate()


def test_the_commands_mistakes_are_told_in_words(tmp_path: Path) -> None:
    command = Command(tmp_path)
    assert "MODEL:NUMBER" in command.fail("up", "--line", "nokia:+33700000002")
    assert "one of: answer" in command.fail("up", "--line", f"ec25:{OWN}", "--subscriber", f"{ANNA}=asleep")
