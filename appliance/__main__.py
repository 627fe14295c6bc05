"""The command `branchline`."""

import json
import logging
import sys
from collections.abc import Awaitable, Callable, Sequence, Sized
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Annotated, NoReturn, TypeVar

import structlog
import trio
import typer
from rich.console import Console
from structlog.typing import Processor

from appliance import app
from appliance.chart import chart
from appliance.config import Config, Webhook
from appliance.configfile import ConfigError, doubts, parse
from appliance.database import StoreError
from appliance.health import VERSION
from appliance.inventory import look
from appliance.lines import DEVICES
from appliance.listing import listing
from appliance.local import EXAMINATION_LIMIT_S, NotAnswering, ask
from appliance.outbox import LEGACY, Target
from appliance.store import Key, Store, new_key, open_store
from appliance.subscriptions import PREFIX
from appliance.tenants import NameTaken, Token, new_token
from appliance.visit import visit
from hil.cli import bench

commands = typer.Typer(
    help="SIM cards and analog phone lines as programmable voice lines.",
    no_args_is_help=True,
    add_completion=False,
    # A plain traceback is for logs, and shows no values: there are keys among them.
    pretty_exceptions_enable=False,
)
tokens = typer.Typer(help="Keys for the API, and tokens of projects.", no_args_is_help=True)
projects = typer.Typer(help="Who uses the box by PhoneVoice's contract.", no_args_is_help=True)
webhooks = typer.Typer(help="Who is told of calls.", no_args_is_help=True)
cloud = typer.Typer(help="Where recordings are brought.", no_args_is_help=True)
commands.add_typer(tokens, name="token")
commands.add_typer(projects, name="project")
commands.add_typer(webhooks, name="webhook")
commands.add_typer(cloud, name="cloud")
commands.add_typer(bench, name="bench")


def _tell_version(wanted: bool) -> None:
    if wanted:
        print(f"branchline {VERSION}")
        raise typer.Exit


@commands.callback()
def say(
    version: Annotated[
        bool, typer.Option("--version", help="Says which version this is.", callback=_tell_version, is_eager=True)
    ] = False,
) -> None:
    pass


ConfigFile = Annotated[Path, typer.Option("--config", help="The configuration, a TOML file.", metavar="FILE")]
DEFAULT_CONFIG = Path("/etc/branchline/branchline.toml")


@commands.command()
def run(config: ConfigFile = DEFAULT_CONFIG) -> None:
    """Runs the service, until SIGTERM or Ctrl-C."""
    settings = _read(config)
    _log_to_stderr(settings.service.log_level)
    try:
        trio.run(app.serve, settings)
    except (app.Unable, StoreError) as exc:
        _fail(str(exc))
    except BaseException:
        # One line among the others, and not thirty that no log can hold together.
        structlog.get_logger(__name__).critical("died", exc_info=True)
        raise typer.Exit(1) from None


@commands.command()
def check(config: ConfigFile = DEFAULT_CONFIG) -> None:
    """Says whether a configuration is good, and if not, which keys are at fault."""
    settings = _read(config)
    for doubt in doubts(settings):
        print(f"branchline: {config}: {doubt}", file=sys.stderr)
    print(f"{config}: good, {_count(settings.lines, 'line')}, {_count(settings.webhooks, 'webhook')}")


@commands.command()
def lines(
    config: ConfigFile = DEFAULT_CONFIG,
    as_json: Annotated[bool, typer.Option("--json", help="For programs: all that is known.")] = False,
) -> None:
    """Shows what the box sees: its lines, and modems that are plugged in and no line's."""
    settings = _read(config)
    try:
        report = ask(settings.service.data_dir, "/lines") or trio.run(look, settings)
    except NotAnswering as exc:
        _fail(str(exc))
    if as_json:
        print(json.dumps(report, indent=2, ensure_ascii=False))
        return
    console = _console()
    for each in listing(report, width=console.width):
        console.print(each)


