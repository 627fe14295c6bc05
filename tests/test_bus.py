"""Devices that come and go, modems known by their IMEI, and the power of a port."""

import itertools
import os
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

import pytest
import trio
import trio.testing

from drivers.bus import RESET_ANSWER_S, Bus, order_anew, start_anew
from drivers.errors import LineAbsent, LineError
from drivers.models import MODELS, Sound
from drivers.port import PROBES, close_tty, open_tty
from drivers.usb import Ports
from hil.tty import Pty
from hil.usbtree import VENDOR, Gadget, UsbTree

EC25 = Gadget(0x2C7C, 0x0125, dict.fromkeys(range(5), VENDOR), (0, 1, 2, 3))
IDS = MODELS["ec25"].usb
PATIENCE_S = 20


@pytest.fixture
def tree(tmp_path):
    return UsbTree(tmp_path)


class Far:
    """A modem's AT side on a pty: it answers questions for its IMEI, and nothing at all when that is empty."""

    def __init__(self, pty: Pty, imei: str) -> None:
        self.link = pty.link
        self.heard: list[str] = []
        self._pty = pty
        self._imei = imei

    async def run(self) -> None:
        typed = b""
        async with trio.lowlevel.FdStream(os.dup(self._pty.master)) as stream:
            async for data in stream:
                *lines, typed = (typed + bytes(data)).split(b"\r")
                for line in lines:
                    text = line.decode().removeprefix("\x1b")
                    self.heard.append(text)
                    if self._imei and text.startswith("AT"):
                        answer = {"ATE0V1Q0+CMEE?": "+CMEE: 1", "AT+CGSN": self._imei}.get(text)
                        await stream.send_all(b"\r\n" + (f"{answer}\r\n\r\n".encode() if answer else b"") + b"OK\r\n")


@asynccontextmanager
async def modems(tree: UsbTree, *imeis: str) -> AsyncIterator[list[Far]]:
    """At 1-1.1, 1-1.2 and so on."""
    with ExitStack() as ptys:
        async with trio.open_nursery() as nursery:
            fars = []
            for place, imei in enumerate(imeis, 1):
                pty = ptys.enter_context(Pty(tree.dev / f"far{place}"))
                fars.append(Far(pty, imei))
                tree.plug(f"1-1.{place}", EC25, {2: pty.link})
                nursery.start_soon(pty.tend)
                nursery.start_soon(fars[-1].run)
            yield fars
            nursery.cancel_scope.cancel()


@pytest.fixture
async def bus(tree, nursery):
    bus = Bus(tree.sysfs, tree.dev)
    await nursery.start(bus.watch)
    return bus


async def test_who_waits_for_a_device_is_told_when_it_comes_and_when_it_goes(tree, bus):
    def sight() -> object:
        return bus.sight([], lambda device: device.port == "1-1.2")

    for step in (lambda: tree.plug("1-1.2", EC25, {}), lambda: tree.unplug("1-1.2")):
        before = sight()
        with trio.fail_after(PATIENCE_S):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(bus.changed, sight, before)
                await trio.testing.wait_all_tasks_blocked()
                step()


async def test_what_happens_to_other_devices_wakes_nobody(tree, bus):
    def sight() -> object:
        return bus.sight([], lambda device: device.port == "1-1.2")

    with trio.fail_after(PATIENCE_S):
        async with trio.open_nursery() as nursery:
            told = trio.Event()

            async def wait() -> None:
                await bus.changed(sight, sight())
                told.set()

            nursery.start_soon(wait)
            tree.plug("1-1.3", EC25, {})
            other = bus.sight([], lambda device: True)
            tree.unplug("1-1.3")
            await bus.changed(lambda: bus.sight([], lambda device: True), other)
            assert not told.is_set()
            nursery.cancel_scope.cancel()


async def test_a_name_that_leads_elsewhere_and_a_permission_are_changes(tmp_path, tree):
    bus = Bus(tree.sysfs, tree.dev)
    link, node = tmp_path / "modem-at", tmp_path / "node"
    seen = [bus.sight([link])]
    node.write_text("")
    link.symlink_to(node)
    seen.append(bus.sight([link]))
    node.chmod(0o600)
    seen.append(bus.sight([link]))
    link.unlink()
    link.symlink_to(tmp_path)
    seen.append(bus.sight([link]))
    assert all(before != after for before, after in itertools.pairwise(seen))
    assert bus.sight([link]) == seen[-1]


async def test_a_modem_is_found_by_its_imei_wherever_it_is_plugged_in(tree, bus):
    async with modems(tree, "860000000000001", "860000000000002") as fars:
        with trio.fail_after(PATIENCE_S):
            device, (ports,) = await bus.ports_by_imei("860000000000002", IDS, Sound.PCM)
            assert device.port == "1-1.2"
            assert ports == Ports(at=device.ttys[2], pcm=device.ttys[1])
            # The other was asked at the same time, and has not answered yet, perhaps.
            assert (await bus.ports_by_imei("860000000000001", IDS, Sound.PCM))[0].port == "1-1.1"
            asked = [len(far.heard) for far in fars]
            assert (await bus.ports_by_imei("860000000000002", IDS, Sound.PCM))[0] == device
            assert [len(far.heard) for far in fars] == asked

            tree.unplug("1-1.2")
            names = tree.plug("2-1", EC25, {2: fars[1].link})
            device, (ports,) = await bus.ports_by_imei("860000000000002", IDS, Sound.PCM)
            assert (device.port, ports.at) == ("2-1", names[2])


