"""The matrix: conferences against brute force, gains that move, mute, hold, and the plain frames port."""

import math
import os
from array import array
from collections.abc import Iterator

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from native import FRAME_SAMPLES, Conference, Dtmf, Engine, FramesPort, Player, Port, dtmf

Samples = numpy.ndarray

SILENCE = [0] * FRAME_SAMPLES


@pytest.fixture
def engine() -> Iterator[Engine]:
    with Engine() as engine:
        yield engine


def play(engine: Engine, *samples: int, loop: bool = True) -> Player:
    return engine.player(array("h", samples).tobytes(), loop=loop)


def noise(frames: int, seed: int, peak: int = 32767) -> Samples:
    return numpy.random.default_rng(seed).integers(-peak - 1, peak, frames * FRAME_SAMPLES, "<i2", endpoint=True)


def saturated(sums: Samples) -> Samples:
    return numpy.clip(sums, -32768, 32767).astype("<i2")


def pulled(port: FramesPort) -> Samples:
    return numpy.frombuffer(b"".join(iter(port.pull, None)), "<i2")


def near(samples: Samples, wanted: Samples, most: float) -> bool:
    return bool((numpy.abs(samples - wanted) <= most).all())


class Party:
    """Says noise, keeps what it hears."""

    def __init__(self, engine: Engine, seed: int, *, frames: int = 3, peak: int = 32767) -> None:
        self.said = noise(frames, seed, peak)
        self.engine, self.port = engine, engine.frames()
        self.port.push(self.said.tobytes())

    def join(self, conference: Conference, *, talks: bool = True, hears: bool = True, gain_db: float = 0) -> None:
        if talks:
            self.engine.connect(self.port, conference, gain_db=gain_db)
        if hears:
            self.engine.connect(conference, self.port)


Roles = st.lists(
    st.tuples(st.booleans(), st.booleans(), st.sampled_from([0.0, -6.0, -40.0, 6.0, 20.0, -math.inf])), max_size=12
)


@given(roles=Roles, peak=st.sampled_from([32767, 3000]))
def test_each_party_hears_exactly_the_sum_of_the_others(roles: list[tuple[bool, bool, float]], peak: int) -> None:
    with Engine() as engine:
        conference = engine.conference()
        parties = [Party(engine, seed, peak=peak) for seed in range(len(roles))]
        contributions = []
        for party, (talks, hears, gain_db) in zip(parties, roles, strict=True):
            party.join(conference, talks=talks, hears=hears, gain_db=gain_db)
            gain = numpy.float32(10 ** (gain_db / 20)) if talks else numpy.float32(0)
            contributions.append(saturated(numpy.rint(gain * party.said)).astype(int))
        engine.tick(3)
        for n, (party, (_, hears, _)) in enumerate(zip(parties, roles, strict=True)):
            others = sum((c for m, c in enumerate(contributions) if m != n), numpy.zeros(3 * FRAME_SAMPLES, int))
            assert (pulled(party.port) == (saturated(others) if hears else 0)).all()


def test_in_a_conference_of_250_each_hears_the_249_others(engine: Engine) -> None:
    conference = engine.conference()
    parties = [Party(engine, seed) for seed in range(250)]
    for party in parties:
        party.join(conference)
    recorder = engine.recorder()
    engine.connect(conference, recorder.left)
    engine.tick(3)
    everybody = sum((party.said.astype(int) for party in parties), numpy.zeros(3 * FRAME_SAMPLES, int))
    for party in parties:
        assert (pulled(party.port) == saturated(everybody - party.said)).all()
    assert (numpy.frombuffer(recorder.read(), "<i2")[0::2] == saturated(everybody)).all()


@pytest.mark.parametrize("hears_first", [False, True])
def test_a_party_may_begin_and_cease_to_talk_and_to_hear_in_any_order(engine: Engine, hears_first: bool) -> None:
    conference = engine.conference()
    engine.connect(play(engine, 100), conference)
    party = engine.frames()
    voice = engine.player(array("h", [7]).tobytes(), loop=True)
    quiet = engine.recorder()
    engine.connect(voice, quiet.left)
    steps = [lambda: engine.connect(party, conference), lambda: engine.connect(conference, party)]
    for step in steps[::-1] if hears_first else steps:
        step()
    party.push(numpy.full(10 * FRAME_SAMPLES, 7, "<i2").tobytes())
    engine.tick()
    assert set(pulled(party)) == {100}
    engine.disconnect(party, conference)
    engine.tick()
    assert set(pulled(party)) == {100}
    engine.connect(party, conference, gain_db=3)
    engine.tick()
    assert set(pulled(party)) == {100}
    engine.disconnect(conference, party)
    engine.tick()
    assert set(pulled(party)) == {0}
    engine.connect(conference, party)
    engine.tick()
    assert set(pulled(party)) == {100}
    conference.close()
    engine.tick()
    assert set(pulled(party)) == {0}