@commands.command()
def doctor(
    names: Annotated[
        list[str] | None, typer.Argument(help="Lines by name; all, if none is named.", metavar="LINE")
    ] = None,
    config: ConfigFile = DEFAULT_CONFIG,
    as_json: Annotated[bool, typer.Option("--json", help="For programs: all that was found.")] = False,
    call: Annotated[
        bool, typer.Option(help="Let each line call another one, which costs what such a call costs.")
    ] = True,
) -> None:
    """Examines lines, and says what is wrong and what to do about it. Exit code 1: something is."""
    settings = _read(config)
    there = [line.name for line in settings.lines]
    if unknown := [name for name in names or () if name not in there]:
        _fail(f"no line is called {', '.join(unknown)} (there are: {', '.join(there)})")
    order = {"lines": names or [], "calls": call}
    with Console(stderr=True).status("Examining; a test call takes half a minute ..."):
        try:
            report = ask(settings.service.data_dir, "/doctor", order, limit_s=EXAMINATION_LIMIT_S)
        except NotAnswering as exc:
            _fail(str(exc))
        if report is None:
            _log_to_stderr("error")
            report = trio.run(partial(visit, settings, names or (), calls=call))
    if as_json:
        print(json.dumps(report, indent=2, ensure_ascii=False))
    else:
        console = _console()
        for each in chart(report):
            console.print(each)
    if not report["ok"]:
        raise typer.Exit(1)


ProjectName = Annotated[
    str | None, typer.Option("--project", help="A project of PhoneVoice's, by its name or number.", metavar="PROJECT")
]


@tokens.command("create")
def create_token(
    name: Annotated[str, typer.Argument(help="Who will use it; only for people to read.")] = "default",
    project: ProjectName = None,
    config: ConfigFile = DEFAULT_CONFIG,
) -> None:
    """Makes a key for the header X-API-Key, or a project's bearer token, and prints it, this once."""

    async def create(store: Store) -> str:
        if project is None:
            key, digest = new_key()
            await store.add_key(digest, name=name, at=app.now())
            return key
        token, digest = new_token("project")
        await store.tenants.add_token(digest, project=await _project(store, project), name=name, at=app.now())
        return token

    print(_with_store(_read(config), create))


@tokens.command("list")
def list_tokens(project: ProjectName = None, config: ConfigFile = DEFAULT_CONFIG) -> None:
    """Names and dates of all keys and tokens, or of a project's; they themselves nobody knows."""

    async def look_up(store: Store) -> tuple[Sequence[Key], Sequence[Token]]:
        if project is not None:
            return (), await store.tenants.tokens(await _project(store, project))
        return await store.keys(), await store.tenants.tokens()

    keys, bearers = _with_store(_read(config), look_up)
    for key in keys:
        print(f"{key.created_at}  {key.name}{_revoked(key.revoked_at)}")
    for token in bearers:
        whose = f"user {token.holder}" if token.by_user else f"{token.name}  project {token.holder}"
        print(f"{token.created_at}  {whose}{_revoked(token.revoked_at)}")


def _revoked(at: str | None) -> str:
    return f"  revoked {at}" if at else ""


@tokens.command("revoke")
def revoke_token(
    name: Annotated[str, typer.Argument(help="All of this name; of a user, his address.")],
    project: ProjectName = None,
    config: ConfigFile = DEFAULT_CONFIG,
) -> None:
    """Makes keys, or tokens of a project or a user, void at once, also for a service at work."""

    async def revoke(store: Store) -> int:
        if project is not None:
            return await store.tenants.revoke(project=await _project(store, project), name=name, at=app.now())
        if "@" in name:
            return await store.tenants.revoke_user(name, at=app.now())
        return await store.revoke_keys(name, at=app.now())

    count = _with_store(_read(config), revoke)
    if not count:
        _fail(f"no valid {'token' if project or '@' in name else 'key'} is called {name}")
    print(f"{name}: {count} revoked")


@projects.command("create")
def create_project(
    name: Annotated[str, typer.Argument(help="What it is called, by people and here.")],
    config: ConfigFile = DEFAULT_CONFIG,
) -> None:
    """Makes a project: its numbers, webhooks, agents and calls are seen by its own tokens alone."""
    if "@" in name or not name.strip():
        _fail("a project's name is not empty, and has no @: that is how those of users are called")
    try:
        made = _with_store(_read(config), lambda store: store.tenants.add_project(name, at=app.now()))
    except NameTaken:
        _fail(f"there is a project {name} already")
    print(f"{made.name}: project {made.id}; `branchline token create --project {made.id}` makes a token")


@projects.command("list")
def list_projects(config: ConfigFile = DEFAULT_CONFIG) -> None:
    """Shows all projects, oldest first; the first is the box's own."""
    for project in _with_store(_read(config), lambda store: store.tenants.projects()):
        print(f"{project.id}  {project.created_at}  {project.name}")


async def _project(store: Store, name: str) -> int:
    found = await store.tenants.project(int(name) if name.isdecimal() else name)
    if found is None:
        _fail(f"no project is called {name}: `branchline project list` names them")
    return found.id


