"""A modem that knows 3GPP TS 27.007 and nothing else: results and AT+CLCC tell of its calls, its audio is analog."""

from collections import ChainMap
from collections.abc import Mapping
from typing import ClassVar

from hil.board import AudioPath
from hil.callcommands import CALLS
from hil.general import GENERAL
from hil.module import Act, Module, Stat
from hil.settings import SETTINGS


class Generic(Module):
    maker = "Generic"
    title = "27.007"
    firmware = "1.0"
    commands: ClassVar[Mapping[str, Act]] = ChainMap(CALLS, GENERAL)
    settings = SETTINGS
    audio_paths = frozenset({AudioPath.CARD})

    @property
    def audio(self) -> AudioPath | None:
        return AudioPath.CARD if self.legs(Stat.ALERTING, Stat.ACTIVE) else None
