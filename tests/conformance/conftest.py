import pytest
import trio.testing


@pytest.fixture
def skipping_clock() -> trio.testing.MockClock:
    """Goes as fast as any other, and a test may jump ahead with it."""
    return trio.testing.MockClock(rate=1)
