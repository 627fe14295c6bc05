"""The service as a unit of systemd: what it tells on NOTIFY_SOCKET, how it stops, and what /healthz shows."""

import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from hil.network import Cause
from tests.rig import API, KEY, PATIENCE_S, Client, open_rig, together


class Systemd:
    """The other end of NOTIFY_SOCKET (sd_notify(3))."""

    def __init__(self, path: Path, listener: trio.socket.SocketType) -> None:
        self.path = path
        self._socket = listener

    async def told(self) -> str:
        with trio.fail_after(PATIENCE_S):
            return (await self._socket.recv(1000)).decode()


@asynccontextmanager
async def open_systemd(directory: Path) -> AsyncIterator[Systemd]:
    path = directory / "user@1000"
    with trio.socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        await listener.bind(str(path))
        yield Systemd(path, listener)


@together
async def test_systemd_is_told_of_the_start_of_life_and_of_the_stop(tmp_path):
    async with open_systemd(tmp_path) as systemd, open_rig(tmp_path) as rig:
        run = await rig.launch(NOTIFY_SOCKET=str(systemd.path), WATCHDOG_USEC="200000")
        assert await systemd.told() == "READY=1"
        async with Client(run) as client:
            assert (await client.health())["status"] == "ok"
        assert [await systemd.told() for _ in range(5)] == ["WATCHDOG=1"] * 5
        run.send(signal.SIGTERM)
        while (told := await systemd.told()) == "WATCHDOG=1":
            pass
        assert told == "STOPPING=1"
        assert await run.ended() == 0
        assert run.faults == []


@together
async def test_a_service_that_stops_hangs_up_its_calls_and_tells(tmp_path):
    async with open_rig(tmp_path, lines=2) as rig:
        run = await rig.start()
        call = rig.phone.dial(rig.number)
        voice = await rig.voice.connection()
        uuid = (await voice.next("start"))["callId"]
        callee = rig.bench.subscriber("+33612345678", behaviour="no-answer")
        async with Client(run) as client:
            request = await client.place(rig, callee.number, **{"from": rig.bench.lines[1].number})
        await run.logged("call", state="alerting")

        assert await run.stop() == 0
        assert await call.ended() == Cause.NORMAL
        assert await callee.calls[0].ended() == Cause.NORMAL
        while await voice.receive() is not None:
            pass
        assert voice.close_code == 1000
        for fact in ({"call_uuid": uuid}, {"request_uuid": request}):
            ended = (await rig.customer.post("/hangup", **fact)).json
            assert (ended["call_status"], ended["hangup_cause"]) == ("FAILED", "41")
        assert rig.rows("SELECT DISTINCT state, reason FROM calls") == [("ended", "shutdown")]

        # Events that the stop was too quick for are told by the next start; and the recording is finished then.
        run = await rig.start()
        await run.logged("recorded", call=uuid)
        for call_id in (1, 2):
            await rig.customer.event("phone_call.error", id=call_id)
        # Told again, with the recording's address.
        await rig.customer.event("phone_call.error", id=1, revision=2)
        assert sorted(rig.customer.events) == [*["phone_call.error"] * 3, "phone_call.started"]
        assert len(rig.customer.posts("/hangup")) == 2


@together
async def test_a_request_in_progress_at_the_stop_is_answered(tmp_path):
    async with open_rig(tmp_path) as rig:
        run = await rig.start()
        port = int(run.url.rpartition(":")[2])
        head = f"POST {API}/apps HTTP/1.1\r\nHost: box\r\nX-API-Key: {KEY}\r\nContent-Length: 2\r\n\r\n"
        async with Client(run) as client, await trio.open_tcp_stream("127.0.0.1", port) as busy:
            await client.health()
            await busy.send_all(head.encode() + b"{")
            run.send(signal.SIGTERM)
            await run.logged("stopping")
            await busy.send_all(b"}")
            with trio.fail_after(PATIENCE_S):
                assert (await busy.receive_some()).startswith(b"HTTP/1.1 400 ")
            assert await run.ended() == 0
        assert run.faults == []


FACTS = {
    "name": "line1",
    "model": "ec25",
    "state": "idle",
    "problem": None,
    "operator": "Orange F",
    "signal_dbm": -65,
    "losses": 0,
    "outages": {"count": 0, "total_s": 0, "last_s": 0},
    "sound_alarms": {"no downlink": 0, "uplink refused": 0, "digital silence": 0},
}


@together
async def test_health_shows_lines_and_the_media_clock(tmp_path):
    async with open_rig(tmp_path) as rig:
        run = await rig.start()
        async with Client(run, key=None) as stranger:
            assert await stranger.health() == {"status": "ok"}
        async with Client(run) as client:
            first = await client.health()
            assert first["status"] == "ok"
            (line,) = first["lines"]
            assert line | FACTS == line
            assert line["number"] == rig.number
            assert (line["at"], line["sound"]) == (str(rig.line.at_path), str(rig.line.pcm_path))
            assert line["imei"].isdecimal()
            assert line["iccid"].startswith("89")
            assert set(line["recoveries"].values()) == {0}
            assert "audio" not in line
            rig.phone.dial(rig.number)
            await (await rig.voice.connection()).next("media")
            second = await client.health()
            assert second["lines"][0]["state"] == "in use"
            assert second["media"]["ticks"] > first["media"]["ticks"]
