"""A caller whom no customer's server wants: an announcement is played, a beep, and what he says is recorded."""

import wave
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import trio
from structlog.typing import FilteringBoundLogger

from appliance.actions import RATES_HZ
from appliance.media import Media
from appliance.options import TakeMessage
from native import BEEP, Codec, Finished, Played, Port

# As long as anybody listens.
LONGEST_S = 120
LAST = 1


class AnnouncementError(Exception):
    """The file can't be played; the message says what it should be."""


@dataclass(frozen=True)
class Announcement:
    """16-bit samples, little-endian, one channel."""

    samples: bytes
    rate_hz: int


def read_announcement(path: Path) -> Announcement:
    """Raises: AnnouncementError."""
    try:
        with wave.open(str(path), "rb") as file:
            channels, bits, rate_hz = file.getnchannels(), 8 * file.getsampwidth(), file.getframerate()
            if channels != 1 or bits != 16 or rate_hz not in RATES_HZ[Codec.L16]:
                is_now = f"{channels} channels of {bits} bits at {rate_hz} Hz"
                raise AnnouncementError(f"{path} has {is_now}; make it one channel of 16 bits at 8000 Hz")
            if not 0 < file.getnframes() <= LONGEST_S * rate_hz:
                raise AnnouncementError(f"{path} must have sound, and of {LONGEST_S} s at most")
            return Announcement(file.readframes(file.getnframes()), rate_hz)
    except OSError as exc:
        raise AnnouncementError(f"{path}: {exc.strerror}") from exc
    except (EOFError, wave.Error) as exc:
        raise AnnouncementError(f"{path} is no WAV of plain samples: {exc or 'it is cut off'}") from exc


async def take_message(
    rule: TakeMessage,
    announcements: Path,
    *,
    media: Media,
    sinks: Sequence[Port],
    log: FilteringBoundLogger,
) -> None:
    """Until the message is as long as it may be; mostly the caller hangs up before. `sinks` hear the box."""
    if rule.announcement is not None:
        try:
            path = announcements / rule.announcement
            await announce(await trio.to_thread.run_sync(read_announcement, path), media, sinks)
        except AnnouncementError as exc:
            log.error("announcement not played", error=str(exc))
    if rule.record:
        await beep(media, sinks)
        log.info("the box takes a message")
        await trio.sleep(rule.limit_s)


async def announce(announcement: Announcement, media: Media, sinks: Sequence[Port]) -> None:
    engine, rate_hz = media.engine, announcement.rate_hz
    # As a stream's, since that is resampled.
    stream = engine.stream(Codec.L16, rate_hz, prefix=b"", suffix=b"", uplink=False)
    with closing(stream) as port, media.events_of(port) as events:
        for sink in sinks:
            engine.connect(port, sink)
        port.play(announcement.samples, Codec.L16, rate_hz)
        port.checkpoint(LAST)
        async for event in events:
            if isinstance(event, Played):
                return


async def beep(media: Media, sinks: Sequence[Port]) -> None:
    with closing(media.engine.tone(BEEP)) as port, media.events_of(port) as events:
        for sink in sinks:
            media.engine.connect(port, sink)
        async for event in events:
            if isinstance(event, Finished):
                return
