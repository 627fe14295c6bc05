"""The box under test, seen from outside: its command, its configuration, its HTTP, its log, its files."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import httpx
import soundfile
import trio

from hil.bench import Line
from hil.customer import Missing
from hil.listening import Sound
from native import RATE_HZ

COMMAND = Path(sys.executable).with_name("branchline")
API = "/superfone/sfvopi"
# On the way down it hangs up, sends the last webhooks and closes its database.
STOP_LIMIT_S = 15
REQUEST_LIMIT_S = 10

CONFIG = """\
[service]
data_dir = "{data_dir}"
listen = "127.0.0.1:{port}"

[[webhooks]]
url = "{events_url}"
secret = "{secret}"
events = ["phone_call.*"]

[lab]
allow_loopback = true    # so that webhooks may go to this machine itself
"""


class Box:
    """One box with its own directory. `start` and `stop` once each; `kill` is for when nothing else helped."""

    def __init__(self, directory: Path, lines: Sequence[Line], *, events_url: str, secret: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        self.key = ""
        self.config = directory / "branchline.toml"
        self.log = directory / "service.log"
        self.recordings = directory / "data" / "recordings"
        text = CONFIG.format(data_dir=directory / "data", port=port, events_url=events_url, secret=secret)
        self.config.write_text(text + "".join(line.configuration for line in lines))
        self._process: trio.Process | None = None
        self._http = httpx.AsyncClient(base_url=self.url, timeout=REQUEST_LIMIT_S, trust_env=False)

    async def create_key(self) -> None:
        """Raises: Missing: the command made none."""
        self.key = await self._command("token", "create", "demo")

    async def create_project(self, name: str) -> str:
        """A token of it. Raises: Missing: the commands made none."""
        await self._command("project", "create", name)
        return await self._command("token", "create", "demo", "--project", name)

    async def _command(self, *words: str) -> str:
        order: list[str | Path] = [COMMAND, *words, "--config", self.config]
        done = await trio.run_process(order, capture_stdout=True, capture_stderr=True, check=False)
        if done.returncode:
            raise Missing(f"branchline {' '.join(words)}: status {done.returncode}: {done.stderr.decode()}")
        return done.stdout.decode().strip()

    async def start(self) -> None:
        with self.log.open("ab") as log:
            # A session of its own: Ctrl-C is for the demo, which then stops the box in its order.
            self._process = await trio.lowlevel.open_process(
                [COMMAND, "run", "--config", self.config],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env=os.environ | {"PYTHONUNBUFFERED": "1"},
            )

    async def stop(self) -> tuple[int | None, float]:
        """By SIGTERM. Its exit status, None when it had to be killed; and the seconds that it took."""
        assert self._process is not None
        began = time.monotonic()
        self._process.send_signal(signal.SIGTERM)
        with trio.move_on_after(STOP_LIMIT_S):
            return await self._process.wait(), time.monotonic() - began
        await self.kill()
        return None, time.monotonic() - began

    @property
    def started(self) -> bool:
        return self._process is not None

    @property
    def status(self) -> int | None:
        """What it ended with; None while it runs."""
        return self._process.poll() if self._process is not None else None

    @property
    def running(self) -> bool:
        return self.started and self.status is None

    @property
    def rss_mib(self) -> float:
        """Its resident memory, while it runs."""
        assert self._process is not None
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]) / 1024

    def remains(self) -> bool:
        """Whether any process of its session still runs."""
        assert self._process is not None
        try:
            os.killpg(self._process.pid, 0)
        except ProcessLookupError:
            return False
        return True

    async def kill(self) -> None:
        with trio.CancelScope(shield=True):
            if self._process is not None and self.running:
                self._process.kill()
                await self._process.wait()
            await self._http.aclose()

    async def idle(self, *, within_s: float, besides: Collection[str] = ()) -> None:
        """Returns when every line is ready for a call, `besides` the ones of these names.

        Raises:
            Missing: in time they were not, or the service is gone.
        """
        states: object = "no answer from /healthz"
        with trio.move_on_after(within_s):
            while True:
                if not self.running:
                    raise Missing(f"the service ended with status {self.status}; {self.last_words()}")
                try:
                    lines = (await self.health())["lines"]
                    states = [line["state"] for line in lines if line["name"] not in besides]
                    if states and all(state == "idle" for state in states):
                        return
                except (httpx.HTTPError, ValueError):
                    pass
                await trio.sleep(0.05)
        raise Missing(f"expected all lines idle within {within_s:g} s; came: {states}; {self.last_words()}")

    async def health(self) -> Any:
        return (await self._http.get("/healthz", headers={"X-API-Key": self.key})).json()

    async def post(self, path: str, body: Mapping[str, object]) -> tuple[Any, float]:
        """The answer's `data`, and the milliseconds until it was there.

        Raises:
            Missing: it was refused.
        """
        began = time.monotonic()
        answer = await self.request("POST", API + path, body, {"X-API-Key": self.key})
        return answer.json()["data"], 1000 * (time.monotonic() - began)

    async def fetch(self, url: str) -> tuple[str, bytes]:
        """By whoever has the address, without a key: the type of what is there, and its bytes. Raises: Missing."""
        answer = await self.request("GET", url)
        return answer.headers["Content-Type"], answer.content

    async def request(
        self, method: str, path: str, body: object = None, headers: Mapping[str, str] | None = None
    ) -> httpx.Response:
        """Raises: Missing: it was not done."""
        try:
            answer = await self._http.request(method, path, json=body, headers=headers)
        except httpx.HTTPError as exc:
            raise Missing(f"{method} {path}: {exc!r}") from exc
        if not answer.is_success:
            raise Missing(f"{method} {path}: came: {answer.status_code} {answer.text[:300]}")
        return answer

    async def recording(self, call_id: str, *, within_s: float) -> tuple[Sound, Sound]:
        """Both channels of a call's MP3, which is made when the call is over.

        Raises:
            Missing: it did not come, or is not one of two channels.
        """
        path = trio.Path(self.recordings / f"{call_id}.mp3")
        deadline = trio.current_time() + within_s
        while not await path.exists():
            if trio.current_time() > deadline:
                there = ", ".join([file.name for file in await trio.Path(self.recordings).iterdir()])
                raise Missing(f"expected {path.name} within {within_s:g} s; there is: {there or 'nothing'}")
            await trio.sleep(0.05)
        return two_channels(path)

    def logged(self, event: str) -> list[dict[str, Any]]:
        """The log's lines of this kind."""
        lines = [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]
        return [line for line in lines if line.get("event") == event]

    def last_words(self) -> str:
        lines = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        return "last in its log: " + ("\n  ".join(lines[-3:]) or "nothing")


class Project:
    """A customer by PhoneVoice's contract, who has a token of his project, and no key."""

    def __init__(self, box: Box, token: str) -> None:
        self.token = token
        self._box = box

    async def ask(self, method: str, path: str, body: Mapping[str, object] | None = None) -> Any:
        """Raises: Missing: it was refused."""
        return (await self._box.request(method, path, body, {"Authorization": f"Bearer {self.token}"})).json()


def two_channels(file: os.PathLike[str] | IO[bytes]) -> tuple[Sound, Sound]:
    """Raises: Missing: it has another number of them, or another rate than the box's."""
    samples, rate_hz = soundfile.read(file, dtype="int16", always_2d=True)
    if samples.shape[1] != 2 or rate_hz != RATE_HZ:
        raise Missing(f"expected two channels at {RATE_HZ} Hz; came: {samples.shape[1]} at {rate_hz} Hz")
    return samples[:, 0], samples[:, 1]