@commands.command()
def signups(config: ConfigFile = DEFAULT_CONFIG) -> None:
    """Shows who wants an account and waits for his code, which whoever runs the box is to give him."""
    for waiting in _with_store(_read(config), lambda store: store.tenants.signups(at=app.now())):
        print(f"{waiting.code}  {waiting.email}  until {waiting.expires_at}")


@webhooks.command("resume")
def resume_webhook(
    name: Annotated[str, typer.Argument(help="As the configuration names it, or else its url.")],
    config: ConfigFile = DEFAULT_CONFIG,
) -> None:
    """Switches a webhook on again that is off for a 410 or five days of failures; what comes from now on is told."""
    settings = _read(config)
    webhook = _webhook(config, settings, name)
    print(f"{name}: " + ("resumed" if _with_store(settings, lambda store: store.outbox.resume(webhook)) else "was on"))


@webhooks.command("log")
def show_webhook_log(
    name: Annotated[str, typer.Argument(help="As the configuration names it, or else its url; or subscription:ID.")],
    config: ConfigFile = DEFAULT_CONFIG,
) -> None:
    """Shows the last attempts to deliver, newest first."""
    settings = _read(config)
    # Those that were made over the API have no name of the configuration's.
    by_key = name.startswith((PREFIX, LEGACY))
    webhook = Target(name, "", "") if by_key else _webhook(config, settings, name)
    for entry in _with_store(settings, lambda store: store.outbox.log(webhook)):
        came = entry.error or f"{entry.code} {entry.response[:80].decode(errors='replace')!r}"
        again = f", again at {_moment(entry.next_at)}" if entry.next_at else ""
        which = f"{_moment(entry.at)}  {entry.type} {entry.event_id} try {entry.attempt}"
        print(f"{which}: {came} in {entry.duration_ms} ms{again}")


def _moment(text: str) -> str:
    """As all times are written elsewhere."""
    return datetime.fromisoformat(text).astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@cloud.command("retry")
def retry_uploads(config: ConfigFile = DEFAULT_CONFIG) -> None:
    """Has recordings wait again that the cloud refused; the service sees them within a minute."""
    settings = _read(config)
    if not settings.takes_recordings:
        _fail(f"{config}: there is no cloud that takes recordings")
    count = _with_store(settings, lambda store: store.uploads.retry())
    print(f"{count} recording{'' if count == 1 else 's'} waiting again")


def _webhook(config: Path, settings: Config, name: str) -> Webhook:
    for webhook in (*settings.webhooks, *settings.others):
        if name in (webhook.key, webhook.url):
            return webhook
    _fail(f"{config}: no webhook is called {name}")


T = TypeVar("T")


def _with_store(settings: Config, work: Callable[[Store], Awaitable[T]]) -> T:
    """Also beside a service at work on the same file."""

    async def do() -> T:
        async with open_store(settings.service.data_dir / app.DATABASE) as store:
            return await work(store)

    try:
        app.make_directories(settings.service.data_dir)
        return trio.run(do)
    except (app.Unable, StoreError) as exc:
        _fail(str(exc))


def _console() -> Console:
    """What goes on to another program is not cut to a terminal's width."""
    return Console(width=None if sys.stdout.isatty() else 200)


def _count(things: Sized, name: str) -> str:
    return f"{len(things)} {name}{'' if len(things) == 1 else 's'}"


def _read(config: Path) -> Config:
    try:
        # Some editors begin a file with a byte order mark.
        return parse(config.read_text(encoding="utf-8-sig"), DEVICES)
    except (OSError, UnicodeDecodeError) as exc:
        _fail(f"{config}: {getattr(exc, 'strerror', None) or exc}")
    except ConfigError as exc:
        _fail(*(f"{config}: {problem}" for problem in exc.problems))


def _fail(*problems: str) -> NoReturn:
    for problem in problems:
        print(f"branchline: {problem}", file=sys.stderr)
    raise typer.Exit(1)


def _log_to_stderr(level: str) -> None:
    """One line an event: for people on a terminal, JSON for journald and the like. Drivers log through `logging`."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    form: Processor = structlog.dev.ConsoleRenderer() if sys.stderr.isatty() else structlog.processors.JSONRenderer()
    handler = logging.StreamHandler()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared, processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, form]
        )
    )
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    # These tell each request and each handshake.
    for chatty in ("httpx", "httpcore", "hypercorn", "trio-websocket"):
        logging.getLogger(chatty).setLevel(logging.WARNING)


def main() -> None:
    commands()


if __name__ == "__main__":
    main()
