"""The rules that give our modems names and permissions, and keep ModemManager off them."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from appliance.lines import DEVICES

RULES = Path(__file__).parents[1] / "image/udev/70-branchline.rules"
# udev(7): key, operator, value. Which keys there are is not asked: that is `udevadm verify`'s.
TERM = re.compile(r'[A-Z_]+(\{[\w/]+\})?(==|!=|=|\+=)"[^"]*"')


def rules() -> list[str]:
    return [line for line in RULES.read_text().splitlines() if line and not line.startswith("#")]


@pytest.mark.parametrize("rule", rules())
def test_a_rule_is_terms_with_commas_between(rule):
    assert re.fullmatch(rf"{TERM.pattern}(, {TERM.pattern})*", rule)


def test_every_jump_has_its_label_further_down():
    text = "\n".join(rules())
    for jump in re.finditer(r'GOTO="(\w+)"', text):
        assert f'LABEL="{jump[1]}"' in text[jump.end() :]


def test_every_model_on_usb_has_a_rule():
    known = set(re.findall(r'ATTRS\{idVendor\}=="(\w{4})", ATTRS\{idProduct\}=="(\w{4})"', "\n".join(rules())))
    wanted = {(f"{each.vendor:04x}", f"{each.product:04x}") for model in DEVICES.values() for each in model.usb}
    assert wanted
    assert wanted <= known


def test_modem_manager_is_told_to_keep_off_before_it_looks():
    assert 'ENV{ID_MM_DEVICE_IGNORE}="1"' in rules()
    # Its own rules are 77-mm-... and 80-mm-candidate.rules.
    assert RULES.name < "77-mm"


def test_udev_itself_takes_the_rules():
    udevadm = shutil.which("udevadm")
    if udevadm is None or "verify" not in subprocess.run([udevadm, "--help"], capture_output=True, text=True).stdout:
        pytest.skip("no udevadm that verifies (systemd 254 or newer)")
    verdict = subprocess.run([udevadm, "verify", "--no-style", str(RULES)], capture_output=True, text=True)
    assert verdict.returncode == 0, verdict.stdout + verdict.stderr
