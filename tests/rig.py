"""The whole service between a simulated network and a customer, each as its users have it.

    async with open_rig(tmp_path) as rig:
        await rig.start()
        call = rig.phone.dial(rig.number)
        await call.answered()
        voice = await rig.voice.connection()
        ...

The bench runs in the test, with sound in real time on ptys; the service is the command in a process of its own, over
and over where a test wants it; webhooks come to a server of the standard library, streams to one of `websockets`.
Whatever is waited for is an event of one of them.
"""

import hashlib
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import tomllib
from array import array
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, closing, suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import outcome
import pytest
import trio

from appliance.app import DATABASE, LINK_KEY
from appliance.contracts.sfvopi import App, Link
from appliance.store import open_store
from hil.bench import Bench, BenchLine, Line
from hil.customer import Inbox
from hil.subscriber import Subscriber
from tests.conftest import VoiceServer
from tests.conftest import _serve_voice as serve_voice
from tests.customer import PATIENCE_S, SECRET, Customer, Reply, open_customer
from tests.secrecy import leaked

COMMAND = Path(sys.executable).with_name("branchline")
API = "/superfone/sfvopi"
KEY = "sfv_key_of_the_rig"
PHONE = "+33783484044"
BORN = datetime(2026, 2, 2, tzinfo=UTC)
# Of a whole test, against one that would hang.
LIMIT_S = 3 * PATIENCE_S


def speech(seconds: float, seed: int) -> bytes:
    """16-bit samples at 8000 Hz: no two parts are alike, none is silent, and most is below 2 kHz, as codecs want it."""
    chance = random.Random(seed)
    steps = [chance.randint(-3000, 3000) for _ in range(int(8000 * seconds) + 3)]
    return array("h", (sum(steps[at : at + 4]) for at in range(len(steps) - 3))).tobytes()


# --- the service ----------------------------------------------------------------------------------------------------


class Run:
    """One life of the service's process, by its log."""

    def __init__(self, process: trio.Process) -> None:
        self.process = process
        self.log = Inbox[dict[str, Any]]()
        self.url = ""
        self.over = trio.Event()
        # Bodies of answers that refused something.
        self.errors: list[str] = []

    async def read_log(self) -> None:
        assert self.process.stderr is not None
        unread = b""
        async for data in self.process.stderr:
            *lines, unread = (unread + data).split(b"\n")
            for line in lines:
                self.log.put(_log_line(line))
        await self.process.wait()
        self.over.set()

    async def logged(self, event: str, *, times: int = 1, **facts: object) -> dict[str, Any]:
        """Such a line, the so manieth, whether it came already or comes."""
        wanted = {"event": event, **facts}

        def is_it(line: dict[str, Any]) -> bool:
            alike = [each for each in self.log.all if wanted.items() <= each.items()]
            return len(alike) >= times and line is alike[times - 1]

        return await self.log.get(f"{times} times in the log {wanted}", is_it, within_s=PATIENCE_S)

    def lines(self, event: str) -> list[dict[str, Any]]:
        return [line for line in self.log.all if line["event"] == event]

    @property
    def faults(self) -> list[str]:
        """What it says of its own failing; a traceback in pieces."""
        return [line["event"] for line in self.log.all if line["level"] in ("error", "critical", "not JSON")]

    async def ended(self) -> int:
        """Its exit status, once all that it said is read."""
        with trio.fail_after(PATIENCE_S):
            await self.over.wait()
        assert self.process.returncode is not None
        return self.process.returncode

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    async def stop(self) -> int:
        self.send(signal.SIGTERM)
        return await self.ended()


def _log_line(text: bytes) -> dict[str, Any]:
    try:
        line: dict[str, Any] = json.loads(text)
        return line
    except ValueError:
        return {"event": text.decode(errors="replace"), "level": "not JSON"}


@asynccontextmanager
async def _guarded(process: trio.Process) -> AsyncIterator[None]:
    """It ends with the block, and with a test that is killed: it would go on at names of ttys that are others' by then.

    The kernel's signal for that (PR_SET_PDEATHSIG) comes when a thread ends, as does the one that trio starts it on.
    """
    guard = ["sh", "-c", f"read _; kill -9 {process.pid}"]
    try:
        async with trio.open_nursery() as nursery:
            await nursery.start(partial(trio.run_process, guard, stdin=subprocess.PIPE, start_new_session=True))
            yield
            nursery.cancel_scope.cancel()
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()


