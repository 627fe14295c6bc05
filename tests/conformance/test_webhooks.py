"""SFVoPI's webhooks, sections 5 and 6: when they come, in which form, and what does not wait for them."""

import ssl
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from appliance.contracts import sfvopi
from appliance.customer import CustomerFailed, open_customer
from drivers.line import Alerting, Answered, LineState, Released
from tests.certificates import certify
from tests.conformance.calls import CALLER, REQUEST, open_scene
from tests.core import still
from tests.customer import Reply
from tests.line_box import NUMBER

NOON = "2026-06-04T12:00:00.000Z"


async def test_6_1_a_call_is_answered_first_and_then_asked_about(tmp_path: Path) -> None:
    async with open_scene(tmp_path) as scene:
        await scene.app()
        orders: list[list[str]] = []

        def answer() -> Reply:
            orders.append(list(scene.line.orders))
            return scene.stream()

        scene.customer.replies["/answer"] = answer
        scene.ring()
        asked = await scene.told("/answer")
        await scene.end()
        assert orders == [["answer"]]
        assert asked == {
            "call_uuid": asked["call_uuid"],
            "from": CALLER,
            "to": NUMBER,
            "direction": "INBOUND",
            "call_status": "IN_PROGRESS",
            "answered_at": NOON,
        }


async def test_6_1_a_call_for_an_inactive_app_is_not_answered_and_not_told(tmp_path: Path) -> None:
    async with open_scene(tmp_path) as scene:
        await scene.app(status="INACTIVE")
        scene.ring()
        await still()
        scene.line.release()
        await still()
        assert (scene.line.orders, scene.paths) == ([], [])


async def test_6_2_a_withheld_number_is_anonymous(tmp_path: Path) -> None:
    async with open_scene(tmp_path) as scene:
        await scene.app()
        scene.ring(None)
        assert (await scene.told("/answer"))["from"] == "anonymous"
        await scene.end()


async def test_5_a_get_webhook_has_its_fields_behind_the_addresss_own(tmp_path: Path) -> None:
    async with open_scene(tmp_path) as scene:
        url = scene.customer.url
        hooks = {"answer_url": f"{url}/answer?token=a%2Fb", "hangup_url": f"{url}/hangup?x"}
        await scene.app(**hooks, answer_method="GET", hangup_method="GET")
        scene.ring()
        await scene.voice.connection()
        scene.line.release()
        answer, hangup = await scene.post("/answer"), await scene.post("/hangup")
    assert (answer.method, answer.body, hangup.method) == ("GET", b"", "GET")
    assert answer.query.startswith("token=a%2Fb&call_uuid=")
    assert f"from=%2B{CALLER[1:]}" in answer.query
    assert hangup.query.startswith("x&call_uuid=")
    call = {"call_uuid": answer.json["call_uuid"], "from": CALLER, "to": NUMBER, "direction": "INBOUND"}
    assert answer.json == call | {"token": "a/b", "call_status": "IN_PROGRESS", "answered_at": NOON}
    ended = {"call_status": "COMPLETED", "started_at": NOON, "answer_at": NOON, "hangup_cause": "16"}
    assert hangup.json == call | ended | {name: hangup.json[name] for name in ("duration", "ended_at")}
    assert hangup.json["duration"].isdecimal()


async def test_5_requests_name_the_appliance_and_carry_no_secret(tmp_path: Path) -> None:
    async with open_scene(tmp_path) as scene:
        await scene.app()
        scene.ring()
        post = await scene.post("/answer")
        await scene.end()
    assert post.headers["content-type"] == "application/json"
    # The box of these tests is called so.
    assert post.headers["user-agent"] == "test"
    assert not {"authorization", "x-api-key", "cookie"} & post.headers.keys()
    assert not [name for name in post.headers if "signature" in name]


async def test_5_nothing_waits_for_a_ring_webhook_that_is_not_answered(tmp_path: Path) -> None:
    async with open_scene(tmp_path) as scene:
        await scene.app()
        scene.customer.replies["/ring"] = Reply(silent=True)
        await scene.place(Alerting(), ring_url=f"{scene.customer.url}/ring")
        await scene.told("/ring")
        scene.line.say(Answered())
        voice = await scene.voice.connection()
        await voice.next("media")
        scene.line.release()
        await scene.told("/hangup")
        assert scene.paths == ["/ring", "/answer", "/hangup"]


@pytest.mark.parametrize(
    "reply",
    [Reply(500), Reply(302, headers={"Location": "/elsewhere"}), Reply(silent=True)],
    ids=["refused", "sent elsewhere", "not answered"],
)
async def test_5_a_hangup_webhook_is_sent_once_whatever_becomes_of_it(
    tmp_path: Path, skipping_clock: trio.testing.MockClock, reply: Reply
) -> None:
    async with open_scene(tmp_path) as scene:
        await scene.app()
        scene.customer.replies["/hangup"] = reply
        scene.ring()
        await scene.voice.connection()
        scene.line.release()
        await scene.told("/hangup")
        for _ in range(3):
            skipping_clock.jump(sfvopi.NOTICE_LIMIT_S)
            await still()
        assert scene.paths == ["/answer", "/hangup"]
        # And the line takes the next call.
        scene.ring()
        await scene.voice.connection()


