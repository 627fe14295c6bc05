"""A recording: a WAV that outlives a power cut while the call is up, an MP3 once it is over.

The engine's recorder keeps 10 s of both channels; every half second a worker thread appends what is there and
syncs it, and only then lets the header's two sizes cover it, and syncs again. So at any moment the file on the card
is a whole WAV for any program, short of at most the last second; what stands behind the header's claim `repair`
takes in.

    RIFF <36 + n> WAVE   fmt <16> pcm, 2 channels, 8000 Hz, 32000 B/s, 4, 16 bits   data <n>   n bytes of left, right

`python -m appliance.recording WAV MP3` is the encoder: a process of its own, so that it yields to everything else.
"""

import errno
import hashlib
import json
import os
import struct
import subprocess
import sys
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

import trio
from structlog.typing import FilteringBoundLogger

from native import FRAME_SAMPLES, RATE_HZ, Recorder

FRAME_BYTES = 4
# Half of the second that a power cut may cost: the other half is the card's own time to sync.
STEP_S = 0.5
# Calls and events are written on the same disk, and more needed.
RESERVE_BYTES = 200 * 2**20
# An SD card may stall for seconds; the call's end waits no longer than this for it.
LAST_STEP_LIMIT_S = 10

_HEADER = struct.Struct("<4sI4s4sIHHIIHH4sI")
HEADER_BYTES = _HEADER.size
_BLOCK_FRAMES = 10 * RATE_HZ


class RecordingError(Exception):
    """The file cannot be had: the disk is full or gone, or it is no recording of ours. The message says which."""


@dataclass(frozen=True)
class Recorded:
    """What became of a recording: `frames` are safe on the disk, `error` tells why there are no more of them.

    `lost_ms` of the call are missing within, because the disk stood still for longer than the engine keeps them.
    """

    frames: int
    lost_ms: int = 0
    error: str | None = None


@dataclass(frozen=True)
class Mp3:
    size_bytes: int
    frames: int
    sha256: str


def _header(size_bytes: int) -> bytes:
    fmt = (b"fmt ", 16, 1, 2, RATE_HZ, RATE_HZ * FRAME_BYTES, FRAME_BYTES, 16)
    return _HEADER.pack(b"RIFF", 36 + size_bytes, b"WAVE", *fmt, b"data", size_bytes)


class Wav:
    """The growing file. Each method waits for the disk, so it belongs on a worker thread, one at a time.

    Raises:
        OSError: as the disk says; what was safe stays safe.
    """

    def __init__(self, path: Path, *, reserve_bytes: int = RESERVE_BYTES) -> None:
        self.frames = 0
        self._reserve_bytes = reserve_bytes
        # Set when nobody waits for the thread any more, which is then the one to close the file.
        self.abandoned = False
        self._path = path
        self._file: FileIO | None = None

    def open(self) -> None:
        """The file is new: a recording never overwrites another."""
        self._need_room()
        self._file = self._path.open("xb", buffering=0)
        self._put(0, _header(0))
        sync_directory(self._path.parent)

    def append(self, frames: bytes) -> None:
        """Whole frames; they count as recorded when the header says so, and it says so last."""
        if frames:
            self._need_room()
            self._put(_HEADER.size + self.frames * FRAME_BYTES, frames)
            self._put(0, _header(self.frames * FRAME_BYTES + len(frames)))
            self.frames += len(frames) // FRAME_BYTES

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def _need_room(self) -> None:
        disk = os.statvfs(self._path.parent)
        if disk.f_bavail * disk.f_frsize < self._reserve_bytes:
            raise OSError(errno.ENOSPC, f"less than {self._reserve_bytes >> 20} MiB are free", str(self._path))

    def _put(self, place: int, data: bytes) -> None:
        assert self._file is not None
        self._file.seek(place)
        view = memoryview(data)
        while view:
            view = view[self._file.write(view) :]
        os.fdatasync(self._file.fileno())
        if self.abandoned:
            self.close()


