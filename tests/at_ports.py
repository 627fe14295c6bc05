"""A port of ours whose far end answers as a module does, or as the test wants it."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import trio
import trio.testing

from drivers.models import MODELS
from drivers.port import PROBES, Port

URCS = MODELS["ec25"].urcs
Answer = Callable[[str], bytes | None]

ANSWERS = {
    PROBES[0]: b"\r\n+CMEE: 1\r\n\r\nOK\r\n",
    PROBES[1]: b"\r\n+CRC: 1\r\n\r\nOK\r\n",
    PROBES[2]: b"\r\n+CREG: 2,1\r\n\r\nOK\r\n",
    "AT+CSQ": b"\r\n+CSQ: 21,99\r\n\r\nOK\r\n",
}


def polite(command: str) -> bytes | None:
    """A module that answers the probes, says OK to AT... and nothing to what is not for it."""
    return ANSWERS.get(command, b"\r\nOK\r\n" if command.startswith("AT") else b"")


@asynccontextmanager
async def port_to(answer: Answer, *, synchronised: bool = True) -> AsyncIterator[tuple[Port, trio.abc.Stream]]:
    """A port whose far end answers each line by a function; None is silence. The far end's stream is for the rest."""
    host, device = trio.testing.memory_stream_pair()

    async def far_end() -> None:
        typed = b""
        with suppress(trio.ClosedResourceError):
            async for data in device:
                *lines, typed = (typed + bytes(data)).split(b"\r")
                for line in lines:
                    if reply := answer(line.decode("latin-1").removeprefix("\x1b")):
                        await device.send_all(reply)

    async with trio.open_nursery() as nursery:
        port = Port(host, urcs=URCS)
        nursery.start_soon(port.listen)
        nursery.start_soon(far_end)
        if synchronised:
            await port.synchronise()
        yield port, device
        nursery.cancel_scope.cancel()
