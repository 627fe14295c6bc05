"""The eight messages against the contract's tables; sections are those of the SFVoPI contract."""

import base64
import json
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.actions import RATES_HZ, Direction, StreamTo
from appliance.contracts import sfvopi_stream as sfvopi
from appliance.contracts.sfvopi_stream import Plivo, Reconnection, Sfvopi
from appliance.dialect import Checkpoint, Clear, Command, Fault, Play, Press, around_payload, text_of
from native import Codec

STREAM, CALL = "SFV_STRM_BI_01JJXYZ1230ABC456DEF789GHJ", "6f2d1c0e-3f0b-4c63-9d55-0c1f6a2b7e11"


def stream(codec: Codec = Codec.PCMA, rate_hz: int = 8000, *, stream_id: str = STREAM) -> Sfvopi:
    return Sfvopi(StreamTo("", codec, rate_hz), stream_id, CALL)


def parse(message: object, codec: Codec = Codec.PCMA, rate_hz: int = 8000) -> Command | Fault:
    text = message if isinstance(message, str) else json.dumps(message)
    return stream(codec, rate_hz).parse(text)


def play(payload: object = "1dXV", codec: Codec = Codec.PCMA, rate_hz: int = 8000, **media: object) -> object:
    return parse({"event": "playAudio", "media": {"payload": payload, **media}}, codec, rate_hz)


def kind(result: object) -> str:
    assert isinstance(result, Fault)
    assert result.reason
    return result.kind


@pytest.mark.parametrize(
    ("direction", "part"), [(Direction.BOTH, "BI"), (Direction.INBOUND, "IN"), (Direction.OUTBOUND, "OUT")]
)
def test_1_a_stream_id_tells_its_direction(direction: Direction, part: str):
    assert (
        sfvopi.new_stream_id(direction, "01JJXYZ1230ABC456DEF789GHJ") == f"SFV_STRM_{part}_01JJXYZ1230ABC456DEF789GHJ"
    )


def test_7_3_start_is_flat():
    assert stream().opening() == [{"event": "start", "streamId": STREAM, "callId": CALL}]


@pytest.mark.parametrize(
    ("codec", "rate_hz", "content_type"),
    [
        (Codec.PCMA, 8000, "audio/PCMA"),
        (Codec.PCMU, 8000, "audio/PCMU"),
        (Codec.L16, 8000, "audio/x-l16"),
        (Codec.L16, 44100, "audio/x-l16"),
    ],
)
def test_7_4_media_is_one_object_around_its_payload(codec: Codec, rate_hz: int, content_type: str):
    before, after = stream(codec, rate_hz).media_frame()
    assert json.loads(before + base64.b64encode(b"\xd5" * 160) + after) == {
        "event": "media",
        "streamId": STREAM,
        "media": {
            "payload": base64.b64encode(b"\xd5" * 160).decode(),
            "contentType": content_type,
            "sampleRate": rate_hz,
        },
    }


@given(st.text())
def test_7_4_any_stream_id_leaves_the_object_whole(stream_id: str):
    before, after = stream(stream_id=stream_id).media_frame()
    message = json.loads(before + b"QUJD" + after)
    assert (message["streamId"], message["media"]["payload"]) == (stream_id, "QUJD")


@pytest.mark.parametrize("digit", "0123456789*#ABCD")
def test_7_5_a_digit_is_told_nested_and_flat(digit: str):
    expected = {"event": "dtmf", "streamId": STREAM, "dtmf": {"digit": digit}, "digit": digit}
    assert stream().dtmf(digit, 20) == expected


def test_7_6_play_carries_the_decoded_bytes():
    assert play("1dXV", contentType="audio/PCMA", sampleRate=8000) == Play(b"\xd5\xd5\xd5", Codec.PCMA, 8000)


def test_7_6_what_a_message_does_not_state_is_as_in_the_stream():
    assert play("AAAA") == Play(bytes(3), Codec.PCMA, 8000)
    assert play("AAAAAA==", Codec.L16, 24000) == Play(bytes(4), Codec.L16, 24000)
    assert play("AAAA", contentType=None, sampleRate=None) == Play(bytes(3), Codec.PCMA, 8000)


def test_7_6_what_a_message_states_goes_before_the_stream():
    stated = play("AAAAAA==", contentType="audio/x-l16", sampleRate=16000)
    assert stated == Play(bytes(4), Codec.L16, 16000)


