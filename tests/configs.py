"""A configuration's least parts as text, and its lines and webhooks with some values written otherwise."""

from dataclasses import dataclass

import pytest

from appliance.config import Config
from appliance.configfile import ConfigError, parse
from drivers.models import Sound, UsbId

SERVICE = '[service]\ndata_dir = "/var/lib/branchline"\n'
LINE = """
[[lines]]
name = "office"
model = "ec25"
number = "+33700000002"
at = "/dev/serial/by-path/modem-if02"
pcm = "/dev/serial/by-path/modem-if01"
"""
WEBHOOK = """
[[webhooks]]
url = "https://crm.example/hook"
secret = "whsec_0123456789abcdef01234567"
"""
SECRET = "whsec_0123456789abcdef01234567"
CLOUD = f'[cloud]\nurl = "https://ingest.example/box/"\ntoken = "{SECRET}"\n'


@dataclass(frozen=True)
class Device:
    title: str
    usb: tuple[UsbId, ...]
    sound: tuple[Sound, ...]


ANY_USB = (UsbId(0x2C7C, 0x0125, at=2, pcm=1),)
DEVICES = {
    "ec25": Device("Quectel EC25", ANY_USB, (Sound.PCM, Sound.CARD)),
    "e1550": Device("Huawei E1550", ANY_USB, (Sound.PCM,)),
    "a7672": Device("SIMCom A7672", ANY_USB, (Sound.CARD,)),
    "sim800": Device("SIMCom SIM800", (), (Sound.CARD,)),
    "v253": Device("a voice modem", (UsbId(0x0BAF, 0x0303, at=0),), (Sound.AT,)),
}


def read(text: str) -> Config:
    return parse(text, DEVICES)


def problems(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read(text)
    assert str(caught.value) == "\n".join(caught.value.problems)
    return list(caught.value.problems)


def with_line(**changes: str) -> str:
    """The line above with some values written otherwise; an empty text leaves the key out."""
    rows = dict(row.split(" = ", 1) for row in LINE.strip().splitlines()[1:]) | changes
    return "[[lines]]\n" + "".join(f"{key} = {value}\n" for key, value in rows.items() if value)


def with_place(**changes: str) -> str:
    """A line without ttys."""
    return with_line(**({"at": "", "pcm": ""} | changes))


def with_webhook(**changes: str) -> str:
    rows = {"url": '"https://crm.example/hook"', "secret": f'"{SECRET}"'} | changes
    return "[[webhooks]]\n" + "".join(f"{key} = {value}\n" for key, value in rows.items() if value)
