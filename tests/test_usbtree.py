"""The bench's lines on a USB of their own: the service finds them there, and they come back under other names."""

import trio

from appliance.configfile import parse
from appliance.lines import DEVICES
from drivers.models import MODELS, Sound
from drivers.usb import Ports, at_port, ports_of, scan
from hil.bench import Bench, BenchLine
from hil.cli import _config


def seen(bench: Bench, model: str, port: str) -> Ports:
    row = MODELS[model]
    device = at_port(scan(bench.usb.sysfs, bench.usb.dev), port, row.title, row.usb)
    (ports,) = ports_of(device, row.usb, Sound.PCM)
    return ports


async def test_a_line_is_on_the_usb_as_its_model_has_it(tmp_path):
    async with Bench([BenchLine("one", "+33700000002"), BenchLine("two", "+33700000003")], directory=tmp_path) as bench:
        for line, port in zip(bench.lines, ("1-1.1", "1-1.2"), strict=True):
            assert line.usb_port == port
            ports = seen(bench, "ec25", port)
            assert ports.at.resolve() == line.at_path.resolve()
            assert ports.pcm is not None
            assert ports.pcm.resolve() == line.pcm_path.resolve()


async def test_a_line_that_was_unplugged_comes_back_under_other_names(tmp_path):
    async with Bench([BenchLine("one", "+33700000002")], directory=tmp_path) as bench:
        with trio.fail_after(20):
            before = seen(bench, "ec25", "1-1.1")
            await bench.lines[0].unplug()
            assert scan(bench.usb.sysfs, bench.usb.dev) == {}
            await bench.lines[0].plug()
            after = seen(bench, "ec25", "1-1.1")
            assert {before.at, before.pcm}.isdisjoint({after.at, after.pcm})
            assert after.at.resolve() == bench.lines[0].at_path.resolve()


async def test_a_modem_on_a_serial_line_is_on_no_usb(tmp_path):
    async with Bench([BenchLine("one", "+33700000002", "sim800")], directory=tmp_path) as bench:
        assert bench.lines[0].usb_port is None
        assert scan(bench.usb.sysfs, bench.usb.dev) == {}


async def test_a_configuration_by_usb_port_is_one_that_the_box_takes(tmp_path):
    lines = [BenchLine("one", "+33700000002"), BenchLine("two", "+33159133354", "usr5637")]
    async with Bench(lines, directory=tmp_path) as bench:
        config = parse(_config(bench, tmp_path, by_usb=True), DEVICES)
        assert [(line.usb, line.at) for line in config.lines] == [("1-1.1", None), ("1-1.2", None)]
        assert (config.lab.sysfs, config.lab.dev) == (bench.usb.sysfs, bench.usb.dev)
