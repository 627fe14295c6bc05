import pytest

from appliance.numbers import DialingRules, caller_id, forbidden, is_e164, is_pattern, normalise


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


@pytest.mark.parametrize(
    ("number", "country"),
    [("112", "FR"), ("15", "FR"), ("911", "US"), ("+1911", "US"), ("+33112", "FR"), ("999", "GB"), ("9111", "US")],
)
def test_an_emergency_number_is_dialed_by_nobody(number, country):
    assert (
        forbidden(number, DialingRules(allow=("+3*", "+1*"), premium=True), country)
        == f"{number} is an emergency number"
    )
    assert forbidden(number, DialingRules(emergency=True), country) is None


@pytest.mark.parametrize(
    ("number", "country"), [("+33112345678", "FR"), ("+19115550123", "US"), ("+33151234567", "FR")]
)
def test_a_subscriber_whose_number_begins_like_an_emergency_number_is_dialed(number, country):
    assert forbidden(number, DialingRules(), country) is None


@pytest.mark.parametrize("number", ["+33899123456", "+19005551234", "+448712345678"])
def test_a_premium_rate_number_wants_permission(number):
    assert forbidden(number, DialingRules(), "FR") == f"{number} is a premium-rate number"
    assert forbidden(number, DialingRules(premium=True), "FR") is None
    assert forbidden(number, DialingRules(allow=(number,)), "FR") is None
    assert forbidden(number, DialingRules(premium=True, deny=(number,)), "FR") == f"{number} is denied by {number}"


def test_of_two_rules_that_fit_the_longer_one_counts():
    rules = DialingRules(deny=("+33*", "+33612345678"), allow=("+336*",))
    assert forbidden("+33123456789", rules, "FR") == "+33123456789 is denied by +33*"
    assert forbidden("+33612345679", rules, "FR") is None
    assert forbidden("+33612345678", rules, "FR") == "+33612345678 is denied by +33612345678"


def test_a_pattern_is_a_number_or_the_beginning_of_numbers():
    assert all(map(is_pattern, ("+33*", "+1*", "+33612345678", "+3")))
    assert not any(map(is_pattern, ("*", "33*", "+*", "+33**", "+0*", "+33 6*", "")))
