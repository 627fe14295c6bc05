"""TLS in a lane: the same bytes in any pieces, whom it believes, and how it ends. The server's side is Python's ssl."""

import ctypes
import select
import socket
import ssl
import warnings
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest
import trustme
from hypothesis import given, settings
from hypothesis import strategies as st

from native import Codec, Engine, Lane, Lanes, TlsError, Trust
from tests.certificates import Certified, certify
from tests.lane_rig import HEAD, SOUND, frame, join, open_stream, played, serve, unmasked
from tests.tls_rig import HOST, Server, refusal, secured, trust_in

LIMIT_S = 20


@pytest.fixture(scope="module")
def certified(tmp_path_factory: pytest.TempPathFactory) -> Certified:
    return certify(tmp_path_factory.mktemp("tls"), HOST, "127.0.0.1", "::1", "*.wild.example")


@pytest.fixture
def server(certified: Certified):
    server = Server(certified.server)
    yield server
    server.close()


# -- the same bytes ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.integers(1, 400), min_size=1, max_size=5),
    st.lists(st.sampled_from([0, 1, 100, 5000, 40_000]), min_size=1, max_size=4),
)
def test_in_any_pieces_the_same_is_heard_and_said(
    certified: Certified, version: ssl.TLSVersion, pieces: list[int], sizes: list[int]
) -> None:
    certified.server.minimum_version = certified.server.maximum_version = version
    server = Server(certified.server, pieces)
    try:
        lane = secured(server, certified.ca)
        said = handed = expected = b""
        for n, size in enumerate(sizes):
            data = bytes([n]) * size
            lane.send(data)
            said += data
            assert server.hear() == said
            text = frame(data) if n else HEAD
            handed += server.say(text, lane)
            expected += text
        assert handed == expected
    finally:
        server.close()
        certified.server.minimum_version, certified.server.maximum_version = (
            ssl.TLSVersion.TLSv1_2,
            ssl.TLSVersion.TLSv1_3,
        )


def test_audio_passes_both_ways_and_nothing_of_it_is_pythons(certified: Certified, server: Server) -> None:
    lane = secured(server, certified.ca)
    with Engine() as engine:
        port = open_stream(engine)
        engine.connect(engine.player(SOUND[:640], loop=True), port)
        join(lane, port)
        assert server.say(HEAD, lane) == HEAD
        for n in range(1, 50):
            engine.tick()
            assert server.say(played(SOUND[:160]), lane) == b""
            assert serve(lane) == []
            assert port.stats().lane_messages == port.stats().taken_frames == n
        heard, frames = server.hear(), 0
        while heard:
            _, payload, heard = unmasked(heard)
            assert payload.startswith(b'{"payload":"')
            frames += 1
        assert frames == 49
        lane.leave()


@pytest.mark.parametrize("secure", [False, True])
def test_no_frame_waits_for_python(certified: Certified, server: Server, secure: bool) -> None:
    class Pollfd(ctypes.Structure):
        _fields_ = (("fd", ctypes.c_int), ("events", ctypes.c_short), ("revents", ctypes.c_short))

    # No thread of Python's runs while it waits.
    wait = ctypes.PyDLL(None).poll
    there = Pollfd(server.far.fileno(), select.POLLIN, 0)
    lane = secured(server, certified.ca) if secure else Lane(server.near.fileno())
    lanes = Lanes()
    with Engine() as engine:
        lane.join(open_stream(engine))
        lanes.add(lane, lambda: None)
        lanes.start(engine, 0.015)
        engine.start()
        for _ in range(10):
            (server.hear if secure else server.listen)()
            assert wait(ctypes.byref(there), 1, 1000 * LIMIT_S) == 1
        lanes.remove(lane)
        lane.leave()


def test_much_that_comes_at_once_is_opened_over_some_turns(certified: Certified, server: Server) -> None:
    lane = secured(server, certified.ca)
    server.far.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2**20)
    with Engine() as engine:
        port = open_stream(engine)
        join(lane, port)
        assert server.say(HEAD, lane) == HEAD
        for _ in range(600):
            server.session.write(played(SOUND[:160]))
        server.far.sendall(server.going.read())
        counts = []
        while not counts or counts[-1] < 600:
            serve(lane)
            counts.append(port.stats().lane_messages)
        # In one turn no more than what a plain one would have read.
        assert 3 <= len(counts) <= 6
        lane.leave()


