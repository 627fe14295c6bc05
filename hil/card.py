"""Sound cards on a machine that has none: a PulseAudio of our own, whose null sinks the host opens through ALSA.

    async with SoundServer(directory) as server, server.card(engine, "line1-card") as port:
        ...                                   # the device's end; the host opens "line1-card" with server.environment

What the host plays goes into one sink, whose monitor is the device's ear; what the device says into another, whose
monitor the host captures. The sinks' clock is PulseAudio's, as a card's is its own.
"""

import os
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

import trio

from hil.network import NetworkError
from native import RATE_HZ, Engine, Port

# Longer than any start that was seen; and for whom nobody has ended, after the last client went.
START_LIMIT_S = 20.0
IDLE_S = 30
FORMAT = ("--raw", f"--rate={RATE_HZ}", "--channels=1", "--format=s16le", "--latency-msec=20")
PLUGIN = "libasound_module_pcm_pulse.so"
# The engine's frame.
CHUNK_BYTES = 320


def missing() -> str:
    """What has to be installed; empty when nothing has."""
    if shutil.which("pulseaudio") is None:
        return "pulseaudio is not installed"
    if shutil.which("pacat") is None or shutil.which("pactl") is None:
        return "pulseaudio-utils is not installed"
    if not any(Path("/usr/lib").glob(f"*/alsa-lib/{PLUGIN}")):
        return "libasound2-plugins is not installed"
    return ""


class SoundServer:
    """Open it by `async with`. The directory is its own."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._socket = directory / "pulse.sock"
        self._configuration = directory / "asound.conf"
        self._cards: list[str] = []
        self._process: trio.Process | None = None
        self.running = False

    async def __aenter__(self) -> Self:
        """Raises: NetworkError: what is missing, or why it does not start."""
        if reason := missing():
            raise NetworkError(
                f"this line's sound needs a sound card, and PulseAudio to simulate one: {reason} "
                "(apt-get install pulseaudio pulseaudio-utils libasound2-plugins)"
            )
        self._directory.mkdir(mode=0o700, exist_ok=True)
        log = self._directory / "pulse.log"
        self._process = await trio.lowlevel.open_process(
            [
                # It is to be a card's clock on a machine that may be busy; where it may not, it does without.
                *(
                    "pulseaudio",
                    "-n",
                    "--high-priority=yes",
                    "--realtime=yes",
                    "--daemonize=no",
                    f"--exit-idle-time={IDLE_S}",
                    f"--log-target=file:{log}",
                ),
                *("-L", f"module-native-protocol-unix socket={self._socket} auth-anonymous=1"),
            ],
            env=self._clean_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._write_configuration()
        with trio.move_on_after(START_LIMIT_S):
            while self._process.poll() is None:
                if await self._answers():
                    self.running = True
                    return self
                await trio.sleep(0.02)
        await self.__aexit__(None, None, None)
        said = log.read_text()[-300:] if log.exists() else ""
        raise NetworkError(f"PulseAudio does not start here: {said}")

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.running = False
        if self._process is not None:
            self._process.terminate()
            with trio.CancelScope(shield=True):
                await self._process.wait()

    @property
    def environment(self) -> dict[str, str]:
        """For a host that is to find the cards; nothing when there are none."""
        return {"ALSA_CONFIG_PATH": str(self._configuration)} if self.running else {}

    @asynccontextmanager
    async def card(self, engine: Engine, name: str) -> AsyncIterator[Port]:
        """Plugged in as long as this is open."""
        modules = [await self._load(f"{name}.{way}") for way in ("play", "capture")]
        self._cards.append(name)
        self._write_configuration()
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        ear = await self._open("parec", f"--device={name}.play.monitor", stdout=theirs.fileno())
        mouth = await self._open("pacat", "--playback", f"--device={name}.capture", stdin=theirs.fileno())
        theirs.close()
        port = engine.pcm(ours.fileno(), chunk_bytes=CHUNK_BYTES)
        try:
            yield port
        finally:
            self._cards.remove(name)
            self._write_configuration()
            with trio.CancelScope(shield=True):
                for process in (ear, mouth):
                    # Told to go, pacat may drain for ever what nobody plays.
                    process.kill()
                    await process.wait()
                port.close()
                ours.close()
                for module in modules:
                    # In vain where the server has gone first.
                    await self._asked("unload-module", module)

    async def _load(self, sink: str) -> str:
        # A null sink's first step is of two seconds, in which a call is silent; of 50 ms without rewinds.
        return await self._control(
            *("load-module", "module-null-sink", f"sink_name={sink}", f"rate={RATE_HZ}"),
            *("channels=1", "format=s16le", "norewinds=1"),
        )

    async def _open(self, program: str, *options: str, stdin: int = -3, stdout: int = -3) -> trio.Process:
        """-3 is subprocess.DEVNULL."""
        command = [program, f"--server=unix:{self._socket}", *options, *FORMAT]
        return await trio.lowlevel.open_process(
            command, env=self._clean_environment(), stdin=stdin, stdout=stdout, stderr=subprocess.DEVNULL
        )

    async def _control(self, *order: str) -> str:
        """Raises: NetworkError: it says no."""
        done = await self._asked(*order)
        if done.returncode:
            raise NetworkError(f"pactl {' '.join(order)}: {done.stderr.decode().strip()}")
        return done.stdout.decode().strip()

    async def _answers(self) -> bool:
        return self._socket.exists() and (await self._asked("info")).returncode == 0

    async def _asked(self, *order: str) -> "subprocess.CompletedProcess[bytes]":
        return await trio.run_process(
            ["pactl", f"--server=unix:{self._socket}", *order],
            env=self._clean_environment(),
            capture_stdout=True,
            capture_stderr=True,
            check=False,
        )

    def _clean_environment(self) -> dict[str, str]:
        """Nothing of the user's own sound server; what it writes, it writes here."""
        place = str(self._directory)
        others = ("PULSE_SERVER", "PULSE_RUNTIME_PATH", "DISPLAY", "DBUS_SESSION_BUS_ADDRESS")
        return {
            **{name: value for name, value in os.environ.items() if name not in others},
            **{"HOME": place, "XDG_RUNTIME_DIR": place},
        }

    def _write_configuration(self) -> None:
        """ALSA's own, and each card as a device of its name."""
        text = "</usr/share/alsa/alsa.conf>\n"
        for name in self._cards:
            ends = (("playback", f"{name}.play"), ("capture", f"{name}.capture.monitor"))
            pulse = (
                f'{way}.pcm {{ type pulse server "unix:{self._socket}" device "{device}" }}' for way, device in ends
            )
            text += f"pcm.{name} {{ type asym {' '.join(pulse)} hint {{ show on }} }}\n"
        # Whole or not at all: somebody may be reading it.
        fresh = self._configuration.with_suffix(".new")
        fresh.write_text(text)
        fresh.replace(self._configuration)
