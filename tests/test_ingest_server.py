"""examples/ingest.py as its first lines say to run it, over an uplink that is cut and that tears what it carries."""

import ast
import json
import random
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

import httpx
import pytest
import trio

from appliance.ingest import PART_BYTES, Verdict
from tests.clouds import TOKEN, Box, open_box, settings
from tests.rig import COMMAND, KEY, PATIENCE_S, Run
from tests.test_examples import EXAMPLES, a_moment, free_ports, listening


@dataclass
class Uplink:
    """To a port of this machine: each connection is cut after as many bytes as `cuts` has next for it.

    `torn` are places, in bytes from the first, where what is carried is another bit.
    """

    to: int
    port: int = 0
    cuts: list[int] = field(default_factory=list)
    torn: set[int] = field(default_factory=set)
    carried: int = 0
    connections: int = 0

    async def carry(self, box: trio.SocketStream) -> None:
        self.connections += 1
        left = self.cuts.pop(0) if self.cuts else sys.maxsize
        async with box, await trio.open_tcp_stream("127.0.0.1", self.to) as cloud, trio.open_nursery() as nursery:
            nursery.start_soon(self._back, cloud, box, nursery.cancel_scope)
            try:
                while left and (data := await box.receive_some(min(left, 64 * 1024))):
                    left -= len(data)
                    block = bytearray(data)
                    for place in self.torn:
                        if self.carried <= place < self.carried + len(block):
                            block[place - self.carried] ^= 1
                    self.carried += len(block)
                    await cloud.send_all(block)
            except trio.BrokenResourceError:
                pass
            nursery.cancel_scope.cancel()

    @staticmethod
    async def _back(cloud: trio.SocketStream, box: trio.SocketStream, both: trio.CancelScope) -> None:
        try:
            while data := await cloud.receive_some():
                await box.send_all(data)
        except trio.BrokenResourceError:
            pass
        both.cancel()


def started(directory: Path, port: int) -> subprocess.Popen[str]:
    """By its README line, but for port and place."""
    line = next(row for row in docstring().splitlines() if "python examples/ingest.py" in row).split()
    assert line[:2] == ["python", "examples/ingest.py"]
    arguments = [*line[1:], "--port", str(port)]
    arguments[arguments.index("--token") + 1] = TOKEN
    arguments[arguments.index("--directory") + 1] = str(directory)
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / "said").open("a") as said:
        return subprocess.Popen([sys.executable, *arguments], cwd=EXAMPLES.parent, stdout=said, text=True)


def docstring() -> str:
    return ast.get_docstring(ast.parse((EXAMPLES / "ingest.py").read_text())) or ""


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """Where it keeps what it takes, and its port."""
    port, directory = free_ports(), tmp_path_factory.mktemp("cloud")
    process = started(directory, port)
    trio.run(listening, port)
    yield directory, port
    process.terminate()
    process.communicate()


@pytest.fixture
async def uplink(server, nursery) -> AsyncIterator[Uplink]:
    uplink = Uplink(server[1])
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    uplink.port = listener.socket.getsockname()[1]
    nursery.start_soon(trio.serve_listeners, uplink.carry, [listener])
    return uplink


@asynccontextmanager
async def opened(tmp_path: Path, uplink: Uplink, **others) -> AsyncIterator[Box]:
    async with open_box(tmp_path, settings(f"http://127.0.0.1:{uplink.port}", **others)) as box:
        yield box


async def all_there(box: Box, mock_clock) -> None:
    """Pauses are nothing to wait for."""
    with trio.fail_after(1_000_000):
        while (lane := await box.lane("recordings"))["waiting"]:
            if lane["again_s"]:
                mock_clock.jump(lane["again_s"])
            await trio.testing.wait_all_tasks_blocked(0.002)


async def test_events_and_recordings_are_files(tmp_path, server, uplink):
    async with opened(tmp_path, uplink) as box:
        content = await box.record("whole", 300_000)
        await box.happen(1)
        box.start()
        await box.until("events", waiting=0)
        await box.until("recordings", waiting=0)
    directory, _ = server
    (event,) = (directory / "events").iterdir()
    assert json.loads(event.read_bytes())["id"] == event.stem
    assert (directory / "recordings/whole.mp3").read_bytes() == content


