"""PDUs from the standard's examples and from the field, and every message there and back."""

from datetime import UTC, datetime, timedelta, timezone
from itertools import chain

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from drivers import gsm7, sms, userdata
from drivers.reassembly import NEAR, Piece, Reassembly, missing
from drivers.sms import Deliver, Fate, Report, Submit, Unreadable, decode, encode, fingerprint, is_final, tpdu_length
from drivers.userdata import Alphabet, Part, UserData, join, split

AT = datetime(2026, 11, 20, 11, 30, 5, tzinfo=timezone(timedelta(hours=1)))
GSM7_TEXTS = st.text(st.sampled_from([c for c in map(chr, range(0x2200)) if gsm7.fits(c)]))
TEXTS = st.one_of(GSM7_TEXTS, st.text(st.characters(exclude_categories=["Cs"])))
NUMBERS = st.from_regex(r"\+?[0-9]{3,15}", fullmatch=True)


def data(text: str) -> UserData:
    (only,) = split(text, reference=0)
    return only


# --- known PDUs ---


def test_a_delivered_message_as_the_books_have_it():
    message = decode("07917283010010F5040BC87238880900F10000993092516195800AE8329BFD4697D9EC37")
    assert isinstance(message, Deliver)
    assert (message.sender, message.data.text) == ("27838890001", "hellohello")
    assert message.sent_at == datetime(2099, 3, 29, 15, 16, 59, tzinfo=timezone(timedelta(hours=2)))
    assert not message.more


def test_an_international_sender_and_a_zone_behind_utc():
    message = decode("07911326040000F0040B911346610089F60000208062917314480CC8F71D14969741F977FD07")
    assert message == Deliver(
        "+31641600986",
        data("How are you?"),
        datetime(2002, 8, 26, 19, 37, 41, tzinfo=timezone(timedelta(hours=-1))),
    )


def test_a_message_to_send_as_the_books_have_it():
    pdu = "0011000B916407281553F80000AA0AE8329BFD4697D9EC37"
    message = Submit("+46708251358", data("hellohello"), validity_s=4 * 86400)
    assert encode(message) == pdu
    assert decode(pdu) == message
    assert tpdu_length(pdu) == 23


def test_a_sender_with_a_name():
    pdu = encode(Deliver("Orange F", data("x"), AT))
    # 9.1.2.5: eight septets are seven octets, fourteen semi-octets.
    assert pdu.startswith("00040ED0" + gsm7.pack(b"Orange F").hex().upper())
    message = decode(pdu)
    assert isinstance(message, Deliver)
    assert message.sender == "Orange F"
    assert decode("0004" + "0BD0" + gsm7.pack(b"Info@1").hex() + pdu[22:]) != message


@pytest.mark.parametrize("name", ["A", "Amazon", "Orange", "Vodafone", "INFO SMS", "Eleven char"])
def test_names_of_every_length(name):
    message = decode(encode(Deliver(name, data("x"), AT)))
    assert isinstance(message, Deliver)
    assert message.sender == name


def test_a_part_in_seven_bits_begins_at_a_septet_s_edge():
    """The header of six octets ends one bit before the seventh septet's end."""
    pdu = "0041000B916407281553F8000008050003CC0201" + "D0"
    message = decode(pdu)
    assert isinstance(message, Submit)
    assert message.data == UserData(Alphabet.GSM7, b"h", Part(0xCC, 2, 1))
    assert encode(message) == pdu


def test_emoji_are_surrogates_in_big_endian():
    message = decode("0004" + "0B911346610089F6" + "0008" + "20806291731448" + "04" + "D83DDE00")
    assert isinstance(message, Deliver)
    assert message.data.text == "\U0001f600"
    assert encode(message).endswith("0008" + "20806291731448" + "04" + "D83DDE00")


def test_a_status_report():
    pdu = "07911326040000F0" + "06" + "2A" + "0B911346610089F6" + "20806291731448" + "20806291734448" + "00"
    report = decode(pdu)
    assert isinstance(report, Report)
    assert (report.reference, report.recipient, report.status) == (42, "+31641600986", 0)
    assert report.done_at is not None
    assert report.sent_at is not None
    assert report.done_at - report.sent_at == timedelta(seconds=3)
    # PI and what it promises may follow (9.2.2.3).
    assert decode(pdu + "FF0000") == report


