"""Short messages between lines and database: what comes is safe before it is deleted, what goes is sent in turn.

A line's texts are attended to while it is up; what waits for it, or for its other parts, waits here.
"""

import os
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from hashlib import sha256

import structlog
import trio
from ulid import ULID

from appliance.call import Direction
from appliance.database import StoreError
from appliance.mailbox import DuePart, Mailbox, NewPart
from appliance.message import (
    LONGEST_VALIDITY_S,
    PATIENCE_S,
    SHORTEST_VALIDITY_S,
    Message,
    MessagePart,
    PartState,
    retry_after_s,
)
from appliance.numbers import (
    ORDINARY_RULES,
    DialingRules,
    caller_id,
    country_of,
    forbidden,
    is_premium_code,
    normalise,
)
from appliance.webhook import CLOCK_IS_SET_AFTER
from drivers import sms
from drivers.errors import CommandError, LineLost
from drivers.line import Line, Received, Texting, Texts
from drivers.reassembly import Piece, Reassembly, missing
from drivers.sms import Deliver, Fate, Report, Submit
from drivers.userdata import Alphabet, Part, UserData, join, split

log = structlog.get_logger(__name__)

# Between two messages of one SIM: operators take faster ones for spam.
PACE_S = 1.0
# A disk that was full has room again when somebody has made some.
WRITE_AGAIN_S = 60
# What waits for time to pass is looked at so often.
LOOK_S = 10
# A report may be faster than the result of the command that it reports on.
REPORT_TRIES = (0, 2, 10)
# 23.038: more is a page, and no phone shows it.
LONGEST_TEXT = 10_000
UNREADABLE = Deliver("unknown", UserData(Alphabet.DATA, b""), None)