@pytest.mark.parametrize(
    ("alias", "codec"),
    [
        ("audio/PCMA", Codec.PCMA),
        ("audio/pcma", Codec.PCMA),
        ("audio/x-alaw", Codec.PCMA),
        ("Audio/ALAW", Codec.PCMA),
        ("audio/PCMU", Codec.PCMU),
        ("audio/x-mulaw", Codec.PCMU),
        ("audio/MuLaw", Codec.PCMU),
        ("audio/basic", Codec.PCMU),
        ("audio/pcmu", Codec.PCMU),
        ("audio/x-l16", Codec.L16),
        ("audio/L16", Codec.L16),
        ("audio/pcm", Codec.L16),
        ("AUDIO/X-L16; Rate=8000", Codec.L16),
    ],
)
def test_7_6_aliases_in_any_case(alias: str, codec: Codec):
    assert play("AAAAAA==", contentType=alias) == Play(bytes(4), codec, 8000)


def test_7_6_a_rate_in_the_content_type_serves_when_there_is_none_beside_it():
    assert play("AAA=", contentType="audio/x-l16;rate=16000") == Play(bytes(2), Codec.L16, 16000)
    both = play("AAA=", contentType="audio/x-l16;rate=16000", sampleRate=24000)
    assert both == Play(bytes(2), Codec.L16, 24000)


@pytest.mark.parametrize("rate", [8000, "8000", 8000.0])
def test_7_6_a_rate_may_be_a_numeric_string(rate: object):
    assert play("AAAA", contentType="audio/x-mulaw", sampleRate=rate) == Play(bytes(3), Codec.PCMU, 8000)


@pytest.mark.parametrize("rate", [16000, 0, -8000, "fast", "", "8000.5", 8000.5, True, [], "８０００", "9" * 5000])
def test_7_6_g711_at_another_rate_is_dropped(rate: object):
    assert kind(play("AAAA", sampleRate=rate)) == "rate"


@pytest.mark.parametrize("rate_hz", [8000, 16000, 24000, 32000, 44100, 48000])
def test_7_6_l16_at_each_of_its_rates(rate_hz: int):
    assert play("AAA=", contentType="audio/x-l16", sampleRate=rate_hz) == Play(bytes(2), Codec.L16, rate_hz)


@pytest.mark.parametrize("rate_hz", [11025, 22050, 96000, 7999])
def test_7_6_l16_at_no_other_rate(rate_hz: int):
    assert kind(play("AAA=", contentType="audio/x-l16", sampleRate=rate_hz)) == "rate"


def test_7_6_g711_without_a_rate_in_a_wideband_stream_is_at_8000():
    assert play("AAAA", Codec.L16, 16000, contentType="audio/PCMU") == Play(bytes(3), Codec.PCMU, 8000)
    assert kind(play("AAAA", Codec.L16, 16000, contentType="audio/PCMU", sampleRate=16000)) == "rate"


def test_7_6_an_odd_number_of_l16_bytes_is_dropped_whole():
    assert kind(play("AAAA", Codec.L16)) == "odd"
    assert kind(play("AAAA", contentType="audio/x-l16", sampleRate=8000)) == "odd"


@pytest.mark.parametrize("payload", ["1dXV!", "1dX", "1", "====", "1dXV\n", " 1dXV", "1-_V", "1dXV=", "1d==XV==", "é"])
def test_7_6_base64_is_of_the_standard_alphabet_and_padded(payload: str):
    assert kind(play(payload)) == "base64"


@pytest.mark.parametrize("media", [None, "1dXV", [], {}, {"payload": None}, {"payload": 5}, {"payload": ["1dXV"]}])
def test_7_6_a_play_without_payload_is_dropped(media: object):
    assert kind(parse({"event": "playAudio", "media": media})) == "payload"
    assert kind(parse({"event": "playAudio"})) == "payload"


@pytest.mark.parametrize("content_type", ["audio/opus", "", "pcma", 8000, {}, [], False])
def test_7_6_an_unknown_content_type_is_dropped(content_type: object):
    assert kind(play("AAAA", contentType=content_type)) == "content type"


@pytest.mark.parametrize("size", [0, 1, 159, 160, 161, 320, 4801])
def test_7_6_any_size_is_audio(size: int):
    assert play(base64.b64encode(bytes(size)).decode()) == Play(bytes(size), Codec.PCMA, 8000)


@pytest.mark.parametrize("text", ["", "{", "nonsense", "\x00", "[" * 200_000, "1" * 5000, '{"event": "clearAudio"'])
def test_7_6_what_is_not_json_is_dropped(text: str):
    assert kind(parse(text)) == "json"


def test_a_long_message_is_one_of_audio_or_is_dropped():
    audio = "1dXV" * 100_000
    assert isinstance(play(audio), Play)
    assert kind(play(audio, extra=[{}] * 1000)) == "parts"
    assert kind(parse(f"[{'[],' * 100_000}[]]")) == "parts"


