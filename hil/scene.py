"""Who is in the demo: the bench's phones, the box, the customer; and what every call of theirs has to show."""

import time
from collections.abc import Callable
from typing import Any

import trio

from hil.bench import Bench
from hil.box import Box, Project
from hil.conversation import Conversation
from hil.customer import HANGUP, Post, VoiceServer, Webhooks
from hil.listening import Match, Sound, ms
from hil.network import Call, State
from hil.report import Proof, Report
from hil.subscriber import PhoneCall

RECEPTION, SALES, BRANCH = "+33700000002", "+33700000003", "+33700000004"
LINES = {"reception": RECEPTION, "sales": SALES, "branch": BRANCH}
# The owner is he whom the branch office's calls are forwarded to.
CALLER, CALLEE, ENGAGED, OWNER = "+33783484044", "+33612345678", "+33698765432", "+33611223344"

QUESTION = "Good morning. I am calling about the parcel that you promised for yesterday. Could you tell me where it is?"
STILL_THERE = "Hello, are you still there? I lost you for a moment."
GREETING = "Thank you for calling. One moment please."
ANSWERING = "Yes, hello, who is calling please?"
TEXTS = (QUESTION, STILL_THERE, GREETING, ANSWERING)

SAME = 0.95
# An MP3 keeps what ears need, which is less than the wave.
SAME_ON_MP3 = 0.9
# Speech crosses unchanged; more than this is somebody's gain.
LEVEL_DB = 1.0


class Scene:
    """`speech` has the samples of each of TEXTS. A nursery, for the voice server's second life."""

    def __init__(
        self,
        report: Report,
        *,
        bench: Bench,
        box: Box,
        webhooks: Webhooks,
        voice: VoiceServer,
        speech: dict[str, Sound],
        nursery: trio.Nursery,
    ) -> None:
        self.report = report
        self.bench = bench
        self.box = box
        self.webhooks = webhooks
        self.voice = voice
        self.speech = speech
        self.nursery = nursery
        # Whose the branch office is, once it is made.
        self.project: Project | None = None
        # When the network ended a call, by who dialed whom.
        self.ended_at: dict[tuple[str, str], float] = {}
        bench.network.observers.append(self._note_end)

    def _note_end(self, call: Call, state: State) -> None:
        if state is State.ENDED:
            self.ended_at[call.caller.number, call.dialed] = time.monotonic()

    async def connected(self, phone: PhoneCall, since: float) -> Conversation:
        """The stream of a call that was just answered. Raises: Missing."""
        start = await self.voice.message("start", after=since)
        opened = await self.voice.told.get(
            "a connection", lambda told: told.kind == "opened" and since < told.at <= start.at, within_s=1
        )
        talk = Conversation(phone, self.voice, opened, start)
        await talk.set_clock()
        return talk

    async def speak(self, proof: Proof, talk: Conversation, text: str) -> Match:
        """Words from the phone to the voice server, which plays them back."""
        found = await talk.exchange(self.speech[text])
        for where, match, delay in (
            ("at the voice server", found.there, f"{found.delay_ms:.0f} ms (worst {found.worst_delay_ms:.0f})"),
            ("back at the phone", found.back, f"{found.round_trip_ms:.0f} ms there and back"),
        ):
            proof.figure(f"{where} {likeness(match)}, {delay}")
            proof.expect(match.correlation >= SAME, f"the speech {where}, correlation {SAME}", likeness(match))
            level = f"{match.gain_db:+.1f} dB"
            proof.expect(abs(match.gain_db) <= LEVEL_DB, f"its level {where} unchanged within {LEVEL_DB} dB", level)
        return found.there

    async def hung_up(self, proof: Proof, mine: Callable[[Any], bool], *, status: str, cause: str) -> Post:
        """The hangup webhook of a call. Raises: Missing."""
        hangup = await self.webhooks.post(HANGUP, mine)
        came = hangup.json.get("call_status"), hangup.json.get("hangup_cause")
        proof.expect(came == (status, cause), f"hangup webhook {status} {cause}", came)
        return hangup


def likeness(match: Match) -> str:
    slipped = f", {match.slips} slips within {ms(match.moved_samples):.0f} ms" if match.slips else ""
    return f"{match.correlation:.4f} (worst second {match.worst_window:.4f}{slipped})"


def in_ms(seconds: float) -> str:
    return f"{1000 * seconds:.0f} ms"
