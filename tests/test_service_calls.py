"""Calls through the whole service: modem, engine, database, webhooks and stream, each at work."""

import hashlib
from array import array

import httpx
import soundfile
import trio

from hil.network import Cause, State
from tests.conftest import Connection
from tests.customer import Reply
from tests.rig import PATIENCE_S, Client, open_rig, speech, together
from tests.talks import both_speak, is_in, speaks, until

CALLEE = "+33612345678"


@together
async def test_a_caller_and_a_voice_server_hear_each_other_and_all_is_told(tmp_path):
    words, reply = speech(1, seed=1), speech(1, seed=2)
    async with open_rig(tmp_path) as rig:
        run = await rig.start()
        call = rig.phone.dial(rig.number)
        await call.answered()
        voice = await rig.voice.connection()

        asked = (await rig.customer.post("/answer")).json
        uuid, answered_at = asked["call_uuid"], asked["answered_at"]
        parties = {"call_uuid": uuid, "from": rig.phone.number, "to": rig.number, "direction": "INBOUND"}
        assert asked == parties | {"call_status": "IN_PROGRESS", "answered_at": answered_at}

        start = await voice.receive()
        stream = {"streamId": start["streamId"]}
        assert start == {"event": "start", "callId": uuid} | stream
        assert start["streamId"].startswith("SFV_STRM_BI_")

        media = (await voice.next("media"))["media"]
        assert media.keys() == {"payload", "contentType", "sampleRate"}
        await both_speak(call, words, voice, reply)
        await voice.send({"event": "checkpoint", "name": "over"})
        assert await voice.next("playedStream") == {"event": "playedStream", "name": "over"} | stream

        await call.press("1#")
        assert [(await voice.next("dtmf"))["dtmf"] for _ in "1#"] == [{"digit": "1"}, {"digit": "#"}]

        codes = []
        rig.customer.replies["/hangup"] = lambda: codes.append(voice.close_code) or Reply()
        call.hang_up()
        ended = (await rig.customer.post("/hangup")).json
        assert codes == [1000], "the socket is closed first"
        times = {name: ended[name] for name in ("started_at", "ended_at", "duration")}
        assert ended == parties | times | {"call_status": "COMPLETED", "answer_at": answered_at, "hangup_cause": "16"}
        assert ended["started_at"] <= answered_at < ended["ended_at"]

        completed = await rig.customer.event("phone_call.completed")
        facts = {"status": "completed", "direction": "inbound", "from": rig.phone.number, "to": rig.number}
        assert facts.items() <= completed["data"].items()
        assert completed["data"]["duration"] == ended["duration"]

        await run.logged("recorded")
        # Told again, with where the recording is.
        again = await rig.customer.event("phone_call.completed", revision=2)
        address = again["data"]["recording_url"]
        assert again["data"] == {**completed["data"], "revision": 2, "recording_url": address}
        assert rig.customer.events == ["phone_call.started", "phone_call.completed", "phone_call.completed"]
        (mp3,) = rig.recordings
        assert mp3.name == f"{uuid}.mp3"
        async with httpx.AsyncClient(trust_env=False) as anybody:
            heard = await anybody.get(address)
        assert (heard.status_code, heard.content) == (200, mp3.read_bytes())
        samples, rate = soundfile.read(mp3, dtype="int16")
        assert rate == 8000
        caller, customer = (samples[:, channel].tobytes() for channel in (0, 1))
        assert is_in(words, caller)
        assert is_in(reply, customer)
        assert not is_in(words, customer)

        assert rig.rows("SELECT uuid, state, reason, cause, from_, to_ FROM calls") == [
            (uuid, "ended", "hangup", 16, rig.phone.number, rig.number)
        ]
        digest = hashlib.sha256(mp3.read_bytes()).hexdigest()
        assert rig.rows("SELECT size_bytes, sha256 FROM recordings") == [(mp3.stat().st_size, digest)]
        assert await run.stop() == 0
        assert rig.rows("SELECT type, state FROM deliveries ORDER BY seq") == [
            ("phone_call.started", "delivered"),
            ("phone_call.completed", "delivered"),
            ("phone_call.completed", "delivered"),
        ]
        assert run.faults == []


@together
async def test_the_voice_server_ends_a_call_by_closing_its_socket(tmp_path):
    async with open_rig(tmp_path) as rig:
        await rig.start()
        call = rig.phone.dial(rig.number)
        (await rig.voice.connection()).close(1000)
        assert await call.ended() == Cause.NORMAL
        assert (await rig.customer.post("/hangup")).json["call_status"] == "COMPLETED"
        assert rig.rows("SELECT reason FROM calls") == [("customer",)]