async def record(
    recorder: Recorder, path: Path, *, ended: trio.Event, log: FilteringBoundLogger, step_s: float = STEP_S
) -> Recorded:
    """Records until `ended` is set or the caller is cancelled; either way what was heard by then is written.

    Never fails: a full disk ends the recording, not the call. The recorder stays the caller's to close.
    """
    wav = Wav(path)
    error: str | None = None
    life, last = trio.CancelScope(shield=True), trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_limit_the_end, ended, last, life)
        with life:
            try:
                await trio.to_thread.run_sync(wav.open, abandon_on_cancel=True)
                over = False
                while not over:
                    with trio.move_on_after(step_s):
                        await last.wait()
                    over = last.is_set()
                    await trio.to_thread.run_sync(wav.append, recorder.read(), abandon_on_cancel=True)
                wav.close()
            except OSError as exc:
                error = str(exc)
                wav.close()
        if life.cancelled_caught:
            wav.abandoned = True
            error = f"the disk stood still for {LAST_STEP_LIMIT_S} s"
        nursery.cancel_scope.cancel()
        lost_ms = 1000 * recorder.dropped_frames * FRAME_SAMPLES // RATE_HZ
        recorded = Recorded(wav.frames, lost_ms, error)
        if error or lost_ms:
            log.error("recording incomplete", path=str(path), **vars(recorded))
        return recorded


async def _limit_the_end(ended: trio.Event, last: trio.Event, life: trio.CancelScope) -> None:
    """Turns the call's end, however it comes, into one last step with a deadline."""
    try:
        await ended.wait()
    finally:
        last.set()
        life.deadline = trio.current_time() + LAST_STEP_LIMIT_S


def repair(path: Path) -> int:
    """After a crash: the header tells of all frames that the file holds, half a frame is cut. Returns the frames.

    Raises:
        RecordingError: absent, or not begun as `Wav` begins a file.
    """
    try:
        with path.open("r+b") as file:
            head = file.read(_HEADER.size)
            if len(head) < _HEADER.size or head[:4] + head[8:40] != _header(0)[:4] + _header(0)[8:40]:
                raise RecordingError(f"{path}: not a recording")
            frames = (os.fstat(file.fileno()).st_size - _HEADER.size) // FRAME_BYTES
            file.truncate(_HEADER.size + frames * FRAME_BYTES)
            file.seek(0)
            file.write(_header(frames * FRAME_BYTES))
            file.flush()
            os.fsync(file.fileno())
    except OSError as exc:
        raise RecordingError(f"{path}: {exc.strerror}") from exc
    return frames


async def encode_mp3(wav: Path, mp3: Path) -> Mp3:
    """`mp3` is there whole or not at all, and replaces what had the name. Cancelled, the encoder is killed.

    Raises:
        RecordingError: no such WAV, or the encoder gave up; the message is its own.
    """
    draft = mp3.with_name(mp3.name + ".part")
    command = ["nice", "-n", "19", sys.executable, "-m", "appliance.recording", str(wav), str(draft)]
    try:
        done = await trio.run_process(command, capture_stdout=True, capture_stderr=True, check=False)
        if done.returncode:
            reason = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
            raise RecordingError(f"{wav}: {reason or f'encoder ended with status {done.returncode}'}")
        await trio.to_thread.run_sync(_publish, draft, mp3)
    except (OSError, subprocess.SubprocessError) as exc:
        raise RecordingError(f"{wav}: {exc}") from exc
    finally:
        draft.unlink(missing_ok=True)
    return Mp3(**json.loads(done.stdout))


def _publish(draft: Path, name: Path) -> None:
    draft.rename(name)
    sync_directory(name.parent)


def sync_directory(directory: Path) -> None:
    """A name that is new, or gone, is safely so only once its directory is (fsync(2))."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _encode(wav: str, mp3: str) -> Mp3:
    # Only the encoder pays for numpy and libsndfile.
    import soundfile

    with soundfile.SoundFile(wav) as source:
        if not source.frames:
            raise RuntimeError("empty: no MP3 can be made of it")
        form = {"samplerate": source.samplerate, "channels": source.channels}
        with soundfile.SoundFile(mp3, "w", format="MP3", subtype="MPEG_LAYER_III", **form) as sink:
            # Not int16: of a stereo MP3 libsndfile then writes every second half of a frame as noise (its #1106).
            for block in source.blocks(_BLOCK_FRAMES, dtype="float32"):
                sink.write(block)
        frames = source.frames
    with open(mp3, "rb") as file:
        os.fsync(file.fileno())
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return Mp3(size_bytes=file.tell(), frames=frames, sha256=digest)


def main() -> None:
    wav, mp3 = sys.argv[1:]
    try:
        mp3_made = _encode(wav, mp3)
    except (OSError, RuntimeError) as exc:
        sys.exit(str(exc))
    print(json.dumps(vars(mp3_made)))


if __name__ == "__main__":
    main()
