"""What can be connected in the matrix, each kind of port with its orders and figures.

Those that lead out of the engine are in terminals.py. A port that was closed, or whose engine was, is inert: orders to
it are ignored, reading from it finds nothing. A port lives until it or its engine is closed, whether anybody holds the
Python object or not.
"""

import math
import threading
from typing import TYPE_CHECKING, Any

from native import callerid
from native._engine import ffi, lib
from native.callerid import Caller, CallerIdKind
from native.codec import whole_samples
from native.faults import check, error
from native.stats import PortStats
from native.tones import Step, cycles, tones

if TYPE_CHECKING:
    from native.engine import Engine

FRAME_SAMPLES: int = lib.FRAME_SAMPLES
RATE_HZ: int = lib.RATE_HZ
TICK_S: float = lib.TICK_MS / 1000

# Mean square of a sine.
FULL_SCALE = 32768**2 / 2


class Port:
    """An end in the matrix. Made by the engine's methods only."""

    yields = True
    takes = True

    def __init__(self, engine: "Engine", pointer: Any) -> None:
        self._engine = engine
        # None once closed.
        self._pointer: Any = pointer
        self._measured = False
        self._caller_id: CallerIdKind | None = None
        self._id = engine._adopt(self, pointer)

    def close(self) -> None:
        """Takes effect with the next tick; its connections go with it, and no event of it is told any more."""
        if self._pointer is not None:
            check(lib.port_remove(self._pointer))
            self._engine._forget(self._id)

    def _give_up(self) -> None:
        """In a fork's child."""
        self._pointer = None

    def detect_dtmf(self, on: bool) -> None:
        """In what the port yields."""
        if self._pointer is not None:
            check(lib.port_detect_dtmf(self._pointer, on))

    def mute(self, on: bool) -> None:
        """Nobody hears it, but its keys and peaks are still told. Raises: ValueError: a conference."""
        if self._pointer is not None:
            check(lib.port_mute(self._pointer, on), "a conference is not muted, its parties are")

    def deafen(self, on: bool) -> None:
        """It hears silence. Raises: ValueError: a conference."""
        if self._pointer is not None:
            check(lib.port_deafen(self._pointer, on), "a conference is not deafened, its parties are")

    def detect_caller_id(self, kind: CallerIdKind | None) -> None:
        """In what the port yields, on hook or off; None: not any more."""
        if self._pointer is not None:
            check(lib.port_detect_caller_id(self._pointer, lib.CALLER_ID_NONE if kind is None else kind.value))
            self._caller_id = kind

    def _take_caller(self) -> Caller | None:
        if self._pointer is None or self._caller_id is None:
            return None
        message = ffi.new("uint8_t[]", lib.CALLER_ID_BYTES)
        size = lib.port_take_caller_id(self._pointer, message)
        return callerid.read(bytes(message[0:size]), self._caller_id)

    def measure(self, on: bool) -> None:
        """Level and voice activity of what the port yields, in its `stats`."""
        if self._pointer is not None:
            check(lib.port_measure(self._pointer, on))
            self._measured = on

    def cancel_echo(self, tail_ms: int) -> None:
        """Takes out of what the port yields what it was given; 0: not any more.

        `tail_ms` covers the device's delay and the line's: 10 to 60 ms and 12 ms on a USB modem.

        Raises:
            ValueError: more than 512, or a port that does not both yield and take.
        """
        if self._pointer is not None and lib.port_cancel_echo(self._pointer, tail_ms) < 0:
            raise error(f"no echo of {tail_ms} ms can be cancelled there")

    def process(self, *, agc: bool = False, denoise: bool = False) -> None:
        """In what the port yields: one level for loud and quiet talkers, less of a steady noise. 10 ms later.

        Raises: ValueError: a conference.
        """
        if self._pointer is not None:
            processed = lib.port_process(self._pointer, agc, denoise)
            check(processed, "a conference is not processed, its parties are")

    def detect_tones(self, country: str | None) -> None:
        """The call-progress tones of a country (`native.COUNTRIES`) in what the port yields; None: not any more.

        Raises:
            ValueError: a country whose tones are not known.
        """
        found = tones(country) if country is not None else {}
        patterns = ffi.new("tone_pattern[]", len(found))
        for pattern, (kind, cadence) in zip(patterns, found.items(), strict=True):
            pattern.kind, pattern.cycles, pattern.steps = kind.value, cycles(country or "", kind), len(cadence)
            for at, step in enumerate(cadence):
                pattern.step[at] = tone_step(step)
        if self._pointer is not None:
            check(lib.port_detect_tones(self._pointer, patterns, len(patterns)))

    def conceal(self, on: bool) -> None:
        """What has run out goes on for 50 ms, fading, and does not just stop: so it is, unless the port plays a device.

        Raises: ValueError: the port has no clock but ours.
        """
        if self._pointer is not None:
            check(lib.port_conceal(self._pointer, on), "a port that has no clock but ours has no gaps")

    def stats(self) -> PortStats:
        return PortStats(*self._meters())

    def _meters(self) -> tuple[int, int, float | None, bool | None, int, int]:
        if self._pointer is None:
            return 0, 0, None, None, 0, 0
        peaks = ffi.new("port_peaks *")
        lib.port_read_peaks(self._pointer, peaks)
        most = peaks.most_yielded, peaks.most_given
        if not self._measured:
            return peaks.yielded, peaks.given, None, None, *most
        activity = ffi.new("port_activity *")
        lib.port_read_activity(self._pointer, activity)
        level_dbfs = 10 * math.log10(activity.mean_square / FULL_SCALE) if activity.mean_square > 0 else -math.inf
        return peaks.yielded, peaks.given, level_dbfs, activity.voice, *most


