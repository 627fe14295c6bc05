"""A customer whose servers do it wrong: the call goes on or ends as the contract says, and the log says why, once."""

import base64
import json
from functools import partial

import trio

from hil.network import Cause, State
from tests.certificates import certify
from tests.conftest import _serve_voice as serve_voice
from tests.customer import Reply
from tests.rig import API, PATIENCE_S, Client, Rig, Run, open_rig, together

CALLEE = "+33612345678"
# Nobody listens there.
NOWHERE = "127.0.0.1:1"


def stream_json(**fields: object) -> Reply:
    return Reply(body=json.dumps({"stream": {"url": f"ws://{NOWHERE}/voice", **fields}}).encode())


# Each with the log's words about it.
BAD_ANSWERS = {
    "status 500": (Reply(500, b"{}"), "answered 500"),
    "another 2xx": (Reply(204, b""), "answered 204"),
    "a redirect": (Reply(302, b"", {"Location": "/answer"}), "answered 302"),
    "not JSON": (Reply(body=b"<Response/>"), "not JSON"),
    "nothing": (Reply(body=b""), "not JSON"),
    "packed": (Reply(body=b"\x1f\x8b\x08", headers={"Content-Encoding": "gzip"}), "not JSON"),
    "a list": (Reply(body=b"[]"), "body: Input should be a valid dictionary"),
    "other instructions": (Reply(body=b'{"speak": "hello"}'), "stream: Field required"),
    "no socket": (stream_json(url="https://bot.example/"), "stream.url: "),
    "no such codec": (stream_json(codec="OPUS"), "stream.codec: Input should be 'PCMA', 'PCMU' or 'L16'"),
    "a rate not of its codec": (stream_json(codec="PCMU", sample_rate=16000), "16000 is not a rate of PCMU"),
    "huge": (Reply(body=b" " * 70_000), "answered more than 65536 bytes"),
    "deep": (Reply(body=b"[" * 60_000), "not JSON"),
}


@together
async def test_an_answer_webhook_that_gives_no_stream_fails_the_call_and_the_log_says_why(tmp_path):
    async with open_rig(tmp_path) as rig:
        run = await rig.start()
        callee = rig.bench.subscriber(CALLEE)
        async with Client(run) as client:
            for name, (reply, why) in BAD_ANSWERS.items():
                rig.customer.replies["/bad"] = reply
                request = await client.place(rig, CALLEE, answer_url=f"{rig.customer.url}/bad")
                ended = (await rig.customer.post("/hangup", request_uuid=request)).json
                assert (ended["call_status"], "answer_at" in ended) == ("FAILED", True), name
                said = [line for line in run.lines("no instructions") if line["call"] == ended["call_uuid"]]
                assert len(said) == 1
                assert why in said[0]["error"], name
            request = await client.place(rig, CALLEE, answer_url=f"http://{NOWHERE}/")
            assert (await rig.customer.post("/hangup", request_uuid=request)).json["call_status"] == "FAILED"
            assert run.lines("no instructions")[-1]["error"].endswith("Connection refused")
        assert [call.state for call in callee.calls] == [State.ENDED] * (len(BAD_ANSWERS) + 1)
        assert rig.rows("SELECT DISTINCT reason FROM calls") == [("answer_failed",)]
        assert rig.voice.handshakes == 0
        assert run.faults == []


@together
async def test_a_cookie_of_one_call_is_not_sent_in_another(tmp_path):
    async with open_rig(tmp_path) as rig:
        await rig.start()
        rig.customer.replies["/answer"] = Reply(500, headers={"Set-Cookie": "session=1; Path=/"})
        for _ in range(2):
            call = rig.phone.dial(rig.number)
            await call.ended()
        await rig.customer.inbox.get(
            "the second", lambda post: len(rig.customer.posts("/hangup")) == 2, within_s=PATIENCE_S
        )
        assert len(rig.customer.posts("/answer")) == 2
        assert not [post for post in rig.customer.inbox.all if "cookie" in post.headers]


async def furnish_fallback(rig: Rig, run: Run, *, answer: str, fallback: str) -> None:
    """The first line's app becomes one with these two webhooks."""
    url = rig.customer.url
    hooks = {"answer_url": url + answer, "fallback_answer_url": url + fallback, "hangup_url": f"{url}/hangup"}
    async with Client(run) as client:
        _, made = await client.request("POST", f"{API}/apps", {"name": "two"} | hooks)
        path = f"{API}/apps/{made['data']['app_id']}/numbers"
        assert (await client.request("POST", path, {"voip_number": rig.number}))[0] == 200


@together
async def test_a_silent_answer_webhook_has_ten_seconds_and_then_its_fallback_is_asked(tmp_path):
    async with open_rig(tmp_path, linked=False) as rig:
        run = await rig.start()
        await furnish_fallback(rig, run, answer="/silent", fallback="/answer")
        rig.customer.replies["/silent"] = Reply(silent=True)
        call = rig.phone.dial(rig.number)
        await rig.customer.post("/silent")
        await (await rig.voice.connection()).next("media")
        assert [line["error"] for line in run.lines("no instructions")] == ["gave no answer in 10 s"]
        first, second = (rig.customer.posts(path)[0].json for path in ("/silent", "/answer"))
        assert first == second
        call.hang_up()
        assert (await rig.customer.post("/hangup")).json["duration"] >= 9


@together
async def test_a_caller_who_hangs_up_while_the_customer_is_asked_is_a_completed_call(tmp_path):
    async with open_rig(tmp_path) as rig:
        run = await rig.start()
        rig.customer.replies["/answer"] = Reply(silent=True)
        call = rig.phone.dial(rig.number)
        await rig.customer.post("/answer")
        call.hang_up()
        assert (await rig.customer.post("/hangup")).json["call_status"] == "COMPLETED"
        assert run.lines("no instructions") == run.faults == []


