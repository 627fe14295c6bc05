"""The configuration, as frozen values (`configfile` reads it).

[service]                        [[lines]]                         [[webhooks]]
data_dir = "/var/lib/branchline" name = "office"                   url = "https://crm.example/hook"
listen = "127.0.0.1:8080"        model = "ec25"                    secret = "whsec_..."
                                 number = "+33700000002"           events = ["phone_call.*"]
public_url = "https://box.ex..." usb = "1-1.2"
[sfvopi]                         [cloud]                           [doctor]
default_country = "FR"           url = "https://ingest.example"    at = "03:30"
[lab]                            token = "..."                     [recordings]
                                 [relay]                           keep_days = 90
[network]                        order = "operator"
probe = "192.0.2.1:443"

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

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal, Protocol

import phonenumbers
from pydantic import BaseModel, ConfigDict, Field

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
    WebhookName,
    WebhookUrl,
)
from appliance.limits import Limits
from appliance.options import Consent, RelayRule
from drivers.models import Sound, UsbId


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
    name: WebhookName | None = None

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
    token: Annotated[BearerToken, Field(repr=False)]
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


class Device(Protocol):
    """What is to be known of a device that there is a driver for."""

    @property
    def title(self) -> str: ...

    @property
    def usb(self) -> Sequence[UsbId]: ...

    @property
    def sound(self) -> Sequence[Sound]: ...
