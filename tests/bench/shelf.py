"""What it costs to let recordings go: of ten thousand, as a busy box has after some months.

`recordings.look_ms.10000`: a sweep that finds that all is well, as there is one each minute.
`recordings.sweep_s.10000`: one that deletes all of them but the last, oldest first.
"""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import trio
from structlog.testing import capture_logs

from appliance.config import Keeping
from appliance.shelf import Shelf
from appliance.store import open_store
from tests.bench.figures import Figure

COUNT = 10_000
NOON = datetime(2026, 6, 4, 12, tzinfo=UTC)
MIB = 2**20


def measure(names: set[str], directory: Path, *, quick: bool) -> Iterator[Figure]:
    with capture_logs():
        look_s, sweep_s = trio.run(_sweeps, directory)
    yield Figure("recordings.look_ms.10000", 1000 * look_s)
    yield Figure("recordings.sweep_s.10000", sweep_s)


async def _sweeps(directory: Path) -> tuple[float, float]:
    path, recordings = directory / "shelf.db", directory / "recordings"
    recordings.mkdir()
    async with open_store(path) as store:
        _fill(path, recordings)
        took = []
        for keeping in (Keeping(keep_days=1000, max_mib=COUNT), Keeping(max_mib=1)):
            shelf = Shelf(store.recordings, recordings, now=lambda: NOON, keeping=keeping)
            began = time.perf_counter()
            await shelf.sweep()
            took.append(time.perf_counter() - began)
    left = len(list(recordings.iterdir()))
    if left != 1:
        raise RuntimeError(f"{left} recordings are left")
    return took[0], took[1]


def _fill(path: Path, recordings: Path) -> None:
    """Calls that are over, with a recording each: said to be of a MiB, as what it is does not matter to who deletes."""
    with closing(sqlite3.connect(path)) as database, database:
        for number in range(1, COUNT + 1):
            wav = recordings / f"{number}.wav"
            database.execute(
                """INSERT INTO calls
                (id, uuid, line, direction, from_, to_, state, started_at, ended_at, reason, cause, route)
                VALUES (?1, ?1, 'office', 'inbound', '', '', 'ended', '', '', 'hangup', 16, '')""",
                (number,),
            )
            database.execute(
                """INSERT INTO recordings (wav, id, call_id, frames, size_bytes, sha256, upload)
                VALUES (?, ?, ?, 8000, ?, '', NULL)""",
                (str(wav), str(number), number, MIB),
            )
            wav.with_suffix(".mp3").write_bytes(bytes(4096))