@together
async def test_when_the_fallback_fails_too_the_call_has_failed(tmp_path):
    async with open_rig(tmp_path, linked=False) as rig:
        run = await rig.start()
        await furnish_fallback(rig, run, answer="/bad", fallback="/worse")
        rig.customer.replies |= {"/bad": Reply(500), "/worse": Reply(body=b"?")}
        call = rig.phone.dial(rig.number)
        await call.ended()
        assert (await rig.customer.post("/hangup")).json["call_status"] == "FAILED"
        assert [(line["webhook"], line["error"]) for line in run.lines("no instructions")] == [
            ("answer", "answered 500"),
            ("fallback", "not JSON"),
        ]


# --- the voice server -------------------------------------------------------------------------------------------------


@together
async def test_a_call_survives_whatever_its_voice_server_says(tmp_path):
    nonsense = [
        "{",
        "[]",
        b"\x00\xd5\xd5",
        {"event": "dance"},
        {"event": "playAudio"},
        {"event": "playAudio", "media": {"payload": "%%%"}},
        {"event": "playAudio", "media": {"payload": "AAAA", "contentType": "audio/x-l16", "sampleRate": 8000}},
        {"event": "playAudio", "media": {"payload": "AAAA", "contentType": "audio/opus"}},
        {"event": "checkpoint"},
        # More than ten minutes would wait.
        {"event": "playAudio", "media": {"payload": base64.b64encode(b"\xd5" * 10_000_000).decode()}},
    ]
    async with open_rig(tmp_path) as rig:
        run = await rig.start()
        call = rig.phone.dial(rig.number)
        voice = await rig.voice.connection()
        await voice.send(*nonsense, *nonsense)
        await voice.send({"event": "clearAudio"}, {"event": "checkpoint", "name": "still here"})
        await voice.next("clearedAudio")
        assert (await voice.next("playedStream"))["name"] == "still here"
        await voice.next("media")
        assert call.state is State.ACTIVE
        call.hang_up()
        faults = (await run.logged("stream ended"))["faults"]
        assert sum(faults.values()) == 2 * len(nonsense)
        dropped = [line["kind"] for line in run.lines("message dropped")]
        assert sorted(dropped) == sorted(faults), "each kind is said once"
        assert run.faults == []


@together
async def test_a_voice_server_that_refuses_ends_the_call(tmp_path):
    async with open_rig(tmp_path) as rig:
        run = await rig.start()
        rig.voice.statuses += [403]
        assert await rig.phone.dial(rig.number).ended() == Cause.NORMAL
        assert (await rig.customer.post("/hangup")).json["call_status"] == "COMPLETED"
        assert rig.voice.handshakes == 1
        assert len(run.lines("stream closed by the server")) == 1


@together
async def test_a_voice_server_that_is_not_there_is_tried_again_and_then_the_call_ends(tmp_path):
    async with open_rig(tmp_path) as rig:
        run = await rig.start()
        rig.customer.replies["/answer"] = stream_json()
        assert await rig.phone.dial(rig.number).ended() == Cause.NORMAL
        assert [line["wait_s"] for line in run.lines("stream lost")] == [1, 2, 4, None]
        assert (await rig.customer.post("/hangup")).json["call_status"] == "COMPLETED"
        assert rig.rows("SELECT reason FROM calls") == [("stream_lost",)]


@together
async def test_a_call_that_is_kept_alive_outlives_its_stream(tmp_path):
    async with open_rig(tmp_path) as rig:
        run = await rig.start()
        rig.customer.replies["/answer"] = rig.stream(keep_call_alive=True)
        call = rig.phone.dial(rig.number)
        (await rig.voice.connection()).close(1000)
        await run.logged("stream ended")
        await call.press("12")
        assert call.state is State.ACTIVE
        call.hang_up()
        assert (await rig.customer.post("/hangup")).json["call_status"] == "COMPLETED"
        assert rig.rows("SELECT reason FROM calls") == [("hangup",)]


@together
async def test_a_stream_that_is_cut_is_resumed_under_its_id(tmp_path):
    async with open_rig(tmp_path) as rig:
        await rig.start()
        call = rig.phone.dial(rig.number)
        voice = await rig.voice.connection()
        start = await voice.next("start")
        voice.cut()
        voice = await rig.voice.connection()
        assert await voice.receive() == start
        await voice.next("media")
        assert call.state is State.ACTIVE
        voice.close(1000)
        await call.ended()


@together
async def test_a_private_certificate_that_the_system_trusts_is_good_for_webhooks_and_streams(tmp_path):
    tls, ca, _ = certify(tmp_path, "127.0.0.1")
    async with open_rig(tmp_path) as rig, serve_voice(tls) as voice, trio.open_nursery() as nursery:

        async def answer(stream: trio.SSLStream) -> None:
            await stream.receive_some()
            body = json.dumps({"stream": {"url": voice.url}}).encode()
            await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))

        serve = partial(trio.serve_ssl_over_tcp, answer, 0, tls, host="127.0.0.1")
        (listener,) = await nursery.start(serve)
        run = await rig.start(SSL_CERT_FILE=str(ca))
        rig.bench.subscriber(CALLEE)
        async with Client(run) as client:
            port = listener.transport_listener.socket.getsockname()[1]
            await client.place(rig, CALLEE, answer_url=f"https://127.0.0.1:{port}/")
        await (await voice.connection()).next("media")
        assert run.lines("no instructions") == []
        nursery.cancel_scope.cancel()
