"""The service, put together: what is opened first is closed last."""

import errno
import fcntl
import logging
import os
import secrets
import signal
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import hypercorn
import hypercorn.trio
import structlog
import trio
from starlette.types import ASGIApp

from appliance.api import make_api
from appliance.cloud import Cloud
from appliance.config import Config
from appliance.control import Control
from appliance.courier import run_courier
from appliance.customer import open_customer
from appliance.doctor import Doctor
from appliance.exchange import NotDialed
from appliance.gateway import Gateway
from appliance.health import VERSION, Health, Notifier
from appliance.lines import make_bus, make_trunk
from appliance.links import KEY_BYTES, Links, origin_of
from appliance.local import local_socket, make_local_api
from appliance.media import open_media
from appliance.metrics import Metrics
from appliance.numbers import DialingRules
from appliance.phonevoice_api import Terms
from appliance.recording import sync_directory
from appliance.rounds import Rounds
from appliance.shelf import Shelf
from appliance.store import open_store
from appliance.testcall import TestCalls
from appliance.texting import Postbox
from appliance.trunk import Trunk
from drivers.line import LineState
from native import Trust

log = structlog.get_logger(__name__)

USER_AGENT = f"Branchline/{VERSION}"
DATABASE = "branchline.db"
ANNOUNCEMENTS = "announcements"
LINK_KEY = "links.key"
# What hypercorn waits for requests in progress when we stop.
GRACE_S = 3
# An idle connection has longer than httpx and Node give theirs (5 s), so that no order comes by one that we just close.
IDLE_S = 30


class Unable(Exception):
    """The service can't run here as it is told to; the message says why, for people."""


def now() -> datetime:
    return datetime.now(UTC)


async def serve(config: Config) -> None:
    """Until SIGTERM or SIGINT; then calls are hung up and everything is closed in order.

    Raises:
        Unable: the address or the directory can't be had; nothing was touched.
        StoreError: the database can't be used.
    """
    data_dir, country, dialing = config.service.data_dir, config.sfvopi.default_country, config.dialing
    recordings = make_directories(data_dir)
    tls, trust = whom_to_trust(config.network.ca)
    with (
        _alone_in(data_dir),
        _bound(config.service.listen) as listener,
        local_socket(data_dir) as local,
        trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals,
    ):
        origin = config.service.public_url or origin_of(listener.getsockname(), socket.gethostname())
        links = Links(make_key(data_dir / LINK_KEY), origin)
        async with (
            open_store(
                data_dir / DATABASE,
                config.webhooks,
                others=config.others,
                uploads=config.takes_recordings,
                links=links,
            ) as store,
            open_customer(USER_AGENT, tls=tls) as customer,
            open_media() as media,
            # Cancelled last: lines must be there while calls are hung up, and somebody to take the last events.
            trio.open_nursery() as base,
        ):
            shelf = Shelf(store.recordings, recordings, now=now, keeping=config.recordings)
            rules = DialingRules(dialing.deny, dialing.allow, dialing.premium, dialing.emergency)
            control = Control(
                store=store,
                media=media,
                customer=customer,
                shelf=shelf if config.service.recordings else None,
                country=country,
                user_agent=USER_AGENT,
                trust=trust,
                now=now,
                rules=rules,
                concurrent_calls=dialing.concurrent_calls,
                announcements=data_dir / ANNOUNCEMENTS,
                relay=config.relay,
            )
            bus = make_bus(config.lines, config.lab)

            def in_use() -> bool:
                return any(trunk.state is LineState.IN_USE for trunk in control.trunks)

            async def permit(trunk: Trunk, number: str) -> str | None:
                try:
                    await control.permit(trunk, number)
                except NotDialed as exc:
                    return str(exc)
                return None

            tests = TestCalls(media, otherwise=control.ring, permit=permit, country=country)
            make = partial(make_trunk, bus=bus, data_dir=data_dir, ring=tests.ring, in_use=in_use)
            control.trunks += map(make, config.lines)
            names = {trunk.number: trunk.name for trunk in control.trunks}
            postbox = Postbox(store.mailbox, names=names, country=country, now=now, rules=rules)
            for trunk in control.trunks:
                trunk.attend = postbox.attend
            doctor = Doctor(control.trunks, tests, sysfs=config.lab.sysfs, now=now, casebook=store.casebook)
            rounds = Rounds(doctor, config.doctor, store.casebook, now=now)
            cloud = None
            if config.cloud is not None:
                make_cloud = partial(Cloud, store.outbox, store.uploads, config.cloud, user_agent=USER_AGENT, tls=tls)
                cloud = make_cloud(allow_loopback=config.lab.allow_loopback, now=now)
            if not store.uploads.wanted and (count := await store.uploads.give_up()):
                log.warning("recordings wait no more: there is no cloud that takes them", count=count)
            health = Health(media, control.trunks, store.outbox, Notifier(), cloud, shelf)
            metrics = Metrics(health, control.trunks, store.outbox)
            org_id = config.sfvopi.org_id
            ours = config.phonevoice
            await store.tenants.name_box(project=ours.project, name=ours.name, email=ours.email)
            terms = Terms(signup=ours.signup, rules=rules, allow_loopback=config.lab.allow_loopback)
            api = make_api(
                control,
                store,
                shelf,
                links,
                health,
                metrics,
                postbox,
                org_id=org_id,
                country=country,
                now=now,
                terms=terms if ours.enabled else None,
            )
            gateway = Gateway(allow_loopback=config.lab.allow_loopback, probe=config.network.probe_address)
            courier = partial(run_courier, store.outbox, user_agent=USER_AGENT, gateway=gateway, tls=tls, now=now)
            await base.start(bus.watch)
            base.start_soon(courier)
            base.start_soon(partial(store.legacy.run, now=now))
            if cloud is not None:
                base.start_soon(cloud.run)
            async with trio.open_nursery() as nursery:
                await nursery.start(shelf.run)
                await nursery.start(control.run)
                await nursery.start(postbox.run)
                nursery.start_soon(rounds.run)
                for trunk in control.trunks:
                    base.start_soon(trunk.keep)
                if local is not None:
                    local_api = make_local_api(control.trunks, bus, doctor)
                    nursery.start_soon(_answer_http, local_api, local, trio.sleep_forever)
                async with trio.open_nursery() as requests:
                    addresses = await requests.start(_answer_http, api, listener, partial(_told, signals))
                    if not await store.has_key():
                        log.warning("nobody has a key for the API yet: `branchline token create` makes one")
                    log.info("ready", version=VERSION, listen=addresses, lines=[trunk.name for trunk in control.trunks])
                    nursery.start_soon(health.watch)
                nursery.cancel_scope.cancel()
            base.cancel_scope.cancel()
    log.info("stopped")


