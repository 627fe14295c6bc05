"""A box in this process and its customer, whose webhooks are received and whose voice server is one, on loopback.

    async with open_scene(tmp_path) as scene:
        await scene.app()
        scene.ring()
        voice = await scene.voice.connection()
        scene.line.release()        # the far party hangs up
        await scene.told("/hangup")

The line is a TestLine: what a device would say is said by the test. Time goes by as it does, and is jumped over where
a test asks for the `skipping_clock`.
"""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import trio
import trio.testing

from appliance.contracts import sfvopi
from appliance.contracts.sfvopi import App
from drivers.line import Alerting, Answered, Incoming, LineEvent, LineState
from tests.conftest import SLOWNESS, VoiceServer
from tests.conftest import _serve_voice as serve_voice
from tests.core import still
from tests.customer import Customer, Post, Reply, open_customer
from tests.line_box import APP, NUMBER, Box, open_box

CALLER = "+33783484044"
REQUEST = "sfv_ob_req_a8k3m2x9p1z0"
# Against a test that would hang; nothing is measured with it.
PATIENCE_S = 20 * SLOWNESS


class Scene:
    def __init__(self, box: Box, customer: Customer, voice: VoiceServer) -> None:
        self.box = box
        self.line = box.line
        self.customer = customer
        self.voice = voice
        self._app = APP

    async def app(self, **changes: Any) -> App:
        """The app of the box's number: its webhooks are the customer's, its calls are sent to the voice server."""
        url = self.customer.url
        self._app = replace(APP, **{"answer_url": f"{url}/answer", "hangup_url": f"{url}/hangup", **changes})
        await self.box.store.save_app(self._app)
        self.customer.replies["/answer"] = self.stream()
        return self._app

    def stream(self, **fields: object) -> Reply:
        return Reply(body=json.dumps({"stream": {"url": self.voice.url, **fields}}).encode())

    def ring(self, number: str | None = CALLER) -> None:
        """Somebody calls, and is there as soon as the line answers."""
        self.line.when["answer"] = lambda: self.line.say(Answered())
        self.line.say(Incoming(number), state=LineState.IN_USE)

    async def place(self, *news: LineEvent, request: str = REQUEST, **fields: object) -> None:
        """A call is ordered; `news` is what the line says once it has dialed."""
        self.line.when["dial"] = lambda: self.line.say(*news)
        body = {"from": NUMBER, "to": CALLER, "answer_url": self._app.answer_url, **fields}
        await self.box.control.place(sfvopi.order(json.dumps(body).encode(), country="FR"), self._app, request)

    async def talk(self, direction: str) -> None:
        """A call that is answered, either way."""
        if direction == "INBOUND":
            self.ring()
        else:
            await self.place(Alerting(), Answered())

    async def end(self) -> None:
        """Of a call whose stream may not even be open yet."""
        await self.voice.connection()
        self.line.release()
        await self.told("/hangup")

    async def told(self, path: str) -> Any:
        """The fields of the first webhook there that came or comes."""
        return (await self.post(path)).json

    async def post(self, path: str) -> Post:
        return await self.customer.inbox.get(
            f"a webhook at {path}", lambda post: post.path == path, within_s=PATIENCE_S
        )

    async def ordered(self, *orders: str) -> None:
        """Returns when the line was told to do just this."""
        with trio.fail_after(PATIENCE_S):
            while self.line.orders != list(orders):
                await still()

    async def tried(self, attempts: int, clock: trio.testing.MockClock) -> None:
        """Returns when so many connections were asked for; how long that takes is not looked at."""
        for _ in range(1000):
            if self.voice.handshakes >= attempts:
                return
            clock.jump(0.2)
            await still()
        raise AssertionError(f"{self.voice.handshakes} attempts, and no more")

    @property
    def paths(self) -> list[str]:
        """Of the webhooks that came, in order."""
        return [post.path for post in self.customer.inbox.all]


@asynccontextmanager
async def open_scene(directory: Path) -> AsyncIterator[Scene]:
    # The box goes first: whom it talks to is there until then.
    async with open_customer() as customer, serve_voice() as voice, open_box(directory) as box:
        yield Scene(box, customer, voice)
