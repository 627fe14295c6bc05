"""The demo's relay call: somebody phones the branch office, its owner's own phone rings, and the two of them talk.

All that the customer does here he does as a user of PhoneVoice: with a project's token, and a webhook of its own.
"""

import io
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import trio

from hil.box import Project, two_channels
from hil.conversation import first_sample_at, within
from hil.customer import Missing, Post, is_signed
from hil.listening import Sound, align, ms, sound
from hil.report import Proof
from hil.scene import (
    ANSWERING,
    BRANCH,
    CALLER,
    GREETING,
    LEVEL_DB,
    LINES,
    OWNER,
    QUESTION,
    SAME,
    SAME_ON_MP3,
    Scene,
    in_ms,
    likeness,
)
from hil.subscriber import PhoneCall
from native import RATE_HZ

# Where the project's own webhook is received.
PROJECT_EVENTS = "/project-events"
# ITU-T E.180: France's ringback.
RINGBACK_HZ = 440
# What a phone hears last is on its way that long.
ON_ITS_WAY_S = 0.4
# The encoder yields to all else, on a machine that may have much else to do.
RECORDED_WITHIN_S = 30
# From one channel to the other, both of one clock; each line has its own buffers before it.
ALIGNED_MS = 100

TITLES = (
    CLAIMED := "relay number and webhook, over PhoneVoice's REST",
    JOINED := "relay call, caller and owner talk",
    RELAYED := "relay call told and signed, its recording fetched",
)
WANTED = [("phone_call.started", 1), ("phone_call.completed", 1), ("phone_call.completed", 2)]


@dataclass(frozen=True)
class Talk:
    """When each text began to be said, and when the owner hung up, by time.monotonic()."""

    said_at: dict[str, float]
    ended_at: float


async def prove_relay(scene: Scene) -> None:
    """Raises: Missing: there is no relay, or no call on it."""
    secret = await _claimed(scene)
    talk = await _joined(scene)
    await _relayed(scene, talk, secret)


async def _claimed(scene: Scene) -> str:
    """The secret of the project's webhook."""
    with scene.report.proof(CLAIMED) as proof:
        project = scene.project = Project(scene.box, await scene.box.create_project("branch"))
        free = (await project.ask("GET", "/api/v1/relay_numbers/available"))["available_numbers"]
        offered = [each["phone_number"] for each in free]
        proof.expect(offered == [BRANCH], f"{BRANCH} on offer, as all others are an app's", offered)
        began = time.monotonic()
        relay = await project.ask("POST", "/api/v1/relay_numbers", {"phone_number": BRANCH, "forward_to": OWNER})
        bought = time.monotonic()
        webhook = await project.ask(
            "POST", "/api/v1/webhooks", {"url": scene.webhooks.url + PROJECT_EVENTS, "events": ["phone_call.*"]}
        )
        proof.figure(f"number {in_ms(bought - began)}, webhook {in_ms(time.monotonic() - bought)}")
        proof.expect(relay["relay_enabled"] is True, "the relay on", relay)
        return str(webhook["secret"])


async def _joined(scene: Scene) -> Talk:
    with scene.report.proof(JOINED) as proof:
        owner = scene.bench.phone(OWNER)
        owner.says = scene.speech[ANSWERING].tobytes()
        began = time.monotonic()
        caller = scene.bench.phone(CALLER).dial(BRANCH)
        theirs = await within(20, "the owner's phone to ring", owner.called())
        rang = time.monotonic()
        await within(10, "the box to answer the caller", caller.answered())
        await within(10, "the owner to answer", theirs.answered())
        answered, waited = time.monotonic(), sound(caller.heard())
        started = await scene.webhooks.post(PROJECT_EVENTS, lambda event: bool(event["type"] == WANTED[0][0]))
        proof.figure(f"the owner's phone rang {in_ms(rang - began)} after dialling, and showed {theirs.number}")
        proof.expect(theirs.number in LINES.values(), "a number of the box", theirs.number)
        hz = _loudest_hz(waited)
        proof.figure(f"the caller heard it ring, {hz:.0f} Hz")
        proof.expect(abs(hz - RINGBACK_HZ) < 5, f"ringback of {RINGBACK_HZ} Hz", f"{hz:.0f} Hz")
        proof.figure(f"phone_call.started {in_ms(started.at - answered)} after the owner answered")
        await theirs.said()
        said_at = {
            QUESTION: await _speak(scene, proof, QUESTION, caller, theirs, "caller to owner"),
            GREETING: await _speak(scene, proof, GREETING, theirs, caller, "owner to caller"),
        }
        theirs.hang_up()
        ended = time.monotonic()
        cause = await within(5, "the caller to be hung up on", caller.ended())
        proof.figure(f"the owner hung up, the caller's call was over {in_ms(time.monotonic() - ended)} later")
        proof.expect(cause == 16, "cause 16 at the caller", cause)
        return Talk(said_at, ended)


