"""How another program drives a running bench: JSON lines over a Unix socket, one request and one answer a connection.

    {"do": "dial", "from": "+33783484044", "to": "+33700000002", "dtmf": "12#", "hang_up_after_s": 3}
    {"outcome": "answered", "cause": 16, "rang_after_s": 0.0, "answered_after_s": 2.01, "duration_s": 3.4, ...}

An answer with `error` says in words why nothing was done. Audio goes along as base64 of 16-bit samples, as the two
programs need not see the same files. Who closes the connection of a call that he dialed hangs it up.
"""

import base64
import binascii
import json
import math
import os
import random
import tempfile
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import trio

from hil import mishaps
from hil.bench import Bench, Line
from hil.network import KEYS, Cause, NetworkError, State
from hil.subscriber import CallEnded, PhoneCall

# Ten minutes of audio in base64.
REQUEST_BYTES = 16 << 20

OUTCOMES: dict[int | None, str] = {
    Cause.UNALLOCATED: "unknown number",
    Cause.BUSY: "busy",
    Cause.NO_ANSWER: "no answer",
    Cause.ABSENT: "unreachable",
    Cause.REJECTED: "rejected",
    Cause.OUT_OF_ORDER: "unreachable",
}

Answer = dict[str, Any]


def default_path() -> Path:
    """One bench a user, unless told otherwise."""
    return Path(tempfile.gettempdir()) / f"branchline-bench-{os.getuid()}.sock"