class Postbox:
    """All messages of the lines in `names`, by number. `now` is wall time: nothing waits by it but an expiry."""

    def __init__(
        self,
        mailbox: Mailbox,
        *,
        names: Mapping[str, str],
        country: str,
        now: Callable[[], datetime],
        rules: DialingRules = ORDINARY_RULES,
    ) -> None:
        self.mailbox = mailbox
        self._rules = rules
        self._names = names
        self._country = country
        self._now = now
        # By a line's number; none where it has to be read from the database.
        self._loose: dict[str, Reassembly] = {}
        # By a line's number: messages that rest after a failure, and until when; also while the line is lost.
        self._resting: dict[str, dict[str, float]] = {}
        # What comes is put together by one task at a time.
        self._turn = trio.Lock()
        self._references = int.from_bytes(os.urandom(1), "big")

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Minds what waits, also while its line is away."""
        for number in self._names:
            await self._reassembly(number)
        task_status.started()
        while True:
            try:
                for number in self._names:
                    await self._give_up_waiting(number)
                if expired := await self.mailbox.expire(self._now()):
                    log.warning("messages expired", parts=expired)
            except StoreError as exc:
                self._loose.clear()
                log.error("messages not written down", error=str(exc))
            await trio.sleep(LOOK_S)

    async def attend(self, number: str, line: Line) -> None:
        """As long as the line is up. Raises: LineLost."""
        if isinstance(line, Texting):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._take_all, number, line.texts, nursery)
                nursery.start_soon(self._send_all, number, line.texts)

    # --- what comes -------------------------------------------------------------------------------------------------

    async def _take_all(self, number: str, texts: Texts, nursery: trio.Nursery) -> None:
        while True:
            received = await texts.receive()
            message, fingerprint = self._read(number, received.pdu)
            write = partial(self._take, number, message, fingerprint, received.pdu)
            if isinstance(message, Report):
                # It may have to wait for its message, and what comes after it must not.
                nursery.start_soon(self._take_safely, texts, received, write)
            else:
                await self._take_safely(texts, received, write)

    async def _take_safely(self, texts: Texts, received: Received, write: Callable[[], Awaitable[None]]) -> None:
        await self._insistently(write)
        await texts.forget(received)

    async def _insistently(self, write: Callable[[], Awaitable[None]]) -> None:
        """Until it is written: as long as it is not, the SIM keeps it."""
        while True:
            try:
                return await write()
            except StoreError as exc:
                log.error("message not written down", error=str(exc))
            await trio.sleep(WRITE_AGAIN_S)

    def _read(self, number: str, pdu: str) -> tuple[sms.Message, str]:
        """With its fingerprint."""
        try:
            return sms.decode(pdu), sms.fingerprint(pdu)
        except sms.Unreadable as exc:
            # Nobody will ever read it, and on the SIM it would be in the way; but it came.
            log.warning("message is unreadable", line=self._names[number], error=str(exc))
            return UNREADABLE, sha256(pdu.encode()).hexdigest()

    async def _take(self, number: str, message: sms.Message, fingerprint: str, pdu: str) -> None:
        if isinstance(message, Report):
            await self._take_report(number, message)
        elif isinstance(message, Deliver):
            async with self._turn:
                if not await self.mailbox.knows(number, fingerprint):
                    try:
                        await self._take_part(number, message, fingerprint, pdu)
                    except BaseException:
                        # Also when its line was lost meanwhile: what is in memory may be ahead of what is on the disk.
                        self._loose.pop(number, None)
                        raise

    async def _take_part(self, number: str, message: Deliver, fingerprint: str, pdu: str) -> None:
        part = message.data.part or Part(0, 1, 1)
        new = NewPart(fingerprint, pdu, part.number, part.total)
        if part.total == 1:
            await self._received(number, message, [message.data], [1], last=new)
            return
        reassembly = await self._reassembly(number)
        complete = reassembly.add(_piece(fingerprint, message), trio.current_time())
        log.info("message part", line=self._names[number], part=part.number, of=part.total)
        if complete:
            await self._put_together(number, complete, last=(new, message))
        else:
            await self.mailbox.keep_part(number, new, self._now())

    async def _put_together(
        self, number: str, pieces: Sequence[Piece], *, last: tuple[NewPart, Deliver] | None = None
    ) -> None:
        pdus = {part.fingerprint: part.pdu for part in await self.mailbox.loose_parts(number)}
        kept = [piece for piece in pieces if piece.id in pdus]
        messages = {piece.id: sms.decode(pdus[piece.id]) for piece in kept}
        if last is not None:
            messages[last[0].fingerprint] = last[1]
        delivers = [message for piece in pieces if isinstance(message := messages.get(piece.id), Deliver)]
        await self._received(
            number,
            delivers[0],
            [message.data for message in delivers],
            [piece.part.number for piece in pieces],
            absent=missing(pieces),
            fingerprints=[piece.id for piece in kept],
            last=last[0] if last else None,
        )

    async def _received(
        self,
        number: str,
        first: Deliver,
        texts: Sequence[UserData],
        numbers: Sequence[int],
        *,
        absent: Sequence[int] = (),
        fingerprints: Sequence[str] = (),
        last: NewPart | None = None,
    ) -> None:
        now = self._now()
        states = dict.fromkeys(numbers, PartState.RECEIVED) | dict.fromkeys(absent, PartState.MISSING)
        message = Message(
            id=_new_id(now),
            seq=0,
            line=self._names[number],
            direction=Direction.INBOUND,
            from_=caller_id(first.sender, self._country),
            to=number,
            text=join(texts),
            created_at=now,
            sent_at=first.sent_at,
            expires_at=None,
            report=False,
            parts=[MessagePart(place, states[place], at=now) for place in sorted(states)],
        )
        await self.mailbox.received(message, fingerprints, last=last)
        log.info("message received", line=message.line, message=message.id, parts=len(states), missing=len(absent))

    async def _give_up_waiting(self, number: str) -> None:
        async with self._turn:
            reassembly = await self._reassembly(number)
            for pieces in reassembly.expired(trio.current_time(), PATIENCE_S):
                await self._put_together(number, pieces)

    async def _reassembly(self, number: str) -> Reassembly:
        if number not in self._loose:
            reassembly = Reassembly()
            for part in await self.mailbox.loose_parts(number):
                message = sms.decode(part.pdu)
                assert isinstance(message, Deliver)
                reassembly.add(_piece(part.fingerprint, message), trio.current_time())
            self._loose[number] = reassembly
        return self._loose[number]

    async def _take_report(self, number: str, report: Report) -> None:
        if report.fate is Fate.PENDING:
            return
        state = PartState.DELIVERED if report.fate is Fate.DELIVERED else PartState.UNDELIVERED
        error = None if state is PartState.DELIVERED else f"status {report.status:#04x} (3GPP TS 23.040 9.2.3.15)"
        for wait_s in REPORT_TRIES:
            await trio.sleep(wait_s)
            reported = self.mailbox.reported(number, report.reference, report.recipient, state, error, self._now())
            if await reported:
                log.info("message reported", line=self._names[number], state=state.value)
                return
        log.info("a report on no message of ours", line=self._names[number])

    # --- what goes --------------------------------------------------------------------------------------------------

    async def post(
        self, number: str, to: str, text: str, *, report: bool, validity_s: float, flash: bool = False
    ) -> Message:
        """Queued, and safe; `to` is whatever people write. Raises: ValueError: nothing that can be sent; StoreError."""
        now = self._now()
        to = self._recipient(to, country_of(number) or self._country)
        if not SHORTEST_VALIDITY_S <= validity_s <= LONGEST_VALIDITY_S:
            raise ValueError(f"a message is valid for {SHORTEST_VALIDITY_S} s to {LONGEST_VALIDITY_S} s")
        if len(text) > LONGEST_TEXT:
            raise ValueError(f"a text has {LONGEST_TEXT} characters at most")
        self._references += 1
        pdus = [
            sms.encode(Submit(to, data, report=report, validity_s=validity_s, message_class=0 if flash else None))
            for data in split(text, reference=self._references)
        ]
        # A clock that was not set yet says nothing of when a day is over.
        is_set = now.timestamp() > CLOCK_IS_SET_AFTER
        message = Message(
            id=_new_id(now),
            seq=0,
            line=self._names[number],
            direction=Direction.OUTBOUND,
            from_=number,
            to=to,
            text=text,
            created_at=now,
            sent_at=None,
            expires_at=now + timedelta(seconds=validity_s) if is_set else None,
            report=report,
            parts=(),
        )
        queued = await self.mailbox.queue(message, pdus)
        log.info("message queued", line=message.line, message=message.id, parts=len(pdus))
        return queued

    def _recipient(self, text: str, country: str) -> str:
        """E.164, or a short code. Raises: ValueError: neither, or one that this box must not write to."""
        to = normalise(text, country) or ("" if re.fullmatch(r"\d{3,8}", text) is None else text)
        if not to:
            raise ValueError(f'"{text}" is no number to write to')
        if (why := forbidden(to, self._rules, country)) is not None:
            raise ValueError(why)
        if not to.startswith("+") and not self._rules.premium and is_premium_code(to, country):
            raise ValueError(f"{to} is a premium-rate number")
        return to

    async def _send_all(self, number: str, texts: Texts) -> None:
        resting = self._resting.setdefault(number, {})
        while True:
            news = self.mailbox.news
            for message in [each for each, until in resting.items() if until <= trio.current_time()]:
                del resting[message]
            try:
                due = await self.mailbox.next_due(number, besides=resting)
                if due is not None:
                    if (rest_s := await self._send(self._names[number], due, texts)) is not None:
                        resting[due.message] = trio.current_time() + rest_s
                    await trio.sleep(PACE_S)
                    continue
            except StoreError as exc:
                log.error("messages not sent: what becomes of them can't be written down", error=str(exc))
                await trio.sleep(WRITE_AGAIN_S)
                continue
            with trio.move_on_at(min(resting.values(), default=float("inf"))):
                await news.wait()

    async def _send(self, name: str, part: DuePart, texts: Texts) -> float | None:
        """How long its message is to rest; None: not at all. Raises: StoreError, LineLost."""
        if part.expires_at is not None and part.expires_at <= self._now():
            await self._move(name, part, PartState.EXPIRED, error="it could not be sent in time")
            return None
        await self.mailbox.move(part, PartState.SENDING, self._now(), attempts=part.attempts)
        try:
            reference = await self._sent(part, texts)
        except CommandError as exc:
            final = sms.is_final(exc.result)
            # Also when the line is lost by now: a try that nobody counted would be the first one again.
            with trio.CancelScope(shield=True):
                await self._move(name, part, PartState.FAILED if final else PartState.QUEUED, error=exc.result)
            return None if final else retry_after_s(part.attempts + 1)
        except LineLost:
            await self.mailbox.move(part, PartState.QUEUED, self._now(), attempts=part.attempts)
            raise
        if reference is None:
            await self._move(name, part, PartState.EXPIRED, error="there was no network in time")
            return None

        async def note() -> None:
            with trio.CancelScope(shield=True):
                await self._move(name, part, PartState.SENT, reference=reference)

        # It is out: that must be known, whatever happens here, or it is sent again.
        await self._insistently(note)
        return None

    async def _sent(self, part: DuePart, texts: Texts) -> int | None:
        """The message's reference; None: it expired while it waited. Raises: CommandError, LineLost."""
        with trio.CancelScope() as in_time:
            if part.expires_at is not None:
                in_time.deadline = trio.current_time() + (part.expires_at - self._now()).total_seconds()
            return await texts.send(part.pdu)
        return None

    async def _move(
        self, name: str, part: DuePart, state: PartState, *, reference: int | None = None, error: str | None = None
    ) -> None:
        attempts = part.attempts + (state is not PartState.EXPIRED)
        await self.mailbox.move(part, state, self._now(), attempts=attempts, reference=reference, error=error)
        facts = {"error": error} if error else {}
        log.info("message part", line=name, message=part.message, part=part.number, state=state.value, **facts)


def _piece(fingerprint: str, message: Deliver) -> Piece:
    assert message.data.part is not None
    return Piece(fingerprint, message.sender, message.data.part, message.sent_at)


def _new_id(now: datetime) -> str:
    return "sms_" + str(ULID.from_datetime(now)).lower()
