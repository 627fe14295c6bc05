"""A recording on the disk, from the engine's ring to the MP3; and what a crash leaves of it."""

import errno
import hashlib
import os
import signal
import struct
import subprocess
import sys
import textwrap
import threading
import wave
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
import structlog
import trio
import trio.testing
from numpy.typing import NDArray
from structlog.testing import capture_logs

from appliance.recording import Mp3, Recorded, RecordingError, Wav, encode_mp3, record, repair
from native import FRAME_SAMPLES, Engine, Recorder

log = structlog.get_logger()
CALL = np.random.default_rng(1).integers(-20000, 20000, (8000 * 3, 2)).astype("<i2")


@pytest.fixture
def engine() -> Iterator[Engine]:
    with Engine() as engine:
        yield engine


def read_wav(path: Path) -> NDArray[np.int16]:
    with wave.open(str(path)) as file:
        assert file.getparams()[:3] == (2, 2, 8000)
        return np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, 2)


def played_into_a_recorder(engine: Engine, sound: NDArray[np.int16]) -> Recorder:
    recorder = engine.recorder()
    for channel, sink in enumerate((recorder.left, recorder.right)):
        engine.connect(engine.player(sound[:, channel].tobytes()), sink)
    return recorder


# -- while the call is up: steps as short as the loop's, so that no test waits ---------------------------------------


