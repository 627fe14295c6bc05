"""What the engine and its ports count, since they were made."""

from dataclasses import dataclass


@dataclass(frozen=True)
class EngineStats:
    """`skipped` counts ticks that came too late to be made up for; `worst_late_us` is since the last reading."""

    ticks: int
    skipped: int
    lost_events: int
    worst_late_us: int
    realtime: bool


@dataclass(frozen=True)
class PortStats:
    """The largest sample of the last second, 0 to 32767: of what the port yields, and of what it is given;
    `most_` since it was made.

    While it is measured, of what it yields: the level of the last eighth of a second against a sine of full scale, and
    whether somebody speaks.
    """

    peak_yielded: int = 0
    peak_given: int = 0
    level_dbfs: float | None = None
    voice: bool | None = None
    most_yielded: int = 0
    most_given: int = 0


@dataclass(frozen=True)
class BufferStats:
    """Of sound on its way from one clock to another.

    `depth_ms` waits. `underruns`: times it ran out; `concealed`: frames put in its place. `overruns`: times the buffer
    was full; `slips`: times surplus delay was cut out; `dropped`: samples lost to both. `drift_ppm`: how much faster
    the clock is that it comes from; 0 for the first 20 s.
    """

    depth_ms: float = 0.0
    underruns: int = 0
    concealed: int = 0
    overruns: int = 0
    slips: int = 0
    dropped: int = 0
    drift_ppm: float = 0.0


@dataclass(frozen=True)
class PcmStats(PortStats):
    """`depth_ms` is audio received and not yet yielded.

    `underruns`: times the device's audio ran out; `concealed`: frames put in its place. `overruns`: times the buffer
    was full; `slips`: times surplus delay was cut out; `dropped_downlink`: samples lost to both. `dropped_uplink`:
    samples that the device did not take in time; `uplink_depth_ms` is what waits for it. `drift_ppm`: how much faster
    than ours the device's clock is; 0 for the first 20 s. A sample is `sample_bytes` of those received and sent.
    """

    received_bytes: int = 0
    sent_bytes: int = 0
    depth_ms: float = 0.0
    underruns: int = 0
    concealed: int = 0
    overruns: int = 0
    slips: int = 0
    dropped_downlink: int = 0
    dropped_uplink: int = 0
    uplink_depth_ms: float = 0.0
    drift_ppm: float = 0.0
    sample_bytes: int = 2


@dataclass(frozen=True)
class VoiceStats(PcmStats):
    """Bytes are audio, unshielded. The modem's own complaints: its playing ran dry; it was not read in time.
    `dropped_codes` were more than any modem has to say: the wire is noisy.
    """

    modem_underruns: int = 0
    modem_overruns: int = 0
    dropped_codes: int = 0


@dataclass(frozen=True)
class DeviceStats(PortStats):
    """`downlink` comes from the device. So much sound it has given and taken. An xrun: what it had captured was not
    fetched in time, or it had nothing to play. `dropped_downlink` and `dropped_uplink` are samples of 8000 Hz that the
    other thread did not fetch within a second.
    """

    captured_s: float = 0.0
    played_s: float = 0.0
    input_xruns: int = 0
    output_xruns: int = 0
    dropped_downlink: int = 0
    dropped_uplink: int = 0
    downlink: BufferStats = BufferStats()
    uplink: BufferStats = BufferStats()


@dataclass(frozen=True)
class HopStats:
    """How long something took: so many times, in the median and at worst."""

    count: int = 0
    median_ms: float = 0.0
    worst_ms: float = 0.0


@dataclass(frozen=True)
class StreamStats(PortStats):
    """`dropped_frames` were not taken within two seconds, or could not be kept; `lane_messages` were played by a lane,
    and nobody else saw them; `refused_bytes` found the playback queue full.

    Of the frames taken, `kept_frames` were heard while no lane had joined; `waiting_frames` are not taken yet.
    `to_socket`: from a frame's making until the socket had its message, unless it waited behind frames that were kept.
    `to_engine`: from when audio came to the machine until it was begun to be played, if nothing was queued before it.
    """

    taken_frames: int = 0
    kept_frames: int = 0
    waiting_frames: int = 0
    dropped_frames: int = 0
    lane_messages: int = 0
    refused_bytes: int = 0
    queued_ms: int = 0
    to_socket: HopStats = HopStats()
    to_engine: HopStats = HopStats()
