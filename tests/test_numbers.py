import pytest

from appliance.numbers import caller_id, is_e164, normalise


@pytest.mark.parametrize(
    ("written", "country", "full"),
    [
        ("+33 7 00 00 00 02", "FR", "+33700000002"),
        ("0033700000002", "IN", "+33700000002"),
        ("07 00 00 00 02", "FR", "+33700000002"),
        ("(98123) 45678", "IN", "+919812345678"),
        ("9812345678", "IN", "+919812345678"),
        ("+33-7-00-00-00-02", "FR", "+33700000002"),
    ],
)
def test_a_number_as_people_write_it_becomes_e164(written, country, full):
    assert normalise(written, country) == full


@pytest.mark.parametrize(
    "written", ["", "+", "+0123456789", "+123", "+1234567890123456", "office", "12", "+33 7 x", "٣٣٧٠٠٠٠٠٠٠٢"]
)
def test_what_is_no_number_is_none(written):
    assert normalise(written, "FR") is None


def test_a_withheld_number_is_anonymous_and_a_short_code_stays():
    assert caller_id(None, "FR") == "anonymous"
    assert caller_id("", "FR") == "anonymous"
    assert caller_id("3636", "FR") == "3636"
    assert caller_id("0612345678", "FR") == "+33612345678"


def test_e164_has_a_plus_and_eight_to_fifteen_digits():
    assert is_e164("+33700000002")
    assert not is_e164("33700000002")
    assert not is_e164("+33700000002\n")
