"""The service put together: what is made before anything is opened."""

import os
from pathlib import Path

from appliance.app import make_directories


def test_what_is_kept_is_nobody_elses_to_list(tmp_path: Path) -> None:
    """Recordings, numbers, and marks by which a PIN of four digits could be found."""
    before = os.umask(0o022)
    try:
        recordings = make_directories(tmp_path / "lib" / "branchline")
    finally:
        os.umask(before)
    assert [each.stat().st_mode & 0o777 for each in (recordings, recordings.parent)] == [0o700, 0o700]