@pytest.mark.parametrize("text", ["[]", "null", "17", '"clearAudio"', "true", "NaN", '[{"event": "clearAudio"}]'])
def test_7_6_what_is_no_object_is_dropped(text: str):
    assert kind(parse(text)) == "json"


@pytest.mark.parametrize("event", ["start", "media", "PlayAudio", "sendDTMF", "", None, 5, ["clearAudio"], {"a": 1}])
def test_7_6_an_unknown_event_is_dropped(event: object):
    assert kind(parse({"event": event})) == "event"


def test_7_6_a_fault_of_any_size_is_told_in_a_short_sentence():
    fault = parse({"event": "x" * 1_000_000})
    assert isinstance(fault, Fault)
    assert len(fault.reason) < 100


@pytest.mark.parametrize("extra", [{}, {"streamId": STREAM}, {"streamId": 5}, {"more": [1]}])
def test_7_7_clear_needs_nothing_but_its_name(extra: dict[str, object]):
    stated = extra.get("streamId")
    assert parse({"event": "clearAudio", **extra}) == Clear(stated if isinstance(stated, str) else None)


def test_7_7_cleared_tells_the_stream():
    assert stream().cleared(["lost"]) == [{"event": "clearedAudio", "streamId": STREAM}]


@pytest.mark.parametrize("name", ["a", "greeting", 'né 🎈 \\ " \u0000', "x" * 1024, "\ud800"])
def test_7_8_a_checkpoint_comes_back_with_its_name_verbatim(name: str):
    assert parse({"event": "checkpoint", "name": name}) == Checkpoint(name)
    expected = {"event": "playedStream", "streamId": STREAM, "name": name}
    assert stream().played(name) == expected
    assert json.loads(text_of(expected)) == expected


@pytest.mark.parametrize("name", [None, "", "x" * 1025, 5, [], {}])
def test_7_8_a_checkpoint_without_a_name_is_dropped(name: object):
    assert kind(parse({"event": "checkpoint", "name": name})) == "name"
    assert kind(parse({"event": "checkpoint"})) == "name"


LONG = base64.b64encode(bytes(range(160))).decode()


def around(text: str, codec: Codec = Codec.PCMA, rate_hz: int = 8000) -> tuple[bytes, bytes] | None:
    dialect = stream(codec, rate_hz)
    play = dialect.parse(text)
    assert isinstance(play, Play)
    return around_payload(text, play, dialect.parse)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('{"event":"playAudio","media":{"contentType":"audio/x-l16","sampleRate":16000,"payload":"', '"}}'),
        ('{ "media" : {"payload": "', '", "n\\u00e9": "é 🎈"},\n "event": "playAudio", "streamId": "any"}'),
        ('{"event":"playAudio","media":{"payload":"AAAA"},"media":{"payload":"', '"}}'),
    ],
)
def test_7_6_what_stands_around_a_payload_is_found(before: str, after: str):
    assert around(before + LONG + after) == (before.encode(), after.encode())
    assert around(before + LONG.replace("/", "\\/").replace("+", "\\u002B") + after) == (
        before.encode(),
        after.encode(),
    )


@pytest.mark.parametrize(
    "text",
    [
        '{"event":"playAudio","media":{"payload":"%s","payload":"AAAA"}}',
        '{"event":"playAudio","media":{"payload":"AAAA","%s":1}}',
        '{"event":"playAudio","media":{"payload":"AAAA"},"payload":"%s"}',
        '{"event":"playAudio","media":{"payload":"AAAA","x":"\\"%s\\""}}',
    ],
)
def test_7_6_what_only_looks_like_the_payload_is_not_taken_for_it(text: str):
    assert around(text % LONG) is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)
KNOWN = st.sampled_from(["playAudio", "clearAudio", "checkpoint", "audio/PCMA", "audio/x-l16;rate=16000", 8000])
MEDIA = st.fixed_dictionaries(
    {},
    optional={
        "payload": st.text(string.ascii_letters + "+/=\n") | JSON,
        "contentType": KNOWN | JSON,
        "sampleRate": KNOWN | JSON,
    },
)
MESSAGES = st.fixed_dictionaries(
    {}, optional={"event": KNOWN | JSON, "media": MEDIA | JSON, "name": JSON, "streamId": JSON}
)
STREAMS = st.sampled_from([(Codec.PCMA, 8000), (Codec.PCMU, 8000), (Codec.L16, 8000), (Codec.L16, 44100)])


@given(st.text() | st.binary().map(lambda data: data.decode("latin-1")), STREAMS)
def test_any_text_is_a_command_or_a_fault(text: str, stream: tuple[Codec, int]):
    assert isinstance(parse(text, *stream), Play | Clear | Checkpoint | Fault)


