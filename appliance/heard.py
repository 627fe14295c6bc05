"""Recordings for whoever has a signed address of one: as events and the API give them out, good for seven days."""

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from http import HTTPStatus

import structlog
from fastapi import APIRouter, HTTPException, Request, Response

from appliance.archive import Archive, RecordingState
from appliance.filepart import file_answer
from appliance.links import RECORDINGS, BadLink, Links

log = structlog.get_logger(__name__)

EXPIRED = "this address has expired: a newer event or a request for the call has a new one"


def heard_routes(archive: Archive, links: Links, now: Callable[[], datetime]) -> APIRouter:
    routes = APIRouter()

    @routes.head(RECORDINGS + "/{token}/{name}")
    @routes.get(RECORDINGS + "/{token}/{name}")
    async def hear(token: str, name: str, request: Request) -> Response:
        try:
            opened = links.opened(token, name)
        except BadLink as exc:
            return _refuse(HTTPStatus.FORBIDDEN, str(exc))
        recording = await archive.recording(opened.id)
        if recording is None:
            return _refuse(HTTPStatus.NOT_FOUND, "no such recording")
        if opened.is_over(now(), recording.told_at):
            return _refuse(HTTPStatus.FORBIDDEN, EXPIRED)
        if recording.state is RecordingState.DELETED:
            return _refuse(HTTPStatus.GONE, "the recording was deleted")
        try:
            return await file_answer(recording.mp3, "audio/mpeg", request.headers, etag=f'"{recording.sha256}"')
        except OSError as exc:
            log.error("recording is not there", recording=opened.id, error=str(exc))
            return _refuse(HTTPStatus.NOT_FOUND, "the recording's file is not there")
        except HTTPException as exc:
            return _refuse(exc.status_code, exc.detail, exc.headers)

    return routes


def _refuse(status: int, error: str, headers: Mapping[str, str] | None = None) -> Response:
    """As the contract has errors (phonevoice 3)."""
    return Response(json.dumps({"error": error}), status, headers, "application/json")
