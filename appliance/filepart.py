"""A file that never changes over HTTP: the whole, or what `Range` asks for (RFC 9110 13, 14)."""

import os
import re
from collections.abc import Mapping
from http import HTTPStatus
from io import BufferedReader
from pathlib import Path

import trio
from fastapi import HTTPException, Response
from starlette.datastructures import Headers
from starlette.types import Receive, Scope, Send

BLOCK_BYTES = 64 * 1024
# RFC 9110 14.1.2, one range; of several a server may send the whole instead.
_RANGE = re.compile(r"bytes=(?:([0-9]{1,18})-([0-9]{1,18})?|-([0-9]{1,18}))", re.IGNORECASE)


class FilePart(Response):
    """Bytes of an open file, which is read as they go out, and then closed."""

    def __init__(
        self, file: BufferedReader, part: range, status: HTTPStatus, headers: Mapping[str, str], media_type: str
    ) -> None:
        super().__init__(None, status, {**headers, "Content-Length": str(len(part))}, media_type)
        self._file = file
        self._part = part

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with trio.wrap_file(self._file) as file:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            left = len(self._part) if scope["method"] != "HEAD" else 0
            await file.seek(self._part.start)
            while left and (block := await file.read(min(left, BLOCK_BYTES))):
                left -= len(block)
                await send({"type": "http.response.body", "body": block, "more_body": True})
            await send({"type": "http.response.body"})


async def file_answer(path: Path, media_type: str, asked: Headers, *, etag: str | None = None) -> Response:
    """What is asked for of the file; without an etag one is made of its size. What is begun is sent to its end, even if
    the file is deleted meanwhile.

    Raises:
        OSError: it can't be read.
        HTTPException: it ends before what is asked for.
    """
    file = await trio.to_thread.run_sync(lambda: path.open("rb"))
    size = os.fstat(file.fileno()).st_size
    etag = etag or f'"{size}"'
    headers = {"ETag": etag, "Accept-Ranges": "bytes"}
    if "if-none-match" in asked:
        known = {tag.strip().removeprefix("W/") for tag in asked["if-none-match"].split(",")}
        if known & {etag, "*"}:
            file.close()
            return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    # Who has parts of another file gets the whole.
    wanted = asked.get("range") if asked.get("if-range", etag) == etag else None
    part = part_of(size, wanted) if wanted is not None else None
    if part is None:
        return FilePart(file, range(size), HTTPStatus.OK, headers, media_type)
    if not part:
        file.close()
        refusal = {"Content-Range": f"bytes */{size}"}
        raise HTTPException(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, f"the file has {size} bytes", refusal)
    headers["Content-Range"] = f"bytes {part.start}-{part.stop - 1}/{size}"
    return FilePart(file, part, HTTPStatus.PARTIAL_CONTENT, headers, media_type)


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
