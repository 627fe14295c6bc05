"""The configuration's file: TOML text in, a Config out; or all that is wrong with it, each problem with its key."""

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any
from urllib.parse import urlsplit

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from appliance.config import (
    CLOUD,
    Cloud,
    Config,
    Device,
    Dialing,
    Doctor,
    Keeping,
    Lab,
    LineConfig,
    Network,
    PhoneVoice,
    Relay,
    Service,
    Sfvopi,
    Webhook,
)
from appliance.events import NOT_YET
from appliance.fields import is_address
from appliance.limits import Limits
from appliance.options import CONSENT, FILE_NAME, TakeMessage
from drivers.countries import PROFILES
from drivers.models import Sound


class ConfigError(Exception):
    """`problems` has a line for each thing to mend; as text they stand one below the other."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


SECTIONS: dict[str, type[BaseModel]] = {
    "service": Service,
    "lines": LineConfig,
    "limits": Limits,
    "webhooks": Webhook,
    "sfvopi": Sfvopi,
    "phonevoice": PhoneVoice,
    "dialing": Dialing,
    "recordings": Keeping,
    "doctor": Doctor,
    "relay": Relay,
    "no_answer": TakeMessage,
    "busy": TakeMessage,
    "no_line": TakeMessage,
    "paused": TakeMessage,
    "cloud": Cloud,
    "network": Network,
    "lab": Lab,
}


def parse(text: str, models: Mapping[str, Device]) -> Config:
    """`models` are the devices that there are drivers for.

    Raises:
        ConfigError: with every problem that can be seen at once.
    """
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:
        raise ConfigError([_syntax(str(exc))]) from exc
    lab = raw.get("lab")
    allow_loopback = isinstance(lab, dict) and lab.get("allow_loopback") is True
    problems = []
    try:
        config = Config.model_validate(raw, context={"models": models, "allow_loopback": allow_loopback})
    except ValidationError as exc:
        # Never with the input: it may be a secret.
        problems = [_problem(error) for error in exc.errors(include_url=False, include_input=False)]
    else:
        for place, line in enumerate(config.lines, 1):
            problems += [f"lines.{place}.{text}" for text in _misfits(line, models[line.model])]
        problems += _strangers(config)
        problems += _cloud_problems(config)
    problems += _repeats(raw)
    if problems:
        raise ConfigError(problems)
    return config


def _strangers(config: Config) -> Iterator[str]:
    """Lines that are named, and that there are not; each message begins with the key."""
    there = {line.name for line in config.lines}
    if unknown := sorted(set(config.doctor.lines) - there):
        yield f"doctor.lines: no line is called {', '.join(unknown)}"
    if unknown := sorted(set(config.relay.lines) - there):
        yield f"relay.lines: no line is called {', '.join(unknown)}"
    for place, pair in enumerate(config.doctor.pairs, 1):
        if unknown := sorted(set(pair) - there):
            yield f"doctor.pairs.{place}: no line is called {', '.join(unknown)}"
        elif pair[0] == pair[1]:
            yield f"doctor.pairs.{place}: a line can't call itself"


def _cloud_problems(config: Config) -> Iterator[str]:
    if config.cloud is None:
        return
    if config.cloud.url is None and config.cloud.presign is None:
        yield "cloud.url: is missing (or presign): where is the cloud?"
    for place, webhook in enumerate(config.webhooks, 1):
        if webhook.key == CLOUD:
            yield f'webhooks.{place}.name: "{CLOUD}" is what the section [cloud] is called'


def _misfits(line: LineConfig, device: Device) -> Iterator[str]:
    """Keys that don't go together, or not with the model; each message begins with the key."""
    # Beside at, an imei is only to be what is found there.
    finder = "usb" if line.usb else "imei" if line.imei and not line.at else None
    if finder is None and line.at is None:
        yield "usb: is missing (or imei, or at): where is the modem?"
    if finder is not None:
        if line.at is not None:
            yield f"at: goes without {finder}, which finds the ports by itself"
        elif not device.usb:
            yield f"{finder}: can't find {device.title}: give its tty as at"
        if line.pcm is not None:
            yield f"pcm: goes with at; {finder} finds the ports by itself"
    yield from _missounds(line, device, finder)
    if Sound.AT in device.sound:
        for key in ("imei", "iccid", "pin", "call_waiting", "hide_number"):
            if getattr(line, key) is not None:
                yield f"{key}: {device.title} is for analog lines, and has no SIM"
        if line.region not in PROFILES:
            yield f"country: no tones are known of {line.region} (known: {', '.join(PROFILES)})"
    else:
        for key in ("polarity", "silence_s"):
            if getattr(line, key) is not None:
                yield f"{key}: is for analog lines only"


def _missounds(line: LineConfig, device: Device, finder: str | None) -> Iterator[str]:
    if line.pcm is not None and line.card is not None:
        yield "card: goes without pcm: there is one way for the audio"
        return
    for sound, value in ((Sound.PCM, line.pcm), (Sound.CARD, line.card)):
        if value is not None and sound not in device.sound:
            there = " or ".join(AUDIO[each] for each in device.sound)
            yield f"{sound.value}: the audio of {device.title} comes by {there}"
            return
    if line.card == "usb" and finder is None:
        yield 'card: "usb" is the modem that usb or imei finds; here it must be a name'
    if line.card is None and line.pcm is None:
        wanted = [sound.value for sound in device.sound if sound is not Sound.AT]
        # What usb and imei find is the modem's tty alone.
        if wanted and (Sound.PCM not in device.sound if finder else line.at):
            yield f"{wanted[0]}: is missing" + "".join(f" (or {each})" for each in wanted[1:])


