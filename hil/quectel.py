"""Quectel's modules, one by one."""

from collections import ChainMap
from collections.abc import Mapping
from typing import ClassVar

from hil import quectelcommands
from hil.board import Usb
from hil.callcommands import CALLS
from hil.general import GENERAL
from hil.module import Act
from hil.quectelboard import ROLES, QuectelBoard
from hil.quectelcommands import QUECTEL
from hil.settings import SETTINGS, Table, absent


class Quectel(QuectelBoard):
    commands: ClassVar[Mapping[str, Act]] = ChainMap(QUECTEL, CALLS, GENERAL)
    settings = SETTINGS | quectelcommands.SETTINGS


class Ec25(Quectel):
    title = "EC25"
    firmware = "EC25EFAR06A06M4G"
    ids = Usb(0x2C7C, 0x0125, "EC25", ROLES)


class Ec20(Quectel):
    title = "EC20F"
    firmware = "EC20CEFHLGR06A07M1G"
    ids = Usb(0x2C7C, 0x0125, "EC20-CE", ROLES)
    tests_pcm = "(0,1),(0,1,2)"


class Ec21(Quectel):
    title = "EC21"
    firmware = "EC21EFAR06A04M4G"
    ids = Usb(0x2C7C, 0x0121, "EC21", ROLES)


class Eg25(Quectel):
    """With a firmware that tells of a caller by +CLIP and ccinfo only."""

    title = "EG25"
    firmware = "EG25GGBR07A08M2G_30.202.30.202"
    ids = Usb(0x2C7C, 0x0125, "EG25-G", ROLES)
    rings = False


class Eg91(Quectel):
    title = "EG91"
    firmware = "EG91EFBR06A08M4G"
    ids = Usb(0x2C7C, 0x0191, "EG91", ROLES)


class Eg95(Quectel):
    title = "EG95"
    firmware = "EG95EFBR06A08M4G"
    ids = Usb(0x2C7C, 0x0195, "EG95", ROLES)


class Uc20(Quectel):
    """UMTS: no LTE registration, no IMS."""

    title = "UC20"
    firmware = "UC20GQBR03A14E1G"
    ids = Usb(0x05C6, 0x9003, "UC20", ROLES)
    technology = 2
    commands: ClassVar[Mapping[str, Act]] = ChainMap(
        Table(dict.fromkeys(("+CEREG", "+CIREG"), absent)), QUECTEL, CALLS, GENERAL
    )


class Ep06(Quectel):
    """No ccinfo, and some wedge on AT+QHUP."""

    title = "EP06-E"
    firmware = "EP06ELAR04A02M4G"
    ids = Usb(0x2C7C, 0x0306, "EP06-E", ROLES)
    has_ccinfo = False
    takes_qhup = False
