"""Recordings under /box/v1: what there is, its sound in whole or in part, and its end."""

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from http import HTTPStatus
from pathlib import Path as FilePath
from typing import Annotated, Literal

import structlog
import trio
from fastapi import APIRouter, HTTPException, Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field
from starlette.datastructures import Headers
from starlette.types import Receive, Scope, Send

from appliance.archive import Recording
from appliance.box_api import COMMON, PAGE, PREFIX, JsonRoute, errors
from appliance.call import Direction, State
from appliance.store import Store
from native import RATE_HZ

log = structlog.get_logger(__name__)

MEDIA_TYPE = "audio/mpeg"
BLOCK_BYTES = 64 * 1024
# RFC 9110 14.1.2, one range; of several a server may send the whole instead.
_RANGE = re.compile(r"bytes=(?:([0-9]{1,18})-([0-9]{1,18})?|-([0-9]{1,18}))", re.IGNORECASE)


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
        Literal["recording", "encoding", "ready"], Field(description="Only what is ready can be heard, or deleted.")
    ]
    duration_s: float | None
    size_bytes: int | None
    sha256: Annotated[str | None, Field(description="Of the file; its ETag, too.")]
    media_type: str = MEDIA_TYPE


class RecordingPage(BaseModel):
    recordings: Sequence[RecordingFacts]
    next: Annotated[int | None, Field(description="`before` of the next page; null: this is the last.")]


def recording_routes(store: Store) -> APIRouter:
    routes = APIRouter(prefix=PREFIX, responses=COMMON, route_class=JsonRoute, tags=["recordings"])
    RecordingId = Annotated[str, Path(alias="id")]
    missing = errors(HTTPStatus.NOT_FOUND)
    unready = errors(HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT)

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

    async def recording_of(id_: str, *, ready: bool = False) -> Recording:
        recording = await store.archive.recording(id_)
        if recording is None:
            raise HTTPException(HTTPStatus.NOT_FOUND, "no such recording")
        if ready and recording.sha256 is None:
            raise HTTPException(HTTPStatus.CONFLICT, "the recording is still being made")
        return recording

    @routes.get("/recordings/{id}", responses=missing)
    async def get_recording(id_: RecordingId) -> RecordingFacts:
        return facts(await recording_of(id_))

    @routes.head("/recordings/{id}/audio", include_in_schema=False)
    @routes.get(
        "/recordings/{id}/audio",
        response_class=Response,
        responses={
            200: {"content": {MEDIA_TYPE: {}}, "description": "The whole file."},
            206: {"content": {MEDIA_TYPE: {}}, "description": "The part that Range asks for."},
            304: {"description": "It is what If-None-Match names."},
            **errors(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE),
            **unready,
        },
    )
    async def get_audio(id_: RecordingId, request: Request) -> Response:
        """An MP3 of 8000 Hz: the caller on the left, on the right whom he spoke with."""
        recording = await recording_of(id_, ready=True)
        try:
            size = (await trio.Path(recording.mp3).stat()).st_size
        except OSError as exc:
            log.error("recording is not there", recording=id_, error=str(exc))
            raise HTTPException(HTTPStatus.NOT_FOUND, "the recording's file is not there") from None
        return audio(recording.mp3, size, f'"{recording.sha256}"', request.headers)

    @routes.delete("/recordings/{id}", status_code=HTTPStatus.NO_CONTENT, responses=unready)
    async def delete_recording(id_: RecordingId) -> Response:
        """For good. The call stays, without it."""
        recording = await recording_of(id_, ready=True)
        # The sound first: what a power cut leaves is a recording without a file, which can be deleted again.
        with suppress(FileNotFoundError):
            await trio.Path(recording.mp3).unlink()
        await store.recording_deleted(recording.wav)
        log.info("recording deleted", recording=id_, call=recording.call.uuid, size_bytes=recording.size_bytes)
        return Response(status_code=HTTPStatus.NO_CONTENT)

    return routes


class FilePart(Response):
    """Bytes of a file, which is read as they go out."""

    media_type = MEDIA_TYPE

    def __init__(self, path: FilePath, part: range, status: HTTPStatus, headers: Mapping[str, str]) -> None:
        super().__init__(status_code=status, headers={**headers, "Content-Length": str(len(part))})
        self._path = path
        self._part = part

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        left = len(self._part) if scope["method"] != "HEAD" else 0
        if left:
            async with await trio.open_file(self._path, "rb") as file:
                await file.seek(self._part.start)
                while left and (block := await file.read(min(left, BLOCK_BYTES))):
                    left -= len(block)
                    await send({"type": "http.response.body", "body": block, "more_body": True})
        await send({"type": "http.response.body"})


def audio(path: FilePath, size: int, etag: str, asked: Headers) -> Response:
    """What is asked for of a file that never changes (RFC 9110 13, 14)."""
    headers = {"ETag": etag, "Accept-Ranges": "bytes"}
    if "if-none-match" in asked:
        known = {tag.strip().removeprefix("W/") for tag in asked["if-none-match"].split(",")}
        if known & {etag, "*"}:
            return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    # Who has parts of another file gets the whole.
    wanted = asked.get("range") if asked.get("if-range", etag) == etag else None
    part = part_of(size, wanted) if wanted is not None else None
    if part is None:
        return FilePart(path, range(size), HTTPStatus.OK, headers)
    if not part:
        refusal = {"Content-Range": f"bytes */{size}"}
        raise HTTPException(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, f"the file has {size} bytes", refusal)
    headers["Content-Range"] = f"bytes {part.start}-{part.stop - 1}/{size}"
    return FilePart(path, part, HTTPStatus.PARTIAL_CONTENT, headers)


def part_of(size: int, wanted: str) -> range | None:
    """What a Range header asks for, empty if the file ends before; None: nothing that is known here, so the whole."""
    match = _RANGE.fullmatch(wanted.strip())
    if match is None:
        return None
    first, last, suffix = match.groups()
    if suffix is not None:
        return range(max(0, size - int(suffix)), size)
    if last and int(last) < int(first):
        return None
    return range(int(first), min(size, int(last) + 1) if last else size)


def facts(recording: Recording) -> RecordingFacts:
    call = recording.call
    ready = recording.sha256 is not None
    return RecordingFacts(
        id=recording.id,
        call=call.uuid,
        line=call.line,
        direction=call.direction,
        from_=call.from_,
        to=call.to,
        started_at=call.answered_at,
        state="ready" if ready else "encoding" if call.state is State.ENDED else "recording",
        duration_s=round(recording.frames / RATE_HZ, 2) if recording.frames is not None else None,
        size_bytes=recording.size_bytes,
        sha256=recording.sha256,
    )
