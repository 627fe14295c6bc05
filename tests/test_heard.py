"""GET /rec: a recording by its signed address, with no key (phonevoice 7.4)."""

from datetime import timedelta

from appliance.outbox import Attempt, Delivery, Target
from appliance.webhook import Verdict
from tests.box_client import SHA256, SIZE, SOUND, Client, make_recording, open_client
from tests.line_box import LINKS, NOON


async def address(client: Client) -> str:
    """As a request without a key has it."""
    del client.http.headers["X-API-Key"]
    call = await client.box.store.call(1)
    assert call
    return LINKS.recording(call, "call-1", NOON).replace("https://box.example", "http://box")


async def test_7_4_whoever_has_the_address_hears_it_whole_or_in_part(tmp_path):
    async with open_client(tmp_path) as client:
        await make_recording(client)
        url = await address(client)
        whole = await client.http.get(url)
        assert (whole.status_code, whole.content) == (200, SOUND)
        assert (whole.headers["content-type"], whole.headers["etag"]) == ("audio/mpeg", f'"{SHA256}"')
        part = await client.http.get(url, headers={"Range": "bytes=100-199"})
        assert (part.status_code, part.content) == (206, SOUND[100:200])
        assert part.headers["content-range"] == f"bytes 100-199/{SIZE}"
        head = await client.http.head(url)
        assert (head.status_code, head.content, head.headers["content-length"]) == (200, b"", str(SIZE))
        beyond = await client.http.get(url, headers={"Range": f"bytes={SIZE}-"})
        assert (beyond.status_code, beyond.headers["content-range"]) == (416, f"bytes */{SIZE}")
        assert beyond.json() == {"error": f"the file has {SIZE} bytes"}
        kept = await client.http.get(url, headers={"If-None-Match": f'"{SHA256}"'})
        assert (kept.status_code, kept.content) == (304, b"")


async def test_7_4_a_bad_or_an_old_address_is_403_in_json(tmp_path):
    async with open_client(tmp_path) as client:
        await make_recording(client)
        url = await address(client)
        for bad in (url[:-5] + "8.mp3", url.replace("/rec/", "/rec/x"), url.replace("/call_", "/..call_")):
            refused = await client.http.get(bad)
            assert (refused.status_code, list(refused.json())) == (403, ["error"])
        client.box.now = NOON + timedelta(days=7)
        refused = await client.http.get(url)
        assert refused.status_code == 403
        assert "expired" in refused.json()["error"]


async def test_an_address_in_an_event_that_is_read_late_is_good_for_seven_days_from_then(tmp_path):
    async with open_client(tmp_path) as client:
        await make_recording(client)
        for read_days in (0, 8, 30):
            client.box.now = NOON + timedelta(days=read_days)
            *_, event = (await client.get("/events"))["events"]
            url = event["data"]["recording_url"].replace("https://box.example", "http://box")
            client.box.now += timedelta(days=7, seconds=-1)
            assert (await client.http.get(url)).content == SOUND
            client.box.now += timedelta(seconds=1)
            assert (await client.http.get(url)).status_code == 403


async def test_7_4_an_address_is_good_for_seven_days_from_the_delivery_of_its_event(tmp_path):
    async with open_client(tmp_path) as client:
        await make_recording(client)
        url, outbox = await address(client), client.box.store.outbox
        event = Delivery(1, "evt_1", "phone_call.completed", 0, 1, None, b"")
        # A week without internet, a receiver that is not well, and one that is.
        for verdict, told, days in ((Verdict.RETRY, 8, 8), (Verdict.DELIVERED, 8, 15)):
            attempt = Attempt(verdict, NOON + timedelta(days=told), 1, next_at=NOON + timedelta(days=told))
            await outbox.attempted(Target("crm", "https://crm.example/", ""), event, attempt)
            client.box.now = NOON + timedelta(days=days, seconds=-1)
            assert (await client.http.get(url)).status_code == (200 if verdict is Verdict.DELIVERED else 403)
        client.box.now = NOON + timedelta(days=15)
        assert (await client.http.get(url)).status_code == 403


async def test_a_recording_that_was_deleted_is_gone_and_a_lost_file_not_there(tmp_path):
    async with open_client(tmp_path) as client:
        mp3 = await make_recording(client)
        key = client.http.headers["X-API-Key"]
        url = await address(client)
        mp3.unlink()
        lost = await client.http.get(url)
        assert (lost.status_code, lost.json()) == (404, {"error": "the recording's file is not there"})
        deleted = await client.http.delete("/recordings/call-1", headers={"X-API-Key": key})
        assert deleted.status_code == 204
        gone = await client.http.get(url)
        assert (gone.status_code, gone.json()) == (410, {"error": "the recording was deleted"})


async def test_what_is_begun_is_sent_to_its_end_though_it_is_deleted_meanwhile(tmp_path):
    async with open_client(tmp_path) as client:
        mp3 = await make_recording(client)
        async with client.http.stream("GET", await address(client)) as answer:
            mp3.unlink()
            assert b"".join([block async for block in answer.aiter_bytes()]) == SOUND