@pytest.mark.parametrize(
    ("status", "fate"),
    [
        (0, Fate.DELIVERED),
        (2, Fate.DELIVERED),
        (0x20, Fate.PENDING),
        (0x30, Fate.PENDING),
        (0x46, Fate.FAILED),
        (0x60, Fate.FAILED),
    ],
)
def test_what_a_status_means(status, fate):
    assert Report(1, "1", None, None, status).fate is fate


# --- codings ---


@pytest.mark.parametrize(
    ("coding", "alphabet", "message_class", "waiting"),
    [
        (0x00, Alphabet.GSM7, None, None),
        (0x04, Alphabet.DATA, None, None),
        (0x08, Alphabet.UCS2, None, None),
        (0x0C, Alphabet.GSM7, None, None),
        (0x10, Alphabet.GSM7, 0, None),
        (0x18, Alphabet.UCS2, 0, None),
        (0x1A, Alphabet.UCS2, 2, None),
        (0x24, Alphabet.DATA, None, None),
        (0x48, Alphabet.UCS2, None, None),
        (0x80, Alphabet.GSM7, None, None),
        (0xC8, Alphabet.GSM7, None, True),
        (0xD0, Alphabet.GSM7, None, False),
        (0xE8, Alphabet.UCS2, None, True),
        (0xF0, Alphabet.GSM7, 0, None),
        (0xF5, Alphabet.DATA, 1, None),
    ],
)
def test_data_coding_schemes(coding, alphabet, message_class, waiting):
    message = decode(f"000405A121430500{coding:02X}208062917314480461626364")
    assert isinstance(message, Deliver)
    assert (message.data.alphabet, message.message_class, message.waiting) == (alphabet, message_class, waiting)


def test_eight_bits_are_shown_when_they_are_text():
    assert UserData(Alphabet.DATA, b"hello\r\n").text == "hello\r\n"
    assert UserData(Alphabet.DATA, b"\x00\x01").text == ""
    assert UserData(Alphabet.DATA, b"hello", ports=(2948, 9200)).text == ""


def test_national_tables_are_read_as_the_header_says():
    def text(header: str, septets: bytes) -> str:
        octets = bytes.fromhex(header)
        in_header = (8 * len(octets) + 6) // 7
        body = octets + gsm7.pack(septets, fill=7 * in_header - 8 * len(octets))
        return userdata.decode(body, in_header + len(septets), Alphabet.GSM7, headed=True).text

    # A.3.1, A.2.1: Turkish. A.2.2: Spanish. A.3.6: Hindi.
    assert text("03250101", bytes([0x0B, 0x07])) == "Ğı"
    assert text("03240101", bytes([0x1B, 0x53, 0x1B, 0x73])) == "Şş"
    assert text("03240102", bytes([0x1B, 0x41, 0x41])) == "ÁA"
    assert text("03250106", bytes([0x00, 0x01])) == "\u0901\u0902"
    # 23.038 6.2.1.2.4: one that we do not know is the default's.
    assert text("0325017F", b"abc") == "abc"


def test_what_the_tables_do_not_have_is_shown_as_a_display_does():
    assert gsm7.decode(b"\x1be\x1ba\x1b") == "€a "
    assert gsm7.decode(b"\x1b\x1b") == " "


# --- there and back ---


@given(GSM7_TEXTS)
def test_every_text_of_the_alphabet_comes_back(text):
    assert gsm7.decode(b"".join(gsm7.encode(text))) == text


@given(st.binary().map(lambda octets: bytes(octet & 0x7F for octet in octets)), st.integers(0, 6))
def test_packed_is_unpacked(septets, fill):
    packed = gsm7.pack(septets, fill=fill)
    assert gsm7.unpack(packed, len(septets), fill=fill) == septets
    assert len(packed) == (7 * len(septets) + fill + 7) // 8


@given(NUMBERS, TEXTS, st.integers(0, 255), st.booleans(), st.none() | st.integers(0, 3))
def test_every_message_to_send_comes_back(number, text, reference, report, message_class):
    for piece in split(text, reference=reference):
        message = Submit(number, piece, reference, report, 3600, message_class)
        pdu = encode(message, smsc="+33689004000")
        assert decode(pdu) == message
        # 27.005 3.5.5: TPDUs go up to 164 octets, 140 of them for what is said.
        assert tpdu_length(pdu) <= 164


