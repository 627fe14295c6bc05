"""A cloud of one's own: takes a box's events and recordings, and keeps them as files (docs/cloud.md).

    pip install fastapi uvicorn
    python examples/ingest.py --token a-long-secret-of-your-own --directory cloud

Then give the box a section [cloud] with url = "http://ingest.example.com:9000" and the same token. On the internet, put
a proxy with a certificate before it.
"""

import argparse
import base64
import hashlib
import hmac
import json
import os
import re
from pathlib import Path

import uvicorn
from fastapi import Depends, FastAPI, HTTPException, Request, Response
from starlette.requests import ClientDisconnect

parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
parser.add_argument("--token", required=True, help="as in the box's configuration")
parser.add_argument("--directory", type=Path, default=Path("cloud"), help="for events and recordings")
parser.add_argument("--port", type=int, default=9000)
options = parser.parse_args()


def known(request: Request) -> None:
    given = request.headers.get("authorization", "").encode()
    if not hmac.compare_digest(given, f"Bearer {options.token}".encode()):
        raise HTTPException(401)


def place(kind: str, name: str) -> Path:
    if not re.fullmatch(r"[\w-]+(\.mp3)?", name, re.ASCII):
        raise HTTPException(400)
    (options.directory / kind).mkdir(parents=True, exist_ok=True)
    return options.directory / kind / name


def digest(content: bytes) -> str:
    return f"sha-256=:{base64.b64encode(hashlib.sha256(content).digest()).decode()}:"


web = FastAPI(dependencies=[Depends(known)])


@web.post("/events", status_code=204)
async def event(request: Request) -> None:
    try:
        body = await request.body()
    except ClientDisconnect:
        return  # nobody hears it; the box sends it again
    event = json.loads(body)
    place("events", event["id"]).with_suffix(".json").write_bytes(body)
    print(event["type"], event["data"].get("id", ""), flush=True)


@web.head("/recordings/{name}")
def how_much(name: str) -> Response:
    whole = place("recordings", name)
    if whole.exists():
        content = whole.read_bytes()
        return Response(headers={"Repr-Digest": digest(content), "Content-Length": str(len(content))})
    return incomplete(whole.with_suffix(".part"))


def incomplete(part: Path) -> Response:
    if not part.exists() or not (size := part.stat().st_size):
        raise HTTPException(404)
    return Response(status_code=308, headers={"Range": f"bytes=0-{size - 1}"})


@web.put("/recordings/{name}", status_code=201)
async def recording(name: str, request: Request) -> Response:
    whole, head = place("recordings", name), request.headers
    part = whole.with_suffix(".part")
    asked = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", head.get("content-range", ""))
    first, size = (int(asked[1]), int(asked[2])) if asked else (0, int(head["content-length"]))
    part.touch()
    with part.open("r+b") as file:
        if first > file.seek(0, os.SEEK_END):
            raise HTTPException(409, "there is less of it than that")
        file.seek(first)
        try:
            async for block in request.stream():
                file.write(block)
        except ClientDisconnect:
            return Response()  # nobody hears it; what came is kept
        end = file.tell()
        file.seek(first)
        if head.get("content-digest", "") not in ("", digest(file.read())):
            file.truncate(first)
            raise HTTPException(422, "this part is not what was sent")
        file.truncate(end)
        os.fsync(file.fileno())
    if end < size:
        return incomplete(part)
    if head.get("repr-digest", "") not in ("", digest(part.read_bytes())):
        part.unlink()
        raise HTTPException(422, "the whole is not what was sent")
    part.rename(whole)
    print("recording", name, flush=True)
    return Response(status_code=201)


if __name__ == "__main__":
    uvicorn.run(web, host="0.0.0.0", port=options.port, log_level="warning", access_log=False)
