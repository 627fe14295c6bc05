"""Which way a call's sound fails, by what a real port of the engine tells of a modem that is wired to it."""

import os
import socket
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import replace

import pytest

from appliance.soundcheck import LOOK_EVERY_S, Alarm, Soundcheck
from native import TICK_S, DeviceStats, Engine, PcmPort, PortStats

CHUNK_BYTES = 640
SILENCE, SOUND = bytes(CHUNK_BYTES), os.urandom(CHUNK_BYTES)


class Modem:
    """Gives and takes 40 ms at a time, as it is told to."""

    def __init__(self, engine: Engine, port: PcmPort, theirs: socket.socket) -> None:
        self.engine, self.port, self.theirs = engine, port, theirs
        self.gives: bytes | None = SOUND
        self.takes = True
        self.now = 0.0
        self.check = Soundcheck(0.0, port.stats())

    def run(self, seconds: float) -> list[tuple[float, Alarm, bool]]:
        """When which alarm began, True, or was over, False."""
        told = []
        for tick in range(round(seconds / TICK_S)):
            if tick % 2 == 0 and self.gives is not None:
                self.theirs.send(self.gives)
            self.engine.tick()
            self.now += TICK_S
            if self.takes:
                with suppress(BlockingIOError):
                    self.theirs.recv(65536)
            if tick % round(LOOK_EVERY_S / TICK_S) == 0:
                begun, over = self.check.look(self.port.stats(), self.now)
                told += [(self.now, alarm, alarm in begun) for alarm in begun | over]
        return told


@pytest.fixture
def modem() -> Iterator[Modem]:
    ours, theirs = socket.socketpair()
    for end in (ours, theirs):
        end.setblocking(False)
    # What the kernel keeps for a USB tty is 4 KB.
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    with theirs, ours, Engine() as engine, closing(engine.pcm(os.dup(ours.fileno()), chunk_bytes=CHUNK_BYTES)) as port:
        yield Modem(engine, port, theirs)


def test_a_modem_that_is_well_raises_nothing(modem: Modem) -> None:
    assert modem.run(60) == []


@pytest.mark.parametrize(
    ("gives", "takes", "alarm"),
    [
        (None, True, Alarm.NO_DOWNLINK),
        (None, False, Alarm.NO_DOWNLINK),
        (SILENCE, True, Alarm.DIGITAL_SILENCE),
        (SOUND, False, Alarm.UPLINK_REFUSED),
    ],
)
def test_each_way_that_sound_fails_is_told_once_within_two_seconds_of_the_answer(
    gives: bytes | None, takes: bool, alarm: Alarm, modem: Modem
) -> None:
    modem.gives, modem.takes = gives, takes
    # A tty that nobody reads takes what the kernel and the engine keep.
    modem.run(1)
    modem.check = Soundcheck(modem.now, modem.port.stats())
    answered = modem.now
    ((at, what, begun),) = modem.run(30)
    assert (what, begun) == (alarm, True)
    assert at - answered <= 2


def test_in_the_midst_of_a_call_too_and_again(modem: Modem) -> None:
    modem.run(10)
    for _ in range(2):
        modem.gives = None
        began = modem.now
        ((at, alarm, begun),) = modem.run(5)
        assert (alarm, begun) == (Alarm.NO_DOWNLINK, True)
        assert at - began <= 2
        modem.gives = SOUND
        assert [told[1:] for told in modem.run(10)] == [(Alarm.NO_DOWNLINK, False)]


def test_who_is_silent_after_a_first_word_is_nothing_to_worry_about(modem: Modem) -> None:
    modem.run(1)
    modem.gives = SILENCE
    assert modem.run(60) == []


def test_a_sound_card_that_does_not_play_what_we_send_refuses_it() -> None:
    stats = DeviceStats(peak_yielded=5000, captured_s=2, played_s=2)
    check, told = Soundcheck(0, stats), []
    for second in range(1, 10):
        stats = replace(stats, captured_s=2 + second, played_s=2 + min(second, 4))
        told += check.look(stats, second)[0]
    assert told == [Alarm.UPLINK_REFUSED]


def test_of_a_port_that_is_no_device_s_nothing_is_said() -> None:
    check = Soundcheck(0, PortStats())
    assert check.look(PortStats(), 100) == (frozenset(), frozenset())
