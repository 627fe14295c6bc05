"""The command `branchline`."""

import logging
import sys
from hashlib import sha256
from pathlib import Path
from secrets import token_urlsafe
from typing import Annotated, NoReturn

import structlog
import trio
import typer
from structlog.typing import Processor

from appliance import app
from appliance.config import Config, ConfigError, parse
from appliance.database import StoreError
from appliance.store import open_store
from drivers.models import MODELS
from hil.cli import bench

commands = typer.Typer(
    help="SIM cards as programmable voice lines.",
    no_args_is_help=True,
    add_completion=False,
    # A plain traceback is for logs, and shows no values: there are keys among them.
    pretty_exceptions_enable=False,
)
tokens = typer.Typer(help="Keys for the API.", no_args_is_help=True)
commands.add_typer(tokens, name="token")
commands.add_typer(bench, name="bench")

ConfigFile = Annotated[Path, typer.Option("--config", help="The configuration, a TOML file.", metavar="FILE")]
DEFAULT_CONFIG = Path("/etc/branchline/branchline.toml")


@commands.command()
def run(config: ConfigFile = DEFAULT_CONFIG) -> None:
    """Runs the service, until SIGTERM or Ctrl-C."""
    settings = _read(config)
    _log_to_stderr(settings.service.log_level)
    try:
        trio.run(app.serve, settings)
    except* (app.Unable, StoreError) as group:
        _fail(*(str(exc) for exc in _leaves(group)))


@commands.command()
def check(config: ConfigFile = DEFAULT_CONFIG) -> None:
    """Says whether a configuration is good, and if not, which keys are at fault."""
    settings = _read(config)
    print(f"{config}: good, {len(settings.lines)} lines, {len(settings.webhooks)} webhooks")


@tokens.command("create")
def create_token(
    name: Annotated[str, typer.Argument(help="Who will use it; only for people to read.")] = "default",
    config: ConfigFile = DEFAULT_CONFIG,
) -> None:
    """Makes a key for the header X-API-Key and prints it, this once: only its digest is kept."""
    key = "sfv_key_" + token_urlsafe(32)
    settings = _read(config)

    async def add() -> None:
        settings.service.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        async with open_store(settings.service.data_dir / app.DATABASE) as store:
            await store.add_key(sha256(key.encode()).hexdigest(), name=name, at=app.now())

    try:
        trio.run(add)
    except* (OSError, StoreError) as group:
        _fail(*(str(exc) for exc in _leaves(group)))
    print(key)


def _read(config: Path) -> Config:
    try:
        return parse(config.read_text(), MODELS)
    except (OSError, UnicodeDecodeError) as exc:
        _fail(f"{config}: {getattr(exc, 'strerror', None) or exc}")
    except ConfigError as exc:
        _fail(*(f"{config}: {problem}" for problem in exc.problems))


def _fail(*problems: str) -> NoReturn:
    for problem in problems:
        print(f"branchline: {problem}", file=sys.stderr)
    raise typer.Exit(1)


def _leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    return [
        leaf for exc in group.exceptions for leaf in (_leaves(exc) if isinstance(exc, BaseExceptionGroup) else [exc])
    ]


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
