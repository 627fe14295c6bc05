"""What was found by fuzzing stays found: each target of tests/fuzz on its corpus, and on what hypothesis thinks of."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.__main__ import CORPUS, words
from tests.fuzz.targets import ABANDON, CUT, SEND, TARGETS

WORDS = [word.encode("latin-1") for word in sorted(words())]
# Lines of what is said on the ports, with anything between: longer than what chance alone would come upon.
SCRIPTS = st.lists(
    st.sampled_from(WORDS)
    | st.sampled_from([b"\r", b"\r\n", b": 1,", b'"', b"=", b"?", CUT, SEND, ABANDON])
    | st.binary(),
    max_size=40,
).map(b"".join)


@pytest.mark.parametrize("name", TARGETS)
def test_what_was_found_stays_mended(name: str) -> None:
    found = sorted((CORPUS / name).iterdir())
    assert found
    for path in found:
        TARGETS[name](path.read_bytes())


@pytest.mark.parametrize("name", TARGETS)
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.binary(max_size=300) | SCRIPTS)
def test_no_bytes_break_what_must_hold(name: str, data: bytes) -> None:
    TARGETS[name](data)