@together
async def test_how_the_sound_of_a_call_fares_is_seen_while_it_lasts_and_in_the_log(tmp_path):
    async with open_rig(tmp_path) as rig:
        run = await rig.start()
        call = rig.phone.dial(rig.number)
        voice = await rig.voice.connection()
        await voice.next("media")
        async with Client(run) as client:
            received_s = 0
            # The first frames may be the engine's own, of silence.
            while not received_s:
                [line] = (await client.health())["lines"]
                received_s = line["audio"]["received_s"]
            call.hang_up()
            audio = await run.logged("audio", line="line1")
            assert audio["received_s"] >= received_s
            # Nobody spoke.
            assert (audio["received_peak"], audio["sent_peak"]) == (0, 0)
            await rig.customer.post("/hangup")
            [line] = (await client.health())["lines"]
            assert "audio" not in line


@together
async def test_a_call_to_a_number_without_an_app_is_left_to_ring(tmp_path):
    async with open_rig(tmp_path, linked=False) as rig:
        run = await rig.start()
        call = rig.phone.dial(rig.number)
        await run.logged("call not taken: no active app for the number")
        assert call.state is State.ALERTING
        call.hang_up()
        await run.logged(f"{rig.line.name}: idle")
        assert rig.rows("SELECT * FROM calls") == []
        assert rig.customer.inbox.all == []


@together
async def test_a_caller_who_gives_up_before_the_answer_is_told_as_canceled(tmp_path):
    async with open_rig(tmp_path) as rig:
        run = await rig.start()
        rig.line.faults.delay_s = 0.2
        call = rig.phone.dial(rig.number)
        await run.logged("call", state="incoming")
        call.hang_up()
        ended = (await rig.customer.post("/hangup")).json
        assert (ended["call_status"], ended["duration"]) == ("CANCELED", 0)
        await rig.customer.event("phone_call.canceled")
        assert rig.customer.posts("/answer") == []


# --- outbound -------------------------------------------------------------------------------------------------------


@together
async def test_an_outbound_call_rings_is_answered_and_ends_in_this_order(tmp_path):
    async with open_rig(tmp_path) as rig:
        run = await rig.start()
        callee = rig.bench.subscriber(CALLEE, behaviour="no-answer")
        async with Client(run) as client:
            # Far more than it takes until they talk.
            request = await client.place(rig, CALLEE, ring_url=f"{rig.customer.url}/ring", call_time_limit=6)
        theirs = await callee.called()
        await rig.customer.post("/ring")
        theirs.answer()
        voice = await rig.voice.connection()
        uuid = (await voice.receive())["callId"]
        ended = (await rig.customer.post("/hangup")).json
        parties = {"call_uuid": uuid, "request_uuid": request, "from": rig.number, "to": CALLEE}
        ring, answer = rig.customer.posts("/ring")[0].json, rig.customer.posts("/answer")[0].json
        common = parties | {"direction": "OUTBOUND"}
        assert ring == common | {"call_status": "RINGING", "started_at": ended["started_at"]}
        assert answer == common | {"call_status": "IN_PROGRESS", "answered_at": ended["answer_at"]}
        # The call's time limit ended it, as ordered.
        assert (ended["call_status"], ended["hangup_cause"]) == ("COMPLETED", "16")
        assert ended["duration"] >= 6
        assert [post.path for post in rig.customer.inbox.all if post.path != "/events"] == [
            "/ring",
            "/answer",
            "/hangup",
        ]
        await rig.customer.event("phone_call.completed", revision=2)
        assert rig.customer.events == ["phone_call.started", "phone_call.completed", "phone_call.completed"]
        assert rig.rows("SELECT reason FROM calls") == [("time_limit",)]


# What a phone does: how it is told by webhook, by which Q.850 cause, and by which event.
UNANSWERED = {
    "busy": ("BUSY", "17", "busy"),
    "no-answer": ("NO_ANSWER", "19", "no-answer"),
    "reject": ("BUSY", "21", "busy"),
    "nobody has the number": ("FAILED", "1", "failed"),
}


@together
async def test_an_outbound_call_that_is_not_answered_has_no_answer_webhook_and_no_socket(tmp_path):
    async with open_rig(tmp_path) as rig:
        run = await rig.start()
        async with Client(run) as client:
            for digit, (behaviour, (status, cause, event)) in enumerate(UNANSWERED.items()):
                number = f"+3361234567{digit}"
                if behaviour != "nobody has the number":
                    rig.bench.subscriber(number, behaviour=behaviour, answers_after_s=0.1)
                # Who is late with a word is not out of time.
                request = await client.place(rig, number, ring_timeout=1 if behaviour == "no-answer" else 60)
                ended = (await rig.customer.post("/hangup", request_uuid=request)).json
                assert (ended["call_status"], ended["hangup_cause"]) == (status, cause), behaviour
                assert ended["duration"] == 0
                assert "answer_at" not in ended
                await rig.customer.event(f"phone_call.{event}", to=number)
        assert rig.customer.posts("/answer") == rig.customer.posts("/ring") == []
        assert rig.voice.handshakes == 0
        assert rig.line.modem.calls == []


