"""The configuration: TOML text in, frozen values out; or all that is wrong with it, each problem with its key.

[service]                        [[lines]]                         [[webhooks]]
data_dir = "/var/lib/branchline" name = "office"                   url = "https://crm.example/hook"
listen = "127.0.0.1:8080"        model = "ec25"                    secret = "whsec_..."
                                 number = "+33700000002"           events = ["phone_call.*"]
public_url = "https://box.ex..." usb = "1-1.2"
[sfvopi]                         [cloud]                           [doctor]
default_country = "FR"           url = "https://ingest.example"    at = "03:30"
[lab]                            token = "..."                     [recordings]
                                 [relay]                           keep_days = 90
                                 order = "operator"

Where a line's modem is, is one of

usb = "1-1.2"                    what is plugged in at that port of that hub; as `branchline lines` shows it
imei = "867698040000018"         that module, wherever it is plugged in
at = "/dev/serial/by-path/..."   a tty of its own, for what the two above can't find

and where its audio is, one of

                                 nothing, with `usb` or `imei`: the modem's own tty; and on analog lines
pcm = "/dev/serial/by-path/..."  a tty, with `at`
card = "usb"                     the sound card that the modem itself is (USB audio)
card = "1-1.3"                   the sound card at that USB port
card = "USB Audio Device"        the sound card whose name has this in it
"""

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol
from urllib.parse import urlsplit

import phonenumbers
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from appliance.events import NOT_YET
from appliance.fields import (
    AbsolutePath,
    Address,
    BearerToken,
    CloudEvents,
    CloudUrl,
    CountryCode,
    Digits,
    Email,
    EventTypes,
    HoursOfDay,
    LineName,
    ModelName,
    Number,
    Origin,
    Patterns,
    ProjectName,
    TimeOfDay,
    UsbPort,
    WebhookUrl,
    is_address,
)
from appliance.limits import Limits
from appliance.options import Consent, RelayRule
from drivers.countries import PROFILES
from drivers.models import Sound, UsbId


class ConfigError(Exception):
    """`problems` has a line for each thing to mend; as text they stand one below the other."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Service(_Section):
    data_dir: AbsolutePath
    listen: Address = "127.0.0.1:8080"
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    recordings: bool = True
    public_url: Origin | None = None


class LineConfig(_Section):
    """One modem and what it is plugged into; which of the keys belong together is told above.

    `imei` and `iccid` beside another place are to be what is found there: nobody calls by another's SIM. `polarity`
    and `silence_s` are of analog lines: whether the exchange reverses it when the callee answers, and how long nothing
    is heard before a call is taken for over. `call_waiting` and `hide_number` are of lines with a SIM: a second caller
    waits for the end of the call, in place of hearing busy; our number is not shown.
    """

    name: LineName
    model: ModelName
    number: Number
    usb: UsbPort | None = None
    imei: Digits | None = None
    iccid: Digits | None = None
    at: AbsolutePath | None = None
    pcm: AbsolutePath | None = None
    card: Annotated[str, Field(min_length=1)] | None = None
    pin: Annotated[Digits | None, Field(repr=False)] = None
    country: CountryCode | None = None
    polarity: bool | None = None
    silence_s: Annotated[int, Field(ge=5)] | None = None
    call_waiting: bool | None = None
    hide_number: bool | None = None
    limits: Limits = Limits()

    @property
    def region(self) -> str:
        """Where the line is: as configured, or by its number. Of no country: `ZZ`, or digits (ITU-T E.164.1)."""
        return self.country or phonenumbers.region_code_for_number(phonenumbers.parse(self.number)) or "ZZ"

    def sound(self, device: "Device") -> Sound:
        """The one that is configured, or else the device's usual one."""
        if self.card is not None:
            return Sound.CARD
        return Sound.PCM if self.pcm is not None else device.sound[0]


class Dialing(_Section):
    """Which numbers are dialed at all, and how many calls the box may have under way that it placed itself."""

    deny: Patterns = ()
    allow: Patterns = ()
    premium: bool = False
    emergency: bool = False
    concurrent_calls: Annotated[int, Field(ge=1)] | None = None


# The name of the cloud among webhooks.
CLOUD = "cloud"


class Webhook(_Section):
    """Who wants which events, and where. A named webhook keeps what it has not yet had when its `url` changes."""

    url: WebhookUrl
    secret: Annotated[str, Field(min_length=24, repr=False)]
    events: EventTypes = ("*",)
    name: Annotated[str, Field(min_length=1, max_length=100)] | None = None

    @property
    def key(self) -> str:
        return self.name or self.url


Pair = Annotated[tuple[LineName, LineName], Field(strict=False)]


class Keeping(_Section):
    """How long recordings are kept, how much room they may take, and how much they must leave; None: as it comes.

    Days are of the box being up, so that no setting of the clock deletes anything.
    """

    keep_days: Annotated[int, Field(ge=1)] | None = None
    max_mib: Annotated[int, Field(ge=1)] | None = None
    # With less than 200 MiB nothing is recorded any more (appliance/recording.py).
    keep_free_mib: Annotated[int, Field(ge=256)] | None = None

    def surplus(self, kept_bytes: int, free_bytes: int) -> int:
        """By how many bytes there is too much."""
        over = 0 if self.max_mib is None else kept_bytes - self.max_mib * 2**20
        short = 0 if self.keep_free_mib is None else self.keep_free_mib * 2**20 - free_bytes
        return max(0, over, short)


