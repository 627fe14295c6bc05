"""What goes on at the box, under /box/v1: its lines, its calls, and what happened."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Path, Query
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from appliance.archive import PastEvent, Record, RecordingState
from appliance.box_api import COMMON, PAGE, PREFIX, JsonRoute, errors
from appliance.call import Direction, Kind, Outcome, Reason, State
from appliance.control import Control
from appliance.events import TYPES
from appliance.health import line_report
from appliance.links import BadLink, Links
from appliance.store import Store
from drivers.line import LineState

EVENTS_PAGE = 100

# Counts stay whole.
Figures = Mapping[str, int | float]


class Line(BaseModel):
    """As `branchline lines` shows it; what is null is not known, or is nothing that such a line has."""

    name: str
    number: str
    model: Annotated[str, Field(description="The configuration's word for what it is.")]
    place: Annotated[str, Field(description="Where it is plugged in.")]
    at: Annotated[str, Field(description="Its command port.")]
    sound: Annotated[str, Field(description="Where its audio is.")]
    state: LineState
    problem: Annotated[str | None, Field(description="Why it is down.")]
    operator: str | None
    registration: Annotated[str | None, Field(description="Why it has no network, or how it has one.")]
    technology: str | None
    cell: str | None
    ims: Annotated[bool | None, Field(description="Whether calls go by IMS (VoLTE).")]
    signal_dbm: int | None
    messages: Annotated[Mapping[str, Mapping[str, int]] | None, Field(description="Memories for short messages.")]
    imei: str | None
    iccid: Annotated[str | None, Field(description="The SIM's.")]
    firmware: str | None
    losses: Annotated[int, Field(description="How often it was lost since the start of the service.")]
    recoveries: Annotated[Figures, Field(description="What was mended since then, each by its count.")]
    outages: Annotated[Figures, Field(description="Times without the line since then that are over.")]
    sound_alarms: Annotated[Mapping[str, int], Field(description="Calls without sound since then, each way by itself.")]
    audio: Annotated[Figures | None, Field(description="How the sound of its call fares.")] = None


class Lines(BaseModel):
    lines: Sequence[Line]


class RecordingOfCall(BaseModel):
    id: str
    state: RecordingState


class Call(BaseModel):
    model_config = ConfigDict(populate_by_name=True)

    id: Annotated[str, Field(description="The `call_uuid` of webhooks.")]
    event_id: Annotated[int, Field(description="`data.id` of its `phone_call.*` events, and PhoneVoice's id of it.")]
    request_uuid: Annotated[str | None, Field(description="As it was answered to who placed the call.")]
    kind: Annotated[Kind, Field(description="`app`: SFVoPI's.")]
    project: Annotated[int | None, Field(description="Whose it is; null: the box's own.")]
    relay_number: Annotated[str | None, Field(description="The number that was called, of a relay.")]
    line: str
    direction: Direction
    from_: Annotated[str, Field(alias="from")]
    to: str
    app_id: str | None
    state: State
    started_at: Annotated[datetime, Field(description="When it rang; before that, when it was begun.")]
    answered_at: datetime | None
    joined_at: Annotated[datetime | None, Field(description="When a relay's caller and its owner first talked.")]
    ended_at: datetime | None
    duration_s: Annotated[int, Field(description="From answer to end; of a relay or a bridge since both talked.")]
    outcome: Annotated[Outcome | None, Field(description="How it came out; null until the end.")]
    reason: Annotated[Reason | None, Field(description="Why it ended: `ended_reason` of events.")]
    cause: Annotated[int | None, Field(description="ITU-T Q.850.", examples=[16])]
    recordings: Sequence[RecordingOfCall]
    consent: Annotated[
        Mapping[str, Any] | None,
        Field(description="What both heard before it was recorded, its SHA-256 and when: docs/relay.md."),
    ]
    receipt: Annotated[
        Mapping[str, Any] | None,
        Field(description="What was measured of it; a moment after the end. docs/api.md has the names."),
    ]


class CallPage(BaseModel):
    calls: Sequence[Call]
    next: Annotated[int | None, Field(description="`before` of the next page; null: this is the last.")]


class Event(BaseModel):
    cursor: int
    type: str
    at: datetime
    data: Mapping[str, Any]


class EventPage(BaseModel):
    events: Sequence[Event]
    next: Annotated[int, Field(description="`after` of the next page, also when there is none yet.")]


def call_routes(control: Control, store: Store, links: Links, now: Callable[[], datetime]) -> APIRouter:
    routes = APIRouter(prefix=PREFIX, responses=COMMON, route_class=JsonRoute)

    # --- lines ------------------------------------------------------------------------------------------------------

    @routes.get("/lines", tags=["lines"])
    async def list_lines() -> Lines:
        """All that are configured, whether they are there or not."""
        return Lines(lines=[Line(**line_report(trunk)) for trunk in control.trunks])

    @routes.get("/lines/{name}", tags=["lines"], responses=errors(HTTPStatus.NOT_FOUND))
    async def get_line(name: str) -> Line:
        for trunk in control.trunks:
            if trunk.name == name:
                return Line(**line_report(trunk))
        raise HTTPException(HTTPStatus.NOT_FOUND, "no such line")

    # --- calls ------------------------------------------------------------------------------------------------------

    @routes.get("/calls", tags=["calls"])
    async def list_calls(
        line: Annotated[str | None, Query(description="By the line's name.")] = None,
        direction: Direction | None = None,
        state: State | None = None,
        since: Annotated[AwareDatetime | None, Query(description="Started at this time or later.")] = None,
        until: Annotated[AwareDatetime | None, Query(description="Started before this time.")] = None,
        before: Annotated[int | None, Query(ge=1, lt=2**63, description="The `next` of the page before.")] = None,
        limit: Annotated[int, Query(ge=1, le=500)] = PAGE,
    ) -> CallPage:
        """Of all contracts, newest first."""
        found = await store.archive.calls(
            line=line, direction=direction, state=state, since=since, until=until, before=before, limit=limit + 1
        )
        page = found[:limit]
        return CallPage(calls=[shown(each) for each in page], next=page[-1].call.id if len(found) > limit else None)

    async def record_of(id_: str) -> Record:
        record = await store.archive.call(id_)
        if record is None:
            raise HTTPException(HTTPStatus.NOT_FOUND, "no such call")
        return record

    CallId = Annotated[str, Path(alias="id", description="The call's, or the `request_uuid` it was placed by.")]

    @routes.get("/calls/{id}", tags=["calls"], responses=errors(HTTPStatus.NOT_FOUND))
    async def get_call(id_: CallId) -> Call:
        """All that is known of a call."""
        return shown(await record_of(id_))

    @routes.post(
        "/calls/{id}/hangup",
        tags=["calls"],
        status_code=HTTPStatus.ACCEPTED,
        responses=errors(HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT),
    )
    async def hang_up(id_: CallId) -> Call:
        """Ends a call, whatever it is at and whoever's it is. Its end is told by events, and seen at its address."""
        record = await record_of(id_)
        if not control.hang_up(record.call.uuid):
            raise HTTPException(HTTPStatus.CONFLICT, "the call is over")
        return shown(record)

    # --- events -----------------------------------------------------------------------------------------------------

    @routes.get("/events", tags=["events"])
    async def list_events(
        after: Annotated[int, Query(ge=0, lt=2**63, description="The `next` of the page before.")] = 0,
        type_: Annotated[str | None, Query(alias="type", description="Of this type alone.")] = None,
        limit: Annotated[int, Query(ge=1, le=1000)] = EVENTS_PAGE,
    ) -> EventPage:
        """What webhooks are told, oldest first; all of it, whether any webhook asks for it or not, for nine days."""
        if type_ is not None and type_ not in TYPES:
            raise HTTPException(HTTPStatus.UNPROCESSABLE_ENTITY, f"type: is one of {', '.join(sorted(TYPES))}")
        found = await store.archive.events(after=after, type_=type_, limit=limit)
        return EventPage(
            events=[told(each, links, now()) for each in found],
            next=found[-1].seq if found else after,
        )

    return routes


def told(event: PastEvent, links: Links, now: datetime) -> Event:
    """With an address of its recording as good as a new event's: that of back then may be over."""
    data = dict(event.data)
    if url := data.get("recording_url"):
        # Of a box whose key was another one there is nothing to renew.
        with suppress(BadLink):
            data["recording_url"] = links.renewed(url, now)
    return Event(cursor=event.seq, type=event.type, at=event.at, data=data)


def shown(record: Record) -> Call:
    call = record.call
    return Call(
        id=call.uuid,
        event_id=call.id,
        request_uuid=call.request_uuid,
        kind=call.kind,
        project=call.project,
        relay_number=call.relay_number,
        line=call.line,
        direction=call.direction,
        from_=call.from_,
        to=call.to,
        app_id=call.app_id,
        state=call.state,
        started_at=call.started_at,
        answered_at=call.answered_at,
        joined_at=call.joined_at,
        ended_at=call.ended_at,
        duration_s=call.duration_s,
        outcome=call.outcome,
        reason=call.end.reason if call.end else None,
        cause=call.end.cause if call.end else None,
        recordings=[RecordingOfCall(id=id_, state=state) for id_, state in record.recordings],
        consent=call.details.get("consent"),
        receipt=record.receipt,
    )