CONFIG = """\
[service]
data_dir = "{data}"
listen = "127.0.0.1:0"

[[webhooks]]
url = "{events}"
secret = "{secret}"

[lab]
allow_loopback = true
sysfs = "{usb.sysfs}"
dev = "{usb.dev}"
"""

# How a configuration says where a line is: by its own names, by the USB port where it is plugged in, by its IMEI.
PLACES: Mapping[str, Callable[[Line], str]] = {
    "at": lambda line: line.configuration,
    "usb": lambda line: line.configured(usb=str(line.usb_port)),
    "imei": lambda line: line.configured(imei=line.gsm.module.profile.imei),
}


class Rig:
    def __init__(
        self,
        directory: Path,
        bench: Bench,
        customer: Customer,
        voice: VoiceServer,
        nursery: trio.Nursery,
        *,
        by: str = "at",
    ) -> None:
        self.bench = bench
        self.customer = customer
        self.voice = voice
        self.phone: Subscriber = bench.subscriber(PHONE)
        self.data = directory / "data"
        self.config = directory / "branchline.toml"
        text = CONFIG.format(data=self.data, events=customer.url + "/events", secret=SECRET, usb=bench.usb)
        self.config.write_text(text + "".join(PLACES[by](line) for line in bench.lines))
        # All lives of the service, the oldest first.
        self.runs: list[Run] = []
        self._nursery = nursery

    @property
    def line(self) -> Line:
        return self.bench.lines[0]

    @property
    def number(self) -> str:
        return self.line.number

    def stream(self, **fields: object) -> Reply:
        """An answer webhook's reply that sends the call to the voice server."""
        return Reply(body=json.dumps({"stream": {"url": self.voice.url, **fields}}).encode())

    async def furnish(self, *, linked: bool) -> None:
        """A key, and an app with every line's number if `linked`; the service need not be there."""
        self.data.mkdir()
        self.customer.replies["/answer"] = self.stream()
        url = self.customer.url
        async with open_store(self.data / "branchline.db") as store:
            await store.add_key(hashlib.sha256(KEY.encode()).hexdigest(), name="rig", at=BORN)
            app = App(
                app_id="sfv_app_000000000001",
                name="rig",
                answer_url=f"{url}/answer",
                answer_method="POST",
                hangup_url=f"{url}/hangup",
                hangup_method="POST",
                fallback_answer_url=None,
                fallback_answer_method="POST",
                status="ACTIVE",
                created_at="2026-02-02T00:00:00.000Z",
            )
            await store.save_app(app)
            for line in self.bench.lines if linked else ():
                await store.link(Link(app.app_id, line.number, app.created_at))

    async def start(self, **environment: str) -> Run:
        """Returns when the service listens and its lines are ready for calls."""
        run = await self.launch(**environment)
        for line in self.bench.lines:
            await run.logged(f"{line.name}: idle")
        return run

    async def launch(self, **environment: str) -> Run:
        """Returns when the service listens."""
        process = await trio.lowlevel.open_process(
            [COMMAND, "run", "--config", self.config],
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=os.environ | self.bench.cards.environment | environment,
        )
        run = Run(process)
        self.runs.append(run)
        self._nursery.start_soon(self._attend, run)
        run.url = (await run.logged("ready"))["listen"][0]
        return run

    async def _attend(self, run: Run) -> None:
        async with _guarded(run.process):
            await run.read_log()
            # By SIGKILL, or because it was told to; a death of its own ends the test.
            assert run.process.returncode in (0, -signal.SIGKILL), [line["event"] for line in run.log.all[-40:]]

    # --- what it did ---

    def leaked(self) -> list[str]:
        """What only one person may have, and is in a log, in an error, or in a file that is not the database."""
        configured = tomllib.loads(self.config.read_text())
        secrets = {KEY, configured.get("cloud", {}).get("token", "")}
        secrets |= {webhook["secret"] for webhook in configured["webhooks"]}
        query = (
            "SELECT secret FROM subscriptions UNION SELECT legacy_secret FROM projects UNION SELECT details FROM calls"
        )
        for (text,) in self.rows(query):
            secrets.add(json.loads(text).get("cable_token", "") if text.startswith("{") else text)
        texts = [*map(json.dumps, (line for run in self.runs for line in run.log.all))]
        texts += [error for run in self.runs for error in run.errors]
        for path in self.data.rglob("*"):
            if path.is_file() and not path.name.startswith((DATABASE, LINK_KEY)):
                with suppress(FileNotFoundError):
                    texts.append(path.read_text("latin-1"))
        return leaked("\n".join(texts), secrets)

    def rows(self, query: str, *values: object) -> list[Any]:
        with closing(sqlite3.connect(self.data / "branchline.db")) as connection:
            return connection.execute(query, values).fetchall()

    @property
    def recordings(self) -> Sequence[Path]:
        return sorted((self.data / "recordings").iterdir())


