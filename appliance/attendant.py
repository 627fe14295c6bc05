"""A call that a customer's server attends to: which stream it is to have is asked, and the stream is run.

When nobody says what to do with the call, the box may take a message by itself.
"""

from collections.abc import Sequence
from contextlib import AsyncExitStack, closing
from dataclasses import replace

import trio
from ulid import ULID

from appliance.actions import StreamTo
from appliance.announcement import take_message
from appliance.call import Call, Ended, Reason
from appliance.conductor import Conductor
from appliance.contracts import sfvopi
from appliance.contracts.sfvopi import Request, Route
from appliance.contracts.sfvopi_answer import ANSWER_BODY_LIMIT, BadInstructions, instructions
from appliance.contracts.sfvopi_stream import new_stream_id
from appliance.customer import CustomerFailed
from appliance.database import StoreError
from appliance.leg import ours
from appliance.options import Options
from appliance.stream import Ending, run_stream
from native import Port


async def attend(order: StreamTo, conductor: Conductor, port: Port, ears: Sequence[Port]) -> Ended:
    """`ears` hear what the server plays, too."""
    leg, means = conductor.leg, conductor.means
    async with trio.open_nursery() as nursery:
        nursery.start_soon(leg.send_keys)
        end = await run_stream(
            order,
            media=means.media,
            line=port,
            ears=ears,
            call_id=conductor.call.uuid,
            fared=conductor.meter.streamed,
            stream_id=new_stream_id(order.direction, str(ULID())),
            digits=leg.digits,
            press=leg.press,
            user_agent=means.user_agent,
            trust=means.trust,
            log=conductor.log,
        )
        nursery.cancel_scope.cancel()
    if order.keep_call_alive:
        await trio.sleep_forever()
    return ours(Reason.STREAM_LOST if end.ending is Ending.LOST else Reason.CUSTOMER)


class AgentCall:
    """The program of an agent's call: its stream is known."""

    unanswered = None

    def __init__(self, stream: StreamTo, *, recorded: bool, ring_s: float, limit_s: float) -> None:
        self.ring_s = ring_s
        self.limit_s = limit_s
        self._stream = stream
        self._recorded = recorded

    def alerting(self, call: Call) -> Request | None:
        return None

    def farewell(self, call: Call) -> Request | None:
        return None

    async def follow(self, conductor: Conductor, port: Port) -> Ended:
        async with AsyncExitStack() as stack:
            # Who listens later hears the agent from here: its stream is made anew by then, perhaps.
            gallery = stack.enter_context(closing(conductor.means.media.engine.conference()))
            ears: list[Port] = []
            if self._recorded:
                ears = await stack.enter_async_context(conductor.recording(port))
            conductor.parties = (port, gallery)
            return await attend(self._stream, conductor, port, (gallery, *ears))


class AppCall:
    """The program of an app's call: its answer webhook is asked (sfvopi 6)."""

    unanswered = None

    def __init__(self, route: Route) -> None:
        self.ring_s = route.ring_timeout_s
        self.limit_s = route.time_limit_s
        self._route = route

    def alerting(self, call: Call) -> Request | None:
        return sfvopi.ring_request(self._route.ring, call) if self._route.ring else None

    def farewell(self, call: Call) -> Request | None:
        return sfvopi.hangup_request(self._route.hangup, call) if self._route.hangup else None

    async def follow(self, conductor: Conductor, port: Port) -> Ended:
        async with conductor.recording(port) as ears:
            options = await self._options(conductor)
            order = await self._ask(conductor, options)
            if order is not None:
                return await attend(order, conductor, port, ears)
            await self._do_without(conductor, options, port, ears)
            return ours(Reason.ANSWER_FAILED)

    async def _options(self, conductor: Conductor) -> Options:
        try:
            return await conductor.means.store.options(self._route.app_id) or Options()
        except (StoreError, ValueError) as exc:
            conductor.log.error("the app's options can't be read", error=str(exc))
            return Options()

    async def _do_without(self, conductor: Conductor, options: Options, port: Port, ears: Sequence[Port]) -> None:
        """Nobody told what to do with the call."""
        if options.no_answer is None:
            return
        # However it ends, his server failed the customer, and that is what he is told.
        conductor.leg.decided = ours(Reason.ANSWER_FAILED)
        conductor.log.info("the box serves the caller by itself")
        means = conductor.means
        await take_message(
            options.no_answer, means.announcements, media=means.media, sinks=(port, *ears), log=conductor.log
        )

    async def _ask(self, conductor: Conductor, options: Options) -> StreamTo | None:
        """The answer webhook's instructions, or its fallback's (sfvopi 6.5)."""
        for name, hook in (("answer", self._route.answer), ("fallback", self._route.fallback)):
            if hook is None:
                continue
            request = sfvopi.answer_request(hook, conductor.call)
            asked_at = trio.current_time()
            try:
                body = await conductor.means.customer.ask(
                    request.method,
                    request.url,
                    headers=request.headers,
                    body=request.body,
                    limit_s=sfvopi.ANSWER_LIMIT_S,
                    limit_bytes=ANSWER_BODY_LIMIT,
                )
                return replace(instructions(body, options.protocol), keep_audio_s=options.keep_audio_s)
            except (CustomerFailed, BadInstructions) as exc:
                conductor.log.warning("no instructions", webhook=name, error=str(exc))
            finally:
                conductor.meter.asked(name, trio.current_time() - asked_at)
        return None
