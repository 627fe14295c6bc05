"""Where recordings are: each is taken down while its call is up, made small after it, kept for its time, and let go.

The database says what there is to do, so that a crash forgets nothing. What waits to be made small costs a path each,
and one is made small at a time: a box with one core free has calls to carry with it.
"""

import math
import os
import shutil
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import closing
from datetime import datetime
from functools import partial
from heapq import heappop, heappush
from itertools import count
from pathlib import Path

import structlog
import trio
from structlog.typing import FilteringBoundLogger

from appliance.archive import Recording
from appliance.config import Keeping
from appliance.database import StoreError
from appliance.recording import HEADER_BYTES, RecordingError, encode_mp3, record, repair, sync_directory
from appliance.recordings import Kept, Recordings, Why
from native import Recorder

log = structlog.get_logger(__name__)

# A disk that was full has room again when somebody has made some; what is broken stays so. The last is for ever.
ENCODE_AGAIN_S = (60, 300, 1800, 6 * 3600)
SWEEP_S = 60
ALL = Keeping()
# Deleted in one commit. More would hold up who writes meanwhile.
BATCH = 200


class Shelf:
    """`directory` is where all of them are."""

    def __init__(
        self,
        recordings: Recordings,
        directory: Path,
        *,
        now: Callable[[], datetime],
        keeping: Keeping = ALL,
        disk_free: Callable[[Path], int] = lambda directory: shutil.disk_usage(directory).free,
    ) -> None:
        self.directory = directory
        # What is too much, and may not be deleted yet.
        self._surplus_bytes = 0
        self._recordings = recordings
        self._now = now
        self._keeping = keeping
        self._disk_free = disk_free
        # When each that is to be made small is so, how often that has failed, and what orders equals.
        self._waiting: list[tuple[float, int, int, Path]] = []
        self._order = count()
        self._news = trio.Event()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Takes up what the last run left; then until cancelled, when what is being recorded is written to its end."""
        unfinished = await self._recordings.unfinished()
        await trio.to_thread.run_sync(_tidy, self.directory, unfinished)
        for wav in unfinished:
            self._wait(wav)
        async with trio.open_nursery() as self._growing:
            self._growing.start_soon(self._encode_all)
            self._growing.start_soon(self._sweep_always)
            task_status.started()

    @property
    def report(self) -> Mapping[str, int]:
        """How many wait to be made small, how many of these could not be, and by how much there are too many."""
        failing = sum(failures > 0 for _, failures, _, _ in self._waiting)
        return {"waiting": len(self._waiting), "failing": failing, "surplus_bytes": self._surplus_bytes}

    # --- taken down -------------------------------------------------------------------------------------------------

    def record(self, recorder: Recorder, wav: Path, ended: trio.Event, log: FilteringBoundLogger) -> None:
        """Beside the call: its end does not wait for the disk. The recorder is closed here."""
        self._growing.start_soon(self._take_down, recorder, wav, ended, log)

    async def _take_down(self, recorder: Recorder, wav: Path, ended: trio.Event, log: FilteringBoundLogger) -> None:
        with closing(recorder):
            await record(recorder, wav, ended=ended, log=log)
        self._wait(wav)

    # --- made small -------------------------------------------------------------------------------------------------

    def _wait(self, wav: Path, wait_s: float = 0, failures: int = 0) -> None:
        heappush(self._waiting, (trio.current_time() + wait_s, failures, next(self._order), wav))
        self._news.set()

    async def _encode_all(self) -> None:
        while True:
            self._news = trio.Event()
            due = self._waiting[0][0] if self._waiting else math.inf
            if due > trio.current_time():
                with trio.move_on_at(due):
                    await self._news.wait()
                continue
            _, failures, _, wav = heappop(self._waiting)
            try:
                await self._encode(wav)
            except (RecordingError, StoreError, OSError) as exc:
                again_s = ENCODE_AGAIN_S[min(failures, len(ENCODE_AGAIN_S) - 1)]
                log.error("recording not encoded", call=wav.stem, error=str(exc), again_s=again_s)
                self._wait(wav, again_s, failures + 1)

    async def _encode(self, wav: Path) -> None:
        """The WAV goes only when the MP3 is safe; what a crash interrupts is done again at the next start."""
        recorded = await trio.to_thread.run_sync(_frames_in, wav) > 0
        if recorded:
            mp3 = await encode_mp3(wav, wav.with_suffix(".mp3"))
            await self._recordings.encoded(wav, mp3, self._now())
        else:
            await self._recordings.dropped(wav, self._now())
        await trio.to_thread.run_sync(partial(wav.unlink, missing_ok=True))
        log.info("recorded" if recorded else "nothing recorded", call=wav.stem)

    # --- let go -----------------------------------------------------------------------------------------------------

    async def delete(self, recording: Recording, *, by: str) -> None:
        """For good; `by` is the id of a key. Raises StoreError."""
        await self._let_go([Kept(recording.id, recording.mp3, recording.size_bytes or 0)], Why.ORDERED, by=by)

    async def _sweep_always(self) -> None:
        while True:
            try:
                await self.sweep()
            except (StoreError, OSError) as exc:
                log.error("recordings not swept", error=str(exc))
            await trio.sleep(SWEEP_S)

    async def sweep(self) -> None:
        """Deletes what has been kept for its time, then what there is no room for, oldest first.

        What is not delivered to everybody is in the way of neither. Raises StoreError and OSError.
        """
        days = self._keeping.keep_days
        while days is not None and (old := await self._recordings.expired(24 * days, limit=BATCH)):
            await self._let_go(old, Why.EXPIRED)
        surplus = await self._surplus()
        while surplus > 0 and (oldest := await self._recordings.oldest(limit=BATCH)):
            enough = _enough(oldest, surplus)
            await self._let_go(enough, Why.ROOM)
            surplus -= sum(each.size_bytes for each in enough)
        if surplus > 0 and not self._surplus_bytes:
            log.warning("too much is recorded, and not delivered yet", surplus_bytes=surplus)
        self._surplus_bytes = max(0, surplus)

    async def _surplus(self) -> int:
        free_bytes = await trio.to_thread.run_sync(self._disk_free, self.directory)
        return self._keeping.surplus(await self._recordings.size_bytes(), free_bytes)

    async def _let_go(self, kept: Sequence[Kept], why: Why, *, by: str | None = None) -> None:
        # The sound first: what a power cut leaves is a recording without a file, which can be deleted again.
        await trio.to_thread.run_sync(_unlink, [each.mp3 for each in kept])
        await self._recordings.deleted([each.id for each in kept], why, self._now(), by=by)
        size_bytes = sum(each.size_bytes for each in kept)
        log.info("recordings deleted", why=why.value, by=by, first=kept[0].id, count=len(kept), size_bytes=size_bytes)


def _enough(oldest: Sequence[Kept], surplus: int) -> Sequence[Kept]:
    """As many as make up for it, or all of them."""
    for place, each in enumerate(oldest, 1):
        surplus -= each.size_bytes
        if surplus <= 0:
            return oldest[:place]
    return oldest


def _unlink(paths: Sequence[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)
    for directory in {path.parent for path in paths}:
        if directory.exists():
            sync_directory(directory)


def _frames_in(wav: Path) -> int:
    """0 also where a crash came before there was anything on the disk."""
    return repair(wav) if _holds_sound(wav) else 0


def _holds_sound(wav: Path) -> bool:
    """Nothing is appended before the header is safe: what is no longer than that may be any part of it."""
    return wav.exists() and wav.stat().st_size > HEADER_BYTES


def _tidy(directory: Path, unfinished: Collection[Path]) -> None:
    """What a crash left: WAVs whose MP3 was safe already, or in which there was nothing, and the drafts of encoders."""
    unfinished = frozenset(unfinished)
    with os.scandir(directory) as entries:
        paths = [Path(entry.path) for entry in entries if entry.name.endswith((".wav", ".part"))]
    for path in paths:
        done = path.suffix == ".part" or path.with_suffix(".mp3").exists() or not _holds_sound(path)
        if done and path not in unfinished:
            path.unlink()
