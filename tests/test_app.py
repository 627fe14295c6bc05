"""The service put together: what is made before anything is opened."""

import os
from pathlib import Path

import pytest

from appliance.app import Unable, make_directories, make_key, whom_to_trust


def test_what_is_kept_is_nobody_elses_to_list(tmp_path: Path) -> None:
    """Recordings, numbers, and marks by which a PIN of four digits could be found."""
    before = os.umask(0o022)
    try:
        recordings = make_directories(tmp_path / "lib" / "branchline")
    finally:
        os.umask(before)
    assert [each.stat().st_mode & 0o777 for each in (recordings, recordings.parent)] == [0o700, 0o700]


def test_the_key_of_addresses_is_made_once_and_is_ours_alone(tmp_path: Path) -> None:
    path = tmp_path / "links.key"
    key = make_key(path)
    assert len(key) == 32
    assert path.stat().st_mode & 0o777 == 0o600
    assert make_key(path) == key
    assert os.listdir(tmp_path) == ["links.key"]


def test_what_a_crash_left_of_a_key_is_none(tmp_path: Path) -> None:
    (tmp_path / "links.part").write_bytes(b"half")
    assert len(make_key(tmp_path / "links.key")) == 32


def test_a_damaged_key_is_told_and_never_replaced_unasked(tmp_path: Path) -> None:
    path = tmp_path / "links.key"
    path.write_bytes(b"")
    with pytest.raises(Unable, match="damaged"):
        make_key(path)
    assert path.read_bytes() == b""


def test_a_file_of_authorities_that_cannot_be_used_is_named_with_its_key(tmp_path: Path) -> None:
    letter = tmp_path / "letter.pem"
    letter.write_text("Dear reader,")
    for path, said in (
        (letter, "has no certificate that can be read"),
        (tmp_path, "Is a directory"),
        (tmp_path / "none", "No such file or directory"),
    ):
        with pytest.raises(Unable) as exc:
            whom_to_trust(path)
        assert str(exc.value) == f"network.ca: {path}: {said}"
