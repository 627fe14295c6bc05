"""Recordings under /box/v1: what there is, its sound in whole or in part, and its end."""

from collections.abc import Callable, Sequence
from datetime import datetime
from http import HTTPStatus
from typing import Annotated

import structlog
from fastapi import APIRouter, HTTPException, Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from appliance.archive import Recording, RecordingState, UploadState
from appliance.box_api import COMMON, PAGE, PREFIX, JsonRoute, errors
from appliance.call import Direction
from appliance.filepart import file_answer
from appliance.links import Links
from appliance.recordings import Why
from appliance.shelf import Shelf
from appliance.store import Store, key_id
from native import RATE_HZ

log = structlog.get_logger(__name__)

MEDIA_TYPE = "audio/mpeg"
WAV_TYPE = "audio/wav"


class RecordingFacts(BaseModel):
    model_config = ConfigDict(populate_by_name=True)

    id: str
    call: Annotated[str, Field(description="The call's id.")]
    line: str
    direction: Direction
    from_: Annotated[str, Field(alias="from")]
    to: str
    started_at: Annotated[datetime | None, Field(description="When the call was answered.")]
    state: Annotated[
        RecordingState,
        Field(description="What is encoding is heard as a WAV; only what is ready can be deleted."),
    ]
    duration_s: float | None
    size_bytes: int | None
    sha256: Annotated[str | None, Field(description="Of the file; its ETag, too.")]
    media_type: str
    url: Annotated[str | None, Field(description="Opens the MP3 for whoever has it, without a key, for seven days.")]
    deleted_at: datetime | None
    deleted_why: Annotated[Why | None, Field(description="`ordered`: over this API. `expired`, `room`: by the box.")]
    deleted_by: Annotated[str | None, Field(description="The id of the key that ordered it.")]
    upload: Annotated[
        UploadState | None,
        Field(description="To the cloud; null: there was none when it was made."),
    ]


class RecordingPage(BaseModel):
    recordings: Sequence[RecordingFacts]
    next: Annotated[int | None, Field(description="`before` of the next page; null: this is the last.")]


def recording_routes(store: Store, shelf: Shelf, links: Links, now: Callable[[], datetime]) -> APIRouter:
    routes = APIRouter(prefix=PREFIX, responses=COMMON, route_class=JsonRoute, tags=["recordings"])
    RecordingId = Annotated[str, Path(alias="id")]
    missing = errors(HTTPStatus.NOT_FOUND)
    unready = errors(HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT, HTTPStatus.GONE)

    @routes.get("/recordings")
    async def list_recordings(
        line: Annotated[str | None, Query(description="By the line's name.")] = None,
        before: Annotated[int | None, Query(ge=1, lt=2**63, description="The `next` of the page before.")] = None,
        limit: Annotated[int, Query(ge=1, le=500)] = PAGE,
    ) -> RecordingPage:
        """Newest first."""
        found = await store.archive.recordings(line=line, before=before, limit=limit + 1)
        page = found[:limit]
        return RecordingPage(
            recordings=[facts(each) for each in page], next=page[-1].seq if len(found) > limit else None
        )

    async def recording_of(id_: str, *states: RecordingState) -> Recording:
        """In one of these states, or in any."""
        recording = await store.archive.recording(id_)
        if recording is None:
            raise HTTPException(HTTPStatus.NOT_FOUND, "no such recording")
        if states and recording.state is RecordingState.DELETED:
            raise HTTPException(HTTPStatus.GONE, "the recording was deleted")
        if states and recording.state not in states:
            raise HTTPException(HTTPStatus.CONFLICT, "the recording is still being made")
        return recording

    def facts(recording: Recording) -> RecordingFacts:
        call = recording.call
        ready = recording.state is RecordingState.READY
        return RecordingFacts(
            id=recording.id,
            call=call.uuid,
            line=call.line,
            direction=call.direction,
            from_=call.from_,
            to=call.to,
            started_at=call.answered_at,
            state=recording.state,
            duration_s=round(recording.frames / RATE_HZ, 2) if recording.frames is not None else None,
            size_bytes=recording.size_bytes,
            sha256=recording.sha256,
            media_type=WAV_TYPE if recording.sha256 is None else MEDIA_TYPE,
            url=links.recording(call, recording.id, now()) if ready else None,
            deleted_at=recording.deleted_at,
            deleted_why=Why(recording.deleted_why) if recording.deleted_why else None,
            deleted_by=recording.deleted_by,
            upload=recording.upload,
        )

    @routes.get("/recordings/{id}", responses=missing)
    async def get_recording(id_: RecordingId) -> RecordingFacts:
        """Of what was deleted, when, why and by whom."""
        return facts(await recording_of(id_))

    @routes.head("/recordings/{id}/audio", include_in_schema=False)
    @routes.get(
        "/recordings/{id}/audio",
        response_class=Response,
        responses={
            200: {"content": {MEDIA_TYPE: {}, WAV_TYPE: {}}, "description": "The whole file."},
            206: {"content": {MEDIA_TYPE: {}, WAV_TYPE: {}}, "description": "The part that Range asks for."},
            304: {"description": "It is what If-None-Match names."},
            **errors(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE),
            **unready,
        },
    )
    async def get_audio(id_: RecordingId, request: Request) -> Response:
        """An MP3 of 8000 Hz: the caller on the left, on the right whom he spoke with. A WAV until that is made."""
        recording = await recording_of(id_, RecordingState.ENCODING, RecordingState.READY)
        try:
            if recording.sha256 is None:
                return await file_answer(recording.wav, WAV_TYPE, request.headers)
            return await file_answer(recording.mp3, MEDIA_TYPE, request.headers, etag=f'"{recording.sha256}"')
        except OSError as exc:
            log.error("recording is not there", recording=id_, error=str(exc))
            raise HTTPException(HTTPStatus.NOT_FOUND, "the recording's file is not there") from None

    @routes.delete("/recordings/{id}", status_code=HTTPStatus.NO_CONTENT, responses=unready)
    async def delete_recording(id_: RecordingId, request: Request) -> Response:
        """For good. The call stays, and what is known of the recording."""
        recording = await recording_of(id_, RecordingState.READY)
        await shelf.delete(recording, by=key_id(request.headers["x-api-key"]))
        return Response(status_code=HTTPStatus.NO_CONTENT)

    return routes
