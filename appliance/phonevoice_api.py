"""PhoneVoice's REST: accounts, relay numbers and webhooks. Its calls are in `phonevoice_calls`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from secrets import randbelow

import structlog
import trio
from fastapi import APIRouter, Request, Response

from appliance.claims import NumberTaken
from appliance.contracts import phonevoice
from appliance.contracts import phonevoice_answers as answers
from appliance.contracts.phonevoice import Refused, unfit
from appliance.database import Also
from appliance.directory import Loop, NowhereToForward, RelayNumber
from appliance.gateway import target_refusal
from appliance.numbers import ORDINARY_RULES, DialingRules, forbidden
from appliance.phonevoice_gate import Throttle, answer, bearer_of, body_of, list_answer, once, own
from appliance.store import Store
from appliance.subscriptions import Subscription, TooMany
from appliance.tenants import Tenants, new_token
from appliance.trunk import Trunk
from drivers.line import Texting

log = structlog.get_logger(__name__)

# 2.2
CODE_LIFE = timedelta(minutes=15)
# Ours, of all strangers together: each signup is a line for somebody to read, and six digits are not many.
SIGNUPS_PER_HOUR = 60
CONFIRMS_PER_HOUR = 10
RESOLVE_LIMIT_S = 5


@dataclass(frozen=True)
class Terms:
    """What the box's configuration says of it all."""

    signup: bool = True
    rules: DialingRules = ORDINARY_RULES
    allow_loopback: bool = False


def account_routes(tenants: Tenants, *, signup: bool, now: Callable[[], datetime]) -> APIRouter:
    routes = APIRouter(prefix="/api", include_in_schema=False)
    signups = Throttle(SIGNUPS_PER_HOUR / 3600, SIGNUPS_PER_HOUR)
    confirms = Throttle(CONFIRMS_PER_HOUR / 3600, CONFIRMS_PER_HOUR)

    @routes.get("/whoami")
    async def whoami(request: Request) -> Response:
        bearer = bearer_of(request)
        return answer(200, answers.whoami_json(bearer.user, bearer.project, by_user=bearer.by_user))

    @routes.post("/signup")
    async def sign_up(request: Request) -> Response:
        asked = phonevoice.read(phonevoice.SignUp, await body_of(request))
        if not signup:
            raise Refused(phonevoice.NO_SIGN_UP)
        if not signups.allows("", trio.current_time()):
            raise Refused(phonevoice.TOO_MANY_SIGNUPS)
        code, at = f"{randbelow(10**6):06}", now()
        if not await tenants.sign_up(asked.email, asked.name, code, at=at, expires_at=at + CODE_LIFE):
            raise Refused(phonevoice.TOO_MANY_SIGNUPS)
        # The box has no mail: this is its console, where whoever runs it reads the code to who asked (2.2).
        log.info("signup code", email=asked.email, code=code)
        return answer(201, answers.SUCCESS)

    @routes.post("/confirm")
    async def confirm(request: Request) -> Response:
        asked = phonevoice.read(phonevoice.Confirm, await body_of(request))
        if not signup:
            raise Refused(phonevoice.NO_SIGN_UP)
        if not confirms.allows("", trio.current_time()):
            raise Refused(phonevoice.TOO_MANY_GUESSES)
        token, digest = new_token("user")
        if not await tenants.confirm(asked.email, asked.code, digest, at=now()):
            log.warning("wrong signup code", email=asked.email)
            raise Refused(phonevoice.WRONG_CODE)
        log.info("user confirmed", email=asked.email)
        return answer(200, {**answers.SUCCESS, "user_token": token})

    return routes


