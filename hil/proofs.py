"""What the demo proves, in the order of its doing: calls are placed as people place them, then each side is asked.

That somebody was heard is found by correlation of what was recorded at the far end with what was said; that an event
is signed is found by openssl.
"""

import base64
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import trio

from hil.bench import Bench
from hil.box import Box
from hil.conversation import Conversation, within
from hil.customer import ANSWER, EVENTS, HANGUP, RING, Missing, Post, VoiceServer, Webhooks
from hil.listening import Match, Sound, align, last_sound, ms
from hil.report import Proof, Report
from hil.subscriber import PhoneCall
from native import RATE_HZ, alaw_encode

RECEPTION, SALES = "+33700000002", "+33700000003"
LINES = {"reception": RECEPTION, "sales": SALES}
CALLER, CALLEE, ENGAGED = "+33783484044", "+33612345678", "+33698765432"
SECRET = "whsec_demo-5f0c3a9be17d4826"

QUESTION = "Good morning. I am calling about the parcel that you promised for yesterday. Could you tell me where it is?"
STILL_THERE = "Hello, are you still there? I lost you for a moment."
GREETING = "Thank you for calling. One moment please."
ANSWERING = "Yes, hello, who is calling please?"
TEXTS = (QUESTION, STILL_THERE, GREETING, ANSWERING)

KEYS = "123#"
SAME = 0.95
# An MP3 keeps what ears need, which is less than the wave.
SAME_ON_MP3 = 0.9
# Speech crosses unchanged; more than this is somebody's gain.
LEVEL_DB = 1.0
# A cleared queue is heard for what the buffers of box, tty and modem held: the line's own delay.
CLEAR_LIMIT_MS = 250
TONE_S = 8
# A checkpoint is told when its audio was mixed, which may be a tick before or after.
CHECKPOINT_MS = 60

TITLES = (
    LINES_UP := "lines up",
    LINKED := "app created, number linked",
    ECHOED := "inbound call, streamed and echoed",
    PRESSED := "key presses told",
    CLEARED := "checkpoint played, clearAudio obeyed",
    RESUMED := "voice server killed, stream resumed",
    HUNG_UP := "caller hangs up",
    OUTBOUND := "outbound call answered",
    BUSY := "outbound call busy",
    RECORDED := "recording, both channels",
    TOLD := "events delivered and signed",
    STOPPED := "service stopped, nothing left",
)


