import re
from pathlib import Path

import pytest

from drivers.models import MODELS, Sound, When

PAGE = (Path(__file__).resolve().parents[1] / "docs/drivers.md").read_text()


@pytest.mark.parametrize("name", MODELS)
def test_a_model_is_a_row_that_fits_together(name: str) -> None:
    model = MODELS[name]
    assert re.fullmatch(r"[a-z0-9]+", name)
    for composition in model.usb:
        assert composition.at != composition.pcm
        assert Sound.PCM not in model.audio or composition.pcm is not None
    for switch in model.audio.values():
        assert (switch.when is When.WIRED) == (not switch.on)
        assert switch.chunk_bytes % 2 == 0
        re.compile(switch.able)
    commands = [*model.set_up, *model.after_registration, *model.survey, *model.iccid, *model.pin_tries]
    commands += [*model.hang_up, model.reset, model.dtmf.format(key="1", index=1)]
    commands += [command for switch in model.audio.values() for command in (switch.on, *switch.off, switch.ability)]
    for command in filter(None, commands):
        assert command.startswith("AT")
        assert command.isascii()
        assert command.isprintable()
        assert model.limit_s(command) >= 5
    assert not any(news.startswith(model.noise) for news in model.urcs)


@pytest.mark.parametrize("name", MODELS)
def test_every_model_is_on_the_page(name: str) -> None:
    table = PAGE.split("## The models")[1].split("## ")[0]
    (row,) = [line for line in table.splitlines() if line.startswith("|") and f"`{name}`" in line.split("|")[1]]
    for sound in MODELS[name].sound:
        assert f"`{sound.value}`" in row or "the same" in row


def test_a_limit_is_that_of_the_closest_row() -> None:
    model = MODELS["ec25"]
    assert [model.limit_s(command) for command in ("AT+CSQ", "AT+CPIN?", "ATD123;", "ATA")] == [5, 20, 90, 90]
    assert MODELS["e1550"].pause_s("AT+CHUP") > model.pause_s("AT+CHUP") == 0