@given(NUMBERS, TEXTS, st.integers(0, 0xFFFF), st.booleans())
def test_every_delivered_message_comes_back(number, text, reference, wide):
    for piece in split(text, reference=reference):
        if wide and piece.part:
            piece = UserData(piece.alphabet, piece.content[:130], Part(reference | 0x100, 3, 2))
        message = Deliver(number, piece, AT)
        assert decode(encode(message)) == message


@given(st.binary(max_size=200))
@example(b"\x00")
@example(bytes.fromhex("0044"))
def test_noise_is_unreadable_or_a_message_and_nothing_else(noise):
    try:
        message = decode(noise.hex())
    except Unreadable:
        return
    if isinstance(message, Deliver):
        message.data.text.encode()


def test_what_is_not_hexadecimal_is_unreadable():
    for pdu in ("", "0", "xyz", "00zz"):
        with pytest.raises(Unreadable):
            decode(pdu)


@pytest.mark.parametrize("seconds", [300, 600, 12 * 3600, 86400, 2 * 86400, 30 * 86400, 63 * 7 * 86400])
def test_a_validity_that_can_be_said_is_kept(seconds):
    message = decode(encode(Submit("123", data("x"), validity_s=seconds)))
    assert isinstance(message, Submit)
    assert message.validity_s == seconds


def test_a_validity_is_never_made_longer_but_to_the_least():
    kept = [decode(encode(Submit("123", data("x"), validity_s=s))) for s in (1, 301, 90_000, 10**9)]
    assert [message.validity_s for message in kept] == [300, 300, 86400, 63 * 7 * 86400]


def test_what_is_no_recipient_is_said():
    for number in ("", "a name that is too long", "\u4e2d"):
        with pytest.raises(ValueError, match="n"):
            encode(Submit(number, data("x")))


# --- splitting and joining ---


@pytest.mark.parametrize(
    ("text", "lengths"),
    [
        ("a" * 160, [160]),
        ("a" * 161, [153, 8]),
        ("€" * 80, [80]),
        # 153 is odd: an escape is not torn from its letter.
        ("€" * 81, [76, 5]),
        ("ж" * 70, [70]),
        ("ж" * 71, [67, 4]),
        # 67 is odd: nor is a surrogate from its other half.
        ("\U0001f600" * 35, [35]),
        ("\U0001f600" * 36, [33, 3]),
        ("", [0]),
    ],
)
def test_texts_are_split_where_the_standard_has_it(text, lengths):
    assert [len(part.text) for part in split(text, reference=7)] == lengths


@given(TEXTS, st.integers(0, 1000))
def test_what_was_split_is_joined(text, reference):
    parts = split(text, reference=reference)
    assert join(parts) == text
    assert (
        all(part.text and "\ufffd" not in part.text.replace(text, "") for part in parts) or not text or "\ufffd" in text
    )


@pytest.mark.parametrize("alphabet", list(Alphabet))
def test_a_character_torn_by_its_sender_is_mended(alphabet):
    whole = {Alphabet.GSM7: (b"\x1b", b"e"), Alphabet.UCS2: (b"\xd8\x3d", b"\xde\x00"), Alphabet.DATA: (b"a", b"b")}
    text = {Alphabet.GSM7: "€", Alphabet.UCS2: "\U0001f600", Alphabet.DATA: "ab"}
    assert join([UserData(alphabet, half) for half in whole[alphabet]]) == text[alphabet]


def test_a_text_of_more_than_255_parts_is_refused():
    assert len(split("a" * 153 * 255, reference=1)) == 255
    with pytest.raises(ValueError, match="256 parts"):
        split("a" * (153 * 255 + 1), reference=1)


# --- the same again ---


def test_what_a_service_centre_sends_again_is_known():
    first = encode(Deliver("+31641600986", data("hello"), AT, more=True), smsc="+33689004000")
    again = encode(Deliver("+31641600986", data("hello"), AT, more=False), smsc="+33689004001")
    other = encode(Deliver("+31641600986", data("hello"), AT + timedelta(seconds=1)))
    assert fingerprint(first) == fingerprint(again) != fingerprint(other)


