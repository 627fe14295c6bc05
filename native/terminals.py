"""Ports that lead out of the engine, to a tty, a sound card or a customer: each with a clock that is not ours."""

from collections.abc import Callable
from enum import Enum
from typing import TYPE_CHECKING, Any, TypeAlias

from native._engine import ffi, lib
from native.faults import check, error
from native.ports import RATE_HZ, Port
from native.stats import BufferStats, DeviceStats, HopStats, PcmStats, StreamStats, VoiceStats

if TYPE_CHECKING:
    from native.engine import Engine


class Codec(Enum):
    """L16 is little-endian. PCMA and PCMU exist at 8000 Hz only."""

    PCMA = lib.CODEC_PCMA
    PCMU = lib.CODEC_PCMU
    L16 = lib.CODEC_L16


class Pace(Enum):
    """FOLLOW: the far end is a device, its stream is the clock. CLOCK: we play the device."""

    FOLLOW = lib.PACE_FOLLOW
    CLOCK = lib.PACE_CLOCK


class VoiceFormat(Enum):
    """What `+VSM` has chosen, at 8000 Hz. U8 is linear around 128, L16 is little-endian."""

    U8 = lib.VOICE_U8
    L16 = lib.VOICE_L16
    PCMU = lib.VOICE_PCMU
    PCMA = lib.VOICE_PCMA


# In a stream's prefix or suffix, in their place a number in decimal: the message's own, from 1 on; the frame's, from 1
# on; the frame's time in milliseconds.
SEQUENCE, CHUNK, TIME_MS = (chr(lib.STREAM_SEQUENCE), chr(lib.STREAM_CHUNK), chr(lib.STREAM_TIME))


class PcmPort(Port):
    """Signed 16-bit little-endian samples at 8000 Hz on a file descriptor: a modem's audio tty."""

    def hold(self, on: bool) -> None:
        """Sends nothing while on (+QPCMV: 0); what it is given meanwhile is lost, what is received is not."""
        if self._pointer is not None:
            lib.pcm_hold(self._pointer, on)

    def stats(self) -> PcmStats:
        if self._pointer is None:
            return PcmStats()
        c = ffi.new("pcm_stats *")
        lib.pcm_read_stats(self._pointer, c)
        return PcmStats(
            *self._meters(),
            received_bytes=c.received_bytes,
            sent_bytes=c.sent_bytes,
            dropped_uplink=c.dropped_uplink,
            uplink_depth_ms=1000 * c.waiting_samples / RATE_HZ,
            **_inlet(c.downlink),
        )


class VoicePort(Port):
    """A voice modem's tty in ITU-T V.253's duplex stream (+VTR), or with Pace.CLOCK the modem's end of one.

    Keys that the modem hears are told as Dtmf, once for each press; other codes as VoiceCode, but for those which
    `stats` counts. With StreamEnded the tty is the AT dialogue's again: the port touches it no more.
    """

    def __init__(self, engine: "Engine", pointer: Any, sample_bytes: int) -> None:
        super().__init__(engine, pointer)
        self._sample_bytes = sample_bytes
        self._report = ""

    def send(self, codes: bytes) -> None:
        r"""As they are, between two samples: `u` makes it louder. At most 16 bytes.

        Raises:
            ValueError: too many.
            OSError: EBUSY: those before were not sent yet.
        """
        self._send(codes, last=False)

    def leave(self, sequence: bytes) -> None:
        r"""The last that is sent: `^` or `!` or ``. Another may follow, should the modem not obey.

        A modem answers with its own ``: StreamEnded. Raises: as `send`.
        """
        self._send(sequence, last=True)

    def beyond(self) -> bytes:
        """After StreamEnded: what was read together with the end, and is the AT dialogue's."""
        if self._pointer is None:
            return b""
        out = bytearray(lib.VOICE_BEYOND_BYTES)
        size = lib.voice_beyond(self._pointer, ffi.from_buffer("uint8_t[]", out))
        return bytes(out[:size])

    def resume(self, early: bytes = b"") -> None:
        """After StreamEnded, when the modem has said CONNECT again; `early` is what was read after that.

        Raises:
            ValueError: the stream has not ended, or more than 4096 bytes are early.
        """
        if self._pointer is not None:
            resumed = lib.voice_resume(self._pointer, ffi.from_buffer("uint8_t[]", early), len(early))
            check(resumed, f"the stream goes on, or {len(early)} bytes are too many")

    def stats(self) -> VoiceStats:
        if self._pointer is None:
            return VoiceStats()
        c = ffi.new("voice_stats *")
        lib.voice_read_stats(self._pointer, c)
        return VoiceStats(
            *self._meters(),
            received_bytes=c.received_bytes,
            sent_bytes=c.sent_bytes,
            dropped_uplink=c.dropped_uplink,
            uplink_depth_ms=1000 * c.waiting_samples / RATE_HZ,
            modem_underruns=c.modem_underruns,
            modem_overruns=c.modem_overruns,
            dropped_codes=c.dropped_codes,
            sample_bytes=self._sample_bytes,
            **_inlet(c.downlink),
        )

    def _send(self, codes: bytes, *, last: bool) -> None:
        if self._pointer is not None:
            sent = lib.voice_send(self._pointer, ffi.from_buffer("uint8_t[]", codes), len(codes), last)
            check(sent, f"{len(codes)} bytes are more than {lib.VOICE_CODES_BYTES}")

    def _read(self, character: str) -> None:
        self._report += character

    def _end_report(self) -> str:
        report, self._report = self._report, ""
        return report