async def test_5_a_certificate_that_nobody_vouches_for_is_refused(tmp_path: Path) -> None:
    theirs = certify(tmp_path, "127.0.0.1").server

    async def answer(stream: trio.SSLStream[trio.SocketStream]) -> None:
        with pytest.raises(trio.BrokenResourceError):
            await stream.receive_some()

    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(partial(trio.serve_ssl_over_tcp, answer, 0, theirs, host="127.0.0.1"))
        url = f"https://127.0.0.1:{listener.transport_listener.socket.getsockname()[1]}/"
        async with open_customer("test", tls=ssl.create_default_context()) as customer:
            with pytest.raises(CustomerFailed, match="certificate verify failed"):
                await customer.ask("POST", url, headers={}, body=b"", limit_s=10, limit_bytes=100)
        nursery.cancel_scope.cancel()


async def test_6_5_the_fallback_has_the_same_payload_a_method_of_its_own_and_ten_seconds_more(
    tmp_path: Path, skipping_clock: trio.testing.MockClock
) -> None:
    async with open_scene(tmp_path) as scene:
        url = scene.customer.url
        await scene.app(fallback_answer_url=f"{url}/fallback", fallback_answer_method="GET")
        scene.customer.replies |= {"/answer": Reply(silent=True), "/fallback": Reply(silent=True)}
        scene.ring()
        asked = await scene.told("/answer")
        skipping_clock.jump(sfvopi.ANSWER_LIMIT_S)
        assert await scene.told("/fallback") == asked
        skipping_clock.jump(sfvopi.ANSWER_LIMIT_S - 5)
        await still()
        assert scene.line.orders == ["answer"]
        skipping_clock.jump(5)
        await scene.ordered("answer", "hang up")
        ended = await scene.told("/hangup")
        assert (ended["call_status"], ended["answer_at"]) == ("FAILED", NOON)
        # From the answer on; how long this machine took for it is no matter.
        assert 20 <= ended["duration"] < 60
        assert scene.paths == ["/answer", "/fallback", "/hangup"]


@pytest.mark.parametrize("direction", ["INBOUND", "OUTBOUND"])
async def test_6_6_without_a_ring_url_nobody_hears_of_the_ringing(tmp_path: Path, direction: str) -> None:
    async with open_scene(tmp_path) as scene:
        await scene.app()
        await scene.talk(direction)
        await scene.voice.connection()
        scene.line.release()
        ended = await scene.told("/hangup")
        assert scene.paths == ["/answer", "/hangup"]
        assert ended.get("request_uuid") == (REQUEST if direction == "OUTBOUND" else None)


# How a line that was dialed tells of the end, Q.850; what is told then.
ENDS = {
    "unallocated": (1, "FAILED"),
    "busy": (17, "BUSY"),
    "no response": (18, "NO_ANSWER"),
    "no answer": (19, "NO_ANSWER"),
    "rejected": (21, "BUSY"),
    "out of order": (27, "FAILED"),
    "no circuit": (34, "FAILED"),
    "network out of order": (38, "FAILED"),
    "temporary failure": (41, "FAILED"),
    "interworking": (127, "FAILED"),
}


async def test_6_7_a_call_that_is_not_answered_is_told_by_what_the_network_says(tmp_path: Path) -> None:
    async with open_scene(tmp_path) as scene:
        await scene.app()
        for name, (cause, status) in ENDS.items():
            scene.customer.inbox.all.clear()
            await scene.place(Alerting(), Released(cause), request=name)
            ended = await scene.told("/hangup")
            assert (ended["call_status"], ended["hangup_cause"], ended["duration"]) == (status, str(cause), 0)
            assert "answer_at" not in ended
            assert scene.paths == ["/hangup"]
            scene.line.say(state=LineState.IDLE)
            await still()


@pytest.mark.parametrize("change", ["a new answer_url", "no app any more"])
async def test_2_4_2_5_a_call_goes_on_with_what_it_began_with(tmp_path: Path, change: str) -> None:
    async with open_scene(tmp_path) as scene:
        app = await scene.app()
        await scene.place()
        await scene.ordered("dial")
        if change == "a new answer_url":
            new: dict[str, Any] = {"answer_url": f"{scene.customer.url}/other", "hangup_url": None}
            assert await scene.box.store.change_app(app.app_id, new)
        else:
            assert await scene.box.store.delete_app(app.app_id)
        scene.line.say(Alerting(), Answered())
        await (await scene.voice.connection()).next("media")
        scene.line.release()
        await scene.told("/hangup")
        assert scene.paths == ["/answer", "/hangup"]


async def test_4_1_the_time_limit_counts_from_the_answer_and_ends_the_call_as_completed(
    tmp_path: Path, skipping_clock: trio.testing.MockClock
) -> None:
    async with open_scene(tmp_path) as scene:
        await scene.app()
        await scene.place(Alerting(), call_time_limit=30, ring_timeout=600)
        await scene.ordered("dial")
        skipping_clock.jump(100)
        await still()
        scene.line.say(Answered())
        voice = await scene.voice.connection()
        await voice.next("media")
        skipping_clock.jump(25)
        await still()
        assert scene.line.orders == ["dial"]
        skipping_clock.jump(5)
        ended = await scene.told("/hangup")
        assert (ended["call_status"], ended["hangup_cause"]) == ("COMPLETED", "16")
        assert 30 <= ended["duration"] < 90
        assert voice.close_code == 1000
