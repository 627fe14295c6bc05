"""The file that tells of a bench's lines, and the words that its telephones know one another by."""

import pytest

from drivers.countries import PROFILES
from hil.bench import Bench, BenchLine
from hil.listening import align, sound
from hil.telephone import is_same
from hil.wires import WiresError, read
from hil.words import words

TWO = """\
[[lines]]
name = "stick"
model = "e173"
number = "+33700000003"
usb = "1-1.2"
pin = "4711"
partner = "jack"

[[lines]]
name = "jack"
model = "usr5637"
number = "+442079460000"
at = "/dev/branchline/1-1.3:1.0"
polarity = true
"""


def test_lines_are_told_as_a_box_is_told_of_them():
    stick, jack = read(TWO)
    assert (stick.usb, stick.partner, stick.device.title) == ("1-1.2", "jack", "Huawei E173, E17x, E1750, E153")
    assert (jack.analog.country, jack.analog.polarity) == (PROFILES["GB"], True)
    assert "4711" not in repr(stick)


async def test_what_the_bench_writes_for_a_box_is_such_a_file(tmp_path):
    plans = [BenchLine("one", "+33700000001", "ec25"), BenchLine("two", "+33159133354", "v253")]
    async with Bench(plans, directory=tmp_path, realtime=False) as bench:
        one, two = read("".join(line.configuration for line in bench.lines))
    assert (one.model, one.pcm) == ("ec25", str(tmp_path / "one-pcm"))
    assert (two.model, two.pcm) == ("v253", None)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (("e173", "sim7700"), 'lines.1.model: unknown "sim7700" (known: e1550'),
        (('partner = "jack"', 'partner = "stick"'), 'lines.1.partner: "stick" is no other line'),
        (('name = "jack"', 'name = "stick"'), 'lines.1.name: "stick" is there twice'),
        (('usb = "1-1.2"', "usb = 1"), "lines.1.usb: must be text in quotes"),
        (('usb = "1-1.2"', ""), "lines.1.usb: is missing"),
        (("pin", "pim"), "lines.1.pim: unknown key"),
        (("polarity = true", 'polarity = "yes"'), "lines.2.polarity: must be true or false"),
        (("number", "nummer"), "lines.1.number: is missing"),
        (("[[lines]]", "[[line]]"), "there must be sections that each begin with [[lines]]"),
        (("[[lines]]", "[[lines]"), "Expected"),
    ],
)
def test_what_is_wrong_is_told_with_its_key(change, why):
    with pytest.raises(WiresError) as caught:
        read(TWO.replace(*change, 1) if change[0] != "[[lines]]" else TWO.replace(*change))
    assert why in str(caught.value)


def test_one_number_is_written_in_many_ways():
    assert is_same("+33783484044", "0783484044")
    assert is_same("+33783484044", "01133783484044")
    assert not is_same("+33783484044", "+33783484045")
    assert not is_same(None, "+33783484044")


def test_other_words_are_not_like_them():
    said = [words(1.2, seed) for seed in range(4)]
    for one in said:
        for other in said:
            likeness = align(sound(one), sound(bytes(4000) + other + bytes(4000))).correlation
            assert likeness > 0.999 if one is other else likeness < 0.3
