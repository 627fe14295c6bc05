"""Where a cloud takes things: an ingest address, part by part, or a bucket, whole, by addresses that are presigned.

Each brings one event or one recording there, or says what kept it from that: a Troubled of the place, a NotTaken of the
thing. What is read of the disk at a time is one part, whatever the recording's length.
"""

import hashlib
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol, Self

import httpcore
import trio

from appliance.addresses import web_address
from appliance.gateway import UNREACHED, Gateway, Offline, beginning, reason
from appliance.ingest import (
    PART_BYTES,
    Trouble,
    Verdict,
    arrived,
    content_range,
    digest_field,
    digest_of,
    meaning,
)
from appliance.uploads import Upload
from appliance.webhook import SIGNATURE_HEADER, retry_after_s, sign

# Of one step: a connection made, a block that goes out, an answer once all is there. A slow uplink takes its time.
STEP_LIMIT_S = {"connect": 15.0, "read": 60.0, "write": 60.0, "pool": 60.0}
ANSWER_BYTES = 64 * 1024
# Nobody holds a lane up for ever, a byte at a time: a request has a minute, and what it carries its time at this rate.
ANSWER_LIMIT_S = 60
SLOWEST_BYTES_PER_S = 512
KEEP_CONNECTION_S = 4
BLOCK_BYTES = 64 * 1024
# What a presigner may ask to be sent along.
MOST_HEADERS = 32

RECORDING_TYPE = "audio/mpeg"


class Troubled(Exception):
    """Nothing goes there for now; `asked_s` is for how long the place itself asks."""

    def __init__(self, trouble: Trouble, reason: str, asked_s: float = 0) -> None:
        super().__init__(reason)
        self.trouble = trouble
        self.asked_s = asked_s


class NotTaken(Exception):
    """This one thing was not, and others may be: Verdict.AGAIN or REFUSED."""

    def __init__(self, verdict: Verdict, reason: str) -> None:
        super().__init__(reason)
        self.verdict = verdict


class Unreadable(Exception):
    """The recording's file is not there, or not whole."""


