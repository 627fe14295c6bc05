"""Sound cards: found by name and opened, through PortAudio, as a port of the engine."""

import contextlib
import logging
import re
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import trio

from drivers.errors import LineAbsent, LineBlocked, LineLost
from native import TICK_S, DevicePort, DeviceStream, Engine

# PortAudio is one for the process, knows no threads, and looks for devices only while no stream is open.
_turn = threading.Lock()
_open_streams = 0
# A stream that does not run from the start, as ALSA's plugin for PulseAudio has one now and then, is begun anew. The
# last is let be, since a modem's card may stand still until the call is up.
STARTS = 3
START_LIMIT_S = 1.0
# A sick sound card may keep PortAudio for ever: it costs its own line, and no other's call its end.
TURN_LIMIT_S = 10
CLOSE_LIMIT_S = 5

log = logging.getLogger(__name__)


@contextlib.asynccontextmanager
async def open_sound(
    engine: Engine, name: str, *, rate_hz: int = 8000, latency_s: float = TICK_S
) -> AsyncIterator[DevicePort]:
    """`name` is the device's, as PortAudio tells it, or a part of it that no other has; it plays and captures.

    Raises:
        LineLost: there is no such device, or it does not do what is asked of it.
        ValueError: a rate that no sound card has.
    """
    for start in range(1, STARTS + 1):
        port = engine.device(rate_hz)
        try:
            stream = await trio.to_thread.run_sync(_open, name, port.open_stream(), rate_hz, latency_s)
        except BaseException:
            port.close()
            raise
        try:
            if start == STARTS or await trio.to_thread.run_sync(_runs, port):
                yield port
                return
            log.warning("%s: its stream does not run, and is begun anew", name)
        finally:
            # First, as the end of its stream is no news then.
            port.close()
            with trio.move_on_after(CLOSE_LIMIT_S, shield=True):
                await trio.to_thread.run_sync(stream.close, abandon_on_cancel=True)


def _runs(port: DevicePort) -> bool:
    """The card's own time, whatever clock the rest goes by."""
    give_up_at = time.monotonic() + START_LIMIT_S
    while not port.stats().callbacks:
        if time.monotonic() > give_up_at:
            return False
        time.sleep(TICK_S / 2)
    return True


async def need_sound(name: str) -> None:
    """Raises: LineLost: `open_sound` would not find it."""
    await trio.to_thread.run_sync(_need, name)


class _Stream:
    """PortAudio's, which calls into the engine until it is closed."""

    def __init__(self, engines: DeviceStream, sounddevice: Any, device: int, rate_hz: int, latency_s: float) -> None:
        cast = sounddevice._ffi.cast
        self._engines = engines
        # As python-rtmixer does it: the base class takes C functions.
        self._stream = sounddevice._StreamBase(
            kind="duplex",
            device=device,
            samplerate=rate_hz,
            blocksize=round(rate_hz * TICK_S),
            latency=latency_s,
            channels=1,
            dtype="int16",
            callback=cast("PaStreamCallback *", engines.callback),
            finished_callback=cast("PaStreamFinishedCallback *", engines.finished),
            userdata=cast("void *", engines.userdata),
        )

    def start(self) -> None:
        self._stream.start()

    def close(self) -> None:
        global _open_streams
        with _turn:
            self._stream.close(ignore_errors=True)
            _open_streams -= 1
            DevicePort.close_stream(self._engines)


def _open(name: str, engines: DeviceStream, rate_hz: int, latency_s: float) -> _Stream:
    global _open_streams
    try:
        with _in_turn(name):
            sounddevice = _library()
            device = _find(sounddevice, name)
            try:
                stream = _Stream(engines, sounddevice, device, rate_hz, latency_s)
            except sounddevice.PortAudioError as exc:
                raise LineLost(f"{name}: {exc.args[0]}") from exc
            _open_streams += 1
    except BaseException:
        DevicePort.close_stream(engines)
        raise
    try:
        stream.start()
    except sounddevice.PortAudioError as exc:
        stream.close()
        raise LineLost(f"{name}: {exc.args[0]}") from exc
    return stream


@contextlib.contextmanager
def _in_turn(name: str) -> Iterator[None]:
    if not _turn.acquire(timeout=TURN_LIMIT_S):
        raise LineLost(f"{name}: another sound card keeps the sound system busy")
    try:
        yield
    finally:
        _turn.release()


def _need(name: str) -> None:
    with _in_turn(name):
        _find(_library(), name)


def _library() -> Any:
    """Imported when it is needed: it needs PortAudio, and reads ALSA's configuration."""
    try:
        import sounddevice
    except OSError as exc:
        raise LineBlocked(f"{exc} (Debian: apt-get install libportaudio2)") from exc
    # Its own error, which cannot be imported either.
    except Exception as exc:
        raise LineBlocked(_why_not() or str(exc)) from exc
    return sounddevice


def _why_not() -> str:
    """PortAudio knows that ALSA has failed, not why; ALSA says that to the standard error, here another process's."""
    command = [sys.executable, "-c", "import ctypes; ctypes.CDLL('libasound.so.2').snd_config_update()"]
    said = subprocess.run(command, capture_output=True, text=True, errors="replace").stderr
    reasons = re.findall(r"^ALSA lib \S+:\(\w+\) (.*)$", said, re.M)
    return f"ALSA cannot read its configuration: {'; '.join(reasons[:2])}" if reasons else ""


def _find(sounddevice: Any, name: str) -> int:
    found = _matches(sounddevice, name)
    if not found and _open_streams == 0:
        # It may have been plugged in since, or come to both its ways.
        sounddevice._terminate()
        sounddevice._initialize()
        found = _matches(sounddevice, name)
    if len(found) == 1:
        return found[0]
    devices = sounddevice.query_devices()
    if not found and any(name in device["name"] for device in devices):
        raise LineAbsent(f'audio device "{name}" does not play and capture, or another program has it')
    there = ", ".join(f'"{device["name"]}"' for device in devices) or "none"
    raise LineAbsent(f'{"several are" if found else "no such"} audio device "{name}"; there are: {there}')


def _matches(sounddevice: Any, name: str) -> list[int]:
    """Those that play and capture: one that was found while it came or went may do neither."""
    names = {
        index: device["name"]
        for index, device in enumerate(sounddevice.query_devices())
        if device["max_input_channels"] and device["max_output_channels"]
    }
    exact = [index for index, each in names.items() if each == name]
    return exact or [index for index, each in names.items() if name in each]
