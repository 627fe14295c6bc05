"""The service, put together: what is opened first is closed last."""

import signal
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version

import hypercorn
import hypercorn.trio
import structlog
import trio
from fastapi import FastAPI

from appliance.api import make_api
from appliance.config import Config, LineConfig
from appliance.control import Control
from appliance.courier import run_courier
from appliance.customer import open_customer
from appliance.health import Health, Notifier
from appliance.media import open_media
from appliance.store import open_store
from appliance.trunk import Trunk
from drivers.gsm import open_gsm
from drivers.models import MODELS

log = structlog.get_logger(__name__)

USER_AGENT = f"Branchline/{version('branchline')}"
DATABASE = "branchline.db"
# What hypercorn waits for requests in progress when we stop.
GRACE_S = 3


def now() -> datetime:
    return datetime.now(UTC)


async def serve(config: Config) -> None:
    """Until SIGTERM or SIGINT; then calls are hung up and everything is closed in order.

    Raises:
        OSError: the address to listen on can't be had.
        StoreError: the database can't be used.
    """
    data_dir = config.service.data_dir
    recordings = data_dir / "recordings"
    recordings.mkdir(parents=True, exist_ok=True, mode=0o700)
    async with (
        open_store(data_dir / DATABASE, config.webhooks) as store,
        open_customer(USER_AGENT) as customer,
        open_media() as media,
        # Cancelled last: the lines must be there while the calls are hung up.
        trio.open_nursery() as lines,
    ):
        control = Control(
            store=store,
            media=media,
            customer=customer,
            recordings=recordings if config.service.recordings else None,
            country=config.sfvopi.default_country,
            user_agent=USER_AGENT,
            now=now,
        )
        control.trunks += [_trunk(line, control) for line in config.lines]
        health = Health(media.engine, control.trunks, store.outbox, Notifier())
        api = make_api(
            control, store, health, org_id=config.sfvopi.org_id, country=config.sfvopi.default_country, now=now
        )
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_stop_on_signal, nursery.cancel_scope)
            nursery.start_soon(
                partial(
                    run_courier,
                    store.outbox,
                    config.webhooks,
                    user_agent=USER_AGENT,
                    allow_loopback=config.lab.allow_loopback,
                    now=now,
                )
            )
            await nursery.start(control.run)
            for trunk in control.trunks:
                lines.start_soon(trunk.keep)
            addresses = await nursery.start(_listen, api, config.service.listen)
            log.info("ready", listen=addresses, lines=[trunk.name for trunk in control.trunks])
            nursery.start_soon(health.watch)
        lines.cancel_scope.cancel()
    log.info("stopped")


def _trunk(line: LineConfig, control: Control) -> Trunk:
    open_line = partial(open_gsm, line.name, MODELS[line.model], at_path=str(line.at), pcm_path=str(line.pcm))
    return Trunk(line.name, line.number, open_line=open_line, ring=control.ring)


async def _stop_on_signal(scope: trio.CancelScope) -> None:
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for number in signals:
            log.info("stopping", signal=signal.Signals(number).name)
            scope.cancel()


async def _listen(
    api: FastAPI, address: str, *, task_status: trio.TaskStatus[list[str]] = trio.TASK_STATUS_IGNORED
) -> None:
    settings = hypercorn.Config()
    settings.bind = [address]
    settings.graceful_timeout = GRACE_S
    settings.accesslog = None
    await hypercorn.trio.serve(api, settings, mode="asgi", task_status=task_status)  # type: ignore[arg-type]