class Proofs:
    def __init__(
        self,
        report: Report,
        bench: Bench,
        box: Box,
        webhooks: Webhooks,
        voice: VoiceServer,
        speech: dict[str, Sound],
        nursery: trio.Nursery,
    ) -> None:
        self._report = report
        self._bench = bench
        self._box = box
        self._webhooks = webhooks
        self._voice = voice
        self._speech = speech
        self._nursery = nursery
        # When each call ended, by from and to; the events are held against it.
        self._ended_at: dict[tuple[str, str], float] = {}

    async def run(self) -> None:
        """All but the stop of the service. What fails stands in the report."""
        with self._report.chapter():
            await self._start()
            with self._report.chapter():
                await self._inbound()
            with self._report.chapter():
                await self._outbound()
            with self._report.chapter():
                await self._busy()
            with self._report.chapter():
                await self._events()

    async def _start(self) -> None:
        with self._report.proof(LINES_UP) as proof:
            await self._box.create_key()
            began = time.monotonic()
            await self._box.start()
            await self._box.idle(within_s=20)
            proof.figure(f"{len(LINES)} lines idle {time.monotonic() - began:.2f} s after the start")
        with self._report.proof(LINKED) as proof:
            url = self._webhooks.url
            app = {"name": "Demo", "answer_url": url + ANSWER, "hangup_url": url + HANGUP}
            created, create_ms = await self._box.post("/apps", app)
            proof.figure(f"app {create_ms:.0f} ms")
            for number in LINES.values():
                _, link_ms = await self._box.post(f"/apps/{created['app_id']}/numbers", {"voip_number": number})
                proof.figure(f"link {link_ms:.0f} ms")

    # --- the inbound call -------------------------------------------------------------------------------------------

    async def _inbound(self) -> None:
        talk = await self._echoed()
        await self._pressed(talk)
        await self._cleared(talk)
        await self._resumed(talk)
        await self._hung_up(talk)
        await self._recorded(talk)

    async def _connected(self, phone: PhoneCall, since: float) -> Conversation:
        """The stream of a call that was just answered."""
        start = await self._voice.message("start", after=since)
        opened = await self._voice.told.get(
            "a connection", lambda told: told.kind == "opened" and since < told.at <= start.at, within_s=1
        )
        talk = Conversation(phone, self._voice, opened, start)
        await talk.set_clock()
        return talk

    async def _echoed(self) -> Conversation:
        with self._report.proof(ECHOED) as proof:
            began = time.monotonic()
            phone = self._bench.phone(CALLER).dial(RECEPTION)
            await within(10, "the box to answer", phone.answered())
            answered = time.monotonic()
            talk = await self._connected(phone, began)
            proof.figure(
                f"answered {answered - began:.2f} s after dialling, stream {_ms(talk.start.at - answered)} later"
            )
            match = await self._speak(proof, talk, QUESTION)
            silent = talk.silent_before(match)
            proof.expect(silent, "digital silence (0xD5) at the voice server before speech", "other codes")
            proof.figure("silence before is digital" if silent else "noise before")
            return talk

    async def _speak(self, proof: Proof, talk: Conversation, text: str) -> Match:
        """Words from the phone to the voice server, and back as its echo."""
        words = self._speech[text]
        found = await talk.exchange(words)
        proof.figure(
            f"at the voice server {_same(found.there)}, {found.delay_ms:.0f} ms from the mouth (worst {found.worst_delay_ms:.0f})"
        )
        proof.figure(f"back at the phone {_same(found.back)}, {found.round_trip_ms:.0f} ms there and back")
        for where, match in (("at the voice server", found.there), ("back at the phone", found.back)):
            proof.expect(match.correlation >= SAME, f"speech {where}, correlation {SAME}", _same(match))
            proof.expect(
                abs(match.gain_db) <= LEVEL_DB, f"its level {where} within {LEVEL_DB} dB", f"{match.gain_db:+.1f} dB"
            )
        return found.there

    async def _pressed(self, talk: Conversation) -> None:
        with self._report.proof(PRESSED) as proof:
            began = time.monotonic()
            pressed_at = []
            for key in KEYS:
                pressed_at.append(time.monotonic())
                await talk.phone.press(key)
            # One that is told twice would be so by now.
            await trio.sleep(0.5)
            told = self._voice.messages("dtmf", after=began)
            keys = "".join(event.message["dtmf"]["digit"] for event in told)
            proof.expect(keys == KEYS, f"{KEYS} in order, each once", keys or "nothing")
            delays = [event.at - pressed for event, pressed in zip(told, pressed_at, strict=False)]
            proof.figure(f"{keys}, told at most {_ms(max(delays, default=0))} after the press began")

    async def _cleared(self, talk: Conversation) -> None:
        with self._report.proof(CLEARED) as proof:
            await self._voice.order(echo=False)
            began = time.monotonic()
            greeting = self._speech[GREETING]
            await self._play(greeting)
            await self._voice.send("checkpoint", name="greeting")
            played = await self._voice.message("playedStream", after=began)
            proof.expect(played.message.get("name") == "greeting", 'playedStream "greeting"', played.message)
            early_ms = ms(len(greeting)) - 1000 * (played.at - began)
            proof.expect(
                abs(early_ms) < CHECKPOINT_MS + 200, "playedStream when its audio was played", f"{-early_ms:+.0f} ms"
            )
            await trio.sleep(0.3)
            match = align(greeting, talk.heard_since(began))
            proof.expect(match.correlation >= SAME, "the greeting at the phone", _same(match))
            proof.figure(f"greeting heard {_same(match)}, first word after {match.delay_ms:.0f} ms")
            proof.figure(f"playedStream {-early_ms:+.0f} ms from its end")
            await self._clear(proof, talk)

    async def _clear(self, proof: Proof, talk: Conversation) -> None:
        began = time.monotonic()
        await self._play(_tone(TONE_S))
        await self._voice.send("checkpoint", name="never")
        await trio.sleep(1)
        await self._voice.send("clearAudio")
        cleared = await self._voice.message("clearedAudio", after=began)
        sent = await self._voice.told.get(
            "the order to be sent", lambda t: t.at > began and t.what.get("event") == "clearAudio", within_s=1
        )
        await trio.sleep(0.6)
        heard_ms = ms((last_sound(talk.heard_since(began)) or 0) + 1)
        stopped_ms = heard_ms - 1000 * (sent.at - began)
        proof.figure(f"clearedAudio after {_ms(cleared.at - sent.at)}, silence at the phone after {stopped_ms:.0f} ms")
        proof.expect(
            0 < stopped_ms < CLEAR_LIMIT_MS, f"silence within {CLEAR_LIMIT_MS} ms of clearAudio", f"{stopped_ms:.0f} ms"
        )
        late = [told.message.get("name") for told in self._voice.messages("playedStream", after=sent.at)]
        proof.expect(not late, "no playedStream for what was cleared", late)

    async def _play(self, samples: Sound) -> None:
        payload = base64.b64encode(alaw_encode(samples.tobytes())).decode()
        await self._voice.send("playAudio", media={"payload": payload, "contentType": "audio/PCMA", "sampleRate": 8000})

    async def _resumed(self, talk: Conversation) -> None:
        with self._report.proof(RESUMED) as proof:
            killed = time.monotonic()
            before = self._voice.audio(talk.opened).came_at[-1]
            self._voice.kill()
            await self._nursery.start(self._voice.run)
            again = await self._connected(talk.phone, killed)
            ids = [talk.start.message["streamId"], again.start.message["streamId"]]
            proof.expect(ids[0] == ids[1], f"a second start of {ids[0]}", ids[1])
            same_call = talk.call_id == again.call_id
            proof.expect(same_call, "the same callId", again.call_id)
            gap_s = self._voice.audio(again.opened).came_at[0] - before
            proof.figure(f"same streamId, {gap_s:.2f} s without audio")
            await self._speak(proof, again, STILL_THERE)

    async def _hung_up(self, talk: Conversation) -> None:
        with self._report.proof(HUNG_UP) as proof:
            talk.phone.hang_up()
            self._ended_at[CALLER, RECEPTION] = ended = time.monotonic()
            hangup = await self._hangup(lambda body: body["call_uuid"] == talk.call_id)
            self._expect_end(proof, hangup, "COMPLETED", "16")
            closed = await self._voice.told.get("the close", lambda t: t.kind == "closed" and t.at > ended, within_s=2)
            proof.expect(closed.what["code"] == 1000, "the socket closed with 1000", closed.what["code"])
            proof.expect(closed.at <= hangup.at, "the socket closed before the webhook", "the webhook first")
            proof.figure(f"socket closed {_ms(closed.at - ended)} later, hangup webhook {_ms(hangup.at - ended)}")
            for line in self._box.logged("stream ended"):
                proof.figure(f"{line['frames']} frames sent, {line['dropped']} dropped")

    async def _recorded(self, talk: Conversation) -> None:
        with self._report.proof(RECORDED) as proof:
            path = self._box.recordings / f"{talk.call_id}.mp3"
            channels = await _mp3(path)
            left, right = align(talk.spoken, channels[0]), align(talk.heard, channels[1])
            seconds, call_s = len(channels[0]) / RATE_HZ, len(talk.spoken) / RATE_HZ
            proof.figure(f"MP3 of {seconds:.1f} s for a call of {call_s:.1f} s, {path.stat().st_size // 1024} KiB")
            proof.figure(f"caller left {_same(left)}, customer right {_same(right)}")
            proof.expect(
                left.correlation >= SAME_ON_MP3, f"the caller's words left, correlation {SAME_ON_MP3}", _same(left)
            )
            proof.expect(right.correlation >= SAME_ON_MP3, f"the echo right, correlation {SAME_ON_MP3}", _same(right))
            proof.expect(abs(seconds - call_s) < 0.7, f"{call_s:.1f} s of recording", f"{seconds:.1f} s")

    # --- outbound calls ---------------------------------------------------------------------------------------------

    async def _order(self, proof: Proof, to: str) -> Callable[[Any], bool]:
        """Which webhooks are this call's."""
        url = self._webhooks.url
        order = {
            "from": SALES,
            "to": to,
            "answer_url": url + ANSWER,
            "ring_url": url + RING,
            "hangup_url": url + HANGUP,
        }
        data, took_ms = await self._box.post("/calls", order)
        proof.expect(data["status"] == "queued", "queued", data["status"])
        proof.figure(f"accepted {took_ms:.0f} ms")
        return lambda body: bool(body.get("request_uuid") == data["request_uuid"])

    async def _outbound(self) -> None:
        with self._report.proof(OUTBOUND) as proof:
            await self._voice.order(echo=True)
            began = time.monotonic()
            mine = await self._order(proof, CALLEE)
            ring = await self._webhooks.post(RING, mine)
            answer = await self._webhooks.post(ANSWER, mine)
            proof.figure(
                f"ring webhook {ring.at - began:.2f} s, answer webhook {answer.at - began:.2f} s after the order"
            )
            phone = self._bench.phone(CALLEE).calls[-1]
            talk = await self._connected(phone, began)
            await self._speak(proof, talk, ANSWERING)
            closed = time.monotonic()
            await self._voice.order(close=1000)
            cause = await within(5, "the callee to be hung up on", phone.ended())
            self._ended_at[SALES, CALLEE] = time.monotonic()
            proof.expect(cause == 16, "cause 16 at the callee", cause)
            hangup = await self._hangup(mine)
            self._expect_end(proof, hangup, "COMPLETED", "16")
            proof.expect(ring.at < answer.at < hangup.at, "ring, answer, hangup in this order", "another")
            proof.figure(f"hangup webhook {_ms(hangup.at - closed)} after the customer's close")

    async def _busy(self) -> None:
        with self._report.proof(BUSY) as proof:
            began = time.monotonic()
            mine = await self._order(proof, ENGAGED)
            hangup = await self._hangup(mine)
            self._ended_at[SALES, ENGAGED] = hangup.at
            self._expect_end(proof, hangup, "BUSY", "17")
            proof.figure(
                f"hangup webhook {hangup.json['call_status']} {hangup.json.get('hangup_cause')} after {_ms(hangup.at - began)}"
            )
            answers = [post.json for post in self._webhooks.posts(ANSWER) if mine(post.json)]
            proof.expect(not answers, "no answer webhook", answers)

    async def _hangup(self, mine: Callable[[Any], bool]) -> Post:
        return await self._webhooks.post(HANGUP, mine)

    def _expect_end(self, proof: Proof, hangup: Post, status: str, cause: str) -> None:
        came = (hangup.json.get("call_status"), hangup.json.get("hangup_cause"))
        proof.expect(came == (status, cause), f"hangup webhook {status} {cause}", came)

    # --- events -----------------------------------------------------------------------------------------------------

    async def _events(self) -> None:
        wanted = {
            (CALLER, RECEPTION): ["phone_call.started", "phone_call.completed"],
            (SALES, CALLEE): ["phone_call.started", "phone_call.completed"],
            (SALES, ENGAGED): ["phone_call.busy"],
        }
        with self._report.proof(TOLD) as proof:
            posts: list[Post] = []
            for (from_, to), types in wanted.items():
                for type_ in types:
                    posts.append(await self._event(from_, to, type_))
                end = posts[-1]
                proof.figure(
                    f"{types[-1]} {_ms(end.at - self._ended_at.get((from_, to), end.at))} after the call's end"
                )
            came = self._webhooks.posts(EVENTS)
            for (from_, to), types in wanted.items():
                told = [post.json["type"] for post in came if _parties(post) == (from_, to)]
                proof.expect(told == types, f"{types} for {from_} to {to}", told)
            ids = {post.json["id"] for post in came}
            proof.expect(len(ids) == len(came), f"{len(came)} events with as many ids", f"{len(ids)} ids")
            good = [await _verified(post) for post in came]
            proof.expect(all(good), "every signature verified by openssl", f"{good.count(False)} that are not")
            proof.figure(f"{len(came)} events, {good.count(True)} signatures verified by openssl")

    async def _event(self, from_: str, to: str, type_: str) -> Post:
        return await self._webhooks.inbox.get(
            f"{type_} of the call from {from_} to {to}",
            lambda post: post.path == EVENTS and post.json["type"] == type_ and _parties(post) == (from_, to),
            within_s=10,
        )