def test_a_party_that_leaves_is_gone_and_the_others_stay(engine: Engine) -> None:
    conference = engine.conference()
    parties = [Party(engine, seed, frames=4) for seed in range(3)]
    for party in parties:
        party.join(conference)
    engine.tick(2)
    parties.pop().port.close()
    engine.tick(2)
    first, second = (party.said[2 * FRAME_SAMPLES :] for party in parties)
    assert (pulled(parties[0].port)[2 * FRAME_SAMPLES :] == second).all()
    assert (pulled(parties[1].port)[2 * FRAME_SAMPLES :] == first).all()


def test_one_may_be_in_two_conferences_and_in_plain_connections_besides(engine: Engine) -> None:
    one, other, party = engine.conference(), engine.conference(), engine.frames()
    for conference, said in ((one, 100), (other, 3000)):
        engine.connect(play(engine, said), conference)
        engine.connect(party, conference)
        engine.connect(conference, party)
    engine.connect(play(engine, 20000), party, gain_db=-20)
    party.push(numpy.full(FRAME_SAMPLES, -5000, "<i2").tobytes())
    engine.tick()
    assert set(pulled(party)) == {100 + 3000 + 2000}


def test_a_listener_hears_a_conference_at_its_own_gain_before_it_saturates(engine: Engine) -> None:
    conference, listener = engine.conference(), engine.recorder()
    for _ in range(3):
        engine.connect(play(engine, 20000), conference)
    engine.connect(conference, listener.left)
    engine.connect(conference, listener.right, gain_db=-20)
    engine.tick()
    heard = numpy.frombuffer(listener.read(), "<i2")
    assert set(heard[0::2]) == {32767}
    assert set(heard[1::2]) == {6000}


def test_a_moving_gain_in_a_conference_does_not_leak_into_ones_own_ear(engine: Engine) -> None:
    conference = engine.conference()
    party = Party(engine, 1, frames=10)
    party.join(conference)
    engine.tick(2)
    party.join(conference, gain_db=-20)
    engine.tick(8)
    assert set(pulled(party.port)) == {0}


def test_a_conference_hears_no_other_and_no_itself(engine: Engine) -> None:
    one, other = engine.conference(), engine.conference()
    for pair in ((one, other), (one, one)):
        with pytest.raises(ValueError, match="conference"):
            engine.connect(*pair)
    for order in (one.mute, one.deafen):
        with pytest.raises(ValueError, match="parties"):
            order(True)
    with pytest.raises(ValueError, match="parties"):
        one.process(denoise=True)
    one.process()


def test_keys_are_detected_and_peaks_measured_in_what_a_conference_hears(engine: Engine) -> None:
    conference = engine.conference()
    engine.connect(engine.player(dtmf("5")), conference)
    conference.detect_dtmf(True)
    engine.tick(9)
    assert Dtmf(conference, "5") in engine.events()
    assert conference.stats().peak_yielded > 10000


def gains(engine: Engine, source: Port, sink: FramesPort, *steps_db: float, ticks: int = 8) -> Samples:
    """Of the second step, as a factor, sample by sample; the first one has been heard before."""
    engine.connect(source, sink, gain_db=steps_db[0])
    engine.tick()
    pulled(sink)
    for step_db in steps_db[1:]:
        engine.connect(source, sink, gain_db=step_db)
    engine.tick(ticks)
    return pulled(sink) / 10000


@pytest.mark.parametrize(("before_db", "after_db"), [(0, -20), (-20, 0), (0, -math.inf), (-math.inf, 0), (0, 6.1)])
def test_a_step_above_6_db_is_a_straight_line_through_five_frames(
    engine: Engine, before_db: float, after_db: float
) -> None:
    before, after = (10 ** (db / 20) for db in (before_db, after_db))
    gain = gains(engine, play(engine, 10000), engine.frames(), before_db, after_db)
    ramp = before + (after - before) * numpy.arange(1, 5 * FRAME_SAMPLES + 1) / (5 * FRAME_SAMPLES)
    assert near(gain[: 5 * FRAME_SAMPLES], ramp, 1e-4)
    assert near(gain[5 * FRAME_SAMPLES :], numpy.float64(after), 5.1e-5)


