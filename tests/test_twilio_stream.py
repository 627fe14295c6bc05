"""Twilio's Media Streams, member by member."""

import base64
import json

import pytest

from appliance.actions import StreamTo
from appliance.contracts.twilio_stream import Twilio
from appliance.dialect import Checkpoint, Clear, Fault, Play
from native import Codec

CALL = "6f2d1c0e-3f0b-4c63-9d55-0c1f6a2b7e11"
STREAM = Twilio(StreamTo("", Codec.PCMU, headers={"customer": "42"}), "SFV_STRM_BI_1", CALL)
SID = {"streamSid": STREAM.stream_id}
CALL_SID = "CA6f2d1c0e3f0b4c639d550c1f6a2b7e11"


def test_ids_have_two_letters_and_32_hexadecimal_digits():
    account = STREAM.opening()[1]["start"]["accountSid"]
    for prefix, each in (("MZ", STREAM.stream_id), ("CA", STREAM.call_id), ("AC", account)):
        assert each.startswith(prefix)
        assert len(bytes.fromhex(each[2:])) == 16


def test_it_begins_with_connected_and_start():
    connected, start = STREAM.opening()
    assert connected == {"event": "connected", "protocol": "Call", "version": "1.0.0"}
    media = {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1}
    account = start["start"].pop("accountSid")
    assert start == {
        "event": "start",
        "start": {
            **SID,
            "callSid": CALL_SID,
            "tracks": ["inbound"],
            "mediaFormat": media,
            "customParameters": {"customer": "42"},
        },
        **SID,
    }
    assert STREAM.closing() == [{"event": "stop", "stop": {"accountSid": account, "callSid": CALL_SID}, **SID}]


def test_all_but_connected_are_numbered_by_a_text():
    connected, start = STREAM.opening()
    numbers = iter([1])
    assert STREAM.numbered(connected, numbers.__next__) == connected
    assert STREAM.numbered(start, numbers.__next__) == {**start, "sequenceNumber": "1"}


def test_a_key_and_a_mark():
    assert STREAM.dtmf("5", 20) == {"event": "dtmf", "dtmf": {"track": "inbound_track", "digit": "5"}, **SID}
    assert STREAM.played("a") == {"event": "mark", "mark": {"name": "a"}, **SID}
    assert STREAM.cleared(["a", "b"]) == [STREAM.played("a"), STREAM.played("b")]


@pytest.mark.parametrize(
    ("message", "command"),
    [
        ({"event": "media", "media": {"payload": "AAEC"}, **SID}, Play(b"\0\1\2", Codec.PCMU, 8000, STREAM.stream_id)),
        ({"event": "media", "media": {"payload": ""}}, Play(b"", Codec.PCMU, 8000)),
        ({"event": "mark", "mark": {"name": "a"}, **SID}, Checkpoint("a", STREAM.stream_id)),
        ({"event": "clear", **SID}, Clear(STREAM.stream_id)),
    ],
)
def test_what_bots_send(message: object, command: object):
    assert STREAM.parse(json.dumps(message)) == command


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ({"event": "media"}, "payload"),
        ({"event": "media", "media": "AAEC"}, "payload"),
        ({"event": "media", "media": {"payload": "A"}}, "base64"),
        ({"event": "mark"}, "name"),
        ({"event": "mark", "mark": {"name": ""}}, "name"),
        ({"event": "playAudio"}, "event"),
        ([], "json"),
    ],
)
def test_what_breaks_a_rule_is_dropped(message: object, kind: str):
    fault = STREAM.parse(json.dumps(message))
    assert isinstance(fault, Fault)
    assert fault.kind == kind


def test_media_has_one_object_around_its_payload():
    before, after = STREAM.media_frame()
    text = before + base64.b64encode(b"\xff" * 160) + after
    for mark, digits in ((b"\1", b"3"), (b"\2", b"1"), (b"\3", b"0")):
        text = text.replace(mark, digits)
    media = {"track": "inbound", "chunk": "1", "timestamp": "0", "payload": base64.b64encode(b"\xff" * 160).decode()}
    assert json.loads(text) == {"event": "media", "sequenceNumber": "3", "media": media, **SID}
