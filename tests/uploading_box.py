"""A box without lines that has events and recordings, and a cloud.

Run by tests/test_ingest_server.py. Each line on stdin is an order `{"path", "url", "crash"}`; a fork of this process,
which has all that is slow to load, lives it and perhaps dies of it. Each line on stdout is how it ended.
"""

import json
import os
import ssl
import sys
import traceback
from hashlib import sha256
from pathlib import Path

import structlog
import trio

from tests.clouds import Box, Mp3, open_box, settings

RECORDINGS = ("a", "b", "c")
# One of them in parts.
SIZE = 2**20 + 2**18
# Against a cloud that hangs; nothing is measured with it.
LIMIT_S = 60
TLS = ssl.create_default_context()  # slow to make, never used


async def live(path: Path, url: str) -> None:
    with trio.fail_after(LIMIT_S):
        await _live(path, url)


async def _live(path: Path, url: str) -> None:
    async with open_box(path, settings(url)) as box:
        box.start(tls=TLS)
        await mend(box)
        known = {recording.id for recording in await box.store.archive.recordings(limit=10)}
        for seed, name in enumerate(RECORDINGS):
            if name not in known:
                await box.happen(seed)
                await box.record(name, SIZE // (seed + 1), seed)
        # Only the cloud knows when it has nothing left, and it is not made to be asked.
        while any(lane["waiting"] for lane in (await box.cloud.report()).values()):  # noqa: ASYNC110
            await trio.sleep(0.002)


async def mend(box: Box) -> None:
    """What a crash left of recordings is encoded anew."""
    for wav in await box.store.recordings.unfinished():
        content = wav.with_suffix(".mp3").read_bytes()
        await box.store.recordings.encoded(wav, Mp3(len(content), sha256(content).hexdigest()), box.now())


def main() -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    for line in sys.stdin:
        order = json.loads(line)
        if (pid := os.fork()) == 0:
            if order["crash"]:
                os.environ["BRANCHLINE_CRASH_AT"] = order["crash"]
            try:
                trio.run(live, Path(order["path"]), order["url"])
            except BaseException:
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        _, ended = os.waitpid(pid, 0)
        print(os.waitstatus_to_exitcode(ended), flush=True)


main()