class Player(Port):
    """Plays a block of samples or tones, once or for ever."""

    takes = False


class Conference(Port):
    """Connect a party to it to let it talk, it to a party to let that hear all the others, without itself.

    Each party's contribution is whole samples of 16 bits, after its gain; what is heard saturates after the sum.
    """


class FramesPort(Port):
    """Sound from and to this program, by the frame of 20 ms; nothing evens out its jitter."""

    def push(self, samples: bytes) -> bool:
        """16-bit samples at 8000 Hz. False: refused whole, because about a second would wait.

        Raises:
            ValueError: not whole samples.
        """
        block = whole_samples(samples)
        if self._pointer is None:
            return False
        return bool(lib.frames_push(self._pointer, block, len(block)))

    def pull(self) -> bytes | None:
        """The next frame that it was given. About a second is kept, what finds that full is lost."""
        frame = bytearray(2 * FRAME_SAMPLES)
        if self._pointer is None or not lib.frames_pull(self._pointer, ffi.from_buffer("int16_t[]", frame)):
            return None
        return bytes(frame)

    @property
    def dropped_frames(self) -> int:
        """Lost because nobody pulled."""
        return 0 if self._pointer is None else int(lib.frames_dropped(self._pointer))


class Channel(Port):
    """One of a recorder's two sinks. Closing it closes the recorder."""

    yields = False

    def __init__(self, engine: "Engine", pointer: Any, recorder: "Recorder") -> None:
        super().__init__(engine, pointer)
        self._recorder = recorder

    def close(self) -> None:
        self._recorder.close()

    def _give_up(self) -> None:
        super()._give_up()
        # Who was reading is not here.
        self._recorder._lock = threading.Lock()


class Recorder:
    """Two sinks, aligned to the sample, from the tick that follows its making. Keeps ten seconds for its reader."""

    def __init__(self, engine: "Engine", pointer: Any) -> None:
        self.left = Channel(engine, pointer, self)
        self.right = Channel(engine, lib.recorder_right(pointer), self)
        # Reading may happen on a thread of its own, and must not meet a close.
        self._lock = threading.Lock()

    def read(self) -> bytes:
        """All that was recorded since the last reading: left and right samples in turn, 16-bit little-endian."""
        with self._lock:
            pointer = self.left._pointer
            if pointer is None:
                return b""
            out = bytearray(4 * lib.recorder_waiting(pointer))
            lib.recorder_read(pointer, ffi.from_buffer("int16_t[]", out), len(out) // 4)
            return bytes(out)

    @property
    def dropped_frames(self) -> int:
        """Frames, of both channels, that the reader came too late for."""
        with self._lock:
            pointer = self.left._pointer
            return 0 if pointer is None else int(lib.recorder_dropped_frames(pointer))

    def close(self) -> None:
        with self._lock:
            Port.close(self.left)
            self.right._engine._forget(self.right._id)


def tone_step(step: Step) -> tuple[float, float, float, int]:
    first, second = (*step.hz, 0.0, 0.0)[:2] if len(step.hz) < 3 else (-1.0, -1.0)
    return first, second, step.modulated_hz, step.ms