async def test_both_channels_are_in_the_file_sample_by_sample(engine: Engine, tmp_path: Path):
    recorder, path, ended = played_into_a_recorder(engine, CALL), tmp_path / "call.wav", trio.Event()
    results: list[Recorded] = []

    async def one() -> None:
        results.append(await record(recorder, path, ended=ended, log=log, step_s=0))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(one)
        for _ in range(len(CALL) // FRAME_SAMPLES):
            engine.tick()
            await trio.lowlevel.checkpoint()
        ended.set()
    assert (read_wav(path) == CALL).all()
    assert results == [Recorded(len(CALL))]


async def test_while_it_grows_the_file_is_always_whole(engine: Engine, tmp_path: Path):
    recorder, path = played_into_a_recorder(engine, CALL), tmp_path / "call.wav"
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_record_for_ever, recorder, path)
            while not path.exists() or path.stat().st_size < 44:
                await trio.lowlevel.checkpoint()
            for frames in range(1600, len(CALL) + 1, 1600):
                engine.tick(1600 // FRAME_SAMPLES)
                heard = CALL[:0]
                while len(heard) < frames:
                    await trio.lowlevel.checkpoint()
                    heard = read_wav(path)
                    assert (heard == CALL[: len(heard)]).all()
            nursery.cancel_scope.cancel()


async def test_a_cancelled_call_is_recorded_to_its_last_frame(engine: Engine, tmp_path: Path):
    recorder, path = played_into_a_recorder(engine, CALL), tmp_path / "call.wav"
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_record_for_ever, recorder, path)
        while not path.exists():
            await trio.lowlevel.checkpoint()
        engine.tick(len(CALL) // FRAME_SAMPLES)
        nursery.cancel_scope.cancel()
    assert (read_wav(path) == CALL).all()


async def _record_for_ever(recorder: Recorder, path: Path) -> None:
    await record(recorder, path, ended=trio.Event(), log=log, step_s=0)


async def test_what_a_slow_disk_cost_is_told(engine: Engine, tmp_path: Path):
    recorder, ended = played_into_a_recorder(engine, CALL), trio.Event()
    engine.tick(550)
    ended.set()
    with capture_logs() as lines:
        recorded = await record(recorder, tmp_path / "call.wav", ended=ended, log=log)
    assert recorded.frames == 10 * 8000
    assert recorded.lost_ms == 1000
    assert [line["lost_ms"] for line in lines] == [1000]


async def test_a_full_disk_ends_the_recording_and_nothing_else(engine: Engine, autojump_clock: trio.testing.MockClock):
    with capture_logs() as lines:
        result = await record(played_into_a_recorder(engine, CALL), Path("/dev/full"), ended=trio.Event(), log=log)
        missing = await record(engine.recorder(), Path("/nowhere/call.wav"), ended=trio.Event(), log=log)
    assert (result.frames, missing.frames) == (0, 0)
    assert result.error
    assert os.strerror(errno.ENOENT) in (missing.error or "")
    assert [line["event"] for line in lines] == ["recording incomplete"] * 2


# A process that records a ramp for ever. Time goes on by 100 ms whenever the recorder is read, however slow the disk.
RECORDER = """
    import trio, structlog
    from pathlib import Path
    from appliance.recording import record
    from native import Engine
    async def main():
        with Engine() as engine:
            recorder = engine.recorder()
            ramp = b"".join(n.to_bytes(2, "little") for n in range(32000))
            engine.connect(engine.player(ramp, loop=True), recorder.left)
            read = recorder.read
            recorder.read = lambda: (engine.tick(5), read())[1]
            result = await record(recorder, Path({path!r}), ended=trio.Event(), log=structlog.get_logger(), step_s=0)
            print(result.frames, result.error)
    trio.run(main)
"""


@pytest.mark.parametrize("limit_bytes", [100, 44 + 4 * 8000, 44 + 4 * 8000 + 3])
def test_a_disk_that_fills_up_in_mid_call_leaves_a_whole_file(tmp_path: Path, limit_bytes: int):
    """The limit of a file's size, which a process can lower for itself, stands for the disk's end."""
    script = f"""
        import resource, signal, sys
        # Modules of ours cut short by the limit would be everybody's.
        sys.dont_write_bytecode = True
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, ({limit_bytes}, {limit_bytes}))
    """
    script = textwrap.dedent(script) + textwrap.dedent(RECORDER.format(path=str(tmp_path / "call.wav")))
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    frames, error = done.stdout.splitlines()[-1].split(" ", 1)
    assert "File too large" in error
    assert len(read_wav(tmp_path / "call.wav")) == int(frames) <= (limit_bytes - 44) // 4


def test_a_recording_never_overwrites_another(tmp_path: Path):
    path = tmp_path / "call.wav"
    path.write_bytes(b"evidence")
    with pytest.raises(FileExistsError):
        Wav(path).open()
    assert path.read_bytes() == b"evidence"


def test_a_disk_that_others_need_is_not_filled(tmp_path: Path):
    with pytest.raises(OSError, match=f"less than {2**40} MiB are free"):
        Wav(tmp_path / "call.wav", reserve_bytes=2**60).open()
    assert list(tmp_path.iterdir()) == []


async def test_a_disk_that_stands_still_is_given_ten_seconds_at_the_end(
    engine: Engine, tmp_path: Path, autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
):
    moving = threading.Event()
    ended = trio.Event()
    with monkeypatch.context() as disk, capture_logs():
        disk.setattr(os, "fdatasync", lambda fd: moving.wait())
        ended.set()
        recorded = await record(engine.recorder(), tmp_path / "call.wav", ended=ended, log=log)
    moving.set()
    assert trio.current_time() == pytest.approx(10)
    assert recorded.error == "the disk stood still for 10 s"


# -- kill -9 ----------------------------------------------------------------------------------------------------------

KILLED = """
    import os
    sync = os.fdatasync
    syncs = 0
    def killing_fdatasync(fd):
        global syncs
        syncs += 1
        if syncs == {at_sync}:
            os.kill(os.getpid(), 9)
        sync(fd)
    os.fdatasync = killing_fdatasync
"""


@pytest.mark.parametrize("at_sync", [2, 3, 8, 9, 16, 17])
def test_kill_9_at_a_sync_leaves_all_frames_of_the_steps_before(tmp_path: Path, at_sync: int):
    path = tmp_path / "call.wav"
    script = textwrap.dedent(KILLED.format(at_sync=at_sync)) + textwrap.dedent(RECORDER.format(path=str(path)))
    done = subprocess.run([sys.executable, "-c", script], timeout=60)
    assert done.returncode == -signal.SIGKILL
    heard = read_wav(path)
    assert (heard[:, 0] == np.arange(len(heard)) % 32000).all()
    # Sync 1 is the empty header; each step is two more, its frames then its header; what was written is a step ahead.
    on_disk = (path.stat().st_size - 44) // 4
    last_step = on_disk - len(heard)
    assert (last_step == 0) == (at_sync % 2 == 1)
    assert repair(path) == on_disk
    assert (read_wav(path)[:, 0] == np.arange(on_disk) % 32000).all()


# -- repair -----------------------------------------------------------------------------------------------------------


def finished(path: Path, frames: NDArray[np.int16]) -> Path:
    wav = Wav(path)
    wav.open()
    wav.append(frames.tobytes())
    wav.close()
    return path


@pytest.mark.parametrize("tail", [b"", b"\x01", b"\x01\x02\x03"])
def test_repair_takes_in_what_the_header_does_not_cover_and_cuts_half_a_frame(tmp_path: Path, tail: bytes):
    path = finished(tmp_path / "call.wav", CALL[:100])
    with path.open("ab") as file:
        file.write(CALL[100:250].tobytes() + tail)
    assert repair(path) == 250
    assert (read_wav(path) == CALL[:250]).all()
    assert path.stat().st_size == 44 + 1000


def test_repair_of_a_file_shorter_than_its_header_says(tmp_path: Path):
    path = finished(tmp_path / "call.wav", CALL[:100])
    os.truncate(path, 44 + 4 * 60 + 2)
    assert repair(path) == 60
    assert (read_wav(path) == CALL[:60]).all()


def test_repair_of_a_whole_file_changes_nothing(tmp_path: Path):
    path = finished(tmp_path / "call.wav", CALL)
    before = path.read_bytes()
    assert repair(path) == len(CALL)
    assert path.read_bytes() == before


def test_repair_of_a_recording_without_a_frame(tmp_path: Path):
    assert repair(finished(tmp_path / "call.wav", CALL[:0])) == 0


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"RIFF",
        b"x" * 1000,
        struct.pack("<4sI4s4sIHHIIHH4sI", b"RIFF", 36, b"WAVE", b"fmt ", 16, 1, 1, 8000, 16000, 2, 16, b"data", 0),
    ],
)
def test_repair_of_another_file_leaves_it_alone(tmp_path: Path, content: bytes):
    path = tmp_path / "call.wav"
    path.write_bytes(content)
    with pytest.raises(RecordingError, match="not a recording"):
        repair(path)
    assert path.read_bytes() == content