@dataclass(frozen=True)
class Answer:
    """`headers` by their names in small letters."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def judged(self, now: datetime) -> Verdict:
        """Raises Troubled."""
        means = meaning(self.status)
        if means is Verdict.MORE and "location" in self.headers:
            raise Troubled(Trouble.MISSING, f"status {self.status}: a redirect")
        if isinstance(means, Trouble):
            asked_s = retry_after_s(self.status, self.headers.get("retry-after"), now.timestamp())
            raise Troubled(means, f"status {self.status}", asked_s)
        return means


class Client:
    """Asks a cloud. Certificates are verified, redirects are not followed; where a name leads is checked."""

    def __init__(
        self, user_agent: str, *, tls: ssl.SSLContext, allow_loopback: bool, now: Callable[[], datetime]
    ) -> None:
        self.now = now
        self._user_agent = user_agent
        gateway = Gateway(allow_loopback=allow_loopback)
        self._pools = {
            encrypted: httpcore.AsyncConnectionPool(
                ssl_context=tls,
                keepalive_expiry=KEEP_CONNECTION_S,
                network_backend=gateway.network(encrypted=encrypted),
            )
            for encrypted in (True, False)
        }

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for pool in self._pools.values():
            await pool.aclose()

    async def ask(
        self, method: str, url: str, headers: Mapping[str, str], content: bytes | AsyncIterator[bytes] | None = None
    ) -> Answer:
        """Raises Troubled: there was no answer."""
        limit_s = ANSWER_LIMIT_S + int(headers.get("Content-Length", 0)) / SLOWEST_BYTES_PER_S
        with trio.move_on_after(limit_s):
            return await self._asked(method, url, headers, content)
        raise Troubled(Trouble.UNREACHABLE, f"no answer in {limit_s:.0f} s")

    async def _asked(
        self, method: str, url: str, headers: Mapping[str, str], content: bytes | AsyncIterator[bytes] | None
    ) -> Answer:
        all_headers = {"User-Agent": self._user_agent, **headers}
        pool = self._pools[url.lower().startswith("https:")]
        try:
            async with pool.stream(
                method,
                url,
                headers=[(name.encode(), value.encode()) for name, value in all_headers.items()],
                content=content,
                extensions={"timeout": STEP_LIMIT_S},
            ) as response:
                named = {key.decode("latin-1").lower(): value.decode("latin-1") for key, value in response.headers}
                return Answer(response.status, named, await beginning(response, ANSWER_BYTES))
        except Offline as exc:
            raise Troubled(Trouble.OFFLINE, str(exc)) from exc
        except UNREACHED as exc:
            raise Troubled(Trouble.UNREACHABLE, reason(exc)) from exc


class Brake:
    """Blocks leave no faster than so many bytes a second, over all that is sent; None: as they can."""

    def __init__(self, bytes_per_s: float | None) -> None:
        self._bytes_per_s = bytes_per_s
        # So that what goes out in a quarter of a second is no burst for who speaks on the same uplink.
        self.block_bytes = BLOCK_BYTES if bytes_per_s is None else min(BLOCK_BYTES, max(512, int(bytes_per_s / 4)))
        self._free_at = -float("inf")

    async def take(self, count: int) -> None:
        """Before so many bytes go out."""
        if self._bytes_per_s is None:
            await trio.lowlevel.checkpoint()
            return
        await trio.sleep_until(self._free_at)
        self._free_at = trio.current_time() + count / self._bytes_per_s


class _Blocks:
    """A body that goes out by blocks, under a brake."""

    def __init__(self, size: int, block: Callable[[range], Awaitable[bytes]], brake: Brake) -> None:
        self._size = size
        self._block = block
        self._brake = brake
        self._at = 0

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if self._at >= self._size:
            raise StopAsyncIteration
        place = range(self._at, min(self._at + self._brake.block_bytes, self._size))
        await self._brake.take(len(place))
        self._at = place.stop
        return await self._block(place)


class Depot(Protocol):
    async def event(self, id_: str, body: bytes) -> int:
        """The status that it was taken with. Raises Troubled, NotTaken."""

    async def recording(self, upload: Upload, brake: Brake, progress: Callable[[], None]) -> None:
        """`progress` is called whenever more of it is there. Raises Troubled, NotTaken, Unreadable."""


class Ingest:
    """An address that takes events by POST and recordings by PUT, and goes on where it was cut off."""

    def __init__(self, client: Client, url: str, token: str) -> None:
        self._client = client
        self._url = url
        self._token = token
        self._bearer = {"Authorization": f"Bearer {token}"}
        # How far the last recording was when we asked.
        self._reached = ("", 0)

    async def event(self, id_: str, body: bytes) -> int:
        now = self._client.now()
        headers = self._bearer | {
            "Content-Type": "application/json",
            "webhook-id": id_,
            # So that a receiver made for webhooks may do: the token is the secret.
            SIGNATURE_HEADER: sign(self._token, int(now.timestamp()), body),
        }
        answer = await self._client.ask("POST", f"{self._url}/events", headers, body)
        if answer.status in (308, 410):
            raise Troubled(Trouble.MISSING, f"status {answer.status}")
        if answer.judged(now) is not Verdict.TAKEN:
            raise NotTaken(Verdict.REFUSED, f"status {answer.status}")
        return answer.status

    async def recording(self, upload: Upload, brake: Brake, progress: Callable[[], None]) -> None:
        url = f"{self._url}/recordings/{upload.id}.mp3"
        there = await self._there(url, upload)
        if there is None:
            return
        if there > self._reached[1] or upload.id != self._reached[0]:
            self._reached = (upload.id, there)
            if there:
                progress()
        while True:
            # Of what is all there, and yet not taken, the end is sent again: it has the receiver look.
            start = min(there, upload.size_bytes - 1)
            part = range(start, min(start + PART_BYTES, upload.size_bytes))
            answer = await self._put(url, upload, part, brake)
            verdict = answer.judged(self._client.now())
            if verdict is Verdict.TAKEN and part.stop == upload.size_bytes:
                return
            if verdict is Verdict.TAKEN:
                raise Troubled(Trouble.MISSING, f"status {answer.status} to a part: does not know Content-Range")
            now_there = arrived(answer.headers.get("range"))
            if verdict is not Verdict.MORE or now_there <= there:
                again = Verdict.AGAIN if verdict is Verdict.MORE else verdict
                raise NotTaken(again, f"status {answer.status} to bytes {part.start} to {part.stop}")
            there = now_there
            progress()

    async def _there(self, url: str, upload: Upload) -> int | None:
        """How many bytes of it; None: all of them, and they are right."""
        answer = await self._client.ask("HEAD", url, self._bearer)
        if answer.status in (404, 405, 501):
            return 0
        match answer.judged(self._client.now()):
            case Verdict.MORE:
                return arrived(answer.headers.get("range"))
            case Verdict.TAKEN:
                digest = digest_of(answer.headers.get("repr-digest"))
                same = answer.headers.get("content-length") == str(upload.size_bytes)
                return None if (digest == upload.sha256 if digest else same) else 0
            case verdict:
                raise NotTaken(verdict, f"status {answer.status}")

    async def _put(self, url: str, upload: Upload, part: range, brake: Brake) -> Answer:
        content = await _read(upload.path, part)

        async def block(place: range) -> bytes:
            return content[place.start : place.stop]

        facts = f"call={upload.call}, frames={upload.frames}"
        headers = self._bearer | {
            "Content-Type": RECORDING_TYPE,
            "Content-Length": str(len(content)),
            "Content-Digest": digest_field(hashlib.sha256(content).hexdigest()),
            "Repr-Digest": digest_field(upload.sha256),
            # RFC 9651 3.2.
            "Branchline-Recording": facts + (f', answered="{upload.answered_at}"' if upload.answered_at else ""),
        }
        if len(part) < upload.size_bytes:
            headers["Content-Range"] = content_range(part, upload.size_bytes)
        return await self._client.ask("PUT", url, headers, _Blocks(len(content), block, brake))


class Bucket:
    """Objects of an S3-compatible store. Who has its keys gives an address for each; what was cut begins anew."""

    def __init__(self, client: Client, presign: str, token: str) -> None:
        self._client = client
        self._presign = presign
        self._bearer = {"Authorization": f"Bearer {token}"}

    async def event(self, id_: str, body: bytes) -> int:
        digest = hashlib.sha256(body).hexdigest()
        return await self._put(f"events/{id_}.json", "application/json", len(body), digest, body)

    async def recording(self, upload: Upload, brake: Brake, progress: Callable[[], None]) -> None:
        size = upload.size_bytes
        blocks = _Blocks(size, lambda place: _read(upload.path, place), brake)
        await self._put(f"recordings/{upload.id}.mp3", RECORDING_TYPE, size, upload.sha256, blocks)

    async def _put(self, name: str, type_: str, size: int, sha256: str, content: bytes | AsyncIterator[bytes]) -> int:
        order = json.dumps({"name": name, "type": type_, "size": size, "sha256": sha256}).encode()
        answer = await self._client.ask(
            "POST", self._presign, self._bearer | {"Content-Type": "application/json"}, order
        )
        if answer.status == 204:  # it is there
            return 204
        verdict = answer.judged(self._client.now())
        if verdict is Verdict.MORE:
            raise Troubled(Trouble.MISSING, f"status {answer.status} of the presigner")
        if verdict is not Verdict.TAKEN:
            raise NotTaken(verdict, f"status {answer.status} of the presigner")
        url, headers = _order_of(answer.body)
        headers = {"Content-Type": type_, **headers, "Content-Length": str(size)}
        answer = await self._client.ask("PUT", url, headers, content)
        if answer.status == 413:
            raise NotTaken(Verdict.REFUSED, "status 413 of the bucket")
        # Of a bucket an answer says little of what to do: 403 may be an address that was too old.
        if not 200 <= answer.status < 300:
            asked_s = retry_after_s(answer.status, answer.headers.get("retry-after"), self._client.now().timestamp())
            raise Troubled(Trouble.FAILING, f"status {answer.status} of the bucket", asked_s)
        return answer.status


def _order_of(body: bytes) -> tuple[str, dict[str, str]]:
    """`{"url": ..., "headers": {...}}`; what it says is never logged, as it is a key to the bucket."""
    try:
        order = json.loads(body)
        url, headers = web_address(order["url"]), order.get("headers") or {}
        texts = all(isinstance(text, str) and text.isprintable() for pair in headers.items() for text in pair)
        if not texts or len(headers) > MOST_HEADERS or not url.isascii():
            raise ValueError
    except (ValueError, TypeError, KeyError, AttributeError):
        raise Troubled(Trouble.FAILING, "the presigner's answer has no address") from None
    return url, {name: text for name, text in headers.items() if name.lower() not in ("content-length", "host")}


async def _read(path: Path, part: range) -> bytes:
    """Raises Unreadable."""
    return await trio.to_thread.run_sync(_read_now, path, part)


def _read_now(path: Path, part: range) -> bytes:
    content = bytearray()
    try:
        with path.open("rb", buffering=0) as file:
            file.seek(part.start)
            while len(content) < len(part) and (block := file.read(len(part) - len(content))):
                content += block
    except OSError as exc:
        raise Unreadable(f"{path}: {exc.strerror}") from exc
    if len(content) < len(part):
        raise Unreadable(f"{path} ends after {part.start + len(content)} bytes")
    return bytes(content)
