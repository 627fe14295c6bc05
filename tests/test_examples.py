"""Each example as its first lines say to run it, with the whole service and a caller."""

import ast
import hashlib
import hmac
import json
import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
import soundfile
import trio

from hil.listening import align, clearest, sound
from hil.network import Cause
from hil.subscriber import PhoneCall
from tests.customer import SECRET, Reply, open_customer
from tests.rig import API, PATIENCE_S, PHONE, Client, Rig, Run, open_rig, speech, together
from tests.speech import utter
from tests.talks import is_in

WELCOME = "Welcome. Press 1 for the time at the office. Press 2 to leave. Press any other key to hear this again."
PORT_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
# Those below are well known (RFC 6335).
FIRST_PORT = 1024
# Other words of one voice are less alike.
ALIKE = 0.8
EXAMPLES = Path(__file__).parent.parent / "examples"


@asynccontextmanager
async def serving(rig: Rig, run: Run, name: str, *arguments: str) -> AsyncIterator["Lines"]:
    """The example runs, and the rig's app sends its calls there."""
    port = free_ports()
    command = [sys.executable, EXAMPLES / f"{name}.py", "--port", str(port), *arguments]
    process = await trio.lowlevel.open_process(command, stdout=subprocess.PIPE)
    try:
        for each in (port, port + 1):
            await listening(each)
        async with Client(run) as client:
            url = f"http://127.0.0.1:{port}"
            addresses = {"answer_url": f"{url}/answer", "hangup_url": f"{url}/hangup"}
            status, _ = await client.request("PUT", f"{API}/apps/sfv_app_000000000001", addresses)
            assert status == 200
        yield Lines(process)
    finally:
        process.terminate()
        await process.wait()


class Lines:
    """What a program prints."""

    def __init__(self, process: trio.Process) -> None:
        self._process = process
        self._read = b""

    async def next(self) -> str:
        assert self._process.stdout is not None
        with trio.fail_after(PATIENCE_S):
            while b"\n" not in self._read:
                self._read += await self._process.stdout.receive_some()
        line, _, self._read = self._read.partition(b"\n")
        return line.decode()


def free_ports() -> int:
    """The first of two. Until a program has them nobody else does: the kernel gives connections ports above these."""
    above = int(PORT_RANGE.read_text().split()[0])
    while True:
        port = above - 2 - secrets.randbelow(min(above - 2 - FIRST_PORT, 20_000))
        try:
            with socket.create_server(("127.0.0.1", port)), socket.create_server(("127.0.0.1", port + 1)):
                return port
        except OSError:
            continue


async def listening(port: int) -> None:
    with trio.fail_after(PATIENCE_S):
        while True:
            try:
                await (await trio.open_tcp_stream("127.0.0.1", port)).aclose()
                return
            except OSError:
                await a_moment()


async def a_moment() -> None:
    """Programs start, and sound is played, in their own time."""
    await trio.sleep(0.1)


async def hears(call: PhoneCall, words: bytes) -> None:
    with trio.fail_after(PATIENCE_S):
        while clearest(sound(words), sound(call.heard())) < ALIKE:
            await a_moment()


@together
async def test_the_echo_bot_says_everything_back(tmp_path):
    words = speech(2, seed=1)
    async with open_rig(tmp_path) as rig:
        run = await rig.start()
        async with serving(rig, run, "echo_bot") as bot:
            call = rig.phone.dial(rig.number)
            await call.answered()
            await run.logged("stream started")
            while not is_in(words, call.heard()):
                call.say(words)
                await call.said()
                await a_moment()
            call.hang_up()
            said = [await bot.next() for _ in range(2)]
            assert said[0] == f"{rig.phone.number} calls {rig.number}"
            assert said[1].startswith(f"{rig.phone.number} hung up after ")