@pytest.mark.parametrize("after_db", [6.0, -6.0, 0.0])
def test_a_step_up_to_6_db_is_made_at_once(engine: Engine, after_db: float) -> None:
    gain = gains(engine, play(engine, 10000), engine.frames(), 0, after_db, ticks=1)
    assert near(gain, numpy.float64(10 ** (after_db / 20)), 5.1e-5)


def test_a_gain_that_moves_again_goes_on_from_where_it_is(engine: Engine) -> None:
    source, sink = play(engine, 10000), engine.frames()
    down = gains(engine, source, sink, 0, -math.inf, ticks=4)
    assert near(down[-1:], numpy.float64(0.2), 1e-4)
    engine.connect(source, sink)
    engine.tick(6)
    up = pulled(sink) / 10000
    assert near(numpy.diff(up[: 5 * FRAME_SAMPLES]), numpy.float64(0.8 / 5 / FRAME_SAMPLES), 2.1e-4)
    assert up[5 * FRAME_SAMPLES - 1] == 1


def test_what_was_never_heard_before_begins_at_its_own_gain(engine: Engine) -> None:
    source, sink = play(engine, 10000), engine.frames()
    engine.connect(source, sink)
    engine.connect(source, sink, gain_db=-20)
    engine.tick()
    assert set(pulled(sink)) == {1000}


def test_at_the_end_of_a_ramp_to_unity_samples_are_unchanged_again(engine: Engine) -> None:
    source, sink = engine.frames(), engine.frames()
    said = noise(20, 1)
    source.push(said.tobytes())
    engine.connect(source, sink, gain_db=-20)
    engine.tick()
    engine.connect(source, sink)
    engine.tick(19)
    assert (pulled(sink)[6 * FRAME_SAMPLES :] == said[6 * FRAME_SAMPLES :]).all()