@pytest.mark.parametrize("seed", range(12))
async def test_what_is_cut_anywhere_goes_on_from_there(tmp_path, server, uplink, mock_clock, seed):
    chance = random.Random(seed)
    size = chance.choice([1, 3000, 300_000, PART_BYTES, 2 * PART_BYTES + 17])
    uplink.cuts = [chance.randrange(2 * size + 2000) for _ in range(8)]
    async with opened(tmp_path, uplink) as box:
        content = await box.record(f"cut{seed}", size, seed)
        box.start()
        await all_there(box, mock_clock)
        assert (await box.lane("recordings"))["refused"] == 0
    assert (server[0] / f"recordings/cut{seed}.mp3").read_bytes() == content


async def test_what_is_there_is_not_sent_again_after_a_cut(tmp_path, server, uplink, mock_clock):
    size = 2 * PART_BYTES
    uplink.cuts = [PART_BYTES // 2, PART_BYTES, PART_BYTES // 4]
    async with opened(tmp_path, uplink) as box:
        await box.record("thrifty", size)
        box.start()
        await all_there(box, mock_clock)
    assert uplink.connections >= 4
    # What was on its way when the line was cut, and heads of messages.
    assert uplink.carried < size + 3 * 400_000
    assert (server[0] / "recordings/thrifty.mp3").stat().st_size == size


@pytest.mark.parametrize("size", [5000, PART_BYTES + 5000])
async def test_what_arrives_as_something_else_is_sent_anew(tmp_path, server, uplink, mock_clock, size):
    # Beyond the heads of HEAD and PUT, and so in the sound.
    uplink.torn = {3000}
    async with opened(tmp_path, uplink) as box:
        content = await box.record(f"torn{size}", size)
        box.start()
        await all_there(box, mock_clock)
        assert (await box.lane("recordings"))["refused"] == 0
    assert (server[0] / f"recordings/torn{size}.mp3").read_bytes() == content
    assert uplink.carried > size + 4000


async def test_what_the_server_was_killed_over_is_whole_in_the_end(tmp_path, mock_clock):
    cloud, port = tmp_path / "cloud", free_ports()
    process = started(cloud, port)
    try:
        await listening_at(port)
        async with open_box(tmp_path, settings(f"http://127.0.0.1:{port}", bandwidth_kib_s=2048)) as box:
            content = await box.record("a", 3 * PART_BYTES)
            box.start()
            part = cloud / "recordings/a.part"
            while not (part.exists() and part.stat().st_size > PART_BYTES):
                await trio.testing.wait_all_tasks_blocked(0.002)
                mock_clock.jump(0.03)
            process.send_signal(signal.SIGKILL)
            process.communicate()
            while (await box.lane("recordings"))["state"] != "unreachable":
                await trio.testing.wait_all_tasks_blocked(0.002)
                mock_clock.jump(0.1)
            process = started(cloud, port)
            await listening_at(port)
            with trio.fail_after(36_000):
                while (await box.lane("recordings"))["waiting"]:
                    await trio.testing.wait_all_tasks_blocked(0.002)
                    mock_clock.jump(0.5)
    finally:
        process.terminate()
        process.communicate()
    assert (cloud / "recordings/a.mp3").read_bytes() == content


async def listening_at(port: int) -> None:
    """By the machine's clock, whichever the test has."""
    await trio.to_thread.run_sync(lambda: trio.run(listening, port))


COMMITS = ("recording.encoded", "recording.uploaded", "delivery.attempted")
POINTS = [f"{when}.{commit}{time}" for when in ("before", "after") for commit in COMMITS for time in ("", ":2")]


@pytest.fixture(scope="module")
def lives():
    """Lives a box until it ends or dies; its exit status."""
    program = [sys.executable, "-m", "tests.uploading_box"]
    with subprocess.Popen(
        program, cwd=EXAMPLES.parent, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:

        def live(path: Path, url: str, crash: str | None = None) -> int:
            process.stdin.write(json.dumps({"path": str(path), "url": url, "crash": crash}) + "\n")
            process.stdin.flush()
            return int(process.stdout.readline())

        yield live
        process.stdin.close()


@pytest.mark.parametrize("point", POINTS)
def test_a_box_that_was_killed_brings_each_thing_once(tmp_path, server, lives, point):
    directory, port = server
    box, url = tmp_path / "box", f"http://127.0.0.1:{port}"
    box.mkdir()
    for thing in directory.glob("*/*"):
        thing.unlink()
    said = len((directory / "said").read_text().splitlines())
    assert lives(box, url, point) == -signal.SIGKILL
    assert lives(box, url) == 0
    there = {file.stem: file.read_bytes() for file in (directory / "recordings").iterdir()}
    assert there == {file.stem: file.read_bytes() for file in (box / "recordings").glob("*.mp3")}
    assert len(there) == 3
    told = (directory / "said").read_text().splitlines()[said:]
    recordings = Counter(line for line in told if line.startswith("recording "))
    assert recordings == {f"recording {name}.mp3": 1 for name in there}
    with closing(sqlite3.connect(box / "box.db")) as database:
        events = {id_ for (id_,) in database.execute("SELECT id FROM deliveries WHERE state = 'delivered'")}
        assert database.execute("SELECT count(*) FROM deliveries WHERE state <> 'delivered'").fetchone() == (0,)
        uploads = database.execute("SELECT upload, count(*) FROM recordings GROUP BY upload").fetchall()
    assert {file.stem for file in (directory / "events").iterdir()} == events
    assert uploads == [("uploaded", 3)]


CONFIG = """\
[service]
data_dir = "{data}"
listen = "127.0.0.1:0"
[cloud]
url = "http://127.0.0.1:{port}/"
token = "{token}"
[lab]
allow_loopback = true
"""


async def test_the_service_brings_what_waits_and_tells_of_it(tmp_path, server, nursery):
    directory, port = server
    data, config = tmp_path / "data", tmp_path / "branchline.toml"
    config.write_text(CONFIG.format(data=data, port=port, token=TOKEN))
    data.mkdir()
    async with open_box(data, settings("http://x")) as box:
        content = await box.record("waited", 5000)
        await box.store.uploads.tried(await box.store.uploads.next(), Verdict.REFUSED)
        await box.happen(1)
        await box.store.add_key(sha256(KEY.encode()).hexdigest(), name="test", at=box.now())
    (data / "box.db").rename(data / "branchline.db")
    done = await trio.run_process([COMMAND, "cloud", "retry", "--config", config], capture_stdout=True)
    assert done.stdout == b"1 recording waiting again\n"
    command = [COMMAND, "run", "--config", config]
    process = await trio.lowlevel.open_process(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
    run = Run(process)
    nursery.start_soon(run.read_log)
    try:
        run.url = (await run.logged("ready"))["listen"][0]
        await run.logged("recording uploaded", recording="waited")
        async with httpx.AsyncClient(base_url=run.url, headers={"X-API-Key": KEY}) as client:
            with trio.fail_after(PATIENCE_S):
                while (cloud := (await client.get("/healthz")).json()["cloud"])["events"]["waiting"]:
                    await a_moment()
            well = {"state": "ok", "reason": None, "again_s": 0, "waiting": 0}
            assert cloud == {"events": well, "recordings": well | {"waiting_bytes": 0, "refused": 0}}
            figures = (await client.get("/metrics")).text.splitlines()
            (recording,) = (await client.get("/box/v1/recordings")).json()["recordings"]
            assert (recording["id"], recording["upload"]) == ("waited", "uploaded")
            assert 'branchline_cloud_up{what="recordings"} 1.0' in figures
            assert 'branchline_cloud_waiting{what="events"} 0.0' in figures
    finally:
        assert await run.stop() == 0
    assert (directory / "recordings/waited.mp3").read_bytes() == content
    assert TOKEN not in str(run.log.all)


async def test_who_has_no_token_or_a_name_that_is_none_gets_nothing(server):
    _, port = server
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        for method, path in (("POST", "/events"), ("HEAD", "/recordings/a.mp3"), ("PUT", "/recordings/a.mp3")):
            assert (await client.request(method, path, content=b"{}")).status_code == 401
        client.headers["Authorization"] = f"Bearer {TOKEN}"
        assert (await client.put("/recordings/..mp3", content=b"x")).status_code == 400
        assert (await client.post("/events", content=b'{"id": "../x"}')).status_code == 400


async def test_a_part_that_leaves_a_gap_is_refused(server):
    _, port = server
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        client.headers["Authorization"] = f"Bearer {TOKEN}"
        headers = {"Content-Range": "bytes 10-19/20"}
        assert (await client.put("/recordings/gap.mp3", content=bytes(10), headers=headers)).status_code == 409
        assert (await client.head("/recordings/gap.mp3")).status_code == 404
