"""The bench on ptys, in real time: sound, last closes, plugs pulled and restarts, as a host sees them."""

import fcntl
import os
import termios
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
import trio

from hil.bench import Bench, BenchLine
from hil.network import Cause
from hil.tty import Pty
from tests.bench_rig import ANNA, LIMIT_S, OWN, Driver, open_tty, speech


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
