"""A configured line and what is plugged in: found again under other names, and refused when it is another's."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
import trio

from appliance.config import LineConfig
from appliance.configfile import parse
from appliance.jack import ModemJack
from appliance.ladder import Rung
from appliance.lines import DEVICES
from drivers.bus import Bus
from drivers.errors import LineAbsent, LineBlocked, LineError, LineLost
from drivers.line import Identity
from drivers.usb import Ports
from hil.usbtree import AUDIO, VENDOR, Gadget, UsbTree

EC25 = Gadget(0x2C7C, 0x0125, dict.fromkeys(range(5), VENDOR), (0, 1, 2, 3))
E1550 = Gadget(0x12D1, 0x1001, dict.fromkeys(range(5), VENDOR), (0, 1, 2, 3, 4))
DONGLE = Gadget(0x0D8C, 0x0014, {0: AUDIO, 1: AUDIO}, (), ("C-Media", "USB Audio Device"), card=True)
IMEI, ICCID = "867698040000018", "89330123456789012345"


@pytest.fixture
def tree(tmp_path):
    return UsbTree(tmp_path)


def line_config(**keys: str) -> LineConfig:
    rows = {"name": "office", "number": "+33700000002", "model": "ec25"} | keys
    text = "".join(f'{key} = "{value}"\n' for key, value in rows.items())
    (line,) = parse(f'[service]\ndata_dir = "/x"\n[[lines]]\n{text}', DEVICES).lines
    return line


class Line:
    identity = Identity("EC25", "R06", IMEI, ICCID, "Orange")


class Socket:
    """A jack, and which ports its driver was given; `fault` is what comes of opening them."""

    def __init__(self, tree: UsbTree, line: LineConfig, *, uhubctl: str = "/nowhere/uhubctl") -> None:
        self.opened: list[Ports] = []
        self.fault: LineError | None = None
        self.in_use = False
        self.bus = Bus(tree.sysfs, tree.dev, uhubctl=uhubctl)
        self.jack = ModemJack(line, DEVICES[line.model], self.bus, open_ports=self._open, in_use=lambda: self.in_use)

    @asynccontextmanager
    async def _open(self, ports: Ports) -> AsyncIterator[Line]:
        self.opened.append(ports)
        if self.fault:
            raise self.fault
        yield Line()

    async def open(self) -> Ports:
        async with self.jack.open():
            return self.opened[-1]


async def test_a_line_by_usb_port_is_found_under_whatever_names(tree):
    socket = Socket(tree, line_config(usb="1-1.2"))
    for _ in range(2):
        names = tree.plug("1-1.2", EC25, {})
        assert await socket.open() == Ports(names[2], names[1])
        where = socket.jack.whereabouts
        assert (where.place, where.at, where.sound) == ("usb 1-1.2", str(names[2]), str(names[1]))
        tree.unplug("1-1.2")
    with pytest.raises(LineAbsent, match="nothing is plugged in"):
        await socket.open()


async def test_a_line_by_ttys_has_them_and_is_known_to_be_on_its_usb_port(tree):
    node = tree.dev / "node"
    node.touch()
    names = tree.plug("1-1.2", EC25, {1: node, 2: node})
    link = tree.dev / "modem-at"
    link.symlink_to(names[2])
    socket = Socket(tree, line_config(at=str(link), pcm=str(names[1])))
    assert await socket.open() == Ports(link, names[1])
    assert socket.jack.whereabouts.place == "usb 1-1.2"


async def test_ttys_that_are_not_there_are_said_so(tree):
    with pytest.raises(LineAbsent) as caught:
        await Socket(tree, line_config(at="/dev/null", pcm="/dev/no-modem")).open()
    assert str(caught.value) == "/dev/no-modem: no such device"


async def test_a_modem_that_moved_is_found_by_its_imei(tree):
    names = tree.plug("1-1.2", EC25, {})
    socket = Socket(tree, line_config(imei=IMEI))
    socket.bus.learn((await socket.bus.devices())["1-1.2"], IMEI)
    assert await socket.open() == Ports(names[2], names[1])
    assert socket.jack.whereabouts.place == "usb 1-1.2"


async def test_a_line_learns_whose_port_it_is_so_that_another_line_need_not_ask(tree):
    tree.plug("1-1.2", EC25, {})
    socket = Socket(tree, line_config(usb="1-1.2"))
    await socket.open()
    device, _ = await socket.bus.ports_by_imei(IMEI, DEVICES["ec25"].usb, DEVICES["ec25"].sound[0])
    assert device.port == "1-1.2"


@pytest.mark.parametrize(
    ("keys", "why"),
    [
        (
            {"imei": "867698040000999"},
            "the module's IMEI is 867698040000018, and not 867698040000999: another one is plugged in at usb 1-1.2",
        ),
        (
            {"iccid": "89330123456789099999"},
            "the SIM's ICCID is 89330123456789012345, and not 89330123456789099999: another one is plugged in at"
            " usb 1-1.2",
        ),
    ],
)
async def test_nobody_calls_by_anothers_sim(tree, keys, why):
    tree.plug("1-1.2", EC25, {})
    with pytest.raises(LineBlocked) as caught:
        await Socket(tree, line_config(usb="1-1.2", **keys)).open()
    assert str(caught.value) == why


async def test_of_two_compositions_the_other_is_tried_when_one_fails_and_the_one_that_works_is_kept(tree):
    names = tree.plug("1-1.2", E1550, {})
    socket = Socket(tree, line_config(usb="1-1.2", model="e1550"))
    socket.fault = LineLost("no answer to AT commands")
    for _ in range(3):
        with pytest.raises(LineLost):
            await socket.open()
    assert [ports.at for ports in socket.opened] == [names[2], names[4], names[2]]
    socket.fault = None
    assert [(await socket.open()).at for _ in range(3)] == [names[4]] * 3
    socket.fault = LineLost("no answer to AT commands")
    for _ in range(3):
        with pytest.raises(LineLost):
            await socket.open()
    assert {ports.at for ports in socket.opened[-3:]} == {names[4]}


async def test_sound_by_a_card_of_its_own_of_a_port_or_of_a_name(tree):
    uac = replace(EC25, classes={**EC25.classes, 5: AUDIO}, card=True)
    names = tree.plug("1-1.2", uac, {})
    tree.plug("1-1.3", DONGLE, {})
    for card, name in (("usb", "(hw:1,0)"), ("1-1.3", "(hw:2,0)"), ("Some Card", "Some Card")):
        assert await Socket(tree, line_config(usb="1-1.2", card=card)).open() == Ports(names[2], card=name)
    with pytest.raises(LineAbsent, match="no sound card is plugged in"):
        await Socket(tree, line_config(usb="1-1.2", card="1-1.4")).open()


async def test_a_modem_on_a_serial_line_has_its_card_by_usb_port(tree):
    tree.plug("1-1.3", DONGLE, {})
    line = line_config(at="/dev/null", card="1-1.3", model="sim800")
    assert await Socket(tree, line).open() == Ports(line.at, card="(hw:1,0)")


@pytest.mark.parametrize("keys", [{"usb": "1-1.2"}, {"imei": IMEI}, {"usb": "1-1.5", "card": "1-1.2"}])
async def test_what_concerns_a_line_is_told_when_it_is_plugged_in(tree, nursery, keys):
    socket = Socket(tree, line_config(**keys))
    nursery.start_soon(socket.bus.watch)
    with pytest.raises(LineAbsent):
        await socket.open()
    with trio.fail_after(20):
        async with trio.open_nursery() as waiting:
            waiting.start_soon(socket.jack.changed)
            tree.plug("1-1.2", EC25, {})


async def test_what_can_be_done_depends_on_what_is_known_and_on_other_lines_calls(tmp_path, tree):
    uhubctl = tmp_path / "uhubctl"
    uhubctl.write_text(f'#!/bin/sh\necho "$@" >>{tmp_path}/asked\n')
    uhubctl.chmod(0o755)
    socket = Socket(tree, line_config(usb="1-1.2"), uhubctl=str(uhubctl))
    assert set(socket.jack.possible) == {Rung.REOPEN, Rung.POWER}
    tree.plug("1-1.2", EC25, {})
    await socket.open()
    assert set(socket.jack.possible) == set(Rung)
    socket.in_use = True
    assert set(socket.jack.possible) == {Rung.REOPEN, Rung.RESET}
    with pytest.raises(LineError, match="another line has a call"):
        await socket.jack.climb(Rung.POWER)
    socket.in_use = False
    await socket.jack.climb(Rung.POWER)
    assert (tmp_path / "asked").read_text() == "-l 1-1 -p 2 -a cycle -d 3\n"


async def test_a_voice_modem_is_never_told_to_reset(tree):
    names = tree.plug("1-1.2", Gadget(0x0BAF, 0x0303, {0: 2, 1: 10}, (0,)), {})
    socket = Socket(tree, line_config(usb="1-1.2", model="usr5637"))
    assert await socket.open() == Ports(names[0])
    assert set(socket.jack.possible) == {Rung.REOPEN}
