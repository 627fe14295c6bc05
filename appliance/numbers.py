"""Telephone numbers: what people and networks write, as E.164; and which of them the box does not dial."""

import re
from collections.abc import Collection
from dataclasses import dataclass

import phonenumbers

# ITU-T E.164: a country code does not begin with 0; fifteen digits at most. Eight at least is ours.
E164 = re.compile(r"\+[1-9][0-9]{7,14}")


def is_e164(text: str) -> bool:
    return E164.fullmatch(text) is not None


def normalise(text: str, country: str) -> str | None:
    """The number as E.164, or None when it is none.

    `country` (ISO 3166 alpha-2) is taken for numbers in national form. A full number need not be in any numbering
    plan that we know: plans change more often than boxes are updated.
    """
    bare = re.sub(r"[\s()\-.]", "", text)
    if bare.startswith("00"):
        bare = "+" + bare[2:]
    if bare.startswith("+"):
        return bare if is_e164(bare) else None
    if not bare.isascii() or not bare.isdigit():
        return None
    try:
        number = phonenumbers.parse(bare, country)
    except phonenumbers.NumberParseException:
        return None
    full = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
    return full if phonenumbers.is_possible_number(number) and is_e164(full) else None


def caller_id(text: str | None, country: str) -> str:
    """Who calls, for the contracts: E.164 where it can be had, a short code as it is, `anonymous` when withheld."""
    if not text:
        return "anonymous"
    return normalise(text, country) or text


@dataclass(frozen=True)
class DialingRules:
    """Which numbers the box dials, on whoever's order; `docs/dialing.md` says it to people.

    `deny` and `allow` are numbers, or beginnings of numbers with `*` behind; the longer one that fits decides, and
    `allow` is stronger than `premium`. Nothing allows an emergency number but `emergency` itself: the box has no place
    that an operator could send help to, and often nobody who speaks.
    """

    deny: Collection[str] = ()
    allow: Collection[str] = ()
    premium: bool = False
    emergency: bool = False


ORDINARY_RULES = DialingRules()
PREMIUM = {phonenumbers.PhoneNumberType.PREMIUM_RATE, phonenumbers.PhoneNumberType.SHARED_COST}


def forbidden(number: str, rules: DialingRules, country: str) -> str | None:
    """Why this number is not to be dialed on a line in this country, for people; None: it may be."""
    if not rules.emergency and is_emergency(number, country):
        return f"{number} is an emergency number"
    denied, allowed = _longest(number, rules.deny), _longest(number, rules.allow)
    if denied is not None and len(denied) > len(allowed or ""):
        return f"{number} is denied by {denied}"
    if allowed is None and not rules.premium and _type(number) in PREMIUM:
        return f"{number} is a premium-rate number"
    return None


def is_emergency(number: str, country: str) -> bool:
    """As it is dialed: without a plus also one with more digits behind it, of which a network may take the first."""
    code = f"+{phonenumbers.country_code_for_region(country)}"
    if number.startswith("+"):
        return phonenumbers.is_emergency_number(number.removeprefix(code), country)
    return phonenumbers.connects_to_emergency_number(number, country)


def is_premium_code(code: str, country: str) -> bool:
    """Of a short code, which is the country's own: whether a message to it costs more than others."""
    try:
        number = phonenumbers.parse(code, country)
    except phonenumbers.NumberParseException:
        return False
    cost = phonenumbers.expected_cost_for_region(number, country)
    return cost == phonenumbers.ShortNumberCost.PREMIUM_RATE


def country_of(number: str) -> str | None:
    """Of an E.164 number, ISO 3166; None for one of no country, or of none that is known."""
    try:
        return phonenumbers.region_code_for_number(phonenumbers.parse(number))
    except phonenumbers.NumberParseException:
        return None


def is_pattern(text: str) -> bool:
    """Of `deny` and `allow`."""
    return re.fullmatch(r"\+[1-9][0-9]{0,14}\*?", text) is not None


def _longest(number: str, patterns: Collection[str]) -> str | None:
    fitting = (each for each in patterns if number == each or (each[-1] == "*" and number.startswith(each[:-1])))
    return max(fitting, key=len, default=None)


def _type(number: str) -> int | None:
    try:
        return phonenumbers.number_type(phonenumbers.parse(number))
    except phonenumbers.NumberParseException:
        return None
