"""The matrix, the clock, the ports to and from memory, and the lives of Python's objects."""

import gc
import math
import random
import resource
import select
from array import array
from collections.abc import Iterator

import pytest
import trio

from native import (
    FRAME_SAMPLES,
    Codec,
    Dtmf,
    Engine,
    Finished,
    Played,
    Player,
    Port,
    Recorder,
    dtmf,
)
from tests.conftest import SLOWNESS

SILENCE = [0] * FRAME_SAMPLES


@pytest.fixture
def engine() -> Iterator[Engine]:
    with Engine() as engine:
        yield engine


def play(engine: Engine, *samples: int, loop: bool = True) -> Player:
    return engine.player(array("h", samples).tobytes(), loop=loop)


def noise(frames: int, seed: int = 1, peak: int = 32767) -> list[int]:
    chance = random.Random(seed)
    return [chance.randint(-peak - 1, peak) for _ in range(frames * FRAME_SAMPLES)]


def heard(recorder: Recorder) -> tuple[list[int], list[int]]:
    pairs = array("h", recorder.read())
    return pairs[0::2].tolist(), pairs[1::2].tolist()


def test_what_is_not_connected_hears_digital_silence(engine: Engine) -> None:
    recorder = engine.recorder()
    play(engine, 1000)
    engine.tick(3)
    assert heard(recorder) == (3 * SILENCE, 3 * SILENCE)


@pytest.mark.skipif(SLOWNESS > 1, reason="a sanitizer has memory of its own for all that is touched")
def test_a_recorder_has_its_memory_before_the_tick_writes_to_it(engine: Engine) -> None:
    engine.recorder()
    engine.tick()
    before = resource.getrusage(resource.RUSAGE_THREAD).ru_minflt
    engine.tick(500)
    # Of 80 pages and more in its ten seconds.
    assert resource.getrusage(resource.RUSAGE_THREAD).ru_minflt - before < 10


def test_at_unity_gain_every_sample_arrives_unchanged(engine: Engine) -> None:
    sent = noise(50)
    recorder = engine.recorder()
    engine.connect(play(engine, *sent), recorder.right)
    engine.tick(50)
    assert heard(recorder) == (50 * SILENCE, sent)


def test_three_sources_are_summed_and_saturate(engine: Engine) -> None:
    voices = [noise(20, seed, peak=20000) for seed in range(3)]
    recorder = engine.recorder()
    for voice in voices:
        engine.connect(play(engine, *voice), recorder.left)
    engine.tick(20)
    sums = [max(-32768, min(32767, sum(samples))) for samples in zip(*voices, strict=True)]
    assert heard(recorder)[0] == sums
    assert 32767 in sums
    assert -32768 in sums


@pytest.mark.parametrize("gain_db", [-40.0, -6.0, 3.0, 12.0])
def test_gain_is_exact_to_half_a_step(engine: Engine, gain_db: float) -> None:
    sent = noise(10, peak=8000)
    recorder = engine.recorder()
    engine.connect(play(engine, *sent), recorder.left, gain_db=gain_db)
    engine.tick(10)
    factor = 10 ** (gain_db / 20)
    for before, after in zip(sent, heard(recorder)[0], strict=True):
        assert abs(max(-32768.0, min(32767.0, before * factor)) - after) <= 0.502


@pytest.mark.parametrize("gain_db", [math.nan, math.inf, 91.0, 1e5])
def test_what_is_no_gain_is_refused_and_the_largest_saturates(engine: Engine, gain_db: float) -> None:
    player, recorder = play(engine, 1, -1, 0), engine.recorder()
    with pytest.raises(ValueError, match="gain"):
        engine.connect(player, recorder.left, gain_db=gain_db)
    engine.connect(player, recorder.left, gain_db=90.0)
    engine.connect(player, recorder.right, gain_db=-math.inf)
    engine.tick()
    left, right = heard(recorder)
    assert left[:3] == [31623, -31623, 0]
    assert right == SILENCE


