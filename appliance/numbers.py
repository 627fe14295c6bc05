"""Telephone numbers: what people and networks write, as E.164."""

import re

import phonenumbers

# ITU-T E.164: a country code does not begin with 0; fifteen digits at most. Eight at least is ours.
E164 = re.compile(r"\+[1-9]\d{7,14}")


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
