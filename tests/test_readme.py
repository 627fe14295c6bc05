"""What the README and docs/ tell people to do and to read: that it is there, and is taken."""

import re
import tomllib
from pathlib import Path

import pytest

from appliance.configfile import doubts, parse
from appliance.lines import DEVICES

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
LINES = '[service]\ndata_dir = "/var/lib/branchline"\n' + "".join(
    f'[[lines]]\nname = "{name}"\nmodel = "ec25"\nnumber = "+3370000000{place}"\nusb = "1-1.{place}"\n'
    for place, name in enumerate(("office", "shop", "sim2"), 2)
)


def anchors(page: Path) -> set[str]:
    """As GitHub makes them of headings."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_every_page_is_found_from_the_readme() -> None:
    assert {page.name for page in PAGES[2:]} == set(re.findall(r"\(docs/(\w+\.md)", README))


def test_the_packages_to_install_are_those_of_dev() -> None:
    listed = re.search(r"^packages=\((.*?)^\)", (ROOT / "dev").read_text(), re.DOTALL | re.MULTILINE)
    told = re.search(r"apt install (.*)", README)
    assert listed
    assert told
    assert told[1].split() == [line.split()[0] for line in listed[1].strip().splitlines()]


def test_the_first_configuration_is_good() -> None:
    config = parse("".join(re.findall(r"```toml\n(.*?)```", README, re.DOTALL)), DEVICES)
    assert not list(doubts(config))


@pytest.mark.parametrize("page", PAGES[2:], ids=lambda page: page.name)
def test_every_section_of_a_configuration_is_good_beside_lines(page: Path) -> None:
    for text in re.findall(r"```toml\n(.*?)```", page.read_text(), re.DOTALL):
        # Lines of their own are in the README, and of a bench's another file.
        if "lines" not in tomllib.loads(text):
            parse(LINES + text, DEVICES)