def test_repair_of_no_file(tmp_path: Path):
    with pytest.raises(RecordingError, match="No such file"):
        repair(tmp_path / "call.wav")
    with pytest.raises(RecordingError, match="directory"):
        repair(tmp_path)


# -- MP3 --------------------------------------------------------------------------------------------------------------


def speechlike(seed: int) -> NDArray[np.int16]:
    """Noise in the telephone's band: MP3 keeps waveforms of that, unlike those of white noise."""
    noise = np.fft.rfft(np.random.default_rng(seed).standard_normal(8000 * 4))
    hertz = np.fft.rfftfreq(8000 * 4, 1 / 8000)
    noise[(hertz < 300) | (hertz > 2000)] = 0
    sound = np.fft.irfft(noise)
    return (sound / np.abs(sound).max() * 20000).astype("<i2")


async def test_the_mp3_holds_both_channels_and_its_digest_is_told(tmp_path: Path):
    call = np.stack([speechlike(1), speechlike(2)], axis=1)
    wav, mp3 = finished(tmp_path / "call.wav", call), tmp_path / "call.mp3"
    made = await encode_mp3(wav, mp3)
    content = mp3.read_bytes()
    assert made == Mp3(len(content), len(call), hashlib.sha256(content).hexdigest())
    heard, rate_hz = soundfile.read(mp3, dtype="int16")
    assert rate_hz == 8000
    assert abs(len(heard) - len(call)) <= 1152
    size = min(len(heard), len(call))
    for channel in (0, 1):
        same = np.corrcoef(heard[:size, channel], call[:size, channel])[0, 1]
        other = np.corrcoef(heard[:size, channel], call[:size, 1 - channel])[0, 1]
        assert same > 0.9
        assert abs(other) < 0.2
    assert sorted(os.listdir(tmp_path)) == ["call.mp3", "call.wav"]


async def test_an_mp3_replaces_what_a_crash_left_of_one(tmp_path: Path):
    wav, mp3 = finished(tmp_path / "call.wav", CALL), tmp_path / "call.mp3"
    mp3.write_bytes(b"half an MP3")
    (tmp_path / "call.mp3.part").write_bytes(b"another")
    made = await encode_mp3(wav, mp3)
    assert mp3.stat().st_size == made.size_bytes > 1000
    assert not (tmp_path / "call.mp3.part").exists()


@pytest.mark.parametrize("content", [None, b"", b"nonsense" * 100])
async def test_what_is_no_wav_is_told_in_words_and_leaves_nothing(tmp_path: Path, content: bytes | None):
    wav = tmp_path / "call.wav"
    if content is not None:
        wav.write_bytes(content)
    with pytest.raises(RecordingError) as raised:
        await encode_mp3(wav, tmp_path / "call.mp3")
    assert "call.wav" in str(raised.value)
    assert "Traceback" not in str(raised.value)
    assert not (tmp_path / "call.mp3").exists()
    assert not (tmp_path / "call.mp3.part").exists()


async def test_a_recording_without_a_frame_makes_no_mp3(tmp_path: Path):
    with pytest.raises(RecordingError, match="empty"):
        await encode_mp3(finished(tmp_path / "call.wav", CALL[:0]), tmp_path / "call.mp3")


async def test_cancelled_the_encoder_is_gone_and_so_is_its_draft(tmp_path: Path):
    wav = finished(tmp_path / "call.wav", np.tile(CALL, (100, 1)))
    with trio.move_on_after(0):
        await encode_mp3(wav, tmp_path / "call.mp3")
    assert os.listdir(tmp_path) == ["call.wav"]
