"""The demo's first call: somebody phones the box, and is spoken with, through all that can happen to a stream."""

import base64
import time

import trio

from hil.conversation import Conversation, within
from hil.listening import Sound, align, last_sound, ms, tone
from hil.report import Proof
from hil.scene import CALLER, GREETING, QUESTION, RECEPTION, SAME, SAME_ON_MP3, STILL_THERE, Scene, in_ms, likeness
from native import RATE_HZ, alaw_encode

KEYS = "123#"
# A key that is told twice is so within this.
KEY_AGAIN_S = 0.5
# What of it is still queued then: the voice server's lead.
ECHO_ENDS_S = 0.4
# A checkpoint is passed when its audio was mixed: what buffers hold is heard after it, and the messages take time.
CHECKPOINT_MS = 150
# What a cleared queue may still be heard: the buffers of box, tty and modem. `./dev bench` measures it finer.
CLEAR_LIMIT_MS = 250
LONG_S = 8
LENGTH_S = 0.7

TITLES = (
    ECHOED := "inbound call, streamed and echoed",
    PRESSED := "key presses told",
    CLEARED := "checkpoint played, clearAudio obeyed",
    RESUMED := "voice server killed, stream resumed",
    HUNG_UP := "caller hangs up",
    RECORDED := "recording, both channels",
)


async def prove_inbound(scene: Scene) -> None:
    """Raises: Missing: the call cannot go on."""
    talk = await _echoed(scene)
    await _pressed(scene, talk)
    await _cleared(scene, talk)
    again = await _resumed(scene, talk)
    await _hung_up(scene, again)
    await _recorded(scene, again)


async def _echoed(scene: Scene) -> Conversation:
    with scene.report.proof(ECHOED) as proof:
        began = time.monotonic()
        phone = scene.bench.phone(CALLER).dial(RECEPTION)
        await within(10, "the box to answer", phone.answered())
        answered = time.monotonic()
        talk = await scene.connected(phone, began)
        proof.figure(
            f"answered {in_ms(answered - began)} after dialling, stream up {in_ms(talk.start.at - answered)} later"
        )
        match = await scene.speak(proof, talk, QUESTION)
        silent = talk.silent_before(match)
        proof.expect(silent, "digital silence (0xD5) at the voice server before speech", "other codes, or no audio")
        proof.figure("silence before it is digital" if silent else "no digital silence before it")
        return talk


async def _pressed(scene: Scene, talk: Conversation) -> None:
    with scene.report.proof(PRESSED) as proof:
        began = time.monotonic()
        pressed_at = []
        for key in KEYS:
            pressed_at.append(time.monotonic())
            await talk.phone.press(key)
        await trio.sleep(KEY_AGAIN_S)
        told = scene.voice.messages("dtmf", after=began)
        keys = "".join(str(event.message.get("dtmf", {}).get("digit")) for event in told)
        proof.expect(keys == KEYS, f"{KEYS} in this order, each once", keys or "no dtmf message")
        late_s = [event.at - pressed for event, pressed in zip(told, pressed_at, strict=False)]
        proof.figure(f"{keys or 'none'}, told at most {in_ms(max(late_s, default=0))} after the press began")


async def _cleared(scene: Scene, talk: Conversation) -> None:
    with scene.report.proof(CLEARED) as proof:
        await scene.voice.order(echo=False)
        await trio.sleep(ECHO_ENDS_S)
        await _checkpoint(scene, proof, talk)
        await _clear(scene, proof, talk)


async def _checkpoint(scene: Scene, proof: Proof, talk: Conversation) -> None:
    began = time.monotonic()
    greeting = scene.speech[GREETING]
    await _play(scene, greeting)
    await scene.voice.send("checkpoint", name="greeting")
    played = await scene.voice.message("playedStream", after=began, within_s=10)
    await trio.sleep(0.3)
    match = align(greeting, talk.heard_since(began))
    late_ms = 1000 * (played.at - began) - ms(len(greeting))
    proof.figure(f"greeting heard {likeness(match)}, {match.delay_ms:.0f} ms after the order")
    proof.figure(f"playedStream {late_ms:+.0f} ms from the end of its audio")
    proof.expect(match.correlation >= SAME, f"the greeting at the phone, correlation {SAME}", likeness(match))
    proof.expect(played.message.get("name") == "greeting", 'playedStream "greeting"', played.message)
    proof.expect(
        abs(late_ms) < CHECKPOINT_MS, f"playedStream within {CHECKPOINT_MS} ms of its audio's end", f"{late_ms:+.0f} ms"
    )


