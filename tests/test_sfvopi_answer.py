"""Stream JSON, the reply of the answer webhook (spec/sfvopi.md 6.3)."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.actions import Direction, Protocol, StreamTo
from appliance.contracts.sfvopi_answer import BadInstructions, instructions
from native import Codec

WS = "wss://bot.example.net/ws?call=1"


def reply(**stream):
    return json.dumps({"stream": {"url": WS} | stream}).encode()


def test_6_3_only_the_url_is_needed():
    assert instructions(reply()) == StreamTo(
        url=WS, codec=Codec.PCMA, rate_hz=8000, direction=Direction.BOTH, bidirectional=True, timeout_s=86400
    )


def test_6_3_the_documented_sample_is_read_whole():
    sample = b"""{"stream": {"url": "wss://bot.example.net/ws?call=1", "codec": "PCMA", "sample_rate": 8000,
        "direction": "BOTH", "bidirectional": true, "stream_timeout": 86400, "keep_call_alive": true}}"""
    assert instructions(sample) == StreamTo(url=WS, keep_call_alive=True)


def test_6_3_names_and_words_are_read_in_any_case_and_unknown_fields_ignored():
    text = b'{"Stream": {"URL": "ws://h/x", "Codec": "l16", "sample_rate": 16000, "direction": "Inbound", "hue": 3}}'
    assert instructions(text) == StreamTo(url="ws://h/x", codec=Codec.L16, rate_hz=16000, direction=Direction.INBOUND)


@pytest.mark.parametrize("rate", [8000, 16000, 24000, 32000, 44100, 48000])
def test_6_3_l16_has_six_rates(rate):
    assert instructions(reply(codec="L16", sample_rate=rate)).rate_hz == rate


def test_6_3_extra_headers_are_taken_and_null_is_none():
    assert instructions(reply(extra_headers={"X-Call": "a b"})).headers == {"X-Call": "a b"}
    assert instructions(reply(extra_headers=None)).headers == {}


WITHIN = [
    *({"url": url} for url in ("ws://bot.example/", "wss://bot.example:8443/a?b=c")),
    *({"codec": codec} for codec in ("PCMA", "PCMU", "L16")),
    *({"direction": direction} for direction in ("BOTH", "INBOUND", "OUTBOUND")),
    *({"stream_timeout": seconds} for seconds in (1, 86400)),
    *({"bidirectional": either, "keep_call_alive": not either} for either in (True, False)),
    # As `k=v` they are 512 bytes.
    {"extra_headers": {"X-Call": "y" * 505}},
]


@pytest.mark.parametrize("stream", WITHIN, ids=lambda stream: str(stream)[:40])
def test_6_3_what_is_within_its_bounds_is_taken(stream):
    order = instructions(reply(**stream))
    found = {
        "url": order.url,
        "codec": order.codec.name,
        "direction": order.direction.name,
        "stream_timeout": order.timeout_s,
        "bidirectional": order.bidirectional,
        "keep_call_alive": order.keep_call_alive,
        "extra_headers": order.headers,
    }
    assert stream.items() <= found.items()


@pytest.mark.parametrize(
    ("raw", "fault"),
    [
        (b"", "not JSON"),
        (b"<html>", "not JSON"),
        (b"\xff", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[]", "body"),
        (b"{}", "stream"),
        (b'{"stream": "wss://x"}', "stream"),
        (b'{"hangup": {}}', "stream"),
        (b'{"stream": {}}', "stream.url"),
        (reply(url="https://x"), "stream.url"),
        (reply(url="bot"), "stream.url"),
        (reply(codec="OPUS"), "stream.codec"),
        (reply(codec=8), "stream.codec"),
        (reply(codec="PCMA", sample_rate=16000), "stream.sample_rate: 16000 is not a rate of PCMA"),
        (reply(codec="PCMU", sample_rate=48000), "stream.sample_rate"),
        (reply(codec="L16", sample_rate=11025), "stream.sample_rate"),
        (reply(sample_rate="8000"), "stream.sample_rate"),
        (reply(direction="SIDEWAYS"), "stream.direction"),
        (reply(bidirectional="yes"), "stream.bidirectional"),
        (reply(stream_timeout=0), "stream.stream_timeout"),
        (reply(stream_timeout=86401), "stream.stream_timeout"),
        (reply(keep_call_alive=1), "stream.keep_call_alive"),
        (reply(extra_headers={"Host": "x"}), "stream.extra_headers"),
        (reply(extra_headers={"sec-websocket-key": "x"}), "stream.extra_headers"),
        (reply(extra_headers={"X": "a\r\nY: b"}), "stream.extra_headers"),
        (reply(extra_headers={"a b": "x"}), "stream.extra_headers"),
        (reply(extra_headers={"": "x"}), "stream.extra_headers"),
        (reply(extra_headers={"X": 5}), "stream.extra_headers"),
        (reply(extra_headers={"X-Call": "y" * 506}), "stream.extra_headers"),
    ],
)
def test_6_5_what_is_no_stream_json_says_which_field(raw, fault):
    with pytest.raises(BadInstructions, match="^" + fault.replace(".", r"\.")):
        instructions(raw)


@given(
    st.one_of(
        st.binary(),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(),
            lambda inner: (
                st.lists(inner)
                | st.dictionaries(
                    st.sampled_from(["stream", "url", "codec", "sample_rate", "direction", "extra_headers"])
                    | st.text(),
                    inner,
                )
            ),
        ).map(lambda value: json.dumps(value).encode()),
    )
)
def test_6_5_any_reply_is_an_order_or_a_fault_with_words(raw):
    try:
        assert isinstance(instructions(raw), StreamTo)
    except BadInstructions as exc:
        fault = str(exc)
    else:
        return
    assert fault


@pytest.mark.parametrize(
    ("stream", "of_the_app", "protocol", "codec"),
    [
        ({}, Protocol.SFVOPI, Protocol.SFVOPI, Codec.PCMA),
        ({}, Protocol.TWILIO, Protocol.TWILIO, Codec.PCMU),
        ({"protocol": "Plivo"}, Protocol.TWILIO, Protocol.PLIVO, Codec.PCMA),
        ({"protocol": "twilio"}, Protocol.SFVOPI, Protocol.TWILIO, Codec.PCMU),
        ({"protocol": "sfvopi", "codec": "PCMU"}, Protocol.TWILIO, Protocol.SFVOPI, Codec.PCMU),
    ],
)
def test_7_11_the_stream_s_words_are_its_own_or_the_app_s(stream, of_the_app, protocol, codec):
    body = json.dumps({"stream": {"url": "wss://bot.example/", **stream}}).encode()
    order = instructions(body, of_the_app)
    assert (order.protocol, order.codec) == (protocol, codec)


@pytest.mark.parametrize("stream", [{"protocol": "vonage"}, {"protocol": "twilio", "codec": "PCMA"}])
def test_a_protocol_that_is_not_spoken_is_named(stream):
    body = json.dumps({"stream": {"url": "wss://bot.example/", **stream}}).encode()
    with pytest.raises(BadInstructions, match="stream"):
        instructions(body)