@given(MESSAGES | JSON, STREAMS)
def test_any_json_is_a_command_or_a_fault(message: object, stream: tuple[Codec, int]):
    result = parse(json.dumps(message), *stream)
    assert isinstance(result, Play | Clear | Checkpoint | Fault)
    if isinstance(result, Play):
        assert result.rate_hz in RATES_HZ[result.codec]
        assert result.codec is not Codec.L16 or len(result.data) % 2 == 0


@given(MESSAGES, STREAMS, st.binary(max_size=100))
def test_7_6_other_audio_between_the_same_texts_means_the_same(message: object, stream: tuple[Codec, int], data: bytes):
    play = parse(json.dumps(message), *stream)
    if not isinstance(play, Play):
        return
    found = around_payload(json.dumps(message), play, lambda text: parse(text, *stream))
    if found:
        text = (found[0] + base64.b64encode(2 * data) + found[1]).decode()
        assert parse(text, *stream) == Play(2 * data, play.codec, play.rate_hz, play.stream_id)


@given(st.integers(min_value=1, max_value=3000))
def test_depth_is_a_fault_wherever_it_stands(depth: int):
    nested = "[" * depth + "]" * depth
    for before in (
        '{"event": ',
        '{"event": "playAudio", "media": {"payload": "", "contentType": ',
        '{"event": "playAudio", "media": {"payload": "", "sampleRate": ',
    ):
        kind(parse(before + nested + "}" * before.count("{")))


@pytest.mark.parametrize(
    ("code", "final"),
    [
        (1000, True),
        (1005, True),
        (1008, True),
        (1001, False),
        (1006, False),
        (1009, False),
        (1011, False),
        (1012, False),
        (4000, False),
        (None, False),
    ],
)
def test_7_9_which_closes_are_an_end(code: int | None, final: bool):
    assert sfvopi.final_close(code) is final


def test_7_10_three_attempts_after_1_2_and_4_seconds():
    again = Reconnection()
    assert [again.lost(now) for now in (0.0, 1.0, 3.0, 7.0)] == [1, 2, 4, None]


def test_7_10_a_connection_that_held_30_seconds_starts_the_count_anew():
    again = Reconnection()
    assert [again.lost(0.0), again.lost(1.0)] == [1, 2]
    again.connected(3.0)
    assert again.lost(33.0) == 1


def test_7_10_a_short_connection_does_not():
    again = Reconnection()
    assert again.lost(0.0) == 1
    again.connected(1.0)
    assert again.lost(30.9) == 2
    # The old connection's age is no merit of the attempts that failed since.
    assert [again.lost(100.0), again.lost(200.0)] == [4, None]


@pytest.mark.parametrize(("status", "final"), [(401, True), (403, True), (404, True), (400, False), (503, False)])
def test_7_10_which_answers_to_the_handshake_are_final(status: int, final: bool):
    assert (status in sfvopi.FINAL_STATUSES) is final


# --- 7.11: the superset for clients of Plivo --------------------------------------------------------------------------

PLIVO = Plivo(StreamTo("", Codec.PCMU, headers={"X-A": "1", "X-B": "two"}), STREAM, CALL)


def test_7_11_start_is_nested_and_flat():
    [start] = PLIVO.opening()
    assert start == {
        "event": "start",
        "streamId": STREAM,
        "callId": CALL,
        "start": {
            "callId": CALL,
            "streamId": STREAM,
            "accountId": "branchline",
            "tracks": ["inbound"],
            "mediaFormat": {"encoding": "audio/PCMU", "sampleRate": 8000},
        },
        "extra_headers": "X-A=1;X-B=two",
    }


def test_7_11_events_are_numbered():
    assert PLIVO.numbered(PLIVO.played("a"), lambda: 7) == {**stream().played("a"), "sequenceNumber": 7}


def test_7_11_a_key_tells_its_track_and_time():
    key = PLIVO.dtmf("5", 1234)
    assert (key["dtmf"], key["digit"]) == ({"track": "inbound", "digit": "5", "timestamp": "1234"}, "5")


def test_7_11_keys_are_sent_where_the_option_is_on():
    keys = json.dumps({"event": "sendDTMF", "dtmf": "12#", "streamId": STREAM})
    assert PLIVO.parse(keys) == Press("12#", STREAM)
    assert kind(parse(keys)) == "event"


@pytest.mark.parametrize("keys", [None, "", 12, "1;2", "1" * 65, ["1"]])
def test_7_11_what_are_no_keys_is_dropped(keys: object):
    assert kind(PLIVO.parse(json.dumps({"event": "sendDTMF", "dtmf": keys}))) == "keys"
