"""A SIM's messages and USSD by the driver, over any family that the bench has, with a phone on the same network."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
import trio
import trio.testing

from drivers.gsm import GsmLine, open_gsm_on
from drivers.line import LineEvent, Received
from drivers.models import MODELS
from drivers.sms import Deliver, Submit, decode, encode
from drivers.userdata import join, split
from hil.bench import OTHERS, QUECTEL
from hil.board import profile_of
from hil.modem import Modem
from hil.network import Network
from hil.subscriber import Subscriber
from tests.gsm_rig import OURS, THEIRS, Frames, Wire

FAMILIES = QUECTEL | OTHERS


@dataclass
class Rig:
    name: str
    modem: Modem
    phone: Subscriber
    wire: Wire

    @property
    def slots(self) -> dict[str, int]:
        storage = self.modem.module.storage
        return {memory: len(storage[memory]) for memory in storage if storage[memory]}

    @asynccontextmanager
    async def line(self) -> AsyncIterator[GsmLine]:
        model = MODELS[self.name]
        async with open_gsm_on(self.wire, "office", model, sound=model.sound[0], place=Frames()) as line:
            yield line


@asynccontextmanager
async def rig_of(name: str) -> AsyncIterator[Rig]:
    network = Network()
    modem = Modem(FAMILIES[name](profile_of(OURS)), network, model=name)
    host, device = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(modem.serve_at, device)
        yield Rig(name, modem, Subscriber(THEIRS, network, nursery), Wire(host))
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def line_of(name: str = "ec25") -> AsyncIterator[tuple[Rig, GsmLine]]:
    """Up, with its memories swept."""
    async with rig_of(name) as rig, rig.line() as line:
        await trio.sleep(5)
        yield rig, line


def submit(text: str, **rest: object) -> str:
    (data,) = split(text, reference=0)
    return encode(Submit(THEIRS, data, **rest))  # type: ignore[arg-type]


def text_of(*received: Received) -> str:
    messages = [decode(each.pdu) for each in received]
    return join([message.data for message in messages if isinstance(message, Deliver)])


async def receive(line: GsmLine, within_s: float = 5) -> Received:
    with trio.fail_after(within_s):
        return await line.texts.receive()


async def nothing(line: GsmLine, for_s: float = 5) -> None:
    with trio.move_on_after(for_s):
        pytest.fail(f"received {await line.texts.receive()}")


async def event(line: GsmLine, kind: type[LineEvent]) -> LineEvent:
    with trio.fail_after(60):
        while not isinstance(told := await line.next_event(), kind):
            pass
        return told