# In words for who wrote the file.
AUDIO = {Sound.PCM: "a tty (pcm)", Sound.CARD: "a sound card (card)", Sound.AT: "the tty of its commands (at)"}


def doubts(config: Config) -> Iterator[str]:
    """What is no mistake, but will hardly do what was meant."""
    for place, line in enumerate(config.lines, 1):
        for key, path in (("at", line.at), ("pcm", line.pcm)):
            if path is not None and re.fullmatch(r"/dev/tty(USB|ACM)\d+", str(path)):
                yield f'lines.{place}.{key}: {path} changes with each reset; usb = "..." does not (`branchline lines`)'
    for place, webhook in enumerate(config.webhooks, 1):
        for pattern in NOT_YET.intersection(webhook.events):
            yield f'webhooks.{place}.events: "{pattern}" is known, but this version never sends it'
        yield from _unencrypted(f"webhooks.{place}.url", webhook.url)
    if config.cloud is not None:
        for key, url in (("url", config.cloud.url), ("presign", config.cloud.presign)):
            yield from _unencrypted(f"cloud.{key}", url or "")


def _unencrypted(key: str, url: str) -> Iterator[str]:
    parts = urlsplit(url)
    if parts.scheme == "http" and parts.hostname and not is_address(parts.hostname):
        yield f"{key}: http is refused where {parts.hostname} is on the internet: use https there"


def _syntax(message: str) -> str:
    """tomllib says `Invalid value (at line 3, column 9)`."""
    what, _, where = message.rstrip(")").partition(" (at ")
    return f"{where}: {what[0].lower()}{what[1:]}"


# pydantic's kinds of error, in words for who wrote the file.
WORDS = {
    "missing": "is missing",
    "string_type": "must be text in quotes",
    "int_type": "must be a whole number",
    "float_type": "must be a number",
    "bool_type": "must be true or false, without quotes",
    "tuple_type": "must be a list",
    "too_long": "must be {max_length} of them at most",
    "model_type": "must be a section of its own",
    "dict_type": "must be a section of its own",
    "literal_error": "must be {expected}",
    "string_too_short": "must be at least {min_length} characters long",
    "string_too_long": "must be at most {max_length} characters long",
    "greater_than_equal": "must be at least {ge:g}",
    "greater_than": "must be more than {gt:g}",
    "less_than_equal": "must be at most {le}",
    "less_than": "must be less than {lt}",
    "string_pattern_mismatch": "must be {form}",
    "value_error": "{error}",
}

FORMS = {
    FILE_NAME: 'a file\'s name without its directory, like "closed.wav"',
    CONSENT: '"none", "beep", or a file\'s name without its directory, like "recorded.wav"',
}


def _problem(error: ErrorDetails) -> str:
    loc = error["loc"]
    if error["type"] == "extra_forbidden":
        return f"{_key(loc)}: unknown key" + _suggestion(loc)
    if error["type"] == "tuple_type" and len(loc) == 1:
        return f"{_key(loc)}: must be sections that each begin with [[{loc[0]}]]"
    if error["type"] == "model_type" and len(loc) == 1:
        return f"{_key(loc)}: must be one section that begins with [{loc[0]}]"
    words = WORDS.get(error["type"], error["msg"])
    facts = error.get("ctx", {})
    return f"{_key(loc)}: {words.format(**facts, form=FORMS.get(facts.get('pattern', '')))}"


def _key(loc: Sequence[int | str]) -> str:
    """Lists count from 1, as people do. Of what is wrong with a key itself pydantic says `[key]` behind it."""
    return ".".join(str(part + 1) if isinstance(part, int) else part for part in loc if part != "[key]")


def _suggestion(loc: Sequence[int | str]) -> str:
    sections = [part for part in loc[:-1] if isinstance(part, str)]
    section = SECTIONS[sections[-1]] if sections else Config
    close = get_close_matches(str(loc[-1]), section.model_fields, n=1)
    return f', did you mean "{close[0]}"?' if close else f" (known: {', '.join(section.model_fields)})"


def _repeats(raw: Mapping[str, Any]) -> Iterator[str]:
    """What may be there only once; read from the raw text, so that other mistakes do not hide these."""
    # Each group shares one space of values: two lines can't open one tty, under whichever key.
    lines = ("name",), ("number",), ("at", "pcm"), ("usb",), ("imei",), ("iccid",), ("card",)
    for section, *keys in (*(("lines", *keys) for keys in lines), ("webhooks", "name", "url")):
        first: dict[str, str] = {}
        entries = raw.get(section)
        for place, entry in enumerate(entries if isinstance(entries, list) else [], 1):
            for key in keys:
                value = entry.get(key) if isinstance(entry, dict) else None
                # Each modem's own card is another one.
                if not isinstance(value, str) or (key, value) == ("card", "usb"):
                    continue
                here = f"{section}.{place}.{key}"
                if value in first:
                    yield f'{here}: "{value}" is taken already by {first[value]}'
                first.setdefault(value, here)