async def test_who_is_another_lines_by_port_or_by_tty_is_not_asked(tree):
    async with modems(tree, "860000000000001", "860000000000002") as fars:
        link = tree.dev / "modem-at"
        link.symlink_to(tree.plug("1-1.2", EC25, {2: fars[1].link})[2])
        bus = Bus(tree.sysfs, tree.dev, ports=["1-1.1"], ttys=[link])
        for imei in ("860000000000001", "860000000000002"):
            with pytest.raises(LineAbsent):
                await bus.ports_by_imei(imei, IDS, Sound.PCM)
        assert [far.heard for far in fars] == [[], []]


async def test_a_modem_that_nobody_has_is_absent(tree, bus):
    async with modems(tree, "860000000000001"):
        with pytest.raises(LineAbsent, match="no modem with IMEI 860000000000009 is plugged in"):
            await bus.ports_by_imei("860000000000009", IDS, Sound.PCM)


async def test_a_modem_that_another_program_has_is_said_so(tree, bus):
    async with modems(tree, "860000000000001") as (far,):
        fd = await open_tty(str(far.link))
        try:
            with pytest.raises(
                LineAbsent, match=r"is plugged in; 1-1\.1 could not be asked: .*: in use by another program"
            ):
                await bus.ports_by_imei("860000000000001", IDS, Sound.PCM)
        finally:
            close_tty(fd)
        assert (await bus.ports_by_imei("860000000000001", IDS, Sound.PCM))[0].port == "1-1.1"
        assert bus.unasked == {}


async def test_a_modem_that_keeps_silent_delays_nobody(tree, bus):
    async with modems(tree, "", "860000000000002") as (silent, _):
        device, _ = await bus.ports_by_imei("860000000000002", IDS, Sound.PCM)
        assert device.port == "1-1.2"
        assert PROBES[-1] not in silent.heard


async def test_who_has_a_modem_open_tells_its_imei_for_it_can_not_be_asked(tree, bus):
    tree.plug("1-1.2", EC25, {})
    bus.learn((await bus.devices())["1-1.2"], "860000000000003")
    assert (await bus.ports_by_imei("860000000000003", IDS, Sound.PCM))[0].port == "1-1.2"


async def test_a_module_that_takes_the_order_to_start_anew_is_let_go_at_once(tree):
    async with modems(tree, "860000000000001") as (far,):
        with trio.fail_after(PATIENCE_S):
            await start_anew(far.link, "AT+CFUN=1,1")
        assert far.heard == ["", "AT+CFUN=1,1"]


async def test_a_deaf_module_is_told_to_start_anew_all_the_same(autojump_clock):
    host, device = trio.testing.memory_stream_pair()
    await order_anew(host, "AT+CFUN=1,1")
    assert trio.current_time() == RESET_ANSWER_S
    assert await device.receive_some() == b"\x1b\rAT+CFUN=1,1\r"


def uhubctl(directory: Path, text: str) -> str:
    program = directory / "uhubctl"
    program.write_text(f'#!/bin/sh\necho "$@" >>{directory}/asked\n{text}\n')
    program.chmod(0o755)
    return str(program)


@pytest.mark.parametrize(
    ("port", "asked"), [("1-1.2", "-l 1-1 -p 2"), ("1-1.4.3", "-l 1-1.4 -p 3"), ("2-1", "-l 2 -p 1")]
)
async def test_a_ports_power_is_cut_at_its_hub(tmp_path, tree, port, asked):
    bus = Bus(tree.sysfs, tree.dev, uhubctl=uhubctl(tmp_path, "exit 0"))
    assert bus.has_power_switch
    await bus.power_cycle(port)
    assert (tmp_path / "asked").read_text() == f"{asked} -a cycle -d 3\n"


async def test_a_hub_without_switches_is_said_so(tmp_path, tree):
    bus = Bus(tree.sysfs, tree.dev, uhubctl=uhubctl(tmp_path, "echo No compatible devices detected!; exit 1"))
    with pytest.raises(LineError, match="port 2 of hub 1-1: No compatible devices detected!"):
        await bus.power_cycle("1-1.2")


async def test_without_uhubctl_there_is_no_power_switch(tmp_path, tree):
    bus = Bus(tree.sysfs, tree.dev, uhubctl=str(tmp_path / "uhubctl"))
    assert not bus.has_power_switch
    with pytest.raises(LineError, match="not installed"):
        await bus.power_cycle("1-1.2")
