"""Recordings over the box's own API: told, heard whole and in parts, sent once to who keeps them, and deleted."""

import httpx
import pytest

from appliance.filepart import part_of
from tests.box_client import SHA256, SIZE, SOUND, make_call, make_recording, open_client
from tests.line_box import LINKS, NOON, NUMBER


async def test_a_recording_is_told_heard_and_deleted(tmp_path):
    async with open_client(tmp_path) as client:
        mp3 = await make_recording(client)
        call = await client.box.store.call(1)
        (facts,) = (await client.get("/recordings"))["recordings"]
        assert facts == {
            "id": "call-1",
            "call": "call-1",
            "line": "test",
            "direction": "outbound",
            "from": NUMBER,
            "to": "+33783484044",
            "started_at": "2026-06-04T12:00:00Z",
            "state": "ready",
            "duration_s": 2.5,
            "size_bytes": len(SOUND),
            "sha256": SHA256,
            "media_type": "audio/mpeg",
            "url": LINKS.recording(call, "call-1", NOON),
            "deleted_at": None,
            "deleted_why": None,
            "deleted_by": None,
            "upload": None,
        }
        assert await client.get("/recordings/call-1") == facts
        audio = await client.http.get("/recordings/call-1/audio")
        assert (audio.status_code, audio.content) == (200, SOUND)
        assert await client.ask("DELETE", "/recordings/call-1", 204) is None
        assert not mp3.exists()
        assert (await client.get("/calls/call-1"))["recordings"] == [{"id": "call-1", "state": "deleted"}]
        gone = await client.get("/recordings/call-1")
        key = (await client.get("/tokens"))["tokens"][0]["id"]
        deletion = {"deleted_at": "2026-06-04T12:00:00Z", "deleted_why": "ordered", "deleted_by": key}
        assert gone == {**facts, "state": "deleted", "url": None, **deletion}
        for method, path in (("GET", "/recordings/call-1/audio"), ("DELETE", "/recordings/call-1")):
            assert await client.ask(method, path, 410) == {"message": "the recording was deleted"}


async def test_until_there_is_an_mp3_the_wav_is_heard(tmp_path):
    async with open_client(tmp_path) as client:
        await make_call(client.box.store)
        wav = tmp_path / "call-1.wav"
        wav.write_bytes(SOUND)
        await client.box.store.recordings.open(1, wav)
        facts = await client.get("/recordings/call-1")
        assert (facts["state"], facts["media_type"], facts["url"]) == ("encoding", "audio/wav", None)
        audio = await client.http.get("/recordings/call-1/audio", headers={"Range": "bytes=0-9"})
        assert (audio.content, audio.headers["content-type"]) == (SOUND[:10], "audio/wav")
        await client.ask("DELETE", "/recordings/call-1", 409)


async def test_a_recording_in_the_making_is_left_alone(tmp_path):
    async with open_client(tmp_path) as client:
        await client.box.place()
        await client.box.state("dialing")
        await client.box.store.recordings.open(1, tmp_path / "one.wav")
        assert (await client.get("/recordings/one"))["state"] == "recording"
        for method, path in (("GET", "/recordings/one/audio"), ("DELETE", "/recordings/one")):
            assert await client.ask(method, path, 409) == {"message": "the recording is still being made"}


async def test_a_recording_whose_file_is_lost_says_so_and_can_be_deleted(tmp_path):
    async with open_client(tmp_path) as client:
        (await make_recording(client)).unlink()
        lost = {"message": "the recording's file is not there"}
        assert await client.get("/recordings/call-1/audio", 404) == lost
        await client.ask("DELETE", "/recordings/call-1", 204)


PARTS = [
    ("bytes=0-", (0, SIZE)),
    ("bytes=0-0", (0, 1)),
    ("bytes=100-199", (100, 200)),
    (f"bytes=70000-{SIZE + 5}", (70000, SIZE)),
    ("bytes=-100", (SIZE - 100, SIZE)),
    (f"bytes=-{SIZE + 1}", (0, SIZE)),
    ("Bytes=5-6", (5, 7)),
]


async def test_part_of_a_recording_is_sent(tmp_path):
    async with open_client(tmp_path) as client:
        await make_recording(client)
        for wanted, part in PARTS:
            audio = await client.http.get("/recordings/call-1/audio", headers={"Range": wanted})
            first, last = part
            assert (audio.status_code, audio.content) == (206, SOUND[first:last])
            assert audio.headers["content-range"] == f"bytes {first}-{last - 1}/{SIZE}"
            assert audio.headers["content-length"] == str(last - first)


async def test_a_part_that_is_not_there_is_refused(tmp_path):
    async with open_client(tmp_path) as client:
        await make_recording(client)
        for wanted in (f"bytes={SIZE}-", f"bytes={SIZE + 9}-{SIZE + 10}", "bytes=-0"):
            audio = await client.http.get("/recordings/call-1/audio", headers={"Range": wanted})
            assert (audio.status_code, audio.headers["content-range"]) == (416, f"bytes */{SIZE}")
            assert audio.json() == {"message": f"the file has {SIZE} bytes"}


@pytest.mark.parametrize("wanted", ["bytes=9-3", "bytes=0-1,5-6", "lines=1-2", "bytes=", "bytes=-", "bytes=a-b"])
def test_of_a_range_that_is_none_here_the_whole_is_sent(wanted):
    assert part_of(SIZE, wanted) is None


async def test_a_recording_is_sent_once_to_who_keeps_it(tmp_path):
    async with open_client(tmp_path) as client:
        await make_recording(client)

        async def ask(method: str = "GET", **headers: str) -> httpx.Response:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            return await client.http.request(method, "/recordings/call-1/audio", headers=named)

        head = await ask("HEAD")
        assert (head.status_code, head.content, head.headers["content-length"]) == (200, b"", str(SIZE))
        assert (head.headers["content-type"], head.headers["accept-ranges"]) == ("audio/mpeg", "bytes")
        etag = head.headers["etag"]
        assert etag == f'"{SHA256}"'
        for known in (etag, f'"other", W/{etag}', "*"):
            assert (await ask(If_None_Match=known)).status_code == 304
        assert (await ask(If_None_Match='"other"')).status_code == 200
        assert (await ask(Range="bytes=0-1", If_Range=etag)).status_code == 206
        assert (await ask(Range="bytes=0-1", If_Range='"other"')).status_code == 200
        part = await ask("HEAD", Range="bytes=0-1")
        assert (part.content, part.headers["content-length"]) == (b"", "2")
