"""When the machine ran nobody: pauses that no program on it can help, and whose marks every buffer keeps for a while.

    with Pauses() as pauses:
        ...
    pauses.first(since)         # time.monotonic() of the first one's begin

A virtual machine may stand still for 50 ms, several times a minute, while its host has other work. What a program does
then is not to be measured; pauses.c tells when it was.
"""

import ctypes
import math
import os
from types import TracebackType
from typing import Self

import numpy as np

from tests.bench.compiled import address, compiled

# Real-time threads that have a core to themselves are woken within a tenth of it.
LEAST_S = 0.003
MOST = 10_000


class _CWatch(ctypes.Structure):
    """`watch` of pauses.c."""

    _fields_ = (
        ("core", ctypes.c_int),
        *((name, ctypes.c_int64) for name in ("least_ns", "most", "count")),
        *((name, ctypes.c_void_p) for name in ("from_ns", "until_ns")),
        ("thread", ctypes.c_ulong),
        ("stop", ctypes.c_bool),
    )


class Pauses:
    def __init__(self, least_s: float = LEAST_S) -> None:
        self._library = compiled("pauses")
        self._times = [np.zeros((2, MOST), np.int64) for _ in os.sched_getaffinity(0)]
        self._watches = [
            _CWatch(core, round(1e9 * least_s), MOST, 0, address(times[0]), address(times[1]))
            for core, times in zip(sorted(os.sched_getaffinity(0)), self._times, strict=True)
        ]

    def __enter__(self) -> Self:
        for watch in self._watches:
            if error := self._library.watch_start(ctypes.byref(watch)):
                raise OSError(error, "no thread to watch the machine")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        for watch in self._watches:
            self._library.watch_stop(ctypes.byref(watch))

    def first(self, since: float) -> float:
        """The begin of the first pause of any core that ended later; infinity: there was none."""
        begins = (
            begin
            for watch, (begun, ended) in zip(self._watches, self._times, strict=True)
            for begin, end in zip(begun[: watch.count] / 1e9, ended[: watch.count] / 1e9, strict=True)
            if end > since
        )
        return min(begins, default=math.inf)
