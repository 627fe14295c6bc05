"""What TLS says for its own sake after the handshake: in pieces, often, and in floods."""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from native import Engine
from tests.certificates import Certified, certify
from tests.lane_rig import HEAD, SOUND, frame, join, open_stream, played, serve, unmasked
from tests.tls_records import HANDSHAKE, KEY_UPDATE, Records, new_keys, ticket
from tests.tls_rig import HOST, Server, secured

# Of a message, said or heard before the next keys. Java has new ones after 2^37 bytes, or what somebody has set.
LITTLE_BYTES = 20_000


@pytest.fixture(scope="module")
def certified(tmp_path_factory: pytest.TempPathFactory) -> Certified:
    return certify(tmp_path_factory.mktemp("tls"), HOST)


class Speaker(Server):
    """Whose words are records of ours, and who hears with Python's ssl."""

    def __init__(self, certified: Certified, keys: Path) -> None:
        certified.server.keylog_filename = str(keys)
        certified.server.num_tickets = 0
        super().__init__(certified.server)
        self.lane = secured(self, certified.ca)
        self.records = Records(keys)
        assert self.handed(self.records.seal(HEAD)) == HEAD

    def handed(self, data: bytes) -> bytes:
        """What the lane hands over when this came."""
        self.far.sendall(data)
        self.lane.receive()
        return self.lane.take() if self.lane.handed else b""

    def new_keys(self, *, yours_too: bool = True) -> bytes:
        data = self.records.seal(new_keys(yours_too=yours_too), HANDSHAKE)
        self.records.take_new_keys()
        return data


def frames(data: bytes) -> list[bytes]:
    payloads = []
    while data:
        _, payload, data = unmasked(data)
        payloads.append(payload)
    return payloads


@pytest.fixture
def speaker(certified: Certified, tmp_path: Path) -> Iterator[Speaker]:
    speaker = Speaker(certified, tmp_path / "keys")
    yield speaker
    speaker.close()


def pieces(message: bytes, cuts: tuple[int, ...]) -> list[bytes]:
    return [message[start:end] for start, end in pairwise((0, *cuts, len(message)))]


CUTS = [*((cut,) for cut in range(1, 5)), (1, 2, 3, 4)]


@pytest.mark.parametrize(
    ("message", "cuts"),
    [
        *(pytest.param(new_keys(yours_too=False), cuts, id=f"their keys {cuts}") for cuts in CUTS),
        *(pytest.param(new_keys(yours_too=True), cuts, id=f"keys {cuts}") for cuts in CUTS),
        *(pytest.param(ticket(1000), cuts, id=f"ticket {cuts}") for cuts in (*CUTS, (600,), (4, 600, 1000))),
    ],
)
def test_what_is_said_while_the_rest_of_a_message_is_to_come_goes_after_it(
    speaker: Speaker, message: bytes, cuts: tuple[int, ...]
) -> None:
    """RFC 8446 5.1: a message may be cut, if nothing else of that side's comes between."""
    lane, said = speaker.lane, b""
    for n, piece in enumerate(pieces(message, cuts)):
        assert speaker.handed(speaker.records.seal(piece, HANDSHAKE)) == b""
        for word in (b"%d" % n, b"and %d" % n):
            lane.send(word)
            said += word
        # The socket is not what it waits for.
        assert len(speaker.hear()) + lane.unsent_bytes == len(said)
        assert not lane.unsent
    assert speaker.heard == said
    if message[0] == KEY_UPDATE:
        speaker.records.take_new_keys()
    assert speaker.handed(speaker.records.seal(frame(b"heard"))) == frame(b"heard")
    lane.send(b"on")
    assert speaker.hear() == said + b"on"


def test_frames_wait_for_it_in_their_stream(speaker: Speaker) -> None:
    lane, (begun, rest) = speaker.lane, pieces(new_keys(yours_too=True), (4,))
    with Engine() as engine:
        port = open_stream(engine)
        engine.connect(engine.player(SOUND[:640], loop=True), port)
        join(lane, port)
        engine.tick()
        serve(lane)
        assert len(frames(speaker.hear())) == 1
        speaker.far.sendall(speaker.records.seal(begun, HANDSHAKE))
        for _ in range(10):
            engine.tick()
            assert serve(lane) == []
        assert len(frames(speaker.hear())) == 1
        speaker.far.sendall(speaker.records.seal(rest, HANDSHAKE))
        speaker.records.take_new_keys()
        speaker.far.sendall(speaker.records.seal(played(SOUND[:160])))
        assert serve(lane) == []
        assert len(frames(speaker.hear())) == 11
        assert port.stats().lane_messages == 1
        lane.leave()


@pytest.mark.parametrize("whose", ["ours", "theirs"])
def test_new_keys_are_taken_as_often_as_much_is_said(speaker: Speaker, whose: str) -> None:
    data = bytes(LITTLE_BYTES)
    for _ in range(300):
        if whose == "ours":
            speaker.lane.send(data)
        else:
            for half in (data[::2], data[1::2]):
                assert speaker.handed(speaker.records.seal(frame(half))) == frame(half)
        assert speaker.handed(speaker.new_keys()) == b""
        while speaker.lane.unsent:
            speaker.hear()
            speaker.lane.flush()
    assert speaker.lane.fault == ""
    speaker.lane.send(b"end")
    assert speaker.hear().endswith(b"end")


def test_a_flood_of_new_keys_ends_it_before_it_has_cost_much(speaker: Speaker) -> None:
    """Each costs a hundred times what a frame does, and may want an answer."""
    lane, flood = speaker.lane, [speaker.new_keys() for _ in range(2000)]
    assert speaker.handed(b"".join(flood)) == b""
    assert lane.ended
    assert lane.fault == "TLS: new keys too often"
    # Its answers are as long as its orders.
    assert lane.unsent_bytes < 100 * len(flood[0])
