"""Sound cards that fail: one of ALSA's own kind, told how, in the configuration; and drivers that never come back."""

import errno
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import trio

import drivers.sound
from drivers.errors import LineLost
from drivers.sound import need_sound, open_sound
from native import DevicePort, DeviceStats, Engine, Event, PortFailed, SoundCard, sound_devices

HERE = Path(__file__).parent
SAYS = b"\x64\x00" * 8000
CAPTURED = 100
# Until something has come: nothing is measured with it.
LIMIT_S = 20
LOOK_S = 0.01

Configure = Callable[[str], None]


@pytest.fixture(scope="module")
def plugin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler")
    library = tmp_path_factory.mktemp("plugin") / "sick_card.so"
    options = ["-D_GNU_SOURCE", "-DPIC", "-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror"]
    subprocess.run([compiler, *options, "-o", library, HERE / "sick_card.c", "-lasound"], check=True)
    return library


@pytest.fixture
def configure(plugin: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Configure:
    """Takes the lines of ALSA's configuration; it may be called again."""
    place = tmp_path / "asound.conf"
    monkeypatch.setenv("ALSA_CONFIG_PATH", str(place))

    def write(text: str) -> None:
        place.write_text(f'</usr/share/alsa/alsa.conf>\npcm_type.sick {{ lib "{plugin}" }}\n{text}\n')

    return write


def card(name: str, *, capture: str = "", playback: str = "", rate_hz: int = 8000, channels: int = 1) -> str:
    sick = f"type sick rate {rate_hz} channels {channels}"
    return (
        f'pcm.{name} {{ type asym capture.pcm {{ {sick} fault "{capture}" }}'
        f' playback.pcm {{ {sick} fault "{playback}" }} }}\n'
    )


@dataclass
class Running:
    engine: Engine
    port: DevicePort
    events: list[Event]

    async def until(self, reached: Callable[[DeviceStats], bool]) -> DeviceStats:
        with trio.fail_after(LIMIT_S):
            while not reached(stats := self.port.stats()):
                self.events += self.engine.events()
                await trio.sleep(LOOK_S)
        return stats

    async def failed(self) -> None:
        await self.until(lambda stats: PortFailed(self.port, errno.ENODEV) in self.events)


@asynccontextmanager
async def running(engine: Engine, name: str, rate_hz: int = 8000) -> AsyncIterator[Running]:
    async with open_sound(engine, name, rate_hz=rate_hz) as port:
        engine.connect(engine.player(SAYS, loop=True), port)
        yield Running(engine, port, [])


@pytest.fixture
async def engine() -> AsyncIterator[Engine]:
    with Engine() as engine:
        engine.start()
        yield engine


async def test_of_a_card_that_is_stereo_only_the_first_channel_is_heard_and_all_play(
    configure: Configure, engine: Engine
) -> None:
    configure(card("stereo", rate_hz=48000, channels=2))
    async with running(engine, "stereo", 48000) as line:
        # It refuses what is not the same on all; where it begins, the resampler rings.
        stats = await line.until(lambda stats: min(stats.captured_s, stats.played_s) > 0.3)
        assert stats.peak_yielded == pytest.approx(CAPTURED, abs=CAPTURED / 5)
        assert not line.events


async def test_a_rate_that_a_card_has_not_is_refused_in_words(configure: Configure, engine: Engine) -> None:
    configure(card("fast", rate_hz=48000))
    with pytest.raises(LineLost, match="fast: capturing at 8000 Hz: Invalid argument"):
        async with open_sound(engine, "fast"):
            pass


async def test_short_reads_and_writes_are_gone_on_with(configure: Configure, engine: Engine) -> None:
    configure(card("short", capture="short", playback="short"))
    async with running(engine, "short") as line:
        await line.until(lambda stats: min(stats.captured_s, stats.played_s) > 0.3)
        assert not line.events


@pytest.mark.parametrize("way", ["capture", "playback"])
async def test_after_an_xrun_a_way_is_begun_anew(configure: Configure, engine: Engine, way: str) -> None:
    configure(card("torn", **{way: "xruns"}))
    async with running(engine, "torn") as line:

        def counted(stats: DeviceStats) -> int:
            return stats.input_xruns if way == "capture" else stats.output_xruns

        stats = await line.until(lambda stats: counted(stats) >= 3)
        await line.until(lambda now: min(now.captured_s, now.played_s) > stats.captured_s + 0.2)
        assert not line.events


@pytest.mark.parametrize(("way", "fault"), [("capture", "gone"), ("playback", "gone"), ("playback", "sick")])
async def test_what_does_not_recover_is_told(configure: Configure, engine: Engine, way: str, fault: str) -> None:
    configure(card("dead", **{way: fault}))
    async with running(engine, "dead") as line:
        await line.failed()


async def test_playing_that_stands_still_does_not_stop_what_is_captured(configure: Configure, engine: Engine) -> None:
    configure(card("deaf", playback="still"))
    async with running(engine, "deaf") as line:
        stats = await line.until(lambda stats: stats.captured_s > 0.3)
        assert stats.played_s < 0.1
        assert not line.events


async def test_capturing_that_stands_still_does_not_stop_what_is_played(configure: Configure) -> None:
    configure(card("mute", capture="still"))
    with Engine() as engine:
        port = engine.device(8000)
        # Not by open_sound, which would begin it anew.
        [device] = [each for each in sound_devices() if each.name == "mute"]
        card_at_work = SoundCard(port.open_line(), device, 8000, 0.02)
        try:
            engine.start()
            line = Running(engine, port, [])
            stats = await line.until(lambda stats: stats.played_s > 0.3)
            assert (stats.captured_s, line.events) == (0, [])
        finally:
            card_at_work.close()


async def test_a_card_that_came_while_others_are_open_is_found(configure: Configure, engine: Engine) -> None:
    configure(card("early"))
    async with running(engine, "early"):
        with pytest.raises(LineLost, match='no such audio device "late"'):
            await need_sound("late")
        configure(card("early") + card("late"))
        async with running(engine, "late") as line:
            await line.until(lambda stats: min(stats.captured_s, stats.played_s) > 0.1)


async def test_a_driver_that_never_comes_back_costs_its_own_line_alone(
    configure: Configure, engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # To open a FIFO waits for its other end.
    os.mkfifo(fifo := tmp_path / "fifo")
    stuck = f'pcm.stuck {{ type file slave.pcm null file "/dev/null" infile "{fifo}" format raw }}\n'
    configure(stuck + card("well"))
    with monkeypatch.context() as impatient:
        impatient.setattr(drivers.sound, "ANSWER_LIMIT_S", 0.01)
        with pytest.raises(LineLost, match="stuck: its driver has not answered"):
            async with open_sound(engine, "stuck"):
                pass
    with pytest.raises(LineLost, match="stuck: its driver has not come back from what it was asked before"):
        await need_sound("stuck")
    async with running(engine, "well") as line:
        await line.until(lambda stats: min(stats.captured_s, stats.played_s) > 0.1)
    await let_go(fifo)


async def test_a_driver_that_keeps_its_thread_holds_up_no_line_s_end(
    configure: Configure, engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(fifo := tmp_path / "fifo")
    configure(card("hung", playback=str(fifo)))
    monkeypatch.setattr(drivers.sound, "CLOSE_LIMIT_S", 0.01)
    async with running(engine, "hung"):
        pass
    with pytest.raises(LineLost, match="hung: its driver has not come back from what it was asked before"):
        await need_sound("hung")
    await let_go(fifo)
    await need_sound("hung")


async def let_go(fifo: Path) -> None:
    """Who waits for the other end of a FIFO, until none of ours does."""
    with trio.fail_after(LIMIT_S):
        while drivers.sound._stuck:
            writer = os.open(fifo, os.O_RDWR | os.O_NONBLOCK)
            await trio.sleep(LOOK_S)
            os.close(writer)