async def _clear(scene: Scene, proof: Proof, talk: Conversation) -> None:
    began = time.monotonic()
    await _play(scene, tone(440, LONG_S))
    await scene.voice.send("checkpoint", name="never")
    await trio.sleep(1)
    await scene.voice.send("clearAudio")
    cleared = await scene.voice.message("clearedAudio", after=began)
    sent = await scene.voice.told.get(
        "the order to be sent", lambda told: told.at > began and told.what.get("event") == "clearAudio", within_s=1
    )
    await trio.sleep(2 * CLEAR_LIMIT_MS / 1000)
    end = last_sound(talk.heard_since(began))
    stopped_ms = ms(end + 1) - 1000 * (sent.at - began) if end is not None else float("nan")
    proof.figure(f"clearedAudio after {in_ms(cleared.at - sent.at)}, silence at the phone after {stopped_ms:.0f} ms")
    # Sound that ended well before the order was never there.
    proof.expect(
        -50 < stopped_ms < CLEAR_LIMIT_MS,
        f"a tone that ends within {CLEAR_LIMIT_MS} ms of clearAudio",
        f"{stopped_ms:.0f} ms",
    )
    late = [told.message.get("name") for told in scene.voice.messages("playedStream", after=began)]
    proof.expect(not late, "no playedStream for what was cleared", late)


async def _play(scene: Scene, samples: Sound) -> None:
    payload = base64.b64encode(alaw_encode(samples.tobytes())).decode()
    media = {"payload": payload, "contentType": "audio/PCMA", "sampleRate": RATE_HZ}
    await scene.voice.send("playAudio", media=media)


async def _resumed(scene: Scene, talk: Conversation) -> Conversation:
    with scene.report.proof(RESUMED) as proof:
        last = scene.voice.audio(talk.opened).came_at[-1]
        killed = time.monotonic()
        scene.voice.kill()
        await scene.nursery.start(scene.voice.run)
        again = await scene.connected(talk.phone, killed)
        first = scene.voice.audio(again.opened).came_at[0]
        proof.figure(f"same stream and call, {first - last:.2f} s without audio")
        proof.expect(again.stream_id == talk.stream_id, f"a second start of {talk.stream_id}", again.stream_id)
        proof.expect(again.call_id == talk.call_id, f"callId {talk.call_id}", again.call_id)
        await scene.speak(proof, again, STILL_THERE)
        return again


async def _hung_up(scene: Scene, talk: Conversation) -> None:
    with scene.report.proof(HUNG_UP) as proof:
        talk.phone.hang_up()
        ended = scene.ended_at[CALLER, RECEPTION]
        hangup = await scene.hung_up(
            proof, lambda body: bool(body["call_uuid"] == talk.call_id), status="COMPLETED", cause="16"
        )
        closed = await scene.voice.told.get(
            "the close", lambda told: told.kind == "closed" and told.at > ended, within_s=2
        )
        proof.figure(f"socket closed {in_ms(closed.at - ended)}, hangup webhook {in_ms(hangup.at - ended)} later")
        proof.expect(closed.what["code"] == 1000, "the socket closed with 1000", closed.what["code"])
        proof.expect(closed.at <= hangup.at, "the socket closed before the webhook", "the webhook first")
        for line in scene.box.logged("stream ended"):
            proof.figure(f"{line['frames']} frames sent to the voice server, {line['dropped']} dropped")


async def _recorded(scene: Scene, talk: Conversation) -> None:
    with scene.report.proof(RECORDED) as proof:
        left, right = await scene.box.recording(talk.call_id, within_s=10)
        long_s, call_s = len(left) / RATE_HZ, len(talk.spoken) / RATE_HZ
        proof.figure(f"MP3 of {long_s:.1f} s for a call of {call_s:.1f} s")
        proof.expect(abs(long_s - call_s) < LENGTH_S, f"{call_s:.1f} s", f"{long_s:.1f} s")
        for who, channel in (("caller left", left), ("customer right", right)):
            matches = [align(scene.speech[text], channel) for text in (QUESTION, STILL_THERE)]
            proof.figure(f"{who}: both utterances, {' and '.join(f'{match.correlation:.4f}' for match in matches)}")
            worst = min(matches, key=lambda match: match.correlation)
            proof.expect(worst.correlation >= SAME_ON_MP3, f"{who}, correlation {SAME_ON_MP3}", likeness(worst))
