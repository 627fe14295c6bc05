"""Sound cards for real, without one: ALSA's plugin onto a PulseAudio of our own, whose sinks hear themselves."""

import errno
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy
import pytest
import trio

from drivers.sound import open_sound
from native import RATE_HZ, DevicePort, Engine, Event, PortFailed
from tests.sound_loop import AMPLITUDE, KEPT_SAMPLES, TONE_HZ

ROOT = Path(__file__).resolve().parents[1]
RATES_HZ = (8000, 48000)
# As many as hang on a hub.
LINES = 8
LIMIT_S = 30
# What would lead to the user's own sound server.
FOREIGN = ("PULSE_SERVER", "PULSE_RUNTIME_PATH", "DISPLAY", "DBUS_SESSION_BUS_ADDRESS")
SINK = "module-null-sink sink_name=card{rate} rate={rate} channels=1 format=s16le"
CARD = 'pcm.{name} {{ type asym playback.pcm {{ type pulse device "card{rate}" }} \
capture.pcm {{ type pulse device "card{rate}.monitor" }} }}\n'


@dataclass(frozen=True)
class Cards:
    environment: dict[str, str]

    def loop(self, name: str, rate_hz: int, **environment: str) -> tuple[numpy.ndarray, dict[str, object]]:
        done = subprocess.run(
            [sys.executable, "-m", "tests.sound_loop", name, str(rate_hz)],
            cwd=ROOT,
            env={**self.environment, **environment},
            stdout=subprocess.PIPE,
            check=True,
            timeout=60,
        ).stdout
        sound, brace, facts = done.rpartition(b'{"lost"') if b'{"lost"' in done else done.partition(b'{"peak_yielded"')
        return numpy.frombuffer(sound, "<i2"), json.loads(brace + facts)


def missing() -> str:
    if not shutil.which("pulseaudio"):
        return "pulseaudio is not installed"
    if not list(Path("/usr/lib").glob("*/alsa-lib/libasound_module_pcm_pulse.so")):
        return "libasound2-plugins is not installed"
    return ""


@contextmanager
def pulseaudio(home: Path, runtime: Path, configuration: str) -> Iterator[Cards]:
    if reason := missing():
        pytest.skip(reason)
    runtime.chmod(0o700)
    (home / ".asoundrc").write_text(configuration)
    environment = {**os.environ, "HOME": str(home), "XDG_RUNTIME_DIR": str(runtime)}
    for name in FOREIGN:
        environment.pop(name, None)
    log = home / "pulseaudio.log"
    command = ["pulseaudio", "-n", "--daemonize=yes", "--exit-idle-time=-1", f"--log-target=file:{log}"]
    command += ["-L", "module-native-protocol-unix"]
    for rate in RATES_HZ:
        command += ["-L", SINK.format(rate=rate)]
    # As a daemon it comes back when it is ready.
    if subprocess.run(command, env=environment, capture_output=True).returncode:
        pytest.skip(f"PulseAudio does not start here: {log.read_text()[-300:] if log.exists() else ''}")
    try:
        yield Cards(environment)
    finally:
        subprocess.run(["pulseaudio", "--kill"], env=environment, capture_output=True)


@pytest.fixture(scope="module")
def cards(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cards]:
    places = (tmp_path_factory.mktemp(name) for name in ("home", "run"))
    with pulseaudio(*places, "".join(CARD.format(name=f"card{rate}", rate=rate) for rate in RATES_HZ)) as cards:
        yield cards


