"""The latency receipt: what was measured stands in it under its name, and nothing else does."""

from dataclasses import replace

from appliance.receipt import Meter
from appliance.stream import Ending, StreamEnd
from native import HopStats, PcmStats

END = StreamEnd(Ending.CALL_OVER, 500, 0, 3, 40, 0, to_socket=HopStats(), to_engine=HopStats())


def test_of_a_call_that_had_neither_webhook_nor_sound_nor_stream_it_is_empty() -> None:
    assert Meter().receipt == {}


def test_each_hop_that_was_measured_has_its_middle_and_its_worst() -> None:
    meter = Meter()
    meter.asked("answer", 0.0421)
    for depth_ms in (30.0, 50.0):
        line = PcmStats(received_bytes=640, depth_ms=depth_ms, uplink_depth_ms=depth_ms / 2)
        meter.look(replace(line, concealed=2, dropped_uplink=161))
    hops = {"to_socket": HopStats(480, 0.0612, 12.3456), "to_engine": HopStats(7, 5.0, 19.9)}
    meter.streamed(replace(END, **hops, frames_kept=20, reconnects=1))
    assert meter.receipt == {
        "answer_webhook_ms": 42,
        "line_to_engine_ms": {"mean": 40.0, "worst": 50.0},
        "engine_to_line_ms": {"mean": 20.0, "worst": 25.0},
        "engine_to_socket_ms": {"p50": 0.06, "worst": 12.35},
        "socket_to_engine_ms": {"p50": 5.0, "worst": 19.9},
        "reconnects": 1,
        "frames_to_server": 500,
        "kept_frames": 20,
        "messages_from_server": 40,
        "lost_frames": {"from_line": 2, "to_line": 2, "to_server": 3},
    }


def test_a_hop_of_which_nothing_was_measured_is_left_out() -> None:
    meter = Meter()
    meter.streamed(END)
    assert meter.receipt == {
        "reconnects": 0,
        "frames_to_server": 500,
        "messages_from_server": 40,
        "lost_frames": {"to_server": 3},
    }