def test_connecting_again_changes_the_gain_and_disconnecting_ends_it(engine: Engine) -> None:
    recorder, player = engine.recorder(), play(engine, 1000)
    engine.connect(player, recorder.left)
    engine.connect(player, recorder.left, gain_db=20)
    engine.tick()
    engine.disconnect(player, recorder.left)
    engine.tick()
    assert heard(recorder)[0] == [10000] * FRAME_SAMPLES + SILENCE


def test_disconnecting_what_is_not_connected_changes_nothing(engine: Engine) -> None:
    recorder, player = engine.recorder(), play(engine, 1000)
    engine.disconnect(player, recorder.left)
    engine.tick()
    assert heard(recorder)[0] == SILENCE


def test_a_source_is_heard_by_all_its_sinks_and_leaves_them_all_when_closed(engine: Engine) -> None:
    recorder, player, other = engine.recorder(), play(engine, 5), play(engine, 7)
    for sink in (recorder.left, recorder.right):
        engine.connect(player, sink)
        engine.connect(other, sink)
    engine.tick()
    player.close()
    engine.tick()
    assert heard(recorder)[0] == [12] * FRAME_SAMPLES + [7] * FRAME_SAMPLES


def test_only_a_source_and_a_sink_of_one_engine_can_be_connected(engine: Engine) -> None:
    recorder, player = engine.recorder(), play(engine, 1)
    with pytest.raises(ValueError, match="source"):
        engine.connect(recorder.left, recorder.right)
    with pytest.raises(ValueError, match="sink"):
        engine.connect(player, player)
    with Engine() as other, pytest.raises(ValueError, match="engine"):
        engine.connect(player, other.recorder().left)


def test_another_engines_connections_are_not_ended(engine: Engine) -> None:
    recorder, player = engine.recorder(), play(engine, 1)
    engine.connect(player, recorder.left)
    with Engine() as other:
        with pytest.raises(ValueError, match="engine"):
            other.disconnect(player, recorder.left)
        other.tick()
        engine.tick()
    assert heard(recorder)[0] == FRAME_SAMPLES * [1]


def test_a_player_pads_its_last_frame_and_says_once_that_it_finished(engine: Engine) -> None:
    recorder, player = engine.recorder(), play(engine, *[9] * 200, loop=False)
    engine.connect(player, recorder.left)
    engine.tick()
    assert engine.events() == []
    engine.tick(3)
    assert engine.events() == [Finished(player)]
    assert heard(recorder)[0] == [9] * 200 + [0] * 440


def test_an_empty_player_finishes_at_once_and_an_empty_loop_is_silent(engine: Engine) -> None:
    player, loop = play(engine, loop=False), play(engine, loop=True)
    engine.tick(3)
    assert engine.events() == [Finished(player)]
    assert loop.stats().peak_yielded == 0


def test_a_loop_has_no_seam(engine: Engine) -> None:
    recorder = engine.recorder()
    engine.connect(play(engine, *range(1, 8)), recorder.left)
    engine.tick(5)
    assert heard(recorder)[0] == [1 + i % 7 for i in range(5 * FRAME_SAMPLES)]


def test_both_channels_of_a_recorder_are_of_the_same_tick(engine: Engine) -> None:
    serial = play(engine, *range(-16000, 16000))
    recorder = engine.recorder()
    engine.connect(serial, recorder.left)
    engine.connect(serial, recorder.right)
    for ticks in (1, 2, 30, 7):
        engine.tick(ticks)
        left, right = heard(recorder)
        assert left == right
        assert len(left) == ticks * FRAME_SAMPLES


def test_a_recorder_begins_with_the_tick_after_its_making(engine: Engine) -> None:
    player = play(engine, *range(1000))
    engine.tick(2)
    recorder = engine.recorder()
    engine.connect(player, recorder.left)
    engine.tick()
    assert heard(recorder)[0] == list(range(320, 480))


