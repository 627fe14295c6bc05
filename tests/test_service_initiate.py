"""Calls ordered by PhoneVoice's REST, through the whole service: an agent's, a watched bridge, an older one."""

from pathlib import Path
from typing import Any

import httpx
import soundfile

from appliance.directory import AgentSettings
from appliance.store import open_store
from appliance.tenants import BOX, new_token
from hil.subscriber import PhoneCall
from tests.rig import BORN, PATIENCE_S, Rig, open_rig, together
from tests.talks import TRIES, both_speak, is_in
from tests.test_service_analog import words
from tests.test_service_relay import converse
from tests.verifiers import refusing

PERSON, DESK, SUPERVISOR = "+33612345678", "+33611111111", "+33633333333"


async def furnish(rig: Rig) -> str:
    """An agent whose voice is the rig's; a token of its project."""
    token, digest = new_token("project")
    async with open_store(rig.data / "branchline.db") as store:
        await store.tenants.add_token(digest, project=BOX, name="test", at=BORN)
        await store.directory.add_agent(BOX, "Front Desk", AgentSettings(stream={"url": rig.voice.url}), at=BORN)
    return token


class Integrator:
    def __init__(self, rig: Rig, http: httpx.AsyncClient) -> None:
        self.rig = rig
        self.desk, self.person, self.supervisor = map(rig.bench.subscriber, (DESK, PERSON, SUPERVISOR))
        # Who answers says a word: else it is told late that he has.
        self.desk.says = self.person.says = words(9)[:8000]
        self._http = http

    async def post(self, path: str, body: object, status: int) -> Any:
        said = await self._http.post(path, json=body)
        assert said.status_code == status, said.text
        return said.json()

    async def get(self, path: str) -> Any:
        return (await self._http.get(path)).json()

    async def heard(self, recording_url: str) -> bytes:
        said = await self._http.get(recording_url, headers={"Authorization": ""})
        assert said.status_code == 200
        return said.content

    async def agent_call(self) -> None:
        order = {"agent_id": 1, "recipient_phone_number": PERSON, "inbound_phone_number": self.rig.number}
        call = (await self.post("/api/v1/calls/initiate", order, 201))["phone_call_id"]
        theirs = await self.person.called()
        assert theirs.number == self.rig.number
        voice = await self.rig.voice.connection()
        await voice.next("start")
        await theirs.said()
        await both_speak(theirs, words(1), voice, words(2))
        ended = await self.post(f"/api/v1/calls/{call}/hangup", None, 200)
        assert ended == {"status": "success", "phone_call_id": call, "call_status": "completed"}
        await theirs.ended()
        again = (await self.rig.customer.event("phone_call.completed", id=call, revision=2))["data"]
        assert again["recording_url"].endswith(f"/call_{call}.mp3")
        assert await self.heard(again["recording_url"])
        assert again.items() >= {"from": self.rig.number, "to": PERSON, "ended_reason": "customer"}.items()

    async def bridge(self) -> None:
        order = {"call_type": "bridge", "inbound_phone_number": DESK, "recipient_phone_number": PERSON}
        call = (await self.post("/api/v1/calls/initiate", order, 201))["phone_call_id"]
        ours, theirs = await self.desk.called(), await self.person.called()
        started = (await self.rig.customer.event("phone_call.started", id=call))["data"]
        # What the recipient sees is what is told.
        assert started["from"] == theirs.number != ours.number
        await theirs.said()
        said = await converse(ours, theirs)
        order = {"supervisor_phone": SUPERVISOR}
        monitor = (await self.post(f"/api/v1/calls/{call}/add_monitor", order, 200))["monitor"]
        assert (monitor["status"], monitor["muted"]) == ("ringing", True)
        third = await self.supervisor.called()
        await third.answered()
        whispered = await listen_in(third, ours, theirs)
        third.hang_up()
        await third.ended()
        assert (await self.get(f"/api/v1/calls/{call}"))["status"] == "in-progress"
        ours.hang_up()
        await theirs.ended()
        again = (await self.rig.customer.event("phone_call.completed", id=call, revision=2))["data"]
        assert again["recording_url"].endswith(f"/bridge_{call}.mp3")
        (self.rig.data / "bridge.mp3").write_bytes(await self.heard(again["recording_url"]))
        samples, _ = soundfile.read(self.rig.data / "bridge.mp3", dtype="int16")
        for side, party in enumerate((theirs, ours)):
            channel = samples[:, side].tobytes()
            assert [is_in(each, channel) for each in (said[party], whispered)] == [True, False]

    async def older(self) -> None:
        rig = self.rig
        order = {"phone_number": PERSON, "assistant_id": "front-desk", "webhook_url": f"{rig.customer.url}/calls"}
        made = await self.post("/v1/calls", order, 201)
        theirs = await self.person.called()
        started = await rig.customer.post("/calls", event="call.started")
        await (await rig.voice.connection()).next("start")
        # Of a call in which there was nothing to hear there is no recording.
        theirs.say(words(7))
        await theirs.said()
        theirs.hang_up()
        completed = await rig.customer.post("/calls", event="call.completed")
        [(secret,)] = rig.rows("SELECT legacy_secret FROM projects WHERE id = ?", BOX)
        for post in (started, completed):
            assert not refusing(post.headers["phonevoice-signature"], post.body, secret)
            assert post.json["call_id"] == made["call_id"]
            assert post.json.keys() == {"event", "call_id", "timestamp", "data"}
        assert started.json["data"] == {
            "direction": "outbound",
            "from": theirs.number,
            "to": PERSON,
            "status": "in-progress",
        }
        data = completed.json["data"]
        assert (data["cost"], data["analysis"]) == (0, None)
        assert await self.heard(data["recording_url"])
        assert [post.json["event"] for post in rig.customer.posts("/calls")] == ["call.started", "call.completed"]


async def listen_in(third: PhoneCall, ours: PhoneCall, theirs: PhoneCall) -> bytes:
    """What the third one said, whom neither heard; he has heard both."""
    for seed in range(100, 100 + 3 * TRIES, 3):
        said = {party: words(seed + place) for place, party in enumerate((third, ours, theirs))}
        for party, text in said.items():
            party.say(text)
            await party.said()
        # Whoever speaks last is heard when the next word has gone.
        third.say(bytes(8000))
        await third.said()
        for party in (ours, theirs):
            assert not is_in(said[third], party.heard())
        if all(is_in(said[party], third.heard()) for party in (ours, theirs)):
            return said[third]
    raise AssertionError(f"{TRIES} times he did not hear both")


@together
async def test_4_and_10_an_agent_a_bridge_with_a_supervisor_and_a_call_by_the_older_generation(tmp_path: Path) -> None:
    async with open_rig(tmp_path, lines=3, linked=False) as rig:
        token = await furnish(rig)
        run = await rig.start()
        headers = {"Authorization": f"Bearer {token}"}
        async with httpx.AsyncClient(base_url=run.url, headers=headers, timeout=PATIENCE_S, trust_env=False) as http:
            integrator = Integrator(rig, http)
            await integrator.agent_call()
            await integrator.bridge()
            await integrator.older()
        assert run.faults == []
