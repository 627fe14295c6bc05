"""Key tones as a bad line brings them, and what the engine hears of them."""

from dataclasses import dataclass

import numpy

from native import RATE_HZ, Dtmf, Engine
from native.codec import COLUMNS_HZ, KEYS, ROWS_HZ

# A sine of full scale is +3.14 dBm0: ITU-T G.711, table 5.
FULL_SCALE_DBM0 = 3.14


@dataclass(frozen=True)
class Line:
    """`level_dbm0` is the louder tone's, `twist_db` the column's above the row's; noise is white, against both."""

    on_ms: float = 40
    off_ms: float = 40
    level_dbm0: float = -10
    twist_db: float = 0
    offset: float = 0
    snr_db: float = 15
    # In the middle of each press.
    interruption_ms: float = 0


def dial(line: Line, count: int, seed: int = 1) -> tuple[str, bytes]:
    """Keys by chance, and their sound with half a second of noise before and after."""
    chance = numpy.random.default_rng(seed)
    peak = 32767 * 10 ** ((line.level_dbm0 - FULL_SCALE_DBM0) / 20)
    row_peak = peak * 10 ** (-max(line.twist_db, 0) / 20)
    column_peak = peak * 10 ** (min(line.twist_db, 0) / 20)
    keys = "".join(chance.choice(list(KEYS), count))
    parts = [numpy.zeros(RATE_HZ // 2)]
    for key in keys:
        row, column = divmod(KEYS.index(key), 4)
        turns = 2 * numpy.pi * (1 + line.offset) * numpy.arange(round(line.on_ms * RATE_HZ / 1000)) / RATE_HZ
        first, second = chance.uniform(0, 2 * numpy.pi, 2)
        press = row_peak * numpy.sin(ROWS_HZ[row] * turns + first)
        press += column_peak * numpy.sin(COLUMNS_HZ[column] * turns + second)
        middle, hole = len(press) // 2, round(line.interruption_ms * RATE_HZ / 1000)
        press[middle - hole // 2 : middle - hole // 2 + hole] = 0
        # Up to 5 ms more: no press is to the detector's looks as the one before.
        parts += [press, numpy.zeros(round(line.off_ms * RATE_HZ / 1000) + int(chance.integers(40)))]
    sound = numpy.concatenate([*parts, parts[0]])
    power = (row_peak**2 + column_peak**2) / 2
    sound += chance.normal(0, numpy.sqrt(power / 10 ** (line.snr_db / 10)), len(sound))
    return keys, numpy.clip(numpy.rint(sound), -32768, 32767).astype("<i2").tobytes()


def found(sound: bytes) -> str:
    """What the engine's detector hears in it."""
    with Engine() as engine:
        player = engine.player(sound)
        player.detect_dtmf(True)
        engine.tick(len(sound) // 320 + 1)
        return "".join(event.digit for event in engine.events() if isinstance(event, Dtmf))