def _parties(event: Post) -> tuple[str, str]:
    data = event.json["data"]
    return data["from"], data["to"]


async def _verified(event: Post) -> bool:
    """PhoneVoice 8: `t=<unix seconds>,v1=<hex>`, an HMAC over `<t>.<body>` keyed with the whole secret."""
    t, _, v1 = event.signature.removeprefix("t=").partition(",v1=")
    if not t.isdecimal() or abs(time.time() - int(t)) > 300:
        return False
    command = ["openssl", "dgst", "-sha256", "-hmac", SECRET, "-r"]
    done = await trio.run_process(command, stdin=t.encode() + b"." + event.body, capture_stdout=True)
    return done.stdout.split()[0].decode() == v1


async def _mp3(path: Path) -> tuple[Sound, Sound]:
    """Both channels, once the file is there: it is made after the call.

    Raises:
        Missing: it never came, or is no MP3 of two channels.
    """
    with trio.move_on_after(10):
        while not path.exists():
            await trio.sleep(0.05)
    if not path.exists():
        there = ", ".join(file.name for file in path.parent.iterdir()) or "nothing"
        raise Missing(f"expected {path.name} within 10 s of the call's end; there is: {there}")
    samples, rate_hz = soundfile.read(path, dtype="int16", always_2d=True)
    if samples.shape[1] != 2 or rate_hz != RATE_HZ:
        raise Missing(f"expected two channels at {RATE_HZ} Hz; came: {samples.shape[1]} at {rate_hz} Hz")
    return samples[:, 0], samples[:, 1]


def _tone(seconds: float) -> Sound:
    """440 Hz, without a quiet moment that could be taken for its end."""
    phase = 2 * np.pi * 440 * np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    return np.rint(8000 * np.sin(phase)).astype(np.int16)


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:.0f} ms"


def _same(match: Match) -> str:
    slipped = f", moved {ms(match.moved_samples):.0f} ms" if match.moved_samples else ""
    return f"{match.correlation:.4f} (worst second {match.worst_window:.3f}{slipped})"
