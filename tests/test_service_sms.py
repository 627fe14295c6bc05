"""Short messages through the whole service: phones on one end, HTTP and webhooks on the other; and kill -9 between."""

import signal

import httpx
import trio

from tests.rig import PATIENCE_S, PHONE, Client, Rig, Run, open_rig, together

SMS, USSD = "/box/v1/sms", "/box/v1/ussd"
LONG = "Ein längerer Text, der nicht in eine Nachricht passt. " * 6


async def settled(client: Client, message: str, *states: str) -> dict[str, object]:
    """The message, once it is in one of these states."""
    with trio.fail_after(PATIENCE_S):
        while True:
            status, sms = await client.request("GET", f"{SMS}/{message}")
            assert status == 200
            if sms["state"] in states:
                return dict(sms)
            await trio.sleep(0.1)


@together
async def test_messages_both_ways(tmp_path):
    async with open_rig(tmp_path) as rig:
        run = await rig.start()
        rig.phone.text(rig.number, "Ça va ? \U0001f600")
        event = await rig.customer.event("sms.received", body="Ça va ? \U0001f600")
        assert event["data"] == {
            "direction": "inbound",
            "from": PHONE,
            "to": rig.number,
            "relay_number": rig.number,
            "body": "Ça va ? \U0001f600",
        }
        async with Client(run) as client:
            status, queued = await client.request("POST", SMS, {"to": PHONE, "text": LONG})
            assert status == 202
            assert (queued["from"], queued["to"], queued["text"]) == (rig.number, PHONE, LONG)
            assert len(queued["parts"]) == 3
            with trio.fail_after(PATIENCE_S):
                assert (await rig.phone.texted()).body == LONG
            sent = await settled(client, queued["id"], "delivered")
            assert [part["state"] for part in sent["parts"]] == ["delivered"] * 3
            assert len({part["reference"] for part in sent["parts"]}) == 3

            _, page = await client.request("GET", f"{SMS}?limit=1")
            assert [each["id"] for each in page["messages"]] == [queued["id"]]
            _, rest = await client.request("GET", f"{SMS}?limit=1&before={page['next']}")
            (first,) = rest["messages"]
            assert (first["direction"], first["state"], first["text"]) == ("inbound", "received", "Ça va ? \U0001f600")
            assert rest["next"] is None
            _, inbound = await client.request("GET", f"{SMS}?direction=inbound&line={rig.line.name}")
            assert inbound["messages"] == [first]
        assert slots(rig) == 0
        assert run.faults == []


@together
async def test_parts_in_disorder_and_twice_are_one_message(tmp_path):
    async with open_rig(tmp_path) as rig:
        run = await rig.start()
        centre = rig.bench.network.centre
        centre.holding = True
        rig.phone.text(rig.number, LONG)
        rig.phone.text(rig.number, "after it")
        centre.held = [centre.held[place] for place in (2, 0, 2, 3, 1, 0, 1)]
        centre.release(trio.current_time())
        await rig.customer.event("sms.received", body=LONG)
        await rig.customer.event("sms.received", body="after it")
        await emptied(rig)
        assert sorted(post.json["data"]["body"] for post in rig.customer.posts("/events")) == [LONG, "after it"]
        assert run.faults == []


@together
async def test_what_came_before_a_restart_waits_for_the_rest_after_it(tmp_path):
    async with open_rig(tmp_path) as rig:
        run = await rig.start()
        centre = rig.bench.network.centre
        centre.holding = True
        rig.phone.text(rig.number, LONG)
        *early, late = centre.held
        centre.held = early
        centre.release(trio.current_time())
        await run.logged("message part", part=2)
        await emptied(rig)
        assert await run.stop() == 0
        run = await rig.start()
        centre.held = [late]
        centre.release(trio.current_time())
        await rig.customer.event("sms.received", body=LONG)
        assert run.faults == []


@together
async def test_a_message_that_the_network_refuses_for_good_fails_and_the_next_one_goes(tmp_path):
    async with open_rig(tmp_path) as rig:
        run = await rig.start()
        rig.line.faults.refused["+CMGS"] = 28
        async with Client(run) as client:
            _, bad = await client.request("POST", SMS, {"to": PHONE, "text": LONG, "line": rig.line.name})
            failed = await settled(client, bad["id"], "failed")
            assert failed["parts"][0]["error"] == "+CMS ERROR: 28"
            assert {part["state"] for part in failed["parts"]} == {"failed"}
            rig.line.faults.refused["+CMGS"] = 38
            _, slow = await client.request("POST", SMS, {"to": PHONE, "text": "later", "from": rig.number})
            await run.logged("message part", message=slow["id"], state="queued", error="+CMS ERROR: 38")
            rig.line.faults.refused.clear()
            # The first one rests after its failure, the second does not wait for it.
            _, good = await client.request("POST", SMS, {"to": PHONE, "text": "at once"})
            await settled(client, good["id"], "sent", "delivered")
            assert rig.phone.texts[0].body == "at once"
            late = await settled(client, slow["id"], "delivered")
            assert late["parts"][0]["attempts"] == 2


