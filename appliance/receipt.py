"""What a call's way through the box took, as far as it was measured: its latency receipt.

Each hop is by itself, and all of them are not the whole way: what the modem, its network and the customer's server take
is not the box's to know.
"""

from dataclasses import dataclass
from typing import NotRequired, TypedDict

from appliance.stream import StreamEnd
from native import FRAME_SAMPLES, DeviceStats, HopStats, PcmStats, PortStats


class Hop(TypedDict):
    """Milliseconds, of looks a few times a second."""

    mean: float
    worst: float


class Way(TypedDict):
    """Milliseconds, of each frame or message that was measured."""

    p50: float
    worst: float


class LostFrames(TypedDict):
    """Of 20 ms: missing from the line and made up for; not taken by the line, or the server, in time."""

    from_line: NotRequired[int]
    to_line: NotRequired[int]
    to_server: NotRequired[int]


class Receipt(TypedDict):
    """What was not measured is left out."""

    # From the webhook's request to its whole answer, or until it was given up.
    answer_webhook_ms: NotRequired[int]
    fallback_webhook_ms: NotRequired[int]
    # Sound waits so long between the line's clock and the engine's, and the other way.
    line_to_engine_ms: NotRequired[Hop]
    engine_to_line_ms: NotRequired[Hop]
    # From a frame's making to its being the socket's; what waited for a connection, or behind that, is not measured.
    engine_to_socket_ms: NotRequired[Way]
    # From a message's arrival at the machine until it is begun to be played, if nothing was to be played before it.
    socket_to_engine_ms: NotRequired[Way]
    # Of the customer's stream.
    reconnects: NotRequired[int]
    frames_to_server: NotRequired[int]
    # Of these: heard while there was no connection, and sent when there was.
    kept_frames: NotRequired[int]
    messages_from_server: NotRequired[int]
    lost_frames: NotRequired[LostFrames]


@dataclass
class _Looks:
    count: int = 0
    total_ms: float = 0
    worst_ms: float = 0

    def add(self, depth_ms: float) -> None:
        self.count += 1
        self.total_ms += depth_ms
        self.worst_ms = max(self.worst_ms, depth_ms)

    @property
    def hop(self) -> Hop:
        return {"mean": round(self.total_ms / self.count, 1), "worst": round(self.worst_ms, 1)}


class Meter:
    """Of one call."""

    def __init__(self) -> None:
        self._webhooks: dict[str, int] = {}
        self._downlink, self._uplink = _Looks(), _Looks()
        self._line: PortStats | None = None
        self._stream: StreamEnd | None = None

    def asked(self, webhook: str, seconds: float) -> None:
        """`answer` or `fallback`, whether anything came of it or not."""
        self._webhooks[webhook] = round(1000 * seconds)

    def look(self, line: PortStats) -> None:
        """At the line's port, now and then while there is a call."""
        match line:
            case PcmStats() if line.received_bytes:
                self._downlink.add(line.depth_ms)
                self._uplink.add(line.uplink_depth_ms)
            case DeviceStats() if line.captured_s:
                self._downlink.add(line.downlink.depth_ms)
                self._uplink.add(line.uplink.depth_ms)
            case _:
                return
        self._line = line

    def streamed(self, end: StreamEnd) -> None:
        self._stream = end

    @property
    def receipt(self) -> Receipt:
        lost: LostFrames = {}
        receipt: Receipt = {}
        if "answer" in self._webhooks:
            receipt["answer_webhook_ms"] = self._webhooks["answer"]
        if "fallback" in self._webhooks:
            receipt["fallback_webhook_ms"] = self._webhooks["fallback"]
        if self._downlink.count:
            receipt["line_to_engine_ms"] = self._downlink.hop
        if self._uplink.count:
            receipt["engine_to_line_ms"] = self._uplink.hop
        match self._line:
            case PcmStats(concealed=concealed, dropped_uplink=samples):
                lost["from_line"], lost["to_line"] = concealed, _frames(samples)
            case DeviceStats(downlink=downlink, dropped_uplink=samples):
                lost["from_line"], lost["to_line"] = downlink.concealed, _frames(samples)
        if self._stream is not None:
            if self._stream.to_socket.count:
                receipt["engine_to_socket_ms"] = _way(self._stream.to_socket)
            if self._stream.to_engine.count:
                receipt["socket_to_engine_ms"] = _way(self._stream.to_engine)
            if self._stream.frames_kept:
                receipt["kept_frames"] = self._stream.frames_kept
            receipt["reconnects"] = self._stream.reconnects
            receipt["frames_to_server"] = self._stream.frames_sent
            receipt["messages_from_server"] = self._stream.messages
            lost["to_server"] = self._stream.frames_dropped
        if lost:
            receipt["lost_frames"] = lost
        return receipt


def _way(hop: HopStats) -> Way:
    return {"p50": round(hop.median_ms, 2), "worst": round(hop.worst_ms, 2)}


def _frames(samples: int) -> int:
    return -(-samples // FRAME_SAMPLES)