def number_routes(
    store: Store, trunks: Sequence[Trunk], *, rules: DialingRules, country: str, now: Callable[[], datetime]
) -> APIRouter:
    """`country` is where numbers are whose own tells none."""
    routes = APIRouter(prefix="/api/v1/relay_numbers", include_in_schema=False)
    directory = store.directory

    def kind(trunk: Trunk) -> answers.Kind:
        return answers.Kind(trunk.number, sim=isinstance(trunk.line, Texting), country=country)

    def need_dialable(forward_to: str) -> None:
        if problem := forbidden(forward_to, rules, country):
            raise Refused(unfit("forward_to", f"is not dialed by this box: {problem}"))

    async def own_number(request: Request) -> RelayNumber:
        relay = await directory.relay_number(phonevoice.identifier(request.path_params["id"]))
        return own(relay, bearer_of(request))

    @routes.get("")
    async def list_numbers(request: Request) -> Response:
        page = phonevoice.page_asked(request.url.query)
        project = bearer_of(request).project.id
        relays, total = await directory.relay_numbers(project, offset=page.offset, limit=page.per_page)
        return list_answer(request, "relay_numbers", [answers.relay_json(relay) for relay in relays], page, total)

    @routes.get("/available")
    async def search(request: Request) -> Response:
        asked = phonevoice.check(phonevoice.Search, dict(request.query_params))
        claimed = await store.claimed_numbers()
        free = [(trunk, kind(trunk)) for trunk in trunks if trunk.number not in claimed]
        found = [
            answers.available_json(each, sms=isinstance(trunk.line, Texting))
            for trunk, each in free
            if each.fits(country=asked.country, type_=asked.type, area_code=asked.area_code, contains=asked.contains)
        ]
        return answer(200, {"available_numbers": found})

    @routes.post("")
    async def buy(request: Request) -> Response:
        body = await body_of(request)
        asked = phonevoice.read(phonevoice.BuyNumber, body)
        there = asked.model_fields_set
        forward_to = asked.forward_to if "forward_to" in there else None
        project = bearer_of(request).project.id

        async def order(also: Also[RelayNumber]) -> RelayNumber:
            trunk = next((trunk for trunk in trunks if trunk.number == asked.phone_number), None)
            if trunk is None:
                raise Refused(phonevoice.NO_SUCH_NUMBER)
            found = kind(trunk)
            if "country" in there and asked.country != found.country:
                raise Refused(unfit("country", f"is not the number's, which is {found.country}"))
            if forward_to is not None:
                need_dialable(forward_to)
            try:
                relay = await directory.buy(
                    found.number,
                    project=project,
                    forward_to=forward_to,
                    country=found.country,
                    type_=found.type,
                    at=now(),
                    also=also,
                )
            except NumberTaken:
                raise Refused(phonevoice.TAKEN) from None
            except Loop:
                raise Refused(phonevoice.IS_LOOP) from None
            log.info("number bought", project=project, line=trunk.name, relay=relay.id)
            return relay

        return await once(request, store.repeats, body, order, answers.relay_json)

    @routes.get("/{id}")
    async def get(request: Request) -> Response:
        return answer(200, answers.relay_json(await own_number(request)))

    @routes.patch("/{id}")
    async def change(request: Request) -> Response:
        relay = await own_number(request)
        wanted = phonevoice.changes(phonevoice.read(phonevoice.ChangeNumber, await body_of(request)))
        forward_to, enabled = wanted.get("forward_to"), wanted.get("relay_enabled")
        if forward_to is not None:
            need_dialable(forward_to)
        try:
            changed = await directory.change(relay.id, forward_to=forward_to, enabled=enabled)
        except Loop:
            raise Refused(phonevoice.IS_LOOP) from None
        except NowhereToForward:
            raise Refused(phonevoice.NOWHERE) from None
        log.info("number changed", project=relay.project, relay=relay.id, fields=sorted(wanted))
        return answer(200, answers.relay_json(own(changed, bearer_of(request))))

    @routes.delete("/{id}")
    async def release(request: Request) -> Response:
        relay = await own_number(request)
        await directory.release(relay.id)
        log.info("number released", project=relay.project, relay=relay.id)
        return answer(200, answers.SUCCESS)

    return routes


def webhook_routes(store: Store, *, allow_loopback: bool, now: Callable[[], datetime]) -> APIRouter:
    routes = APIRouter(prefix="/api/v1/webhooks", include_in_schema=False)
    subscriptions = store.subscriptions
    context = {"allow_loopback": allow_loopback}

    async def own_webhook(request: Request) -> Subscription:
        webhook = await subscriptions.get(phonevoice.identifier(request.path_params["id"]))
        return own(webhook, bearer_of(request))

    async def need_target(url: str) -> None:
        if problem := await target_refusal(url, allow_loopback=allow_loopback):
            raise Refused(unfit("url", f"leads where no event may go: {problem}"))

    @routes.get("")
    async def list_webhooks(request: Request) -> Response:
        page = phonevoice.page_asked(request.url.query)
        found, total = await subscriptions.page(bearer_of(request).project.id, offset=page.offset, limit=page.per_page)
        return list_answer(request, "webhooks", [answers.webhook_json(webhook) for webhook in found], page, total)

    @routes.post("")
    async def create(request: Request) -> Response:
        body, project = await body_of(request), bearer_of(request).project.id
        asked = phonevoice.read(phonevoice.CreateWebhook, body, context=context)

        async def order(also: Also[tuple[Subscription, str]]) -> tuple[Subscription, str]:
            await need_target(asked.url)
            try:
                made = await subscriptions.create(
                    project, asked.url, name=asked.name, events=asked.events, at=now(), also=also
                )
            except TooMany as exc:
                raise Refused(phonevoice.Refusal(422, str(exc))) from None
            log.info("webhook made", project=project, webhook=made[0].id)
            return made

        return await once(request, store.repeats, body, order, lambda made: answers.webhook_json(*made))

    @routes.patch("/{id}")
    async def change(request: Request) -> Response:
        webhook = await own_webhook(request)
        body = await body_of(request)
        wanted = phonevoice.changes(phonevoice.read(phonevoice.ChangeWebhook, body, context=context))
        if "url" in wanted:
            await need_target(wanted["url"])
        changed = await subscriptions.change(webhook.id, wanted)
        log.info("webhook changed", project=webhook.project, webhook=webhook.id, fields=sorted(wanted))
        return answer(200, answers.webhook_json(own(changed, bearer_of(request))))

    @routes.delete("/{id}")
    async def delete(request: Request) -> Response:
        webhook = await own_webhook(request)
        await subscriptions.delete(webhook.id)
        log.info("webhook deleted", project=webhook.project, webhook=webhook.id)
        return answer(200, answers.SUCCESS)

    @routes.get("/{id}/calls")
    async def attempts(request: Request) -> Response:
        entries = await store.outbox.log(await own_webhook(request))
        return answer(200, {"calls": [answers.attempt_json(entry) for entry in entries]})

    return routes
