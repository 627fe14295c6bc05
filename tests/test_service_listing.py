"""`branchline lines`: what the box sees, by the service at work or without one."""

import json
import signal
import subprocess
from typing import Any

import trio

from hil.usbtree import AUDIO, STORAGE, Gadget
from tests.rig import COMMAND, Rig, open_rig, together

DONGLE = Gadget(0x0D8C, 0x0014, {0: AUDIO, 1: AUDIO}, (), ("C-Media", "USB Audio Device"), card=True)
DISC = Gadget(0x12D1, 0x1446, {0: STORAGE}, (), ("HUAWEI", "Mobile"))
MOUSE = Gadget(0x046D, 0xC077, {0: 3}, (), ("Logitech", "USB Optical Mouse"))


async def listed(rig: Rig, *arguments: str) -> str:
    command = [COMMAND, "lines", "--config", rig.config, *arguments]
    done = await trio.run_process(command, capture_stdout=True, stdin=subprocess.DEVNULL)
    return done.stdout.decode()


async def report(rig: Rig) -> Any:
    return json.loads(await listed(rig, "--json"))


def imei(rig: Rig, which: int) -> str:
    return rig.bench.lines[which].gsm.module.profile.imei


@together
async def test_without_a_service_lines_are_found_on_usb_and_asked_who_they_are(tmp_path):
    async with open_rig(tmp_path, lines=2, by="usb") as rig:
        await rig.bench.lines[1].unplug()
        seen = await report(rig)
        assert not seen["running"]
        first, second = seen["lines"]
        assert (first["name"], first["place"], first["problem"]) == ("line1", "usb 1-1.1", None)
        assert first["imei"] == imei(rig, 0)
        assert first["at"].startswith(str(rig.bench.usb.dev))
        assert second["problem"] == "nothing is plugged in at USB port 1-1.2"
        assert "The service is not running" in await listed(rig)


@together
async def test_the_service_at_work_tells_what_only_it_knows(tmp_path):
    async with open_rig(tmp_path, by="usb") as rig:
        run = await rig.start()
        seen = await report(rig)
        assert seen["running"]
        (line,) = seen["lines"]
        assert (line["state"], line["operator"], line["technology"], line["signal_dbm"]) == (
            "idle",
            "Orange F",
            "LTE",
            -65,
        )
        assert (line["imei"], line["iccid"]) == (imei(rig, 0), rig.line.gsm.module.profile.iccid)
        for word in ("line1", rig.number, "usb 1-1.1", "idle", "-65 dBm"):
            assert word in await listed(rig)
        assert run.faults == []


@together
async def test_what_is_plugged_in_and_no_lines_is_shown_with_what_it_may_be(tmp_path):
    async with open_rig(tmp_path, lines=2, by="usb") as rig:
        text = rig.config.read_text()
        rig.config.write_text(text.replace(rig.bench.lines[1].configured(usb="1-1.2"), ""))
        for port, gadget in (("1-1.7", DONGLE), ("1-1.8", DISC), ("1-1.9", MOUSE)):
            rig.bench.usb.plug(port, gadget, {})
        for running in (False, True):
            modem, dongle, disc = (await report(rig))["spare"]
            assert modem["usb"] == "1-1.2"
            assert "ec25" in modem["models"]
            assert modem["imei"] == (None if running else imei(rig, 1))
            assert (dongle["usb"], dongle["card"], dongle["models"]) == ("1-1.7", True, [])
            assert "usb-modeswitch" in disc["problem"]
            if not running:
                run = await rig.launch()
                await run.logged("line1: idle")
        said = await listed(rig)
        assert 'usb = "1-1.2"' in said
        assert 'card = "1-1.7"' in said


@together
async def test_the_services_socket_is_its_users_and_one_that_was_left_is_no_service(tmp_path):
    async with open_rig(tmp_path) as rig:
        run = await rig.start()
        socket = rig.data / "branchline.sock"
        assert socket.stat().st_mode & 0o777 == 0o600
        run.send(signal.SIGKILL)
        await run.ended()
        assert socket.exists()
        assert not (await report(rig))["running"]
        run = await rig.start()
        assert (await report(rig))["running"]
        assert await run.stop() == 0
        assert not socket.exists()
