"""What the service says to a wrong start and to wrong requests: in words, in the contract's shape, and it goes on."""

import json
import socket
import sqlite3
import subprocess
from contextlib import closing
from functools import partial
from pathlib import Path

import httpx
import pytest
import trio

from appliance.lines import DEVICES
from appliance.store import open_store
from tests.rig import API, COMMAND, KEY, PATIENCE_S, Client, Run, open_rig, together

CALL = {"from": "+33700000001", "to": "+33612345678", "answer_url": "http://127.0.0.1/answer"}
BAD_CALLS = [
    *({name: value for name, value in CALL.items() if name != missing} for missing in CALL),
    *(CALL | {"from": bad} for bad in (None, 33700000001)),
    *(CALL | {"to": bad} for bad in (None, ["+33612345678"])),
    *(CALL | {"answer_url": bad} for bad in (None, 1, "", "bot.example", "ftp://a.example/", "http://", "http://a b/")),
    *(CALL | {name: "/relative"} for name in ("ring_url", "hangup_url")),
    *(CALL | {f"{name}_method": bad} for name in ("answer", "ring", "hangup") for bad in ("PUT", "", None, 1)),
    *(CALL | {"call_time_limit": bad} for bad in (0, 0.5, -1, 86401, "60", True, None, 1e400)),
    *(CALL | {"ring_timeout": bad} for bad in (0, 0.5, 601, "60", False, None, [])),
    *(b"", b"{", b"null", b"[]", b'"call"', b"\xff\xfe", b"[" * 100_000, b'{"from": "\\ud800"}'),
]
BAD_NUMBERS = [
    *(CALL | {"from": bad} for bad in ("", "abc", "+1", "+330000000000000000000")),
    *(CALL | {"to": bad} for bad in ("", "12", "+33 abc", "+3361234567;ATH")),
]


@together
async def test_every_bad_field_of_a_call_is_refused_and_nothing_is_dialed(tmp_path):
    async with open_rig(tmp_path) as rig:
        run = await rig.start()
        refused = (400, {"message": "Invalid request body"})
        async with Client(run) as client:
            answers = [(bad, await client.request("POST", f"{API}/calls", bad)) for bad in BAD_CALLS]
            assert [(bad, answer) for bad, answer in answers if answer != refused] == []
            refused = (400, {"message": "Invalid phone number"})
            answers = [(bad, await client.request("POST", f"{API}/calls", bad)) for bad in BAD_NUMBERS]
            assert [(bad, answer) for bad, answer in answers if answer != refused] == []
            premium = await client.request("POST", f"{API}/calls", CALL | {"to": "+33899123456"})
            assert premium == (400, {"message": "Not dialed: +33899123456 is a premium-rate number"})
            unlinked = await client.request("POST", f"{API}/calls", CALL | {"from": "+33700000009"})
            assert unlinked == (400, {"message": "VoIP number +33700000009 is not linked to any SFVoPI app"})
        assert rig.rows("SELECT * FROM calls") == []
        assert run.faults == []


@together
async def test_nothing_is_seen_without_a_key_and_the_rest_is_said_in_the_contract_s_shape(tmp_path):
    async with open_rig(tmp_path) as rig:
        run = await rig.start()
        paths = [("POST", f"{API}/calls"), ("GET", f"{API}/apps"), ("GET", f"{API}/nothing"), ("PUT", f"{API}/calls")]
        for key, message in ((None, "Please Provide API Key"), ("sfv_key_wrong", "Please Provide Valid API Key")):
            async with Client(run, key) as stranger:
                answers = [await stranger.request(method, path, b"{") for method, path in paths]
                assert answers == [(401, {"message": f"UnAuthorized, {message}"})] * len(paths)
                assert (await stranger.health())["status"] == "ok"
        async with Client(run) as client:
            assert await client.request("GET", f"{API}/nothing") == (404, {"message": "Not Found"})
            assert await client.request("GET", "/nothing") == (404, {"message": "Not Found"})
            assert await client.request("DELETE", f"{API}/calls") == (405, {"message": "Method Not Allowed"})
            assert await client.request("GET", f"{API}/calls") == (405, {"message": "Method Not Allowed"})


