"""A whole day, ticked by hand: two devices whose clocks are off, one each way, and every byte of theirs counted."""

import socket

import pytest

from native import FRAME_SAMPLES, TICK_S, Engine, PcmStats
from tests.pcm_host import FRAME_BYTES

DAY_TICKS = round(86400 / TICK_S)
# A socket takes more than so many unread.
UNREAD = 16
# What a device's first minutes may cost, until it is known how far its clock is off.
FOUND_OUT = 2


class Device:
    """It sends a chunk whenever its own clock has made one."""

    def __init__(self, engine: Engine, ppm: float, chunk_bytes: int) -> None:
        self._end, ours = socket.socketpair()
        with ours:
            for end in (self._end, ours):
                end.setblocking(False)
            self.port = engine.pcm(ours.fileno(), chunk_bytes=chunk_bytes)
        self._chunk = b"\2\0" * (chunk_bytes // 2)
        self._ticks = chunk_bytes / FRAME_BYTES / (1 + ppm / 1e6)
        self.sent = self.taken = 0

    @property
    def due(self) -> int:
        """The tick before which its next chunk is made."""
        return int((self.sent + 1) * self._ticks) + 1

    def send(self) -> None:
        self._end.send(self._chunk)
        self.sent += 1
        if self.sent % UNREAD == 0:
            self.take()

    def take(self) -> None:
        self.taken += len(self._end.recv(1 << 20))

    def close(self) -> None:
        self._end.close()


def test_in_a_day_of_drift_each_byte_is_counted_and_none_is_lost() -> None:
    engine = Engine()
    slow, fast = devices = (Device(engine, -200, 1600), Device(engine, 200, 640))
    sound = engine.player(b"\1\0" * FRAME_SAMPLES, loop=True)
    for device in devices:
        engine.connect(sound, device.port)
    tick = 0
    while (due := min(device.due for device in devices)) <= DAY_TICKS:
        engine.tick(due - tick - 1)
        for device in devices:
            if device.due == due:
                device.send()
        engine.tick()
        tick = due
    stats: list[PcmStats] = []
    for device in devices:
        device.take()
        stats.append(device.port.stats())
        device.close()
    engine.close()

    # 50 frames a second at 0.9998 and at 1.0002 of that, in chunks of five and of two; one of midnight is not sent.
    assert (slow.sent, fast.sent) == (863827, 2160431)
    assert [each.received_bytes for each in stats] == [863827 * 1600, 2160431 * 640]
    assert [each.sent_bytes for each in stats] == [slow.taken, fast.taken]
    for device, each in zip(devices, stats, strict=True):
        assert 0 <= each.received_bytes - device.taken <= 2 * len(device._chunk)
        assert (each.slips, each.overruns, each.dropped_downlink, each.dropped_uplink) == (0, 0, 0, 0)
        assert each.underruns == each.concealed <= FOUND_OUT
    assert [each.drift_ppm for each in stats] == pytest.approx([-200, 200], abs=2)
