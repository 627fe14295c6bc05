"""What the box's own commands ask of the service at work: HTTP on a Unix socket, which is its user's alone.

Who may open the socket may read the database, too: no key is asked for.
"""

import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from http import HTTPStatus
from pathlib import Path
from typing import Any

import httpx
import structlog
from fastapi import FastAPI, HTTPException
from pydantic import BaseModel

from appliance.doctor import Doctor, UnknownLine, shown
from appliance.health import line_report
from appliance.inventory import spares
from appliance.trunk import Trunk
from drivers.bus import Bus

log = structlog.get_logger(__name__)

SOCKET = "branchline.sock"
ANSWER_LIMIT_S = 10
# A test call takes half a minute, one that nobody answers a minute and more.
EXAMINATION_LIMIT_S = 3600


class NotAnswering(Exception):
    """There is a service, or was one, but it does not answer us; the message says why, for people."""


class Examine(BaseModel):
    """Lines by name, or all; by test calls, too, or by what is known of them alone."""

    lines: Sequence[str] = ()
    calls: bool = True


def make_local_api(trunks: Sequence[Trunk], bus: Bus, doctor: Doctor) -> FastAPI:
    api = FastAPI(title="Branchline", openapi_url=None)

    @api.get("/lines")
    async def lines() -> dict[str, Any]:
        taken = {trunk.whereabouts.place.removeprefix("usb ") for trunk in trunks}
        spare = [asdict(each) for each in spares(await bus.devices(), taken)]
        return {"running": True, "lines": [line_report(trunk) for trunk in trunks], "spare": spare}

    @api.post("/doctor")
    async def examine(order: Examine) -> dict[str, Any]:
        try:
            return shown(await doctor.examine(order.lines, calls=order.calls), running=True)
        except UnknownLine as exc:
            raise HTTPException(HTTPStatus.NOT_FOUND, str(exc)) from None

    return api


@contextmanager
def local_socket(data_dir: Path) -> Iterator[socket.socket | None]:
    """None: it can't be had there, which only the commands will miss. The directory is ours alone."""
    path = data_dir / SOCKET
    with socket.socket(socket.AF_UNIX) as listener:
        try:
            path.unlink(missing_ok=True)
            listener.bind(str(path))
            path.chmod(0o600)
            listener.listen()
        except OSError as exc:
            # A path of more than 107 bytes, say, or a file system without sockets.
            log.warning("no socket for the box's own commands", path=str(path), error=str(exc))
            yield None
            return
        try:
            yield listener
        finally:
            path.unlink(missing_ok=True)


def ask(
    data_dir: Path, path: str, order: Mapping[str, object] | None = None, *, limit_s: float = ANSWER_LIMIT_S
) -> Any:
    """An `order` is posted. None: no service is at work there. Raises: NotAnswering."""
    address = data_dir / SOCKET
    try:
        with httpx.Client(transport=httpx.HTTPTransport(uds=str(address)), timeout=limit_s) as http:
            method = "GET" if order is None else "POST"
            return http.request(method, f"http://branchline{path}", json=order).raise_for_status().json()
    except httpx.ConnectError as exc:
        if isinstance(_root(exc), FileNotFoundError | ConnectionRefusedError):
            return None
        raise NotAnswering(f"{address}: {exc}") from exc
    except (httpx.HTTPError, ValueError) as exc:
        raise NotAnswering(f"{address}: {exc or type(exc).__name__}") from exc


def _root(exc: BaseException) -> BaseException:
    while exc.__cause__ is not None:
        exc = exc.__cause__
    return exc if exc.__context__ is None else _root(exc.__context__)
