"""PINs that a SIM may have refused, kept over restarts: one of them must never be sent again by itself."""

import os
from functools import partial
from hashlib import sha256
from pathlib import Path

import trio

from drivers.sim import Pin


def pin_of(code: str, line: str, directory: Path) -> Pin:
    """`line` is its name: another PIN in the configuration, or another line, is not doubted. May block."""
    # Of what is in the configuration anyway, and as hard to read from here as from there.
    mark = directory / f"doubted-pin-{sha256(f'{line} {code}'.encode()).hexdigest()[:16]}"

    async def keep(doubted: bool) -> None:
        await trio.to_thread.run_sync(partial(_keep, mark, doubted))

    return Pin(code, doubted=mark.exists(), keep=keep)


def _keep(mark: Path, doubted: bool) -> None:
    """On the disk when it returns. Raises: OSError."""
    if doubted:
        os.close(os.open(mark, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
    else:
        mark.unlink(missing_ok=True)
    directory = os.open(mark.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
