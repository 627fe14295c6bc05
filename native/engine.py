"""The media engine's Python face. Everything belongs to one thread, except `Recorder.read`, which may be on another;
and to one process (owned.py).
"""

from types import TracebackType
from typing import Any, Self

from native._engine import ffi, lib
from native.codec import whole_samples
from native.events import Event, event_of
from native.faults import check, made
from native.owned import Owned
from native.ports import TICK_S, Conference, FramesPort, Player, Port, Recorder, tone_step
from native.stats import EngineStats
from native.terminals import Codec, DevicePort, Pace, PcmPort, StreamPort, VoiceFormat, VoicePort
from native.tones import Cadence

# Events fetched in one call.
EVENTS_AT_ONCE = 256
# From the least sample to full scale.
MOST_GAIN_DB = 90.0


class Engine(Owned):
    """A conference bridge on a 20 ms clock, ticked by its own thread between start and stop, or by hand.

    `fd` is readable when an event or a stream's message waits; `events` clears it, so take all messages after.
    """

    def __init__(self) -> None:
        super().__init__(made(lib.engine_create()), lib.engine_destroy)
        self._ports: dict[int, Port] = {}
        self._found = ffi.new("event[]", EVENTS_AT_ONCE)
        self.fd: int = lib.engine_fd(self._pointer)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stops the thread, closes all ports; may be called again, after which nothing else may be."""
        for port in list(self._ports.values()):
            port.close()
        self._free()
        self.fd = -1

    def _give_up(self) -> None:
        for port in list(self._ports.values()):
            port._give_up()
        self._ports.clear()
        super()._give_up()
        self.fd = -1

    def start(self) -> None:
        """Real-time scheduling is taken where the system permits it; `stats` says whether it did."""
        check(lib.engine_start(self._pointer))

    def stop(self) -> None:
        """Waits for the tick that is due."""
        lib.engine_stop(self._pointer)

    def tick(self, count: int = 1) -> None:
        """Raises: RuntimeError: the thread is running."""
        if lib.engine_tick(self._pointer, count) < 0:
            raise RuntimeError("ticked by hand while the engine's thread runs")

    def events(self) -> list[Event]:
        """All that happened since the last call, in order."""
        events: list[Event] = []
        count = EVENTS_AT_ONCE
        while count == EVENTS_AT_ONCE:
            count = lib.engine_events(self._pointer, self._found, EVENTS_AT_ONCE)
            for found in self._found[0:count]:
                port = self._ports.get(found.port)
                if port is None:
                    continue
                if isinstance(port, VoicePort) and found.kind == lib.EVENT_TEXT:
                    port._read(chr(found.value))
                elif (event := event_of(port, found.kind, found.value)) is not None:
                    events.append(event)
        return events

    def stats(self) -> EngineStats:
        c = ffi.new("engine_stats *")
        lib.engine_read_stats(self._pointer, c)
        return EngineStats(c.ticks, c.skipped, c.lost_events, c.worst_late_us, c.realtime)

    def pcm(self, fd: int, *, pace: Pace = Pace.FOLLOW, chunk_bytes: int = 640) -> PcmPort:
        """A duplicate of `fd`, which must be non-blocking, is kept; what waits in it at the first tick is thrown away.

        Raises:
            ValueError: blocking, or a chunk that is odd or above 8192 bytes.
            OSError: not a file descriptor.
        """
        pointer = lib.pcm_create(self._pointer, fd, pace.value, chunk_bytes)
        return PcmPort(self, made(pointer, f"fd {fd} blocks, or chunks of {chunk_bytes} bytes"))

    def voice(self, fd: int, format: VoiceFormat, *, pace: Pace = Pace.FOLLOW, early: bytes = b"") -> VoicePort:
        """Made when the modem has said CONNECT; `early` is what was read after that. A duplicate of `fd` is kept.

        Raises:
            ValueError: it blocks, or more than 4096 bytes are early.
            OSError: not a file descriptor.
        """
        read = ffi.from_buffer("uint8_t[]", early)
        pointer = lib.voice_create(self._pointer, fd, format.value, pace.value, read, len(early))
        made(pointer, f"fd {fd} blocks, or {len(early)} bytes are too many")
        return VoicePort(self, pointer, sample_bytes=2 if format is VoiceFormat.L16 else 1)

    def device(self, rate_hz: int) -> DevicePort:
        """Raises: ValueError: no rate of a sound card; 8000, 16000, 32000, 44100, 48000, 96000 are, among others."""
        return DevicePort(self, made(lib.device_create(self._pointer, rate_hz), f"{rate_hz} Hz is not resampled"))

    def stream(
        self, codec: Codec, rate_hz: int, *, prefix: bytes, suffix: bytes, uplink: bool = True, keep_s: float = 0
    ) -> StreamPort:
        """`uplink` False: the customer is sent nothing. `keep_s`: so much of what it hears is kept while no lane has
        joined, at most 60 s; 0: none.

        Raises:
            ValueError: not 8000 Hz, or for L16 none of 8000, 16000, 24000, 32000, 44100, 48000; or too much to keep.
        """
        texts = ffi.from_buffer(prefix), ffi.from_buffer(suffix)
        sizes, kept_frames = (len(prefix), len(suffix)), round(keep_s / TICK_S)
        options = ffi.new("stream_options *", (*texts, *sizes, rate_hz, codec.value, uplink, kept_frames))
        pointer = lib.stream_create(self._pointer, options)
        return StreamPort(self, made(pointer, f"{codec.name} at {rate_hz} Hz is not carried, or {keep_s:g} s not kept"))

    def player(self, samples: bytes, *, loop: bool = False) -> Player:
        """16-bit samples at 8000 Hz."""
        block = whole_samples(samples)
        return Player(self, made(lib.player_create(self._pointer, block, len(block), loop)))

    def tone(self, cadence: Cadence, *, loop: bool = False, level_dbm0: float = -10.0) -> Player:
        """The level is that of each frequency: ITU-T E.180 recommends -10 dBm0 for what a network sends.

        Raises:
            ValueError: no steps, or one behind another that is for ever; more than two frequencies at once, or one from
                4000 Hz on; a level above +20 dBm0.
        """
        steps = ffi.new("tone_step[]", [tone_step(step) for step in cadence])
        pointer = lib.tone_create(self._pointer, steps, len(steps), loop, level_dbm0)
        return Player(self, made(pointer, f"no tone can be made of {cadence}"))

    def recorder(self) -> Recorder:
        return Recorder(self, made(lib.recorder_create(self._pointer)))

    def conference(self) -> Conference:
        return Conference(self, made(lib.conference_create(self._pointer)))

    def frames(self) -> FramesPort:
        return FramesPort(self, made(lib.frames_create(self._pointer)))

    def connect(self, source: Port, sink: Port, *, gain_db: float = 0.0) -> None:
        """Connecting again changes the gain; a step above 6 dB is spread over five frames, as it clicks.

        Raises:
            ValueError: the source makes no sound, the sink hears none, one is another engine's, or both are
                conferences; or a gain above 90 dB.
        """
        if not gain_db <= MOST_GAIN_DB:
            raise ValueError(f"a gain of {gain_db} dB")
        if not (source.yields and sink.takes and source._engine is sink._engine is self):
            raise ValueError("not a source and a sink of this engine")
        if source._pointer is not None and sink._pointer is not None:
            gain = 10 ** (gain_db / 20)
            linked = lib.engine_connect(self._pointer, source._pointer, sink._pointer, gain)
            check(linked, "a conference is not connected to another")

    def disconnect(self, source: Port, sink: Port) -> None:
        """Raises: ValueError: one is another engine's."""
        if not (source._engine is sink._engine is self):
            raise ValueError("not a source and a sink of this engine")
        if source._pointer is not None and sink._pointer is not None:
            check(lib.engine_disconnect(self._pointer, source._pointer, sink._pointer))

    def _adopt(self, port: Port, pointer: Any) -> int:
        number: int = lib.port_id(pointer)
        self._ports[number] = port
        return number

    def _forget(self, number: int) -> None:
        port = self._ports.pop(number, None)
        if port is not None:
            port._pointer = None