# A cffi pointer.
DeviceLine: TypeAlias = Any


class DevicePort(Port):
    """A sound card; its own clock, and its rate, are evened out. `drivers/sound.py` opens one."""

    def open_line(self) -> DeviceLine:
        """The card's end, for one SoundCard, which may outlive the port. If it fails before the port is closed, that is
        told as PortFailed, ENODEV.

        Raises:
            ValueError: the port is closed.
        """
        if self._pointer is None:
            raise ValueError("the port is closed")
        return ffi.gc(lib.device_open(self._pointer), lib.device_release)

    def stats(self) -> DeviceStats:
        if self._pointer is None:
            return DeviceStats()
        c = ffi.new("device_stats *")
        lib.device_read_stats(self._pointer, c)
        return DeviceStats(
            *self._meters(),
            captured_s=c.captured_samples / RATE_HZ,
            played_s=c.played_samples / RATE_HZ,
            input_xruns=c.input_xruns,
            output_xruns=c.output_xruns,
            dropped_downlink=c.dropped_downlink,
            dropped_uplink=c.dropped_uplink,
            downlink=_buffer(c.downlink),
            uplink=_buffer(c.uplink),
        )


class StreamPort(Port):
    """A customer's media stream: messages of what it is given, and a queue of what it plays."""

    def __init__(self, engine: "Engine", pointer: Any) -> None:
        super().__init__(engine, pointer)
        self._message = ffi.new("char[]", lib.stream_message_bytes(pointer))
        # Of the lane that has joined it.
        self._leave: Callable[[], None] | None = None

    def close(self) -> None:
        if self._leave is not None:
            self._leave()
        super().close()

    def _give_up(self) -> None:
        super()._give_up()
        self._leave = None

    def take(self) -> bytes | None:
        """The next message: prefix, a frame in base64, suffix. Messages older than two seconds are lost; of a stream
        that keeps them, older than that, and there are no more than four in a tick.
        """
        size = lib.stream_take(self._pointer, self._message) if self._pointer is not None else 0
        message: bytes = ffi.buffer(self._message)[:size]
        return message or None

    def next_number(self) -> int:
        """Of the messages that have SEQUENCE in them: counts one of the caller's own among them."""
        return lib.stream_next(self._pointer) if self._pointer is not None else 0

    def play(self, data: bytes, codec: Codec, rate_hz: int) -> bool:
        """False: refused whole, because more than ten minutes of audio would wait, or 128 MiB, with the eighty bytes
        that each piece takes for itself.

        Raises:
            ValueError: not a whole number of samples, or a rate that streams do not carry in this codec.
        """
        if self._pointer is None:
            return False
        audio = ffi.from_buffer(data)
        queued: int = lib.stream_play(self._pointer, audio, len(audio), codec.value, rate_hz)
        if queued < 0:
            raise error(f"{len(audio)} bytes of {codec.name} at {rate_hz} Hz cannot be played")
        return queued == 1

    def clear(self, mark: int) -> None:
        """Forgets all that was queued before, checkpoints too, in the next tick; then Cleared(mark)."""
        if self._pointer is not None:
            check(lib.stream_clear(self._pointer, mark))

    def checkpoint(self, mark: int) -> None:
        """Played(mark) when all that was queued before has been yielded."""
        if self._pointer is not None:
            check(lib.stream_checkpoint(self._pointer, mark))

    @property
    def queued_ms(self) -> int:
        return self.stats().queued_ms

    def stats(self) -> StreamStats:
        if self._pointer is None:
            return StreamStats()
        c = ffi.new("stream_stats *")
        lib.stream_read_stats(self._pointer, c)
        return StreamStats(
            *self._meters(),
            taken_frames=c.taken_frames,
            kept_frames=c.kept_frames,
            waiting_frames=c.waiting_frames,
            dropped_frames=c.dropped_frames,
            lane_messages=c.lane_messages,
            refused_bytes=c.refused_bytes,
            queued_ms=c.queued_ms,
            to_socket=_hop(c.to_socket),
            to_engine=_hop(c.to_engine),
        )


def _buffer(c: Any) -> BufferStats:
    depth_ms = 1000 * c.depth_samples / RATE_HZ
    return BufferStats(depth_ms, c.underruns, c.concealed, c.overruns, c.slips, c.dropped, c.drift_ppm)


def _hop(c: Any) -> HopStats:
    return HopStats(c.count, c.median_us / 1000, c.worst_us / 1000)


def _inlet(c: Any) -> dict[str, Any]:
    buffer = dict(vars(_buffer(c)))
    return {"dropped_downlink": buffer.pop("dropped"), **buffer}