@together
async def test_an_app_and_its_numbers_from_first_to_last(tmp_path):
    deleted = (200, {"data": {"deleted": True}, "message": "success"})
    no_app, no_app_here = (404, {"message": "SFVoPI app not found"}), (404, {"message": "App not found"})
    async with open_rig(tmp_path, lines=2, linked=False) as rig:
        run = await rig.start()
        async with Client(run) as client:
            _, made = await client.request("POST", f"{API}/apps", {"name": "Desk", "answer_url": "https://a.example"})
            app = made["data"]
            path = f"{API}/apps/{app['app_id']}"
            assert await client.request("GET", path) == (200, made)
            _, changed = await client.request("PUT", path, {"name": "Bar", "hangup_url": "https://a.example/bye"})
            news = {"name": "Bar", "hangup_url": "https://a.example/bye", "updated_at": changed["data"]["updated_at"]}
            assert changed["data"] == app | news
            assert news["updated_at"] > app["created_at"]
            assert await client.request("PATCH", path, {}) == (200, changed)
            assert await client.request("PUT", path, {"name": 1}) == (400, {"message": "Invalid request body"})

            numbers = [line.number for line in rig.bench.lines]
            free = [
                {"id": place, "voip_number": number, "provider": "gsm", "status": "ACTIVE"}
                for place, number in enumerate(numbers, 1)
            ]
            available = f"{API}/available-numbers"
            assert (await client.request("GET", available))[1]["data"] == free
            assert (await client.request("GET", f"{path}/numbers"))[1] == {"data": [], "message": "success"}
            links = [(await client.request("POST", f"{path}/numbers", {"voip_number": n}))[1]["data"] for n in numbers]
            assert (await client.request("GET", f"{path}/numbers"))[1]["data"] == links[::-1]
            assert (await client.request("GET", available))[1]["data"] == []
            # As a plus, and as it is escaped.
            for number, written in zip(numbers, ("+", "%2B"), strict=True):
                place = f"{path}/numbers/{number.replace('+', written)}"
                assert await client.request("DELETE", place) == deleted
                assert await client.request("DELETE", place) == (404, {"message": "Number not linked to this app"})
            assert (await client.request("GET", available))[1]["data"] == free

            await client.request("POST", f"{path}/numbers", {"voip_number": rig.number})
            assert await client.request("DELETE", path) == deleted
            assert (await client.request("GET", available))[1]["data"] == free
            for method in ("GET", "PUT", "PATCH", "DELETE"):
                assert await client.request(method, path, {} if method[0] == "P" else None) == no_app
            assert await client.request("GET", f"{path}/numbers") == no_app_here
            assert await client.request("DELETE", f"{path}/numbers/{rig.number}") == no_app_here


@together
async def test_a_body_that_is_too_long_is_refused_and_costs_nothing(tmp_path):
    """With a key or without: nobody waits for its end, nothing of it is kept, and the connection is closed."""
    async with open_rig(tmp_path) as rig:
        run = await rig.start()
        before = descriptors(run)
        for key, status in ((KEY, 400), ("sfv_key_wrong", 401)):
            # An answer that comes before all is sent upsets httpx's asynchronous client, but not this one.
            headers = {"X-API-Key": key}
            post = partial(httpx.post, f"{run.url}{API}/calls", headers=headers, timeout=PATIENCE_S, trust_env=False)
            for _ in range(10):
                answer = await trio.to_thread.run_sync(partial(post, content=b" " * 30_000_000))
                assert answer.status_code == status
        assert descriptors(run) <= before + 1
        async with Client(run) as client:
            assert (await client.request("GET", f"{API}/apps"))[0] == 200
        assert run.faults == []


def descriptors(run: Run) -> int:
    return len(list(Path(f"/proc/{run.process.pid}/fd").iterdir()))


# --- a start that can't be --------------------------------------------------------------------------------------------

CONFIG = """\
[service]
data_dir = "{data}"
listen = "127.0.0.1:{port}"
"""


def start(config: Path) -> tuple[int, str]:
    """Its exit status, and what it said: nothing to stdout, a line for each problem to stderr."""
    done = subprocess.run([COMMAND, "run", "--config", config], capture_output=True, text=True, timeout=PATIENCE_S)
    assert done.stdout == ""
    return done.returncode, done.stderr.replace(str(config.parent), "")


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "box.toml"
    path.write_text(CONFIG.format(data=tmp_path / "data", port=0))
    return path


def test_a_malformed_configuration_is_told_by_its_keys(config):
    config.write_text(config.read_text() + '\nlog_levle = "info"\n[[lines]]\nname = "A"\nmodel = "sim7700"\n')
    status, said = start(config)
    assert status == 1
    assert said.splitlines() == [
        'branchline: /box.toml: service.log_levle: unknown key, did you mean "log_level"?',
        'branchline: /box.toml: lines.1.name: "A" must be 1 to 32 of a-z, 0-9 and -',
        f'branchline: /box.toml: lines.1.model: unknown model "sim7700" (known: {", ".join(sorted(DEVICES))})',
        "branchline: /box.toml: lines.1.number: is missing",
    ]


def test_a_configuration_that_is_not_there_or_not_text_is_said_in_one_line(config):
    config.write_bytes(b"\xff\xfe")
    status, said = start(config)
    assert (status, said.count("\n")) == (1, 1)
    config.unlink()
    assert start(config) == (1, "branchline: /box.toml: No such file or directory\n")


