"""How late sound was, found by the sound itself: noise says by any few samples of it which ones they are.

`until` is when the machine first stood still (tests.bench.pauses): what was sent shortly before does not count, nor
what was later.

Pure: what the modem's end (Take) and the voice server's (one connection of its dump) have written down, by one clock.
"""

import base64
import math
from collections.abc import Sequence
from typing import Any

from tests.bench.tap import CHUNK_SAMPLES, Take
from tests.bench.voice import FRAME_BYTES, TICK_S, noise

# Enough to be unique in the noise.
KEY_BYTES = 12
# A-law of nothing, and for how long it has to last to be an end of the sound.
SILENCE = b"\xd5" * 800
# A machine that is busy with other things makes gaps; with more of them it tells nothing.
LEAST_FOUND = 0.5
# Whoever was on the way for longer than that is counted all the same, if he set out so long before a pause.
LOOK_S = 0.2


class NotFound(Exception):
    """Sound that was sent did not arrive as it was."""


def take_of(connection: dict[str, Any], takes: Sequence[Take]) -> Take:
    """The line whose sound this connection carried."""
    for _, payload in connection["in"][len(connection["in"]) // 2 :]:
        for take in takes:
            if base64.b64decode(payload)[:KEY_BYTES] in take.codes:
                return take
    raise NotFound("a stream that carried no line's sound")


def line_to_socket_ms(take: Take, connection: dict[str, Any], until: float = math.inf) -> list[float]:
    """Of each message: from when its first sample came to the PCM port, to its arrival.

    Of each of the modem's chunks, that is, both messages or none.
    """
    at, chunks = 0, take.sent
    found: dict[int, list[float]] = {}
    for came, payload in connection["in"]:
        place = take.codes.find(base64.b64decode(payload)[:KEY_BYTES], at)
        if place >= 0:
            at = place
            found.setdefault(place // CHUNK_SAMPLES, []).append(came)
    delays: list[float] = []
    for chunk, arrivals in found.items():
        sent = chunks[chunk]
        if sent is not None and sent < until - LOOK_S and len(arrivals) == CHUNK_SAMPLES // FRAME_BYTES:
            delays += (1000 * (came - sent) for came in arrivals)
    return delays


def socket_to_line_ms(take: Take, connection: dict[str, Any], until: float = math.inf) -> list[float]:
    """Of each frame: from when a box without any delay would begin to play it, to its first sample on the PCM port.

    That box begins with a frame when it comes, or when the one before it has been played.
    """
    sound, (heard, heard_at) = noise(0), take.heard()
    delays, at, ideal = [], 0, 0.0
    for number, sent in enumerate(connection["out"], connection["first"]):
        if sent > until - LOOK_S:
            break
        ideal = max(sent, ideal + TICK_S)
        found = heard.find(sound[number * FRAME_BYTES :][:KEY_BYTES], at)
        if found >= 0:
            at = found
            delays.append(1000 * (float(heard_at[found]) - ideal))
    return delays


def clear_ms(take: Take, connection: dict[str, Any], until: float = math.inf) -> list[float]:
    """Of each clearAudio: from its sending to the first sample of the silence that then lasts."""
    heard, heard_at = take.heard()
    delays = []
    for sent in connection["clear"]:
        since = int(heard_at.searchsorted(sent))
        silent = heard.find(SILENCE, since)
        # Silent from the first sample on: there was nothing to be cleared.
        if silent > since and sent < until - LOOK_S:
            delays.append(1000 * (float(heard_at[silent]) - sent))
    return delays


def enough(delays: list[float], of: int, what: str) -> list[float]:
    """Raises: NotFound: too few of them were found."""
    if not of or len(delays) < LEAST_FOUND * of:
        raise NotFound(f"{len(delays)} of {of} {what} found")
    return delays
