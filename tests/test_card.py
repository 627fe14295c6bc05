"""Sound cards of the bench: a call on a module with analog audio is heard and spoken on one, as a box does it."""

import os
import sys
from pathlib import Path

import numpy
import pytest
import trio

from hil.bench import Bench, BenchLine
from hil.card import SoundServer, missing
from hil.listening import align
from hil.network import NetworkError
from native import RATE_HZ
from tests.bench_rig import ANNA, LIMIT_S, OWN, Driver, open_tty, speech
from tests.sound_loop import AMPLITUDE, KEPT_SAMPLES
from tests.test_sound import tone_to_noise_db

ROOT = Path(__file__).resolve().parents[1]

PART_SAMPLES = RATE_HZ // 10

needs_pulseaudio = pytest.mark.skipif(bool(missing()), reason=missing())


@needs_pulseaudio
@pytest.mark.parametrize("model", ["sim800", "ec25-uac"])
async def test_a_call_is_heard_on_the_card_and_spoken_into_it(model: str, tmp_path: Path) -> None:
    with trio.fail_after(LIMIT_S):
        async with Bench([BenchLine("one", OWN, model)], directory=tmp_path) as bench:
            line, phone = bench.line("one"), bench.subscriber(ANNA)
            assert line.addresses.keys() == {"at", "card"}
            driver = Driver(trio.lowlevel.FdStream(open_tty(line.at_path)))
            await driver.ask("ATE0")
            await driver.ask("AT+QPCMV=1,2")
            call = phone.dial(OWN)
            await driver.until("RING")
            await driver.ask("ATA")
            await call.answered()
            # Until a machine that is slow has started the program.
            said = speech(30)
            call.say(said)
            done = await trio.run_process(
                [sys.executable, "-m", "tests.sound_loop", line.addresses["card"], str(RATE_HZ)],
                cwd=ROOT,
                env=os.environ | bench.cards.environment,
                capture_stdout=True,
            )
            heard = numpy.frombuffer(done.stdout[: 2 * KEPT_SAMPLES], "<i2")
            # Of the clearest 100 ms: a machine that is busy elsewhere may tear some others.
            whole = numpy.frombuffer(said, "<i2").astype(float)
            parts = [heard[at : at + PART_SAMPLES].astype(float) for at in range(0, len(heard), PART_SAMPLES)]
            assert max(align(part, whole).correlation for part in parts) > 0.99, done.stdout[-900:]
            ratio_db, amplitude = tone_to_noise_db(numpy.frombuffer(call.heard(), "<i2"))
            assert ratio_db > 40
            assert abs(amplitude - AMPLITUDE) < AMPLITUDE / 100


@needs_pulseaudio
async def test_a_card_goes_with_its_line_and_comes_back_with_it(tmp_path: Path) -> None:
    with trio.fail_after(LIMIT_S):
        async with Bench([BenchLine("one", OWN, "ec25-uac")], directory=tmp_path) as bench:
            line, listed = bench.line("one"), tmp_path / "sound/asound.conf"
            assert "pcm.one-card" in listed.read_text()
            await line.unplug()
            assert "pcm.one-card" not in listed.read_text()
            await line.plug()
            assert "pcm.one-card" in listed.read_text()
        assert bench.cards.environment == {}


async def test_a_bench_without_cards_starts_no_sound_server(tmp_path: Path) -> None:
    async with Bench([BenchLine("one", OWN)], directory=tmp_path) as bench:
        assert not bench.cards.running
        assert not (tmp_path / "sound").exists()


async def test_what_is_missing_is_said_with_where_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NetworkError, match=r"pulseaudio is not installed \(apt-get install pulseaudio"):
        async with SoundServer(tmp_path / "sound"):
            pass