async def serve(bench: Bench, path: Path, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
    """Raises: NetworkError when another bench is there."""
    place = trio.Path(path)
    if await place.is_socket():
        try:
            await (await trio.open_unix_socket(str(path))).aclose()
        except OSError:
            # Left by a bench that was killed.
            await place.unlink()
        else:
            raise NetworkError(f"another bench listens at {path}")
    sock = trio.socket.socket(trio.socket.AF_UNIX)
    await sock.bind(str(path))
    await place.chmod(0o600)
    sock.listen()
    async with trio.SocketListener(sock) as listener:
        try:
            task_status.started()
            await trio.serve_listeners(partial(_converse, bench), [listener])
        finally:
            # Blocking, as a cancelled task may wait for nothing else.
            path.unlink(missing_ok=True)  # noqa: ASYNC240


async def ask(path: Path, request: Answer) -> Answer:
    """The other end, for one request.

    Raises:
        NetworkError: no bench is there.
    """
    try:
        stream = await trio.open_unix_socket(str(path))
        async with stream:
            await stream.send_all(json.dumps(request).encode() + b"\n")
            answer: Answer = json.loads(await _line(stream))
            return answer
    except (OSError, trio.BrokenResourceError, json.JSONDecodeError) as exc:
        raise NetworkError(f"no bench answers at {path}: start one by `branchline bench up`") from exc


async def _line(stream: trio.abc.ReceiveStream) -> bytes:
    line = bytearray()
    while not line.endswith(b"\n") and len(line) < REQUEST_BYTES:
        data = await stream.receive_some()
        if not data:
            break
        line += data
    return bytes(line)


async def _converse(bench: Bench, stream: trio.abc.Stream) -> None:
    try:
        async with stream, trio.open_nursery() as nursery:
            request = await _line(stream)

            async def cancel_with_client() -> None:
                await stream.receive_some()
                nursery.cancel_scope.cancel()

            nursery.start_soon(cancel_with_client)
            answer = await _perform(bench, request)
            await stream.send_all(json.dumps(answer).encode() + b"\n")
            nursery.cancel_scope.cancel()
    except* trio.BrokenResourceError:
        # The client is gone, and with it who wanted to know.
        pass


async def _perform(bench: Bench, text: bytes) -> Answer:
    try:
        request = json.loads(text)
        return await DEEDS[request["do"]](bench, request)
    except NetworkError as exc:
        return {"error": str(exc)}
    except (ValueError, KeyError, TypeError, AttributeError, binascii.Error) as exc:
        return {"error": f"not a request: {exc!r}"}


async def _dial(bench: Bench, request: Answer) -> Answer:
    number, keys, after_s = request["from"], request.get("dtmf") or "", request.get("hang_up_after_s")
    if any(line.number == bench.network.international(number) for line in bench.lines):
        raise NetworkError(f"{number} is a modem: dial from it by ATD on its AT port")
    if not KEYS.issuperset(keys):
        raise NetworkError(f"{keys!r} has keys that a phone has not")
    samples = base64.b64decode(request.get("play") or "")
    phone_call = bench.phone(number).dial(request["to"], play=samples)
    try:
        await phone_call.answered()
        with trio.move_on_after(math.inf if after_s is None else float(after_s)):
            await phone_call.press(keys)
            await phone_call.ended()
    except CallEnded:
        pass
    finally:
        phone_call.hang_up()
    await phone_call.ended()
    return _outcome(phone_call, recorded=bool(request.get("record")))


def _outcome(phone_call: PhoneCall, *, recorded: bool) -> Answer:
    cause, answered_at = phone_call.call.cause, phone_call.answered_at
    ended_at = phone_call.ended_at or phone_call.began_at
    answer: Answer = {
        "outcome": "answered" if answered_at is not None else OUTCOMES.get(cause, "failed"),
        "cause": cause,
        "answered_after_s": None if answered_at is None else round(answered_at - phone_call.began_at, 3),
        "duration_s": None if answered_at is None else round(ended_at - answered_at, 3),
        "keys": phone_call.keys,
    }
    if answered_at is not None:
        heard = phone_call.heard()
        answer["heard_s"] = round(len(heard) / 16000, 2)
        if recorded:
            answer["heard"] = base64.b64encode(heard).decode()
    return answer


async def _answer(bench: Bench, request: Answer) -> Answer:
    """The phone's owner answers what rings, whatever he does as a rule."""
    ringing = [call for call in bench.phone(request["number"]).calls if call.state is State.ALERTING]
    incoming = [call for call in ringing if call.call.callee is bench.phone(request["number"])]
    if not incoming:
        raise NetworkError(f"{request['number']} does not ring")
    incoming[0].answer()
    return {"answered": incoming[0].number}


async def _hang_up(bench: Bench, request: Answer) -> Answer:
    calls = [call for call in bench.phone(request["number"]).calls if call.state is not State.ENDED]
    for call in calls:
        call.hang_up()
    return {"hung_up": len(calls)}


async def _sms(bench: Bench, request: Answer) -> Answer:
    """As a phone sends it; its parts may be put in disorder on their way."""
    number = request["from"]
    if any(line.number == bench.network.international(number) for line in bench.lines):
        raise NetworkError(f"{number} is a modem: send from it by AT+CMGS on its AT port")
    if bench.network.party(request["to"]) is None:
        raise NetworkError(f"nobody has the number {request['to']}")
    centre = bench.network.centre
    centre.holding = True
    bench.phone(number).text(request["to"], request["text"], report=bool(request.get("report")))
    parts = list(centre.held)
    if request.get("twice"):
        centre.held += parts
    if request.get("shuffle"):
        random.shuffle(centre.held)
    if lost := request.get("lose"):
        centre.held = [each for each in centre.held if each not in parts[int(lost) - 1 : int(lost)]]
    centre.release(trio.current_time())
    return {"parts": len(parts), "waiting": centre.waiting}


async def _unplug(bench: Bench, request: Answer) -> Answer:
    line = bench.line(request["line"])
    await line.unplug()
    return line_facts(line)


async def _fault(bench: Bench, request: Answer) -> Answer:
    """With `clear` all of them end; without a name nothing happens. Either way the names that there are come back."""
    line = bench.line(request["line"])
    if request.get("clear"):
        mishaps.end(line.modem)
    elif request.get("name"):
        mishaps.begin(line.modem, request["name"], request.get("value") or "")
    else:
        return {**line_facts(line), "known": mishaps.names(line.modem)}
    return line_facts(line)


async def _plug(bench: Bench, request: Answer) -> Answer:
    line = bench.line(request["line"])
    await line.plug()
    return line_facts(line)


def line_facts(line: Line) -> Answer:
    return {
        "name": line.name,
        "model": line.model,
        "number": line.number,
        **line.addresses,
        **({"usb": line.usb_port} if line.usb_port else {}),
        "plugged": line.plugged,
        "faults": mishaps.active(line.modem),
    }


async def _status(bench: Bench, request: Answer) -> Answer:
    stats = bench.engine.stats()
    return {
        "lines": [line_facts(line) for line in bench.lines],
        "subscribers": [
            {
                "number": phone.number,
                "behaviour": phone.behaviour.value,
                "calls": len(phone.calls),
                "texts": [
                    {"from": text.sender, "text": text.body, "at": text.sent_at and text.sent_at.isoformat()}
                    for text in phone.texts
                ],
            }
            for phone in bench.subscribers
        ],
        "calls": [
            {"from": call.caller.number, "to": call.dialed, "state": call.state.value} for call in bench.network.calls
        ],
        "engine": {"ticks": stats.ticks, "skipped": stats.skipped, "realtime": stats.realtime},
    }


DEEDS: dict[str, Callable[[Bench, Answer], Awaitable[Answer]]] = {
    "dial": _dial,
    "answer": _answer,
    "hang-up": _hang_up,
    "sms": _sms,
    "unplug": _unplug,
    "fault": _fault,
    "plug": _plug,
    "status": _status,
}