class Doctor(_Section):
    """When lines are examined by themselves, and which; `pairs` are who calls whom (docs/doctor.md)."""

    at: TimeOfDay | None = None
    lines: Annotated[tuple[LineName, ...], Field(strict=False)] = ()
    pairs: Annotated[tuple[Pair, ...], Field(strict=False)] = ()


class Relay(_Section, RelayRule):
    """Which lines dial for relays, in which order; and what a relay does that has no rule of its own (docs/relay.md).

    `order` is whose line is taken first: of the same `operator` as the line that was called, of the same `kind` (SIM or
    analog), or as `listed` in `lines`, which are the only ones if there are any. `consents` are by country.
    """

    order: Literal["operator", "kind", "listed"] = "operator"
    lines: Annotated[tuple[LineName, ...], Field(strict=False)] = ()
    consents: dict[CountryCode, Consent] = {}
    limit_s: Annotated[int, Field(ge=60, le=86400)] = 14400


ORDINARY_RELAY = Relay()


class Sfvopi(_Section):
    org_id: Annotated[int, Field(ge=1, lt=2**53)] = 1
    default_country: CountryCode = "FR"


class Cloud(_Section):
    """Who is brought the box's events and recordings, and when recordings may go (docs/cloud.md).

    With `presign` they become objects in a bucket: recordings, and events too unless there is a `url` for them.
    """

    url: CloudUrl | None = None
    presign: WebhookUrl | None = None
    token: Annotated[BearerToken, Field(min_length=16, repr=False)]
    events: CloudEvents = ("*",)
    recordings: bool = True
    window: HoursOfDay | None = None
    bandwidth_kib_s: Annotated[int, Field(ge=1)] | None = None

    @property
    def webhook(self) -> Webhook | None:
        """As the outbox knows it; None: it takes no events."""
        address = self.url or self.presign
        if not self.events or address is None:
            return None
        return Webhook.model_construct(url=address, secret=self.token, events=self.events, name=CLOUD)


class PhoneVoice(_Section):
    """Whether the box speaks PhoneVoice, and strangers may ask for an account (docs/phonevoice.md). `project`
    is what the box's own is called, `name` and `email` are its owner's, as its tokens tell them.
    """

    enabled: bool = True
    signup: bool = True
    project: ProjectName | None = None
    name: Annotated[str, Field(min_length=1, max_length=100)] | None = None
    email: Email | None = None


class Network(_Section):
    """The way to others: `ca` is a file of certificates that are trusted besides the system's. Where `probe` does not
    answer either, it is for want of network that a webhook doesn't.
    """

    probe: Address | None = None
    ca: AbsolutePath | None = None

    @property
    def probe_address(self) -> tuple[str, int] | None:
        if self.probe is None:
            return None
        host, _, port = self.probe.rpartition(":")
        return host.strip("[]"), int(port)


class Lab(_Section):
    """For a bench and for tests, never for a box that others can reach. `sysfs` and `dev` are of its own USB."""

    allow_loopback: bool = False
    sysfs: AbsolutePath = Path("/sys")
    dev: AbsolutePath = Path("/dev")


class Config(_Section):
    service: Service
    lines: Annotated[tuple[LineConfig, ...], Field(strict=False)] = ()
    webhooks: Annotated[tuple[Webhook, ...], Field(strict=False)] = ()
    sfvopi: Sfvopi = Sfvopi()
    phonevoice: PhoneVoice = PhoneVoice()
    dialing: Dialing = Dialing()
    recordings: Keeping = Keeping()
    doctor: Doctor = Doctor()
    relay: Relay = Relay()
    cloud: Cloud | None = None
    network: Network = Network()
    lab: Lab = Lab()

    @property
    def others(self) -> Sequence[Webhook]:
        """Whom events are for besides: the cloud, which has a way of its own."""
        hook = None if self.cloud is None else self.cloud.webhook
        return () if hook is None else (hook,)

    @property
    def takes_recordings(self) -> bool:
        """Whether there is a cloud that does."""
        return self.cloud is not None and self.cloud.recordings


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
    "cloud": Cloud,
    "network": Network,
    "lab": Lab,
}


class Device(Protocol):
    """What is to be known of a device that there is a driver for."""

    @property
    def title(self) -> str: ...

    @property
    def usb(self) -> Sequence[UsbId]: ...

    @property
    def sound(self) -> Sequence[Sound]: ...


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
    "bool_type": "must be true or false, without quotes",
    "tuple_type": "must be a list",
    "model_type": "must be a section of its own",
    "literal_error": "must be {expected}",
    "string_too_short": "must be at least {min_length} characters long",
    "string_too_long": "must be at most {max_length} characters long",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be less than {lt}",
    "string_pattern_mismatch": "is not of the form {pattern}",
    "value_error": "{error}",
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
    return f"{_key(loc)}: {words.format(**error.get('ctx', {}))}"


def _key(loc: Sequence[int | str]) -> str:
    """Lists count from 1, as people do."""
    return ".".join(str(part + 1) if isinstance(part, int) else part for part in loc)


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