class Client:
    """A customer's program, over HTTP."""

    def __init__(self, run: Run, key: str | None = KEY) -> None:
        self._errors = run.errors
        self._http = httpx.AsyncClient(
            base_url=run.url, headers={"X-API-Key": key} if key else {}, timeout=PATIENCE_S, trust_env=False
        )

    async def __aenter__(self) -> "Client":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    async def request(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        content = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        response = await self._http.request(method, path, content=content)
        if response.is_error:
            self._errors.append(response.text)
        return response.status_code, response.json() if response.content else None

    async def health(self) -> Any:
        return (await self.request("GET", "/healthz"))[1]

    async def place(self, rig: Rig, to: str, **fields: object) -> str:
        """A call from the first line; its request_uuid."""
        url = rig.customer.url
        order = {"from": rig.number, "to": to, "answer_url": f"{url}/answer", "hangup_url": f"{url}/hangup", **fields}
        status, answer = await self.request("POST", f"{API}/calls", order)
        assert (status, answer["data"]["status"]) == (200, "queued")
        uuid: str = answer["data"]["request_uuid"]
        return uuid


@asynccontextmanager
async def open_rig(
    directory: Path, *, lines: int = 1, linked: bool = True, model: str = "ec25", by: str = "at"
) -> AsyncIterator[Rig]:
    """Everything but the service, which is the test's to start: a bench with so many lines, a customer, an app. `by` is
    one of PLACES.
    """
    plans = [BenchLine(f"line{index}", f"+3370000000{index}", model) for index in range(1, lines + 1)]
    async with (
        Bench(plans, directory=directory) as bench,
        open_customer() as customer,
        serve_voice() as voice,
        trio.open_nursery() as nursery,
    ):
        rig = Rig(directory, bench, customer, voice, nursery, by=by)
        await rig.furnish(linked=linked)
        yield rig
        assert rig.leaked() == []
        nursery.cancel_scope.cancel()


class Together:
    """Tests that wait more than they compute: the first one asked for runs all that are wanted, of all modules, some at
    a time and each in its directory; then each shows what came of it.
    """

    def __init__(self, *, at_once: int) -> None:
        self._at_once = at_once
        self._tests: dict[object, Callable[[Path], Awaitable[None]]] = {}
        self._outcomes: dict[object, outcome.Outcome[None]] = {}

    def __call__(self, test: Callable[[Path], Awaitable[None]]) -> Callable[..., None]:
        def show(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> None:
            if show not in self._outcomes:
                wanted = [getattr(item, "function", None) for item in request.session.items]
                trio.run(self._run, [each for each in wanted if each in self._tests], tmp_path_factory)
            self._outcomes[show].unwrap()

        self._tests[show] = test
        show.__name__ = test.__name__
        return pytest.mark.waits(show)

    async def _run(self, wanted: Sequence[object], directories: pytest.TempPathFactory) -> None:
        turn = trio.CapacityLimiter(self._at_once)

        async def run(shown: object) -> None:
            async with turn:
                self._outcomes[shown] = await outcome.acapture(self._try, shown, directories.mktemp("rig"))

        async with trio.open_nursery() as nursery:
            for shown in wanted:
                nursery.start_soon(run, shown)

    async def _try(self, shown: object, directory: Path) -> None:
        # Whatever is waited for that has no limit of its own.
        with trio.fail_after(LIMIT_S):
            await self._tests[shown](directory)


together = Together(at_once=4)