def test_what_the_socket_does_not_take_waits_and_goes_in_order(certified: Certified, server: Server) -> None:
    lane = secured(server, certified.ca)
    server.near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    with Engine() as engine:
        port = engine.stream(Codec.PCMA, 8000, prefix=bytes(3000), suffix=b"")
        join(lane, port)
        said = 0
        for n in range(200):
            engine.tick()
            lane.send(frame(b"%d" % n))
            serve(lane)
            if n % 7 == 0:
                server.hear()
            said += 1
        while lane.unsent_bytes:
            server.hear()
            lane.flush()
        data, ours, frames = server.hear(), 0, 0
        while data:
            if data[1] & 0x80:
                _, _, data = unmasked(data)
                frames += 1
            else:
                text = frame(b"%d" % ours)
                assert data.startswith(text)
                data, ours = data[len(text) :], ours + 1
        assert ours == said
        # The stream drops the oldest of what the server had no time for.
        assert 20 < frames < 200
        lane.leave()


# -- whom to believe ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", [HOST, "VOICE.example", "127.0.0.1", "::1", "one.wild.example"])
def test_who_has_a_certificate_for_that_name_or_address_is_believed(
    certified: Certified, server: Server, host: str
) -> None:
    lane = secured(server, certified.ca, host)
    assert server.say(HEAD, lane) == HEAD


@pytest.mark.parametrize(
    ("host", "reason"),
    [
        ("other.example", "hostname mismatch"),
        ("example", "hostname mismatch"),
        ("two.one.wild.example", "hostname mismatch"),
        ("wild.example", "hostname mismatch"),
        ("127.0.0.2", "IP address mismatch"),
        ("::2", "IP address mismatch"),
    ],
)
def test_who_has_one_for_others_is_not(certified: Certified, server: Server, host: str, reason: str) -> None:
    assert refusal(server, certified.ca, host) == f"certificate verify failed: {reason}"


def test_a_stranger_and_one_whose_time_is_over_are_not(tmp_path: Path, server: Server) -> None:
    assert refusal(server, None) == "certificate verify failed: unable to get local issuer certificate"
    old = certify(tmp_path, HOST, not_after=datetime(2020, 1, 1, tzinfo=UTC))
    late = Server(old.server)
    assert refusal(late, old.ca) == "certificate verify failed: certificate has expired"
    late.close()


def test_a_server_is_told_for_which_name_it_is_called(certified: Certified) -> None:
    names: list[str | None] = []
    certified.server.sni_callback = lambda session, name, context: names.append(name)
    for host in (HOST, "127.0.0.1"):
        server = Server(certified.server)
        secured(server, certified.ca, host)
        server.close()
    certified.server.sni_callback = None
    assert names == [HOST, None]


def test_without_tls_on_the_other_side_it_says_so(certified: Certified, server: Server) -> None:
    lane = Lane(server.near.fileno(), trust=trust_in(certified.ca), host=HOST)
    server.far.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    with pytest.raises(TlsError, match="TLS: wrong version number"):
        lane.shake_hands()


def test_without_tls_there_is_no_handshake() -> None:
    near, far = socket.socketpair()
    with near, far:
        lane = Lane(near.fileno())
        assert (lane.shake_hands(), lane.fault) == (True, "")


def test_below_1_2_there_is_none(tmp_path: Path) -> None:
    certified = certify(tmp_path, HOST)
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
        certified.server.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
        certified.server.maximum_version = ssl.TLSVersion.TLSv1_1
    certified.server.set_ciphers("ALL:@SECLEVEL=0")
    server = Server(certified.server)
    assert "protocol version" in refusal(server, certified.ca)
    server.close()


@pytest.mark.parametrize("after", [0, 300])
def test_a_server_that_goes_away_before_it_is_done_is_no_riddle(
    certified: Certified, server: Server, after: int
) -> None:
    lane = Lane(server.near.fileno(), trust=trust_in(certified.ca), host=HOST)
    assert not lane.shake_hands()
    server.listen()
    with suppress(ssl.SSLWantReadError):
        server.session.do_handshake()
    server.far.sendall(server.going.read(after) if after else b"")
    server.far.close()
    # What it said is heard first.
    assert not (after and lane.shake_hands())
    with pytest.raises(TlsError, match="cut off in the TLS handshake"):
        lane.shake_hands()


@pytest.mark.parametrize("host", ["", "\0", f"{HOST}\0.other.example", f".{HOST}", "vöice.example", "a" * 300])
def test_a_host_that_cannot_be_is_an_error_of_the_caller(certified: Certified, server: Server, host: str) -> None:
    with pytest.raises(ValueError, match="called"):
        Lane(server.near.fileno(), trust=trust_in(certified.ca), host=host)