def whom_to_trust(ca: Path | None) -> tuple[ssl.SSLContext, Trust]:
    """Whom we believe, over HTTP and in streams: the authorities of the system, and whom that file names besides. It
    reads the system's whole store of certificates. Raises Unable.
    """
    tls = ssl.create_default_context()
    try:
        if ca is not None:
            tls.load_verify_locations(cafile=ca)
        return tls, Trust(ca)
    except (ssl.SSLError, ValueError) as exc:
        raise Unable(f"network.ca: {ca}: has no certificate that can be read") from exc
    except OSError as exc:
        raise Unable(f"network.ca: {ca}: {exc.strerror}") from exc


def make_directories(data_dir: Path) -> Path:
    """Returns the one for recordings. Ours alone, as there are numbers and voices in them. Raises Unable."""
    recordings = data_dir / "recordings"
    try:
        # `mode` is not that of parents.
        for directory in (data_dir, recordings):
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        (data_dir / ANNOUNCEMENTS).mkdir(exist_ok=True)
    except OSError as exc:
        # Of a file that has the name of a directory mkdir(2) says only that it is there.
        reason = os.strerror(errno.ENOTDIR) if isinstance(exc, FileExistsError) else exc.strerror
        raise Unable(f"service.data_dir: {exc.filename}: {reason}") from exc
    return recordings


def make_key(path: Path) -> bytes:
    """Made once: with another key nobody could follow an address that was given out. Raises Unable."""
    try:
        if not path.exists():
            draft = path.with_suffix(".part")
            draft.unlink(missing_ok=True)
            with open(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600), "wb") as file:
                file.write(secrets.token_bytes(KEY_BYTES))
                file.flush()
                os.fsync(file.fileno())
            draft.rename(path)
            sync_directory(path.parent)
        key = path.read_bytes()
    except OSError as exc:
        raise Unable(f"service.data_dir: {path}: {exc.strerror}") from exc
    if len(key) != KEY_BYTES:
        raise Unable(f"service.data_dir: {path} is damaged; without it a new one is made, and older addresses are void")
    return key


@contextmanager
def _alone_in(data_dir: Path) -> Iterator[None]:
    """Of two services on one database, each would end the other's calls."""
    directory = os.open(data_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            raise Unable(f"service.data_dir: {data_dir} is in use by another branchline") from exc
        yield
    finally:
        os.close(directory)


@contextmanager
def _bound(address: str) -> Iterator[socket.socket]:
    host, _, port = address.rpartition(":")
    family = socket.AF_INET6 if host.startswith("[") else socket.AF_INET
    try:
        listener = socket.create_server((host.strip("[]"), int(port)), family=family)
    except OSError as exc:
        # Not by its number: a name that nobody knows has one of another table.
        reason = str(exc.strerror).partition(" (while")[0]
        raise Unable(f"service.listen: {address}: {reason}") from exc
    with listener:
        yield listener


async def _told(signals: AsyncIterator[int]) -> None:
    number = await anext(signals)
    log.info("stopping", signal=signal.Signals(number).name)


async def _answer_http(
    api: ASGIApp,
    listener: socket.socket,
    stopped: Callable[[], Awaitable[None]],
    *,
    task_status: trio.TaskStatus[list[str]] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Until `stopped` returns and all requests are answered."""
    settings = hypercorn.Config()
    settings.bind = [f"fd://{listener.detach()}"]
    settings.graceful_timeout = GRACE_S
    settings.keep_alive_timeout = IDLE_S
    settings.accesslog = None
    # Given a name only, hypercorn would write to stderr in a form of its own, besides.
    settings.errorlog = logging.getLogger("hypercorn.error")
    await hypercorn.trio.serve(
        api,  # type: ignore[arg-type]  # its own notion of the same
        settings,
        mode="asgi",
        shutdown_trigger=stopped,
        task_status=task_status,
    )