async def _speak(scene: Scene, proof: Proof, text: str, mouth: PhoneCall, ear: PhoneCall, way: str) -> float:
    """When the words began to be said."""
    words = scene.speech[text]
    mouth.say(words.tobytes())
    await within(ms(len(words)) / 1000 + 5, "the words to be spoken", mouth.said())
    await trio.sleep(ON_ITS_WAY_S)
    spoken, match = align(words, sound(mouth.spoken())), align(words, sound(ear.heard()))
    mouth_at = await first_sample_at(mouth) + spoken.delay_samples / RATE_HZ
    delay_ms = 1000 * (await first_sample_at(ear) + match.delay_samples / RATE_HZ - mouth_at)
    proof.figure(f"{way} {likeness(match)}, {delay_ms:.0f} ms mouth to ear")
    proof.expect(match.correlation >= SAME, f"the speech from {way}, correlation {SAME}", likeness(match))
    level = f"{match.gain_db:+.1f} dB"
    proof.expect(abs(match.gain_db) <= LEVEL_DB, f"its level from {way} unchanged within {LEVEL_DB} dB", level)
    return mouth_at


async def _relayed(scene: Scene, talk: Talk, secret: str) -> None:
    with scene.report.proof(RELAYED) as proof:
        told = [await _event(scene, type_, revision) for type_, revision in WANTED]
        _, completed, again = told
        signed = [await is_signed(post, secret) for post in told]
        proof.figure(
            f"{len(told)} events at the project's webhook, {signed.count(True)} signatures verified by openssl"
        )
        proof.expect(all(signed), "every signature good", f"{signed.count(False)} that are not")
        parties = {"from": CALLER, "to": OWNER, "relay_number": BRANCH}
        wrong = [post.json["data"] for post in told if not parties.items() <= post.json["data"].items()]
        proof.expect(not wrong, f"{parties} in each", wrong)
        order = [(post.json["type"], post.json["data"]["revision"]) for post in scene.webhooks.posts(PROJECT_EVENTS)]
        proof.expect(order == WANTED, f"{WANTED} and no more", order)
        proof.figure(f"phone_call.completed {in_ms(completed.at - talk.ended_at)} after the owner hung up")
        proof.figure(f"told again with recording_url {in_ms(again.at - talk.ended_at)} after it")
        url = again.json["data"]["recording_url"]
        if not url:
            raise Missing(f"expected a recording_url; came: {again}")
        kind, content = await scene.box.fetch(url)
        proof.expect(kind == "audio/mpeg", "an MP3", kind)
        left, right = two_channels(io.BytesIO(content))
        proof.figure(f"fetched without a key: MP3 of {len(left) / RATE_HZ:.1f} s")
        _aligned(scene, proof, talk, left, right)


def _aligned(scene: Scene, proof: Proof, talk: Talk, left: Sound, right: Sound) -> None:
    """Each on his own channel, and as far apart as they spoke."""
    question, greeting = align(scene.speech[QUESTION], left), align(scene.speech[GREETING], right)
    for who, match in (("caller left", question), ("owner right", greeting)):
        proof.figure(f"{who} {match.correlation:.4f}")
        proof.expect(match.correlation >= SAME_ON_MP3, f"{who}, correlation {SAME_ON_MP3}", likeness(match))
    apart_ms = 1000 * (talk.said_at[GREETING] - talk.said_at[QUESTION])
    off_ms = ms(greeting.delay_samples - question.delay_samples) - apart_ms
    proof.figure(f"the channels {off_ms:+.0f} ms apart")
    proof.expect(abs(off_ms) < ALIGNED_MS, f"channels of one time within {ALIGNED_MS} ms", f"{off_ms:+.0f} ms")


async def _event(scene: Scene, type_: str, revision: int) -> Post:
    def is_it(event: Any) -> bool:
        return bool((event["type"], event["data"]["revision"]) == (type_, revision))

    return await scene.webhooks.post(PROJECT_EVENTS, is_it, within_s=RECORDED_WITHIN_S)


def _loudest_hz(heard: Sound) -> float:
    """0: nothing is to be heard."""
    spectrum = np.abs(np.fft.rfft(heard))
    return float(spectrum.argmax() * RATE_HZ / len(heard)) if len(heard) else 0.0