def test_a_recorder_that_nobody_reads_keeps_its_first_ten_seconds_and_counts_the_rest(engine: Engine) -> None:
    serial = play(engine, *range(-32768, 32767))
    recorder = engine.recorder()
    engine.connect(serial, recorder.right)
    engine.tick(30)
    heard(recorder)
    engine.tick(507)
    assert recorder.dropped_frames == 7
    first = 30 * FRAME_SAMPLES
    assert heard(recorder)[1] == [-32768 + (first + i) % 65535 for i in range(500 * FRAME_SAMPLES)]
    engine.tick()
    assert len(heard(recorder)[0]) == FRAME_SAMPLES


def test_peaks_are_those_of_the_last_second_and_of_all(engine: Engine) -> None:
    recorder, player = engine.recorder(), play(engine, *[0] * 100, -32768, *[0] * 8000 * 2, loop=False)
    engine.connect(player, recorder.left, gain_db=-6.0206)
    engine.tick()
    assert player.stats().peak_yielded == 32767
    assert recorder.left.stats().peak_given == 16383
    engine.tick(40)
    assert player.stats().peak_yielded == 32767
    engine.tick(10)
    assert player.stats().peak_yielded == 0
    assert recorder.left.stats().peak_given == 0
    assert (player.stats().most_yielded, recorder.left.stats().most_given) == (32767, 16383)


KEYS = "0123456789*#ABCD"


