"""USSD texts in every writing that modules have for them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers import gsm7, ussd
from drivers.ussd import News, Outcome, decode, encode, read

MENU = "1. Balance\n2. Top up\n0. Exit"
PLAIN = st.text(st.sampled_from("abcdefghijklmnopqrstuvwxyz ABC.,:!?\n0123456789"), min_size=1)


def packed(text: str) -> str:
    return gsm7.pack(b"".join(gsm7.encode(text))).hex().upper()


@pytest.mark.parametrize(
    ("line", "news"),
    [
        ('+CUSD: 0,"Bal: 5.00 EUR",15', News(Outcome.DONE, "Bal: 5.00 EUR", "Bal: 5.00 EUR")),
        (f'+CUSD: 1,"{MENU}",15', News(Outcome.MORE, MENU, MENU)),
        ('+CUSD: 1,"Say ""yes""",15', News(Outcome.MORE, 'Say ""yes""', 'Say ""yes""')),
        ('+CUSD: 0,"no coding"', News(Outcome.DONE, "no coding", "no coding")),
        ('+CUSD: 0,"not closed', News(Outcome.DONE, "not closed", "not closed")),
        ("+CUSD: 2", News(Outcome.ENDED, "", "")),
        ('+CUSD: 2,"",0', News(Outcome.ENDED, "", "")),
        ("+CUSD:4", News(Outcome.UNSUPPORTED, "", "")),
        ("+CUSD: 5", News(Outcome.TIMEOUT, "", "")),
    ],
)
def test_lines_as_modules_write_them(line, news):
    assert read(line, "GSM") == news


@pytest.mark.parametrize("line", ["+CUSD:", "+CUSD: x", "+CUSD: 9", "+CUSD: 0,bare", "+CMTI: 0"])
def test_what_makes_no_sense_is_none(line):
    assert read(line, "GSM") is None


@pytest.mark.parametrize("charset", ["GSM", "IRA", "UCS2"])
@given(text=PLAIN)
def test_packed_septets_are_read_whatever_the_charset(charset, text):
    """Huawei: AT+CSCS is not heeded."""
    raw = packed(text)
    if charset == "UCS2" and len(raw) % 4 == 0:
        # What UCS2 promises, is; a stick that packs is not set to it.
        return
    if len(raw) > 16 or not raw.isdecimal():
        shown = decode(raw, 15, charset)
        # Eight septets, of which the last is a CR's fill, are seven of text; so are seven with their bits left empty.
        assert shown.rstrip("@\r") == text.rstrip("@\r") or ussd._looks_like_ucs2(bytes.fromhex(raw))


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), st.sampled_from(["GSM", "IRA", "UCS2"]))
def test_ucs2_is_read_by_its_coding(text, charset):
    assert decode(text.encode("utf-16-be").hex(), 0x48, charset) == text


def test_ucs2_is_read_without_its_coding():
    for text in ("Баланс: 5", "Solde: 5 €", "رصيد"):
        assert decode(text.encode("utf-16-be").hex(), 15, "GSM") == text


def test_a_language_in_front_is_no_text():
    """23.038 5, 0001 0001."""
    language = gsm7.pack(b"en") + b""
    assert decode((language + "Hi ж".encode("utf-16-be")).hex(), 0x11, "GSM") == "Hi ж"


def test_eight_bits_are_ascii():
    assert decode(b"Hello".hex(), 0x44, "GSM") == "Hello"


@pytest.mark.parametrize("raw", ["1234", "12345678", "5.00", "ABCDE", "OK", "*123#", "Dead beef", "€ 5"])
def test_what_is_plain_stays_so(raw):
    assert decode(raw, 15, "IRA") == raw


def test_codes_of_the_alphabet_are_its_characters():
    assert decode("a\x00b.com \x02 5", 15, "GSM") == "a@b.com $ 5"


def test_fill_is_no_at_sign():
    # 6.1.2.3: seven septets leave seven bits, filled with CR; or with nothing, which would be "@".
    assert encode("1234567", "GSM", packed=True) == "31D98C56B3DD1A"
    assert decode("31D98C56B3DD1A", 15, "GSM") == "1234567"
    assert decode("31D98C56B3DD00", 15, "GSM") == "1234567"


def test_codes_are_sent_as_the_module_wants_them():
    assert encode("*123#", "GSM", packed=False) == "*123#"
    assert encode("*123#", "UCS2", packed=False) == "002A0031003200330023"
    assert encode("*100#", "GSM", packed=True) == "AA180C3602"


@pytest.mark.parametrize("text", ['1"2', "1\r2", "\x1a", "жук"])
def test_what_would_break_the_command_is_refused(text):
    with pytest.raises(ValueError, match="USSD"):
        encode(text, "GSM", packed=False)


@given(st.text(), st.integers(0, 255), st.sampled_from(["GSM", "IRA", "UCS2"]))
def test_nothing_makes_it_fail(raw, coding, charset):
    decode(raw, coding, charset)
    read(f'+CUSD: 1,"{raw}",{coding}', charset)
