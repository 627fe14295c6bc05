"""What the demo proves, in the order of its doing; `hil.inbound` is the longest chapter of it."""

import time
from collections.abc import Callable
from typing import Any

from hil import forwarded, inbound
from hil.conversation import within
from hil.customer import ANSWER, EVENTS, HANGUP, RING, Post, is_signed
from hil.report import Proof
from hil.scene import ANSWERING, CALLEE, CALLER, ENGAGED, LINES, RECEPTION, SALES, Scene, in_ms

SECRET = "whsec_demo-5f0c3a9be17d4826"
START_LIMIT_S = 20

TITLES = (
    LINES_UP := "lines up",
    LINKED := "app created, numbers linked",
    *inbound.TITLES,
    OUTBOUND := "outbound call answered",
    BUSY := "outbound call busy",
    *forwarded.TITLES,
    TOLD := "events delivered and signed",
    STOPPED := "service stopped, nothing left behind",
)
# Types and revisions: the end is told again when the recording can be heard.
COMPLETED = [("phone_call.started", 1), ("phone_call.completed", 1), ("phone_call.completed", 2)]
WANTED_EVENTS = {
    (CALLER, RECEPTION): COMPLETED,
    (SALES, CALLEE): COMPLETED,
    (SALES, ENGAGED): [("phone_call.busy", 1)],
}


async def prove_all(scene: Scene) -> None:
    """All but the stop of the service. What does not hold stands in the report, and the next chapter is tried."""
    report = scene.report
    with report.chapter():
        await _lines_up(scene)
        await _linked(scene)
        for chapter in (inbound.prove_inbound, _outbound, _busy, forwarded.prove_relay, _events):
            with report.chapter():
                await chapter(scene)


async def _lines_up(scene: Scene) -> None:
    with scene.report.proof(LINES_UP) as proof:
        await scene.box.create_key()
        began = time.monotonic()
        await scene.box.start()
        await scene.box.idle(within_s=START_LIMIT_S)
        proof.figure(f"{len(LINES)} lines idle {time.monotonic() - began:.2f} s after the start of the service")


async def _linked(scene: Scene) -> None:
    with scene.report.proof(LINKED) as proof:
        url = scene.webhooks.url
        app, app_ms = await scene.box.post(
            "/apps", {"name": "Demo", "answer_url": url + ANSWER, "hangup_url": url + HANGUP}
        )
        took_ms = [
            (await scene.box.post(f"/apps/{app['app_id']}/numbers", {"voip_number": number}))[1]
            for number in (RECEPTION, SALES)
        ]
        proof.figure(f"app {app_ms:.0f} ms, numbers " + " and ".join(f"{each:.0f} ms" for each in took_ms))


async def _order(scene: Scene, proof: Proof, to: str) -> Callable[[Any], bool]:
    """Places a call. Which webhooks are its own is what comes back."""
    url = scene.webhooks.url
    order = {"from": SALES, "to": to, "answer_url": url + ANSWER, "ring_url": url + RING, "hangup_url": url + HANGUP}
    data, took_ms = await scene.box.post("/calls", order)
    proof.expect(data["status"] == "queued", "queued", data["status"])
    proof.figure(f"accepted in {took_ms:.0f} ms")
    return lambda body: bool(body.get("request_uuid") == data["request_uuid"])


async def _outbound(scene: Scene) -> None:
    with scene.report.proof(OUTBOUND) as proof:
        await scene.voice.order(echo=True)
        began = time.monotonic()
        mine = await _order(scene, proof, CALLEE)
        ring = await scene.webhooks.post(RING, mine)
        answer = await scene.webhooks.post(ANSWER, mine)
        proof.figure(
            f"ring webhook {in_ms(ring.at - began)}, answer webhook {in_ms(answer.at - began)} after the order"
        )
        phone = scene.bench.phone(CALLEE).calls[-1]
        talk = await scene.connected(phone, began)
        await scene.speak(proof, talk, ANSWERING)
        closed = time.monotonic()
        await scene.voice.order(close=1000)
        cause = await within(5, "the callee to be hung up on", phone.ended())
        proof.expect(cause == 16, "cause 16 at the callee", cause)
        hangup = await scene.hung_up(proof, mine, status="COMPLETED", cause="16")
        proof.figure(f"closed with 1000 by the customer, hangup webhook {in_ms(hangup.at - closed)} later")
        proof.expect(ring.at < answer.at < hangup.at, "ring, answer, hangup in this order", "another")


async def _busy(scene: Scene) -> None:
    with scene.report.proof(BUSY) as proof:
        began = time.monotonic()
        mine = await _order(scene, proof, ENGAGED)
        hangup = await scene.hung_up(proof, mine, status="BUSY", cause="17")
        proof.figure(f"hangup webhook BUSY {in_ms(hangup.at - began)} after the order")
        answers = [post.json for post in scene.webhooks.posts(ANSWER) if mine(post.json)]
        proof.expect(not answers, "no answer webhook", answers)


async def _events(scene: Scene) -> None:
    with scene.report.proof(TOLD) as proof:
        waits = []
        for parties, wanted in WANTED_EVENTS.items():
            events = [await _event(scene, parties, *each) for each in wanted]
            end = next(event for event in reversed(events) if event.json["data"]["revision"] == 1)
            waits.append(end.at - scene.ended_at.get(parties, end.at))
        came = scene.webhooks.posts(EVENTS)
        signed = [await is_signed(post, SECRET) for post in came]
        proof.figure(f"{len(came)} events, {signed.count(True)} signatures verified by openssl")
        proof.figure(f"the end of each call {', '.join(map(in_ms, waits))} after the call's end")
        for parties, wanted in WANTED_EVENTS.items():
            told = [(post.json["type"], post.json["data"]["revision"]) for post in came if _parties(post) == parties]
            proof.expect(told == wanted, f"{wanted} of the call from {parties[0]} to {parties[1]}", told)
        proof.expect(all(signed), "every signature good", f"{signed.count(False)} that are not")
        ids = {post.json["id"] for post in came}
        proof.expect(len(ids) == len(came), f"{len(came)} events under as many ids", f"{len(ids)} ids")


async def _event(scene: Scene, parties: tuple[str, str], type_: str, revision: int) -> Post:
    def is_it(post: Post) -> bool:
        known = post.path == EVENTS and post.json["type"] == type_ and post.json["data"]["revision"] == revision
        return known and _parties(post) == parties

    return await scene.webhooks.inbox.get(
        f"the event {type_} of the call from {parties[0]} to {parties[1]}", is_it, within_s=10
    )


def _parties(event: Post) -> tuple[str, str]:
    data = event.json["data"]
    return data["from"], data["to"]
