"""What the machine tells of a line's surroundings, on a /proc and a /sys of the test's own."""

from pathlib import Path

import pytest

from appliance import surroundings
from appliance.surroundings import look_around


@pytest.fixture(autouse=True)
def rules(tmp_path, monkeypatch):
    """Where the udev rules would be, on whatever machine this runs."""
    place = tmp_path / "70-branchline.rules"
    monkeypatch.setattr(surroundings, "RULES", (place,))
    return place


def process(proc: Path, number: int, name: str, *files: Path) -> None:
    (proc / f"{number}/fd").mkdir(parents=True)
    (proc / f"{number}/comm").write_text(f"{name}\n")
    for place, file in enumerate(files):
        (proc / f"{number}/fd/{place}").symlink_to(file)


@pytest.fixture
def proc(tmp_path):
    (tmp_path / "proc/self").mkdir(parents=True)
    return tmp_path / "proc"


def test_who_has_a_tty_is_found_under_whatever_name_the_line_has_it(tmp_path, proc):
    tty, name = tmp_path / "ttyUSB2", tmp_path / "by-path"
    tty.touch()
    name.symlink_to(tty)
    process(proc, 77, "minicom", tmp_path / "else", tty)
    process(proc, 78, "bash", tmp_path / "else")
    around = look_around([str(name)], sysfs=tmp_path, proc=proc)
    assert around.holders == {str(name): "minicom (process 77)"}
    assert not around.modem_manager


def test_a_process_that_is_going_or_is_not_ours_is_passed_over(tmp_path, proc):
    (proc / "79").mkdir()
    process(proc, 80, "gone", tmp_path / "pipe:[1]")
    (proc / "80/fd/file").write_text("not a link")
    assert look_around([str(tmp_path / "tty")], sysfs=tmp_path, proc=proc).holders == {}


def test_modem_manager_is_no_matter_where_our_rules_keep_it_off(tmp_path, proc, rules):
    process(proc, 81, "ModemManager")
    assert look_around([], sysfs=tmp_path, proc=proc).modem_manager
    rules.touch()
    assert not look_around([], sysfs=tmp_path, proc=proc).modem_manager


@pytest.mark.parametrize(
    ("name", "alarm", "low"), [("rpi_volt", "1", True), ("rpi_volt", "0", False), ("cpu", "1", False)]
)
def test_a_raspberry_pis_voltage_alarm_is_seen(tmp_path, proc, name, alarm, low):
    sensor = tmp_path / "class/hwmon/hwmon3"
    sensor.mkdir(parents=True)
    (sensor / "name").write_text(f"{name}\n")
    (sensor / "in0_lcrit_alarm").write_text(f"{alarm}\n")
    assert look_around([], sysfs=tmp_path, proc=proc).low_voltage == low


def test_a_machine_without_all_that_is_well(tmp_path, proc):
    around = look_around([str(tmp_path / "tty")], sysfs=tmp_path / "nothing", proc=proc)
    assert (around.holders, around.modem_manager, around.low_voltage) == ({}, False, False)