def test_a_file_without_certificates_is_an_error_of_the_caller(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    for name in ("empty", "none"):
        with pytest.raises(ValueError, match=f"{name}: has no certificate"):
            Trust(tmp_path / name)


def test_trust_may_go_before_who_was_believed(certified: Certified, server: Server) -> None:
    trust = Trust(certified.ca)
    lane = Lane(server.near.fileno(), trust=trust, host=HOST)
    del trust
    server.shake_hands(lane)
    assert server.say(HEAD, lane) == HEAD


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("key", list(trustme.KeyType))
def test_any_usual_server_is_understood(tmp_path: Path, version: ssl.TLSVersion, key: trustme.KeyType) -> None:
    # Two authorities between, many names, a certificate of ours asked for, an unusual curve, a protocol to choose.
    names = [f"{n}.{60 * 'a'}.example" for n in range(300)]
    certified = certify(tmp_path, *names, HOST, key=key, between=2)
    certified.server.minimum_version = certified.server.maximum_version = version
    certified.server.verify_mode = ssl.CERT_OPTIONAL
    certified.server.load_verify_locations(certified.ca)
    certified.server.set_ecdh_curve("secp521r1")
    certified.server.set_alpn_protocols(["http/1.1"])
    server = Server(certified.server)
    lane = secured(server, certified.ca)
    assert server.session.version() == version.name.replace("_", ".")
    assert server.say(HEAD, lane) == HEAD
    server.close()


def test_who_misses_a_certificate_of_ours_says_so(tmp_path: Path) -> None:
    certified = certify(tmp_path, HOST)
    certified.server.verify_mode = ssl.CERT_REQUIRED
    server = Server(certified.server)
    lane = Lane(server.near.fileno(), trust=trust_in(certified.ca), host=HOST)
    # In TLS 1.3 our side is done before it is refused.
    while not lane.ended:
        lane.shake_hands()
        server.listen()
        with suppress(ssl.SSLError):
            server.session.do_handshake()
        server.far.sendall(server.piece())
        lane.receive()
    assert lane.fault == "TLS: tlsv13 alert certificate required"
    server.close()


def test_what_goes_wrong_is_not_taken_for_a_fault_of_pythons_own_connections(
    certified: Certified, server: Server, tmp_path: Path
) -> None:
    """OpenSSL keeps one list of errors for a thread."""
    ours = Server(certified.server)
    secured(ours, certified.ca)

    def still_well() -> None:
        with pytest.raises(ssl.SSLWantReadError):
            ours.session.read(1)

    refusal(server, certified.ca, "other.example")
    still_well()
    with pytest.raises(ValueError, match="no certificate"):
        Trust(tmp_path)
    still_well()
    Lane(server.near.fileno(), trust=trust_in(certified.ca), host=HOST).farewell()
    still_well()
    Lane(server.near.fileno(), trust=trust_in(certified.ca), host=HOST).send(b"too early")
    still_well()
    other = Server(certified.server)
    lane = secured(other, certified.ca)
    other.far.sendall(b"what is no record")
    lane.receive()
    assert lane.ended
    still_well()
    ours.close()
    other.close()


# -- the end -----------------------------------------------------------------------------------------------------------


def test_a_farewell_is_said_and_understood(certified: Certified, server: Server) -> None:
    lane = secured(server, certified.ca)
    lane.send(b"last")
    lane.farewell()
    server.listen()
    assert server.session.read(100) == b"last"
    assert server.session.read(100) == b""
    server.session.unwrap()
    server.far.sendall(server.going.read())
    lane.receive()
    assert lane.ended


def test_bytes_that_somebody_has_changed_end_it(certified: Certified, server: Server) -> None:
    lane = secured(server, certified.ca)
    assert server.say(HEAD, lane) == HEAD
    server.session.write(frame(b"good"))
    server.session.write(frame(b"changed"))
    data = bytearray(server.going.read())
    data[-1] ^= 1
    server.far.sendall(data)
    lane.receive()
    assert lane.take() == frame(b"good")
    lane.receive()
    assert lane.ended
    assert lane.fault == "TLS: decryption failed or bad record mac"
    # What is said now goes nowhere.
    lane.send(b"void")
    assert lane.unsent_bytes == 0


def test_a_server_that_is_gone_ends_it(certified: Certified, server: Server) -> None:
    lane = secured(server, certified.ca)
    server.far.close()
    lane.send(b"void")
    assert lane.unsent_bytes == 0
    while not lane.ended:
        lane.receive()
    assert lane.fault == ""
