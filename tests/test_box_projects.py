"""Projects, their tokens and agents under /box/v1, by what each endpoint answers."""

from tests.box_client import open_client
from tests.line_box import NOON, write_announcement

AGENT = {"name": "Désk", "stream": {"url": "wss://agent.example/voice", "codec": "PCMU"}, "first_message": "Hello"}


async def test_projects_are_made_by_names_of_their_own(tmp_path):
    async with open_client(tmp_path) as client:
        made = await client.ask("POST", "/projects", 201, {"name": "shop"})
        assert made["legacy_secret"].startswith("whsec_")
        assert await client.get(f"/projects/{made['id']}") == made
        (box, shop) = (await client.get("/projects"))["projects"]
        assert (box["id"], box["name"]) == (1, "box")
        assert shop == {name: made[name] for name in ("id", "name", "created_at")}
        await client.ask("POST", "/projects", 409, {"name": "Shop"})
        for name in ("", "a@b", "x" * 101):
            await client.ask("POST", "/projects", 422, {"name": name})
        await client.get("/projects/9", 404)
        await client.get("/projects/x", 422)


async def test_a_token_of_a_project_is_shown_once_and_opens_phonevoice(tmp_path):
    async with open_client(tmp_path) as client:
        made = await client.ask("POST", "/projects/1/tokens", 201, {"name": "crm"})
        secret = made.pop("token")
        assert (await client.get("/projects/1/tokens"))["tokens"] == [made]
        whoami = {"url": "http://box/api/whoami", "headers": {"Authorization": f"Bearer {secret}"}}
        assert (await client.http.get(**whoami)).status_code == 200
        # It is no key for the box itself, nor the other way round.
        assert (await client.http.get("/projects", headers={"X-API-Key": secret})).status_code == 401
        await client.ask("DELETE", f"/projects/1/tokens/{made['id']}", 204)
        assert (await client.http.get(**whoami)).status_code == 401
        assert (await client.get("/projects/1/tokens"))["tokens"][0]["revoked_at"] is not None
        await client.ask("DELETE", "/projects/1/tokens/0123456789ab", 404)
        await client.ask("POST", "/projects/9/tokens", 404, {"name": "crm"})


async def test_an_agent_from_first_to_last(tmp_path):
    async with open_client(tmp_path) as client:
        made = await client.ask("POST", "/projects/1/agents", 201, AGENT)
        assert made.items() >= {**AGENT, "slug": "desk", "enable_recording": True, "realtime_voice": None}.items()
        path = f"/projects/1/agents/{made['id']}"
        assert await client.get(path) == made
        await client.ask("POST", "/projects/1/agents", 409, {"name": "desk"})
        changed = await client.ask("PUT", path, 200, {"name": "Bar", "enable_recording": False})
        assert (changed["stream"], changed["slug"], changed["enable_recording"]) == (None, "bar", False)
        assert (await client.get("/projects/1/agents"))["agents"] == [changed]
        other = (await client.ask("POST", "/projects", 201, {"name": "shop"}))["id"]
        for method, body in (("GET", None), ("PUT", AGENT), ("DELETE", None)):
            await client.ask(method, f"/projects/{other}/agents/{made['id']}", 404, body)
        await client.ask("DELETE", path, 204)
        await client.get(path, 404)


async def test_an_agent_s_fault_is_told_by_its_field(tmp_path):
    async with open_client(tmp_path) as client:
        for changes, word in (
            ({"name": "?"}, "name"),
            ({"stream": {"url": "https://agent.example"}}, "stream.url"),
            ({"stream": {"url": "wss://agent.example", "sample_rate": 11025}}, "sample_rate"),
            ({"voice": "x"}, "voice"),
        ):
            problem = await client.ask("POST", "/projects/1/agents", 422, AGENT | changes)
            assert word in problem["message"]


async def test_a_relay_s_rule_is_what_it_sets_for_itself_and_can_be_done(tmp_path):
    async with open_client(tmp_path, recordings=tmp_path) as client:
        buy = {"country": "FR", "type_": "local", "at": NOON}
        relay = await client.box.store.directory.buy("+33159133354", project=1, forward_to="+33612345678", **buy)
        path = f"/projects/1/relay_numbers/{relay.id}/rule"
        assert await client.get(path) == {}
        write_announcement(tmp_path / "closed.wav")
        rule = {"ring_s": 20, "no_answer": {"announcement": "closed.wav"}, "consent": "beep"}
        assert await client.ask("PUT", path, 200, rule) == rule
        assert await client.get(path) == rule
        for bad, word in (
            ({"ring_s": 1}, "ring_s"),
            ({"busy": {"announcement": "gone.wav"}}, "busy.announcement"),
            ({"consent": "gone.wav"}, "consent"),
            ({"colour": 1}, "colour"),
        ):
            assert word in (await client.ask("PUT", path, 422, bad))["message"]
        assert await client.ask("PUT", path, 200, {}) == {}
        other = (await client.ask("POST", "/projects", 201, {"name": "shop"}))["id"]
        await client.get(f"/projects/{other}/relay_numbers/{relay.id}/rule", 404)
