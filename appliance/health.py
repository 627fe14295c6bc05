"""How the box is, for whoever asks over HTTP and for systemd's watchdog."""

import os
import socket
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from importlib.metadata import version
from typing import Any

import structlog
import trio

from appliance.cloud import Cloud
from appliance.media import Media, audio_report
from appliance.outbox import Outbox
from appliance.shelf import Shelf
from appliance.trunk import Trunk
from appliance.webhook import public
from drivers.gsm import GsmLine
from drivers.line import Texting
from drivers.radio import Radio
from native import EngineStats

log = structlog.get_logger(__name__)

# The media clock ticks fifty times a second; one that stood still this long is broken, whatever the reason.
STILL_LIMIT_S = 1.0
LOOK_EVERY_S = 0.5

OK = "ok"

VERSION = version("branchline")


class Notifier:
    """systemd's socket (sd_notify(3)), or nothing where there is none."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        address = environment.get("NOTIFY_SOCKET", "")
        # A leading @ stands for an abstract address; one further on is part of a path, as in /run/user@1000.
        self._address = "\0" + address[1:] if address.startswith("@") else address
        watchdog_us = environment.get("WATCHDOG_USEC", "")
        # systemd asks for twice as many signs of life as it needs (sd_watchdog_enabled(3)).
        self.watchdog_s = int(watchdog_us) / 2e6 if watchdog_us.isdigit() else None

    def say(self, state: str) -> None:
        if not self._address:
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK) as notify:
            try:
                notify.sendto(state.encode(), self._address)
            except OSError as exc:
                log.warning("systemd can't be told", state=state, error=str(exc))


class Health:
    """A box whose media clock stands still is unwell: no call has sound. A line that is down is only told."""

    def __init__(
        self,
        media: Media,
        trunks: Sequence[Trunk],
        outbox: Outbox,
        notifier: Notifier,
        cloud: Cloud | None = None,
        shelf: Shelf | None = None,
    ) -> None:
        self._media = media
        self._trunks = trunks
        self._outbox = outbox
        self._notifier = notifier
        self._cloud = cloud
        self._shelf = shelf
        self._ticks = 0
        self._ticked_at = 0.0
        self._worst_late_us = 0

    async def watch(self) -> None:
        """Tells systemd that we are ready, and then that we live - as long as both the event loop and the media do."""
        self._notifier.say("READY=1")
        pulse_s = self._notifier.watchdog_s
        try:
            while True:
                if self._look() and pulse_s is not None:
                    self._notifier.say("WATCHDOG=1")
                await trio.sleep(min(LOOK_EVERY_S, pulse_s or LOOK_EVERY_S))
        finally:
            self._notifier.say("STOPPING=1")

    def _look(self) -> bool:
        stats = self.media_stats()
        if stats.ticks != self._ticks:
            self._ticks, self._ticked_at = stats.ticks, trio.current_time()
        return trio.current_time() - self._ticked_at < STILL_LIMIT_S

    def media_stats(self) -> EngineStats:
        """Here only, as the engine tells the worst since it was asked last. Lost news is ours and the engine's."""
        stats = self._media.engine.stats()
        self._worst_late_us = max(self._worst_late_us, stats.worst_late_us)
        return replace(stats, lost_events=stats.lost_events + self._media.lost_events)

    @property
    def status(self) -> str:
        return OK if self._look() else "media stopped"

    def recordings_report(self) -> Mapping[str, int]:
        return {} if self._shelf is None else self._shelf.report

    async def cloud_report(self) -> dict[str, Any]:
        """Of each lane to the cloud, by its name; none where there is no cloud."""
        return {} if self._cloud is None else await self._cloud.report()

    async def report(self) -> dict[str, Any]:
        """`worst_late_us` is since the last report."""
        status = self.status
        stats = self.media_stats()
        worst_late_us, self._worst_late_us = self._worst_late_us, 0
        return {
            "status": status,
            "version": VERSION,
            "media": {
                "ticks": stats.ticks,
                "skipped": stats.skipped,
                "worst_late_us": worst_late_us,
                "realtime": stats.realtime,
                "lost_events": stats.lost_events,
            },
            "lines": [line_report(trunk) for trunk in self._trunks],
            "undelivered_events": await self._outbox.pending(),
            "webhooks_gone": [public(url) for url in await self._outbox.gone()],
            "recordings": self.recordings_report(),
            "cloud": await self.cloud_report() or None,
        }


def line_report(trunk: Trunk) -> dict[str, Any]:
    """`outages` and what was done against them are since the service was started."""
    line, where = trunk.line, trunk.whereabouts
    radio = line.radio if isinstance(line, GsmLine) else Radio()
    return {
        "name": trunk.name,
        "number": trunk.number,
        **asdict(where),
        "state": trunk.state.value,
        "problem": trunk.problem,
        "operator": line.identity.operator if line else None,
        "registration": radio.registration or None,
        "technology": radio.technology or None,
        "cell": f"{radio.area}-{radio.cell}" if radio.cell else None,
        "ims": radio.ims,
        "signal_dbm": line.signal_dbm if line else None,
        "messages": {memory: asdict(storage) for memory, storage in line.texts.storage.items()}
        if isinstance(line, Texting)
        else None,
        "imei": line.identity.imei if line else None,
        "iccid": line.identity.iccid if line else None,
        "firmware": line.identity.firmware if line else None,
        "losses": trunk.losses,
        "recoveries": asdict(trunk.recoveries) | trunk.climbed,
        "outages": asdict(trunk.outages),
        "sound_alarms": {alarm.value: count for alarm, count in trunk.alarms.items()},
        **({"audio": audio_report(trunk.audio)} if trunk.audio else {}),
    }