def tone_to_noise_db(sound: numpy.ndarray) -> tuple[float, float]:
    """Of the clearest 100 ms: a machine that is busy elsewhere may tear some others. And the tone's amplitude."""
    best = (-100.0, 0.0)
    span = RATE_HZ // 10
    angles = 2 * numpy.pi * TONE_HZ * numpy.arange(span) / RATE_HZ
    waves = numpy.stack([numpy.sin(angles), numpy.cos(angles)], 1)
    for begin in range(0, len(sound) - span + 1, span // 2):
        window = sound[begin : begin + span].astype(float)
        parts = numpy.linalg.lstsq(waves, window, rcond=None)[0]
        amplitude = float(numpy.hypot(*parts))
        rest = float(numpy.std(window - waves @ parts))
        best = max(best, (20 * float(numpy.log10(amplitude / 2**0.5 / (rest + 1e-9) + 1e-9)), amplitude))
    return best


@pytest.mark.parametrize("rate_hz", RATES_HZ)
def test_a_tone_goes_round_through_a_sound_card(cards: Cards, rate_hz: int) -> None:
    sound, stats = cards.loop(f"card{rate_hz}", rate_hz)
    assert len(sound) == KEPT_SAMPLES, stats
    ratio_db, amplitude = tone_to_noise_db(sound)
    assert ratio_db > 60, stats
    assert abs(amplitude - AMPLITUDE) < AMPLITUDE / 100
    xruns = {name: stats[name] for name in ("captured_s", "played_s", "input_xruns", "output_xruns")}
    print(f"{rate_hz} Hz: tone to noise {ratio_db:.1f} dB, {xruns}")
    # At the beginning some silence was heard instead.
    for way in ("captured_s", "played_s"):
        assert isinstance(seconds := stats[way], float)
        assert seconds >= 0.8 * KEPT_SAMPLES / RATE_HZ


def test_a_stream_that_does_not_run_is_begun_anew(cards: Cards) -> None:
    def suspend(yes: str) -> None:
        subprocess.run(["pactl", "suspend-sink", "card8000", yes], env=cards.environment, check=True, timeout=60)

    suspend("1")
    command = [sys.executable, "-m", "tests.sound_loop", "card8000", "8000"]
    with subprocess.Popen(
        command, cwd=ROOT, env=cards.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as loop:
        assert loop.stdout
        assert loop.stderr
        said = iter(loop.stderr)
        assert any(b"begun anew" in line for line in said)
        suspend("0")
        sound = loop.stdout.read()
    assert len(sound.partition(b'{"peak_yielded"')[0]) == 2 * KEPT_SAMPLES


def test_a_device_that_is_not_there_is_named_with_those_that_are(cards: Cards) -> None:
    _, facts = cards.loop("modem", 8000)
    assert str(facts["lost"]).startswith('no such audio device "modem"; there are: ')
    assert '"card8000"' in str(facts["lost"])


def test_a_part_of_a_name_that_two_have_is_not_guessed_at(cards: Cards) -> None:
    _, facts = cards.loop("card", 8000)
    assert str(facts["lost"]).startswith('several are audio device "card"; there are: ')


def test_a_device_that_only_captures_is_none_for_a_call(cards: Cards, tmp_path: Path) -> None:
    ear = 'pcm.card8000 { type asym capture.pcm { type pulse device "card8000.monitor" } }'
    (tmp_path / ".asoundrc").write_text(ear)
    _, facts = cards.loop("card8000", 8000, HOME=str(tmp_path))
    assert facts["lost"] == 'audio device "card8000" does not play and capture, or another program has it'


def test_without_its_sound_server_a_device_is_not_there(cards: Cards, tmp_path: Path) -> None:
    _, facts = cards.loop("card8000", 8000, XDG_RUNTIME_DIR=str(tmp_path))
    assert facts["lost"] == 'no such audio device "card8000"; there are: none'


def test_a_configuration_that_alsa_cannot_read_is_named_with_its_place(cards: Cards, tmp_path: Path) -> None:
    (tmp_path / ".asoundrc").write_text("pcm.card { type asym playback.pcm { type pulse")
    _, facts = cards.loop("card8000", 8000, HOME=str(tmp_path))
    assert str(facts["lost"]).startswith("ALSA cannot read its configuration: ")
    assert str(tmp_path / ".asoundrc") in str(facts["lost"])


async def test_all_cards_may_be_lost_at_once(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"line{number}" for number in range(LINES)]
    configuration = "".join(CARD.format(name=name, rate=8000) for name in names) + "pcm.well { type null }\n"
    home, runtime = (tmp_path_factory.mktemp(name) for name in ("home", "run"))
    for name in FOREIGN:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    with Engine() as engine, trio.fail_after(2 * LIMIT_S):
        engine.start()

        async def runs(port: DevicePort) -> None:
            enough_s = port.stats().captured_s + 0.1
            while (stats := port.stats()).captured_s < enough_s:
                assert not stats.peak_yielded
                await trio.sleep(0.01)

        async with AsyncExitStack() as stack:
            with pulseaudio(home, runtime, configuration):
                ports = [await stack.enter_async_context(open_sound(engine, name, latency_s=0.1)) for name in names]
                for port in ports:
                    await runs(port)
                assert engine.events() == []
            lost = set[Event]()
            while len(lost) < LINES:
                lost.update(engine.events())
                await trio.sleep(0.01)
            assert lost == {PortFailed(port, errno.ENODEV) for port in ports}
            async with open_sound(engine, "well") as port:
                await runs(port)
        with pulseaudio(home, runtime, configuration):
            async with open_sound(engine, names[-1], latency_s=0.1) as port:
                await runs(port)
