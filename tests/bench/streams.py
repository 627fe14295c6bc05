"""What a call's media cost: ours against the plain way, CPU of the process that holds the calls.

`stream.call_tick_us.*`: lines in memory, 50 and 200 WebSockets, and 50 over TLS. `path.call_tick_us.30`: 30 lines on
ptys, from each modem's PCM port to its WebSocket and back. One frame out and one in, per call and tick, A-law. The two
ways take turns, each time in a fresh process that has a core to itself; each figure is the median of its rounds. Of
calls that are more than a core can carry, what counts is the cost of the frames that it did carry.
"""

from collections.abc import Iterator
from pathlib import Path

from tests.bench.apart import Apart
from tests.bench.figures import Figure, against
from tests.certificates import certify

ROUNDS, SECONDS = 3, 2.0
QUICK_SECONDS = 0.5
WAYS = ("ours", "plain")

CASES = {
    "stream.call_tick_us.50": (50, ()),
    "stream.call_tick_us.200": (200, ()),
    "path.call_tick_us.30": (30, ("--modems",)),
    "stream.call_tick_us.tls.50": (50, ("--tls",)),
}


def measure(names: set[str], directory: Path, *, quick: bool) -> Iterator[Figure]:
    for name, (calls, options) in CASES.items():
        if name not in names:
            continue
        arguments = [str(calls), str(QUICK_SECONDS if quick else SECONDS), *options]
        if "--tls" in options:
            arguments.append(str(certificate(directory)))
        spent: dict[str, list[float]] = {way: [] for way in WAYS}
        for _ in range(1 if quick else ROUNDS):
            for way in WAYS:
                with Apart("tests.bench.contender", way, *arguments) as contender:
                    spent[way].append(contender.hear()["us"])
        yield against(name, spent["ours"], spent["plain"])


def certificate(directory: Path) -> Path:
    """For 127.0.0.1, with its key and who vouches for it."""
    certified = certify(directory, "127.0.0.1")
    path = directory / "tls.pem"
    path.write_bytes(certified.key.read_bytes() + certified.ca.read_bytes())
    return path