def test_which_refusals_are_for_good():
    assert all(map(is_final, ("+CMS ERROR: 1", "+CMS ERROR: 28", "+CMS ERROR: 304", "+CMS ERROR: 195")))
    assert not any(map(is_final, ("+CMS ERROR: 38", "+CMS ERROR: 331", "+CMS ERROR: 500", "ERROR", "no answer")))


# --- reassembly ---


def pieces(text: str, *, reference: int = 5, total: int = 3, at: datetime = AT) -> list[Piece]:
    return [
        Piece(f"{text}{number}", "+33783484044", Part(reference, total, number), at + timedelta(seconds=number))
        for number in range(1, total + 1)
    ]


def ids(done: list[Piece]) -> list[str]:
    return [piece.id for piece in done]


@given(st.permutations(range(3)))
def test_parts_come_in_any_order(order):
    parts, held = pieces("a"), Reassembly()
    *early, last = [held.add(parts[place], 0) for place in order]
    assert early == [[], []]
    assert ids(last) == ["a1", "a2", "a3"]
    assert held.deadline(10) == float("inf")


@given(st.permutations([*pieces("a"), *pieces("b", at=AT + timedelta(seconds=30))]))
def test_two_messages_of_one_reference_are_kept_apart(mixed):
    held = Reassembly()
    done = [ids(complete) for piece in mixed if (complete := held.add(piece, 0))]
    # Which is which where a part could be of either, their times tell; order tells nothing.
    assert sorted(chain(*done)) == ["a1", "a2", "a3", "b1", "b2", "b3"]


def test_parts_that_overlap_in_order_go_where_their_times_are():
    held = Reassembly()
    a, b = pieces("a", total=2), pieces("b", total=2, at=AT + timedelta(minutes=3))
    assert [ids(held.add(piece, 0)) for piece in (a[0], b[0], b[1], a[1])] == [[], [], ["b1", "b2"], ["a1", "a2"]]


def test_a_reference_that_comes_round_begins_anew():
    held = Reassembly()
    old, new = pieces("old", total=2), pieces("new", total=2, at=AT + NEAR + timedelta(minutes=1))
    assert [ids(held.add(piece, 0)) for piece in (old[0], new[1], new[0])] == [[], [], ["new1", "new2"]]
    assert [ids(late) for late in held.expired(600, 600)] == [["old1"]]


def test_what_came_is_given_when_the_rest_does_not():
    held = Reassembly()
    first, _, third = pieces("a")
    held.add(third, 0)
    held.add(first, 100)
    assert held.deadline(600) == 700
    assert held.expired(699, 600) == []
    ((one, three),) = held.expired(700, 600)
    assert ids([one, three]) == ["a1", "a3"]
    assert missing([one, three]) == [2]
    assert held.deadline(600) == float("inf")


def test_parts_without_a_time_belong_together():
    held = Reassembly()
    parts = [Piece(each.id, each.sender, each.part, None) for each in pieces("a", total=2)]
    assert [ids(held.add(piece, 0)) for piece in parts] == [[], ["a1", "a2"]]


def test_senders_and_totals_are_kept_apart():
    held = Reassembly()
    one = Piece("x", "+33700000001", Part(5, 2, 1), AT)
    for other in (Piece("y", "+33700000003", Part(5, 2, 2), AT), Piece("z", "+33700000001", Part(5, 3, 2), AT)):
        held.add(one, 0)
        assert held.add(other, 0) == []
        assert len(held.expired(600, 600)) == 2


def test_utc_and_local_times_are_one_time():
    held = Reassembly()
    one, two = pieces("a", total=2)
    assert one.sent_at is not None
    held.add(Piece("u", one.sender, one.part, one.sent_at.astimezone(UTC)), 0)
    assert ids(held.add(two, 0)) == ["u", "a2"]


def test_alphabet_and_length_of_what_is_sent():
    assert [part.alphabet for part in split("abc", reference=0)] == [Alphabet.GSM7]
    assert [part.alphabet for part in split("abcж", reference=0)] == [Alphabet.UCS2]
    assert sms.encode(Submit("123", data("ж"))).endswith("0008" + "02" + "0436")