@pytest.mark.parametrize("name", ["echo_bot", "menu", "transcriber"])
async def test_a_bot_behind_a_proxy_says_where_that_is(name, tmp_path):
    port, audio = free_ports(), "wss://bot.example/audio"
    command = [sys.executable, EXAMPLES / f"{name}.py", "--port", str(port), "--audio", audio]
    process = await trio.lowlevel.open_process(command, cwd=tmp_path, stdout=subprocess.DEVNULL)
    try:
        await listening(port)
        async with httpx.AsyncClient(trust_env=False, timeout=PATIENCE_S) as http:
            answer = await http.post(f"http://127.0.0.1:{port}/answer", json={"from": PHONE, "to": "+33700000002"})
        assert answer.json()["stream"]["url"] == audio
    finally:
        process.terminate()
        await process.wait()


@together
async def test_the_menu_speaks_hears_keys_and_says_goodbye(tmp_path):
    welcome, tea, goodbye = map(utter, (WELCOME, "It is always time for tea.", "Goodbye."))
    async with open_rig(tmp_path) as rig:
        run = await rig.start()
        async with serving(rig, run, "menu"):
            call = rig.phone.dial(rig.number)
            await call.answered()
            await hears(call, welcome)
            await call.press("1")
            await hears(call, tea)
            await call.press("2")
            await hears(call, goodbye)
            assert await call.ended() == Cause.NORMAL
            # Cut short.
            whole = utter("Press any other key to hear this again.")
            assert align(sound(whole), sound(call.heard())).correlation < 0.5


@together
async def test_the_transcriber_leaves_the_sound_and_a_text_of_each_call(tmp_path):
    pytest.importorskip("pocketsphinx", reason="the example needs pocketsphinx")
    words = utter("Hello, this is a test of the telephone.")
    async with open_rig(tmp_path) as rig:
        run = await rig.start()
        calls = tmp_path / "calls"
        async with serving(rig, run, "transcriber", "--directory", str(calls)) as transcriber:
            call = rig.phone.dial(rig.number)
            await call.answered()
            await run.logged("stream started")
            call.say(words)
            await call.said()
            call.hang_up()
            said = await transcriber.next()
            (text,) = calls.glob("*.txt")
            assert said.startswith(f"{text.stem}: ")
            assert said.endswith(f" s: {text.read_text().strip()}")
            samples, rate_hz = soundfile.read(text.with_suffix(".wav"), dtype="int16")
            assert rate_hz == 16000
            assert clearest(sound(words), samples[::2]) >= ALIKE


async def test_the_crm_takes_what_is_signed_and_keeps_recordings(tmp_path):
    event = {"type": "phone_call.completed", "data": {"id": 7, "from": PHONE, "to": "+33612345678"}}
    async with open_customer() as box:
        box.replies["/rec/7.mp3"] = Reply(body=b"sound")
        event["data"]["recording_url"] = f"{box.url}/rec/7.mp3"
        body, port = json.dumps(event).encode(), free_ports()
        order = [sys.executable, EXAMPLES / "crm.py", "--port", str(port), "--secret", SECRET]
        process = await trio.lowlevel.open_process(
            [*order, "--directory", str(tmp_path)], stdout=subprocess.PIPE, env=os.environ | {"no_proxy": "*"}
        )
        try:
            await listening(port)
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as http:
                for secret, age_s, status in (("whsec_of_another", 0, 401), (SECRET, 301, 401), (SECRET, 0, 204)):
                    t = f"{time.time() - age_s:.0f}"
                    v1 = hmac.new(secret.encode(), t.encode() + b"." + body, hashlib.sha256).hexdigest()
                    headers = {"Phonevoice-Signature": f"t={t},v1={v1}"}
                    assert (await http.post("/", content=body, headers=headers)).status_code == status
                assert (await http.post("/", content=body)).status_code == 401
            said = Lines(process)
            assert await said.next() == f"phone_call.completed: {PHONE} to +33612345678"
            assert await said.next() == f"recording: {tmp_path / '7.mp3'}"
        finally:
            process.terminate()
            await process.wait()
    assert (tmp_path / "7.mp3").read_bytes() == b"sound"


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.stem)
def test_an_example_is_short_and_says_how_to_run_it(path):
    source = path.read_text()
    assert len(source.splitlines()) < 120
    assert f"python examples/{path.name}" in (ast.get_docstring(ast.parse(source)) or "")