@together
async def test_a_call_from_a_busy_line_or_one_that_is_down_is_accepted_and_fails_by_webhook(tmp_path):
    async with open_rig(tmp_path, lines=2) as rig:
        run = await rig.start()
        down = rig.bench.lines[1]
        await down.unplug()
        await run.logged("line lost")
        callee = rig.bench.subscriber(CALLEE, behaviour="no-answer")
        async with Client(run) as client:
            await client.place(rig, CALLEE)
            with trio.fail_after(PATIENCE_S):
                await callee.called()
            for number, status, cause in ((rig.number, "BUSY", "17"), (down.number, "FAILED", "38")):
                request = await client.place(rig, CALLEE, **{"from": number})
                ended = (await rig.customer.post("/hangup", request_uuid=request)).json
                assert (ended["call_status"], ended["hangup_cause"]) == (status, cause)
        assert callee.calls[0].state is State.ALERTING, "the first call goes on"
        assert len(callee.calls) == 1


# --- one after another, and at once ---------------------------------------------------------------------------------


@together
async def test_calls_on_two_lines_do_not_disturb_each_other(tmp_path):
    words = [speech(1, seed) for seed in (1, 2)]
    heard = [b"", b""]
    async with open_rig(tmp_path, lines=2) as rig:
        run = await rig.start()
        phones = [rig.phone, rig.bench.subscriber("+33783484045")]
        calls = [phone.dial(line.number) for phone, line in zip(phones, rig.bench.lines, strict=True)]
        uuids = [(await rig.customer.post("/answer", **{"from": phone.number})).json["call_uuid"] for phone in phones]

        async def listen(voice: Connection) -> None:
            which = uuids.index((await voice.next("start"))["callId"])
            heard[which] = await speaks(calls[which], words[which], voice)

        async with trio.open_nursery() as nursery:
            for _ in calls:
                nursery.start_soon(listen, await rig.voice.connection())
        calls[0].hang_up()
        await rig.customer.post("/hangup", **{"from": phones[0].number})
        assert calls[1].state is State.ACTIVE
        assert [[is_in(said, each) for said in words] for each in heard] == [[True, False], [False, True]]
        assert run.faults == []


@together
async def test_a_line_takes_the_next_call_at_once_and_it_has_sound(tmp_path):
    async with open_rig(tmp_path) as rig:
        run = await rig.start()
        for seed in range(5):
            call = rig.phone.dial(rig.number)
            await call.answered()
            voice = await rig.voice.connection()
            uuid = (await voice.next("start"))["callId"]
            # Far longer than a machine stands still.
            call.say(speech(5, seed))
            while is_silence(await until(voice, "media")):
                pass
            call.hang_up()
        await rig.customer.post("/hangup", call_uuid=uuid)
        async with Client(run) as client:
            rig.bench.subscriber(CALLEE)
            for _ in range(5):
                request = await client.place(rig, CALLEE)
                voice = await rig.voice.connection()
                await voice.next("media")
                voice.close()
                ended = await rig.customer.post("/hangup", request_uuid=request)
                assert ended.json["call_status"] == "COMPLETED"
        assert run.lines("line refused") == run.lines("not dialed") == run.lines("line lost") == []
        assert rig.rows("SELECT count(*) FROM calls WHERE answered_at IS NOT NULL") == [(10,)]


def is_silence(samples: bytes) -> bool:
    return max(map(abs, array("h", samples))) < 1000


@together
async def test_who_calls_while_we_are_about_to_dial_is_answered_and_our_call_is_told_as_busy(tmp_path):
    async with open_rig(tmp_path) as rig:
        run = await rig.start()
        callee = rig.bench.subscriber(CALLEE)
        rig.line.faults.delay_s = 0.3
        async with Client(run) as client:
            request = await client.place(rig, CALLEE)
            await run.logged("call", state="dialing")
            call = rig.phone.dial(rig.number)
            ended = await rig.customer.post("/hangup", request_uuid=request)
        assert ended.json["call_status"] == "BUSY"
        with trio.fail_after(PATIENCE_S):
            await call.answered()
        voice = await rig.voice.connection()
        await voice.next("media")
        assert callee.calls == []
