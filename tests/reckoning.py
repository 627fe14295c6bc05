"""Where what the network and its phones had does not agree with what the box wrote down of it."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from appliance.message import Message, PartState
from hil.network import State
from hil.subscriber import Subscriber

# A caller who waits so long for a line that nothing is wrong with is heard of.
RINGS_S = 15
# Between what the network does and what is written down of it, on such a line.
PROMPT_S = 15
# Times of day are kept in milliseconds.
ROUNDED_S = 0.01


@dataclass
class Carried:
    """One call of the network's that came to a line of ours, or from it. `clean`: nothing was wrong with that line."""

    line: str
    incoming: bool
    number: str | None
    clean: bool
    at: dict[State, float] = field(default_factory=dict)
    rows: list["Row"] = field(default_factory=list)

    @property
    def ended_at(self) -> float:
        return self.at.get(State.ENDED, float("inf"))

    def __str__(self) -> str:
        at = ", ".join(f"{state.value} {at:.1f}" for state, at in self.at.items())
        way = "to" if self.incoming else "from"
        return f"call {way} {self.line}: {at}; told: {'; '.join(map(str, self.rows)) or 'nothing'}"


@dataclass(frozen=True)
class Row:
    """One call in the database."""

    uuid: str
    line: str
    incoming: bool
    started_at: float
    answered_at: float | None
    ended_at: float | None
    reason: str

    def __str__(self) -> str:
        way = "to" if self.incoming else "from"
        answered, ended = (f"{at:.1f}" if at is not None else "never" for at in (self.answered_at, self.ended_at))
        return f"{way} {self.line} {self.started_at:.1f}, answered {answered}, ended {ended}: {self.reason}"


def _is_of(row: Row, carried: Carried) -> bool:
    """They may be the same call: the caller is the first to know of it."""
    begun = carried.at[State.DIALING]
    if row.incoming:
        return begun - ROUNDED_S <= row.started_at <= carried.ended_at + PROMPT_S
    # Where it rings at the far end, the box's call begins then.
    assert row.ended_at is not None
    return begun <= row.ended_at + ROUNDED_S and row.started_at <= carried.ended_at + ROUNDED_S


def wrong_calls(rows: Sequence[Row], all_carried: Sequence[Carried], wired: Collection[str]) -> Iterator[str]:
    """On a wire nothing tells of a caller who gives up between two rings: it is answered, until there is dial tone."""
    by_line: Mapping[str, list[Carried]] = defaultdict(list)
    for carried in all_carried:
        by_line[carried.line].append(carried)
    for row in rows:
        if row.ended_at is None:
            yield f"{row}: open for ever"
            continue
        found = [each for each in by_line[row.line] if each.incoming is row.incoming and _is_of(row, each)]
        if not found and (row.incoming or row.answered_at):
            yield f"{row}: a call that nobody made"
        unseen = row.incoming and row.line in wired and row.ended_at - (row.answered_at or 0) < PROMPT_S
        if row.answered_at and not unseen and not any(State.ACTIVE in each.at for each in found):
            yield f"{row}: answered, says the box alone"
        if found and row.reason != "no_line":
            best = max(found, key=lambda each: -abs(each.at[State.DIALING] - row.started_at))
            best.rows.append(row)
    for carried in all_carried:
        yield from _wrong_call(carried)


def _wrong_call(carried: Carried) -> Iterator[str]:
    begun, ended = carried.at[State.DIALING], carried.ended_at
    if ended == float("inf"):
        yield f"{carried}: never ended"
        return
    known = [row for row in carried.rows if row.reason != "line_lost"]
    if len(known) > 1:
        yield f"{carried}: one call, and told as {len(known)}"
    if not carried.clean:
        return
    if not carried.rows:
        if ended - begun > RINGS_S:
            yield f"{carried}: missed"
        return
    row = carried.rows[-1]
    if State.ACTIVE in carried.at and ended - carried.at[State.ACTIVE] > PROMPT_S and not row.answered_at:
        yield f"{carried}: its answer was missed"
    if row.ended_at is None or not -PROMPT_S <= row.ended_at - ended <= PROMPT_S:
        yield f"{carried}: its end was told at another time"


def wrong_texts(messages: Sequence[Message], texted: Mapping[str, tuple[str, str]]) -> Iterator[str]:
    """`texted`: who sent what to which line."""
    came = Counter(
        (message.text, message.from_, message.line) for message in messages if message.direction.value == "inbound"
    )
    sent = Counter((body, sender, name) for body, (sender, name) in texted.items())
    for (text, *who), count in ((came - sent) + Counter()).items():
        yield f"{count} times too often came {text[:40]!r} {who}"
    for (text, *who), _ in ((sent - came) + Counter()).items():
        yield f"lost: {text[:40]!r} {who}"


def wrong_posts(messages: Sequence[Message], posted: Mapping[str, tuple[str, Subscriber]]) -> Iterator[str]:
    """`posted`: what went to which phone, and its id."""
    states = {message.id: message.state for message in messages}
    for body, (id_, phone) in posted.items():
        if not times(phone, body):
            yield f"never sent: {id_} {body[:40]!r}, {states[id_]}"
        if states[id_] is not PartState.DELIVERED:
            yield f"{id_} is {states[id_]}"


def times(phone: Subscriber, body: str) -> int:
    """How often it came."""
    return sum(text.body == body for text in phone.texts)
