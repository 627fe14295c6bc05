"""Modems found by where they are plugged in and what they are, on trees that look like sysfs."""

from dataclasses import replace

import pytest

from drivers.errors import LineAbsent, LineBlocked
from drivers.models import MODELS, Sound, UsbId
from drivers.usb import Ports, at_port, ports_of, scan
from hil.usbtree import AUDIO, COMMUNICATIONS, STORAGE, VENDOR, Gadget, UsbTree

EC25 = Gadget(0x2C7C, 0x0125, dict.fromkeys(range(5), VENDOR), (0, 1, 2, 3))
UAC = replace(EC25, classes=dict.fromkeys(range(5), VENDOR) | {5: AUDIO, 6: AUDIO}, card=True)
USR5637 = Gadget(0x0BAF, 0x0303, {0: COMMUNICATIONS, 1: 0x0A}, (0,), ("U.S.Robotics", "USR5637"))
DISC = Gadget(0x12D1, 0x1446, {0: STORAGE, 1: STORAGE}, (), ("HUAWEI", "Mobile"))
IDS = MODELS["ec25"].usb


@pytest.fixture
def tree(tmp_path):
    return UsbTree(tmp_path)


def ports(tree: UsbTree, port: str, sound: Sound = Sound.PCM, ids: tuple[UsbId, ...] = IDS) -> list[Ports]:
    return ports_of(at_port(scan(tree.sysfs, tree.dev), port, "Quectel EC25", ids), ids, sound)


def test_without_usb_nothing_is_there(tmp_path):
    assert scan(tmp_path / "sys", tmp_path / "dev") == {}


def test_ports_are_found_by_interface_and_not_by_the_order_of_the_ttys(tree):
    names = tree.plug("1-1.2", EC25, {})
    assert ports(tree, "1-1.2") == [Ports(at=names[2], pcm=names[1])]
    assert names[2].name < names[1].name


def test_a_device_that_comes_back_under_other_names_is_found_at_the_same_port(tree):
    before = tree.plug("1-1.2", EC25, {})
    seen = scan(tree.sysfs, tree.dev)
    tree.unplug("1-1.2")
    assert scan(tree.sysfs, tree.dev) == {}
    after = tree.plug("1-1.2", EC25, {})
    assert before[2] != after[2]
    assert ports(tree, "1-1.2") == [Ports(at=after[2], pcm=after[1])]
    assert scan(tree.sysfs, tree.dev) != seen


def test_devices_behind_hubs_and_root_ports_are_kept_apart(tree):
    names = {port: tree.plug(port, EC25, {}) for port in ("1-1", "1-1.2", "1-1.2.4", "2-1")}
    (tree.sysfs / "bus/usb/devices/usb1").mkdir()
    assert {port: device.ttys for port, device in scan(tree.sysfs, tree.dev).items()} == names


def test_a_modem_of_the_communications_class_has_its_tty(tree):
    names = tree.plug("1-1.3", USR5637, {})
    assert names[0].name == "ttyACM0"
    assert ports(tree, "1-1.3", Sound.AT, (UsbId(0x0BAF, 0x0303, at=0),)) == [Ports(at=names[0])]


def test_a_modules_own_sound_card_is_the_one_of_the_same_device(tree):
    tree.plug("1-1.2", UAC, {})
    names = tree.plug("1-1.3", UAC, {})
    assert ports(tree, "1-1.3", Sound.CARD) == [Ports(at=names[2], card="(hw:2,0)")]


def test_an_id_of_two_compositions_has_ports_by_each_that_fits(tree):
    ids = (UsbId(0x12D1, 0x1001, at=2, pcm=1), UsbId(0x12D1, 0x1001, at=4, pcm=3), UsbId(0x12D1, 0x1001, at=7, pcm=6))
    names = tree.plug("1-1", Gadget(0x12D1, 0x1001, dict.fromkeys(range(5), VENDOR), (0, 1, 2, 3, 4)), {})
    assert ports(tree, "1-1", ids=ids) == [Ports(names[2], names[1]), Ports(names[4], names[3])]


PROBLEMS = {
    "nothing": (None, LineAbsent, "nothing is plugged in at USB port 1-1.2"),
    "a stick that is not switched": (
        DISC,
        LineAbsent,
        "the stick at USB port 1-1.2 (12d1:1446) shows itself as a CD-ROM: the Debian package usb-modeswitch makes it a"
        " modem",
    ),
    "another device": (
        USR5637,
        LineBlocked,
        "at USB port 1-1.2 is 0baf:0303 U.S.Robotics USR5637, which is no Quectel EC25",
    ),
    "a device without a name": (
        replace(USR5637, title=("", "")),
        LineBlocked,
        "at USB port 1-1.2 is 0baf:0303, which is no Quectel EC25",
    ),
    "no driver": (
        replace(EC25, serial=()),
        LineAbsent,
        "the modem at USB port 1-1.2 (2c7c:0125) has no serial ports: is the kernel's driver there (modprobe option)?",
    ),
    "a driver that left one out": (
        replace(EC25, serial=(0, 2, 3)),
        LineAbsent,
        "the modem at USB port 1-1.2 (2c7c:0125) has no serial port on interface 1: the kernel's driver did not take"
        " it",
    ),
    "a slimmed composition": (
        Gadget(0x2C7C, 0x0125, {0: VENDOR, 2: VENDOR}, (0, 2)),
        LineAbsent,
        "the modem at USB port 1-1.2 (2c7c:0125) has no interface 1, only 0, 2: its USB composition is not the usual"
        " one",
    ),
}


@pytest.mark.parametrize(("gadget", "kind", "why"), PROBLEMS.values(), ids=PROBLEMS)
def test_what_is_wrong_is_a_sentence(tree, gadget, kind, why):
    if gadget:
        tree.plug("1-1.2", gadget, {})
    with pytest.raises(kind) as caught:
        ports(tree, "1-1.2")
    assert (type(caught.value), str(caught.value)) == (kind, why)


def test_a_line_by_card_needs_no_pcm_tty_but_the_card(tree):
    tree.plug("1-1.2", EC25, {})
    with pytest.raises(LineAbsent, match="has no sound card: USB audio is switched off in it"):
        ports(tree, "1-1.2", Sound.CARD)


def test_a_device_that_goes_while_it_is_read_is_not_there(tree):
    tree.plug("1-1.2", EC25, {})
    (tree.sysfs / "bus/usb/devices/1-1.2/devnum").unlink()
    tree.plug("1-1.3", EC25, {})
    assert list(scan(tree.sysfs, tree.dev)) == ["1-1.3"]
