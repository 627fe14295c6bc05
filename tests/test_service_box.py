"""The box's own API through the whole service: calls seen, hung up and measured; recordings heard; messages taken."""

import io
import wave

import httpx
import soundfile
import trio

from hil.network import Cause
from tests.customer import Reply
from tests.rig import KEY, PATIENCE_S, PHONE, Client, open_rig, speech, together
from tests.talks import MOST_BUFFERED_FRAMES, is_in, speaks

APP = "/box/v1/apps/sfv_app_000000000001"


async def settled(client, path, known):
    """What is at this address, once it is so."""
    with trio.fail_after(PATIENCE_S):
        while True:
            status, answer = await client.request("GET", path)
            if status == 200 and known(answer):
                return answer
            await trio.sleep(0.05)


@together
async def test_a_call_is_seen_while_it_lasts_hung_up_by_order_and_looked_back_at(tmp_path):
    words = speech(1, seed=3)
    async with open_rig(tmp_path) as rig:
        run = await rig.start()
        async with Client(run) as client:
            _, line = await client.request("GET", "/box/v1/lines/line1")
            assert (line["name"], line["number"], line["state"], line["problem"]) == ("line1", rig.number, "idle", None)
            call = rig.phone.dial(rig.number)
            voice = await rig.voice.connection()
            uuid = (await voice.next("start"))["callId"]
            await speaks(call, words, voice)
            _, active = await client.request("GET", "/box/v1/calls?state=active&line=line1")
            (seen,) = active["calls"]
            assert (seen["id"], seen["from"], seen["to"]) == (uuid, PHONE, rig.number)
            assert (seen["outcome"], seen["receipt"]) == (None, None)
            _, lines = await client.request("GET", "/box/v1/lines")
            assert [(line["state"], line["audio"]["received_s"] > 0) for line in lines["lines"]] == [("in use", True)]

            status, _ = await client.request("POST", f"/box/v1/calls/{uuid}/hangup")
            assert status == 202
            assert await call.ended() == Cause.NORMAL
            ended = (await rig.customer.post("/hangup")).json
            assert (ended["call_uuid"], ended["call_status"]) == (uuid, "COMPLETED")

            logged = await run.logged("receipt", call=uuid)
            seen = await settled(client, f"/box/v1/calls/{uuid}", lambda it: it["receipt"] and it["recordings"])
            assert (seen["state"], seen["outcome"], seen["reason"], seen["cause"]) == (
                "ended",
                "completed",
                "customer",
                16,
            )
            receipt = seen["receipt"]
            assert receipt.items() <= logged.items()
            assert set(receipt) == {
                "answer_webhook_ms",
                "line_to_engine_ms",
                "engine_to_line_ms",
                "engine_to_socket_ms",
                "reconnects",
                "frames_to_server",
                "messages_from_server",
                "lost_frames",
            }
            assert 0 <= receipt["line_to_engine_ms"]["mean"] <= receipt["line_to_engine_ms"]["worst"]
            assert 0 < receipt["engine_to_socket_ms"]["p50"] <= receipt["engine_to_socket_ms"]["worst"]
            assert receipt["frames_to_server"] >= MOST_BUFFERED_FRAMES
            assert (receipt["reconnects"], receipt["messages_from_server"]) == (0, 0)
            assert receipt["lost_frames"].keys() == {"from_line", "to_line", "to_server"}

            _, page = await client.request("GET", "/box/v1/events")
            types = [event["type"] for event in page["events"]][:3]
            assert types == ["phone_call.ringing", "phone_call.started", "phone_call.completed"]
            _, later = await client.request("GET", f"/box/v1/events?after={page['events'][1]['cursor']}")
            assert later["events"][0] == page["events"][2]

            path = f"/box/v1/recordings/{uuid}"
            facts = await settled(client, path, lambda it: it["state"] == "ready")
            headers = {"X-API-Key": KEY}
            async with httpx.AsyncClient(base_url=run.url, headers=headers, trust_env=False) as http:
                whole = (await http.get(f"{path}/audio")).content
                assert len(whole) == facts["size_bytes"]
                samples, _rate = soundfile.read(io.BytesIO(whole), dtype="int16")
                assert is_in(words, samples[:, 0].tobytes())
                part = await http.get(f"{path}/audio", headers={"Range": "bytes=1000-1999"})
                assert (part.status_code, part.content) == (206, whole[1000:2000])
                head = await http.head(f"{path}/audio")
                assert (head.status_code, head.headers["content-length"]) == (200, str(len(whole)))
                beyond = await http.get(f"{path}/audio", headers={"Range": f"bytes={len(whole)}-"})
                assert (beyond.status_code, beyond.headers["content-range"]) == (416, f"bytes */{len(whole)}")
            status, _ = await client.request("DELETE", path)
            assert status == 204
            await run.logged("recordings deleted", why="ordered", first=uuid)
            assert rig.recordings == []
        assert run.faults == []


@together
async def test_a_call_that_rings_far_away_is_hung_up_by_the_name_it_was_asked_for_by(tmp_path):
    async with open_rig(tmp_path) as rig:
        run = await rig.start()
        callee = rig.bench.subscriber("+33612345678", behaviour="no-answer")
        async with Client(run) as client:
            asked_by = await client.place(rig, "+33612345678")
            theirs = await callee.called()
            await settled(client, f"/box/v1/calls/{asked_by}", lambda it: it["state"] == "alerting")
            status, _ = await client.request("POST", f"/box/v1/calls/{asked_by}/hangup")
            assert status == 202
            await theirs.ended()
            ended = (await rig.customer.post("/hangup")).json
            assert (ended["request_uuid"], ended["call_status"]) == (asked_by, "CANCELED")
            status, problem = await client.request("POST", f"/box/v1/calls/{asked_by}/hangup")
            assert (status, problem) == (409, {"message": "the call is over"})
        assert run.faults == []


@together
async def test_a_caller_whom_no_server_wants_leaves_a_message(tmp_path):
    announcement, message = speech(2, seed=4), speech(2, seed=5)
    async with open_rig(tmp_path) as rig:
        run = await rig.start()
        with wave.open(str(rig.data / "announcements" / "closed.wav"), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(8000)
            file.writeframes(announcement)
        rig.customer.replies["/answer"] = Reply(status=500)
        async with Client(run) as client:
            options = {"no_answer": {"announcement": "closed.wav"}}
            status, _ = await client.request("PUT", APP, options)
            assert status == 200
            call = rig.phone.dial(rig.number)
            await call.answered()
            await run.logged("the box takes a message")
            call.say(message)
            await call.said()
            call.hang_up()
            assert is_in(announcement, call.heard())
            ended = (await rig.customer.post("/hangup")).json
            assert ended["call_status"] == "FAILED"
            path = f"/box/v1/calls/{ended['call_uuid']}"
            seen = await settled(client, path, lambda it: it["recordings"] and it["receipt"])
            assert (seen["reason"], seen["outcome"]) == ("answer_failed", "failed")
            assert "reconnects" not in seen["receipt"]
            await run.logged("recorded")
            samples, _rate = soundfile.read(rig.recordings[0], dtype="int16")
            caller, box = (samples[:, channel].tobytes() for channel in (0, 1))
            assert is_in(message, caller)
            assert is_in(announcement, box)
        assert run.faults == []