def test_a_muted_port_is_heard_by_nobody_and_still_hears(engine: Engine) -> None:
    muted, other = engine.frames(), engine.recorder()
    engine.connect(muted, other.left)
    engine.connect(play(engine, 5), muted)
    muted.push(numpy.full(4 * FRAME_SAMPLES, 10000, "<i2").tobytes())
    engine.tick()
    muted.mute(True)
    engine.tick(2)
    muted.mute(False)
    engine.tick()
    heard = numpy.frombuffer(other.read(), "<i2")[0::2].reshape(4, FRAME_SAMPLES)
    assert set(heard[0]) == {10000}
    assert heard[1].tolist() == [10000 * (159 - i) // 160 for i in range(FRAME_SAMPLES)]
    assert heard[2].tolist() == SILENCE
    assert heard[3].tolist() == [10000 * (i + 1) // 160 for i in range(FRAME_SAMPLES)]
    assert set(pulled(muted)) == {5}


def test_a_muted_ports_keys_and_peaks_are_still_told(engine: Engine) -> None:
    caller, ear = engine.player(dtmf("7")), engine.recorder()
    caller.detect_dtmf(True)
    caller.mute(True)
    engine.connect(caller, ear.left)
    engine.tick(9)
    assert Dtmf(caller, "7") in engine.events()
    assert caller.stats().peak_yielded > 10000
    # It was open until it was shut: the first frame fades.
    assert not numpy.frombuffer(ear.read(), "<i2")[2 * FRAME_SAMPLES :].any()


def test_a_deaf_port_hears_silence_and_is_still_heard(engine: Engine) -> None:
    deaf, other = engine.frames(), engine.recorder()
    engine.connect(play(engine, 10000), deaf)
    engine.connect(deaf, other.left)
    deaf.push(numpy.full(4 * FRAME_SAMPLES, 5, "<i2").tobytes())
    engine.tick()
    deaf.deafen(True)
    engine.tick(2)
    deaf.deafen(False)
    engine.tick()
    heard = pulled(deaf).reshape(4, FRAME_SAMPLES)
    assert set(heard[0]) == {10000}
    assert (numpy.diff(heard[1]) < 0).all()
    assert heard[2].tolist() == SILENCE
    assert (numpy.diff(heard[3]) > 0).all()
    assert set(numpy.frombuffer(other.read(), "<i2")[0::2]) == {5}


def test_a_muted_party_is_missing_in_a_conference(engine: Engine) -> None:
    conference, listener = engine.conference(), engine.frames()
    one, other = play(engine, 100), play(engine, 20)
    for party in (one, other, listener):
        engine.connect(party, conference)
    engine.connect(conference, listener)
    one.mute(True)
    engine.tick(2)
    assert set(pulled(listener)[FRAME_SAMPLES:]) == {20}


def test_hold_is_music_for_one_and_silence_for_the_other(engine: Engine) -> None:
    line, agent, music = engine.frames(), engine.frames(), play(engine, 100, 200, 300, 400)
    for port in (line, agent):
        port.push(numpy.full(4 * FRAME_SAMPLES, 9, "<i2").tobytes())
    engine.connect(line, agent)
    engine.connect(agent, line)
    engine.tick()

    # Hold: the agent is out of the line's ear, the music in.
    engine.disconnect(agent, line)
    engine.disconnect(line, agent)
    engine.connect(music, line)
    engine.tick(2)

    engine.disconnect(music, line)
    engine.connect(line, agent)
    engine.connect(agent, line)
    engine.tick()
    by_line, by_agent = (pulled(port).reshape(4, FRAME_SAMPLES) for port in (line, agent))
    assert [set(frame) for frame in by_line] == [{9}, {100, 200, 300, 400}, {100, 200, 300, 400}, {9}]
    assert [set(frame) for frame in by_agent] == [{9}, {0}, {0}, {9}]


def test_a_recorder_keeps_the_mix_of_any_number_or_a_channel_for_each_side(engine: Engine) -> None:
    parties = [Party(engine, seed, peak=3000) for seed in range(10)]
    mix, sides = engine.recorder(), engine.recorder()
    for n, party in enumerate(parties):
        engine.connect(party.port, mix.left)
        engine.connect(party.port, sides.left if n < 3 else sides.right)
    engine.tick(3)
    said = [party.said.astype(int) for party in parties]
    assert (numpy.frombuffer(mix.read(), "<i2")[0::2] == saturated(sum(said))).all()
    pairs = numpy.frombuffer(sides.read(), "<i2")
    assert (pairs[0::2] == saturated(sum(said[:3]))).all()
    assert (pairs[1::2] == saturated(sum(said[3:]))).all()


def test_frames_come_and_go_in_order_whatever_the_pieces(engine: Engine) -> None:
    one, other = engine.frames(), engine.frames()
    engine.connect(one, other)
    said, at = noise(40, 1), 0
    heard = b""
    for size in (1, 159, 160, 161, 319, 1000, 3000, 1600):
        assert one.push(said[at : at + size].tobytes())
        at += size
        engine.tick(size // 160 + 1)
        heard += pulled(other).tobytes()
    sound = numpy.frombuffer(heard, "<i2").reshape(-1, FRAME_SAMPLES)
    whole = sound[sound.any(axis=1)]
    assert (whole.ravel() == said[: at // 160 * 160]).all()


def test_a_frames_port_keeps_a_second_each_way_refuses_what_is_more_and_counts(engine: Engine) -> None:
    port = engine.frames()
    while port.push(os.urandom(320)):
        pass
    source = play(engine, *range(1, 60 * FRAME_SAMPLES))
    engine.connect(source, port)
    engine.tick(60)
    kept = pulled(port)
    assert kept.tolist() == list(range(1, 51 * FRAME_SAMPLES + 1))
    assert port.dropped_frames == 9
    assert port.push(bytes(320))
    assert not port.push(bytes(2 * 8193))


def test_a_frame_to_be_pulled_is_news(engine: Engine) -> None:
    port = engine.frames()
    engine.tick()
    assert os.eventfd_read(engine.fd) == 1
    assert port.pull() == bytes(320)
    assert port.pull() is None


def test_a_closed_conference_or_frames_port_is_inert(engine: Engine) -> None:
    conference, port = engine.conference(), engine.frames()
    for each in (conference, port):
        each.close()
    engine.connect(port, conference)
    port.mute(True)
    conference.mute(True)
    assert not port.push(bytes(320))
    assert port.pull() is None
    assert port.dropped_frames == 0
    with pytest.raises(ValueError, match="3 bytes"):
        port.push(b"abc")
    engine.tick()