@pytest.mark.parametrize(("on_ms", "off_ms"), [(50, 50), (100, 100), (500, 60)])
def test_every_key_is_told_once_for_each_press(engine: Engine, on_ms: int, off_ms: int) -> None:
    player = engine.player(dtmf(KEYS + "11", on_ms, off_ms))
    player.detect_dtmf(True)
    engine.tick(len(KEYS + "11") * (on_ms + off_ms) // 20 + 5)
    assert engine.events() == [*(Dtmf(player, key) for key in KEYS + "11"), Finished(player)]


def test_no_key_is_told_when_not_asked_for(engine: Engine) -> None:
    player = engine.player(dtmf("1") + dtmf("2") + dtmf("3"), loop=True)
    engine.tick(10)
    player.detect_dtmf(True)
    player.detect_dtmf(True)
    engine.tick(10)
    player.detect_dtmf(False)
    engine.tick(10)
    assert engine.events() == [Dtmf(player, "2")]


def test_noise_has_no_keys(engine: Engine) -> None:
    player = play(engine, *noise(500))
    player.detect_dtmf(True)
    engine.tick(500)
    assert engine.events() == []


def test_events_that_nobody_fetches_are_counted_when_they_are_lost(engine: Engine) -> None:
    stream = engine.stream(Codec.PCMA, 8000, prefix=b"", suffix=b"")
    for mark in range(5000):
        stream.checkpoint(mark)
    engine.tick(50)
    assert engine.events() == [Played(stream, mark) for mark in range(4096)]
    assert engine.stats().lost_events == 5000 - 4096


def test_the_descriptor_is_readable_exactly_while_there_is_news(engine: Engine) -> None:
    def news() -> bool:
        return bool(select.select([engine.fd], [], [], 0)[0])

    engine.tick(3)
    assert not news()
    stream = engine.stream(Codec.PCMA, 8000, prefix=b"", suffix=b"")
    engine.tick(2)
    assert news()
    assert engine.events() == []
    assert not news()
    stream.close()
    engine.tick()
    engine.events()
    engine.tick()
    assert not news()


async def test_the_thread_ticks_until_it_is_stopped(engine: Engine) -> None:
    player = play(engine, 1, 2, 3, loop=False)
    engine.start()
    with trio.fail_after(30):
        await trio.lowlevel.wait_readable(engine.fd)
    assert engine.events() == [Finished(player)]
    with pytest.raises(RuntimeError):
        engine.tick()
    with pytest.raises(OSError, match="busy"):
        engine.start()
    engine.stop()
    engine.stop()
    ticks = engine.stats().ticks
    assert ticks > 0
    engine.tick()
    assert engine.stats().ticks == ticks + 1
    engine.start()


async def test_ports_come_and_go_while_the_thread_runs(engine: Engine) -> None:
    engine.start()
    for _ in range(200):
        recorder, player = engine.recorder(), play(engine, 1, loop=False)
        stream = engine.stream(Codec.PCMU, 8000, prefix=b"<", suffix=b">")
        for sink in (recorder.left, recorder.right, stream):
            engine.connect(player, sink)
        stream.play(bytes(1000), Codec.PCMU, 8000)
        player.detect_dtmf(True)
        engine.disconnect(player, recorder.left)
        stream.take()
        recorder.read()
        for port in (player, recorder, stream):
            port.close()
        engine.events()
    last = play(engine, 1, loop=False)
    with trio.fail_after(30):
        while engine.events() != [Finished(last)]:
            await trio.lowlevel.wait_readable(engine.fd)


def _everything(engine: Engine) -> list[Port]:
    recorder = engine.recorder()
    stream = engine.stream(Codec.L16, 16000, prefix=b"", suffix=b"")
    player = play(engine, 1)
    engine.connect(player, stream)
    engine.connect(stream, recorder.left)
    engine.connect(stream, stream)
    return [player, stream, recorder.left, recorder.right]


def test_a_closed_port_is_inert(engine: Engine) -> None:
    ports = _everything(engine)
    recorder, stream = engine.recorder(), engine.stream(Codec.PCMA, 8000, prefix=b"", suffix=b"")
    stream.checkpoint(1)
    engine.tick()
    for port in (*ports, recorder, stream):
        port.close()
        port.close()
    engine.tick()
    assert engine.events() == []
    assert stream.take() is None
    assert not stream.play(b"\xd5", Codec.PCMA, 8000)
    assert stream.queued_ms == 0
    assert recorder.read() == b""
    assert recorder.dropped_frames == 0
    stream.clear(1)
    stream.checkpoint(1)
    for port in (*ports, stream):
        port.detect_dtmf(True)
        assert port.stats().peak_yielded == 0
    engine.connect(ports[0], stream)
    engine.disconnect(ports[0], stream)
    engine.tick()


@pytest.mark.parametrize("order", range(6))
@pytest.mark.parametrize("ticks", [0, 1])
def test_objects_may_be_dropped_in_any_order(order: int, ticks: int) -> None:
    engine: Engine | None = Engine()
    assert engine is not None
    kept: list[object] = [engine, *_everything(engine)]
    engine.tick(ticks)
    if order == 5:
        engine.start()
    del engine
    random.Random(order).shuffle(kept)
    while kept:
        kept.pop()
        gc.collect()


def test_a_closed_engine_leaves_its_ports_inert() -> None:
    engine = Engine()
    ports = _everything(engine)
    engine.start()
    engine.close()
    engine.close()
    for port in ports:
        port.close()
        port.stats()
    assert engine.fd == -1


def test_a_closed_port_takes_its_events_with_it(engine: Engine) -> None:
    player = play(engine, loop=False)
    engine.tick()
    player.close()
    assert engine.events() == []


def test_more_ports_than_the_table_holds_are_refused(engine: Engine) -> None:
    ports = [play(engine, 1) for _ in range(2048)]
    with pytest.raises(OSError, match="No buffer"):
        play(engine, 1)
    ports.pop().close()
    engine.tick()
    with pytest.raises(OSError, match="No buffer"):
        engine.recorder()
    play(engine, 1)


def test_a_wrong_size_or_descriptor_is_an_error_of_the_caller(engine: Engine) -> None:
    with pytest.raises(ValueError, match="3 bytes"):
        engine.player(b"abc")
    with pytest.raises(OSError, match="descriptor"):
        engine.pcm(10**6)