@together
async def test_codes_are_answered_and_menus_walked(tmp_path):
    async with open_rig(tmp_path) as rig:
        run = await rig.start()
        async with Client(run) as client:
            _, answer = await client.request("POST", USSD, {"code": "*100#"})
            assert answer == {
                "text": "1. Balance\n2. Top up\n0. Exit",
                "raw": "1. Balance\n2. Top up\n0. Exit",
                "outcome": 1,
                "more": True,
            }
            _, answer = await client.request("POST", USSD, {"code": "1", "line": rig.line.name})
            assert (answer["text"], answer["more"]) == ("5.00 EUR", False)
            await client.request("POST", USSD, {"code": "*100#"})
            status, _ = await client.request("DELETE", USSD)
            assert status == 204
            call = rig.phone.dial(rig.number)
            await call.answered()
            refused = await client.request("POST", USSD, {"code": "*123#"})
            assert refused == (502, {"message": "the line is in use"})
            call.hang_up()


@together
async def test_what_is_wrong_is_said(tmp_path):
    async with open_rig(tmp_path, lines=2) as rig:
        run = await rig.start()
        good = {"to": PHONE, "text": "hello", "line": "line1"}
        async with Client(run, None) as stranger:
            for path in (SMS, f"{SMS}/x", USSD):
                status, _ = await stranger.request("GET", path)
                assert status == 401
        async with Client(run) as client:
            refusals = [
                ({"to": PHONE, "text": "hello"}, 422, "line or from: says which of the box's lines"),
                (good | {"line": "nobody"}, 404, "no such line"),
                (good | {"from": "+33700000002"}, 404, "no such line"),
                (good | {"to": "nobody"}, 422, '"nobody" is no number to write to'),
                (good | {"to": "112"}, 422, "112 is an emergency number"),
                (good | {"text": ""}, 422, "text: String should have at least 1 character"),
                (good | {"colour": 1}, 422, "colour: Extra inputs are not permitted"),
                (good | {"validity_s": 1}, 422, "validity_s: Input should be greater than or equal to 300"),
            ]
            for body, status, message in refusals:
                assert await client.request("POST", SMS, body) == (status, {"message": message})
            assert await client.request("GET", f"{SMS}/sms_none") == (404, {"message": "no such message"})
            bad_code = await client.request("POST", USSD, {"code": '*1"', "line": "line1"})
            assert bad_code == (422, {"message": "code: not a USSD code"})
            status, endless = await client.request("GET", f"{SMS}?before={2**63}")
            assert (status, endless["message"][:8]) == (422, "before: ")
            _, openapi = await client.request("GET", "/openapi.json")
            assert {SMS, SMS + "/{id}", USSD} <= set(openapi["paths"])
            assert openapi["paths"][SMS]["post"]["responses"]["404"]["content"]
        assert rig.rows("SELECT * FROM messages") == []
        assert run.faults == []


# --- kill -9 --------------------------------------------------------------------------------------------------------

POINTS = (
    "after.sms.kept",
    "before.sms.received",
    "after.sms.received",
    "after.sms.queued",
    "after.sms.moved",
    "before.sms.moved:2",
    "before.sms.reported",
)


def crash_at(point: str):
    @together
    async def test(tmp_path):
        async with open_rig(tmp_path) as rig:
            run = await rig.start(BRANCHLINE_CRASH_AT=point)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(correspond, rig, run)
                assert await run.ended() == -signal.SIGKILL
                nursery.cancel_scope.cancel()
            run = await rig.start()
            await rig.customer.event("sms.received", body=LONG)
            await rig.customer.event("sms.received", body="short")
            await emptied(rig)
            async with Client(run) as client:
                _, page = await client.request("GET", f"{SMS}?direction=outbound")
                # An order that died before it was safe was never answered: its sender knows.
                for message in page["messages"]:
                    await settled(client, message["id"], "delivered")
            told = {(post.json["id"], post.json["data"]["body"]) for post in rig.customer.posts("/events")}
            assert sorted(body for _, body in told) == sorted([LONG, "short"])
            if page["messages"]:
                assert {text.body for text in rig.phone.texts} == {"going out"}
            assert run.faults == []

    test.__name__ = f"test_nothing_is_lost_and_nothing_comes_twice_{point}"
    return test


async def correspond(rig: Rig, run: Run) -> None:
    """As far as the box lives to see it."""
    rig.phone.text(rig.number, LONG)
    rig.phone.text(rig.number, "short")
    try:
        async with Client(run) as client:
            await client.request("POST", SMS, {"to": PHONE, "text": "going out"})
            await trio.sleep_forever()
    except httpx.TransportError:
        # It died in the middle of our request.
        return


for _point in POINTS:
    globals()[f"test_nothing_is_lost_and_nothing_comes_twice_{_point.replace('.', '_').replace(':', '_')}"] = crash_at(
        _point
    )


def slots(rig: Rig) -> int:
    storage = rig.line.gsm.module.storage
    return sum(len(storage[memory]) for memory in storage)


async def emptied(rig: Rig) -> None:
    """The SIM, of all that is safe elsewhere."""
    with trio.fail_after(PATIENCE_S):
        while slots(rig) or rig.bench.network.centre.waiting:  # noqa: ASYNC110  # it can only be seen
            await trio.sleep(0.05)