def test_an_occupied_port_is_said_in_one_line_and_nothing_is_touched(config, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        config.write_text(CONFIG.format(data=tmp_path / "data", port=port))
        assert start(config) == (1, f"branchline: service.listen: 127.0.0.1:{port}: Address already in use\n")
    assert not (tmp_path / "data" / "branchline.db").exists()


def test_a_death_is_one_line_in_the_log(config, tmp_path):
    (tmp_path / "data").mkdir()
    path = tmp_path / "data" / "branchline.db"
    trio.run(make_database, path)
    with closing(sqlite3.connect(path)) as database, database:
        facts = "(uuid, line, direction, from_, to_, state, started_at, route)"
        database.execute(f"INSERT INTO calls {facts} VALUES ('u', '', '', '', '', 'no such state', '', '')")
    status, said = start(config)
    (line,) = said.splitlines()
    assert status == 1
    death = json.loads(line)
    assert (death["event"], death["level"]) == ("died", "critical")
    assert "Traceback" in death["exception"]


async def make_database(path: Path) -> None:
    async with open_store(path):
        pass


def test_a_configuration_with_a_byte_order_mark_is_read(config):
    config.write_bytes(b"\xef\xbb\xbf" + config.read_bytes())
    done = subprocess.run([COMMAND, "check", "--config", config], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_data_directory_that_cannot_be_one_is_said_in_one_line(config, tmp_path):
    (tmp_path / "data").write_text("not a directory")
    assert start(config) == (1, "branchline: service.data_dir: /data: Not a directory\n")


def test_a_database_of_a_newer_program_is_left_alone(config, tmp_path):
    (tmp_path / "data").mkdir()
    with sqlite3.connect(tmp_path / "data" / "branchline.db") as database:
        database.execute("PRAGMA user_version = 99")
    database.close()
    status, said = start(config)
    assert (status, said.count("\n")) == (1, 1)
    assert "/data/branchline.db is of version 99, written by a newer program" in said


def test_an_address_that_nobody_has_is_said_in_one_line(config):
    config.write_text(config.read_text().replace("127.0.0.1", "nowhere.invalid"))
    status, said = start(config)
    assert (status, said.count("\n")) == (1, 1)
    assert said.startswith("branchline: service.listen: nowhere.invalid:0: ")
    assert "Unknown error" not in said


def test_a_token_cannot_be_made_where_a_service_could_not_run(config, tmp_path):
    (tmp_path / "data").write_text("not a directory")
    done = subprocess.run([COMMAND, "token", "create", "--config", config], capture_output=True, text=True)
    assert done.stdout == ""
    assert done.stderr == f"branchline: service.data_dir: {tmp_path}/data: Not a directory\n"


@together
async def test_a_second_service_on_the_same_directory_does_not_start_and_the_first_goes_on(tmp_path):
    async with open_rig(tmp_path) as rig:
        await rig.start()
        call = rig.phone.dial(rig.number)
        await call.answered()
        voice = await rig.voice.connection()
        status, said = await trio.to_thread.run_sync(start, rig.config)
        assert (status, said) == (1, "branchline: service.data_dir: /data is in use by another branchline\n")
        await voice.next("media")
        assert rig.rows("SELECT state FROM calls") == [("active",)]


@together
async def test_a_box_without_a_key_says_how_to_make_one(tmp_path):
    async with open_rig(tmp_path) as rig:
        (rig.data / "branchline.db").unlink()
        run = await rig.launch()
        hint = "nobody has a key for the API yet: `branchline token create` makes one"
        await run.logged(hint)
        made = await trio.run_process([COMMAND, "token", "create", "--config", rig.config], capture_stdout=True)
        key = made.stdout.decode().strip()
        async with Client(run, key) as client:
            assert await client.request("GET", f"{API}/apps") == (200, {"data": [], "message": "success"})
            listed = await trio.run_process([COMMAND, "token", "list", "--config", rig.config], capture_stdout=True)
            assert listed.stdout.endswith(b"Z  default\n")
            assert key.encode() not in listed.stdout
            await trio.run_process([COMMAND, "token", "revoke", "default", "--config", rig.config], capture_stdout=True)
            refused = (401, {"message": "UnAuthorized, Please Provide Valid API Key"})
            assert await client.request("GET", f"{API}/apps") == refused


@together
async def test_a_webhook_that_is_gone_is_named_at_each_start_and_can_be_resumed(tmp_path):
    async with open_rig(tmp_path) as rig:
        url = rig.customer.url + "/events"
        with closing(sqlite3.connect(rig.data / "branchline.db")) as database, database:
            database.execute("INSERT INTO gone (url, at) VALUES (?, '2026-02-02T00:00:00Z')", (url,))
        run = await rig.start()
        said = await run.logged("webhook", state="gone", webhook=url)
        assert "branchline webhook resume" in said["reason"]
        async with Client(run) as client:
            assert (await client.health())["webhooks_gone"] == [url]
            command = [COMMAND, "webhook", "resume", url, "--config", rig.config]
            done = await trio.run_process(command, capture_stdout=True)
            assert done.stdout.decode() == f"{url}: resumed\n"
            assert (await client.health())["webhooks_gone"] == []
            call = rig.phone.dial(rig.number)
            await (await rig.voice.connection()).next("start")
            call.hang_up()
            event = await rig.customer.event("phone_call.started")
            await rig.customer.event("phone_call.completed")
            command = [COMMAND, "webhook", "log", url, "--config", rig.config]
            *_, line = (await trio.run_process(command, capture_stdout=True)).stdout.decode().splitlines()
            assert f"phone_call.started {event['id']} try 1: 200 '{{}}' in " in line
