"""`branchline bench`: the simulated bench alone, for any program to use, and the orders to a bench that is up.

    branchline bench up --line ec25:+33700000002 --subscriber +33783484044=answer --write-config box.toml
    branchline bench dial --from +33783484044 --to +33700000002 --play words.wav --record heard.wav --hang-up-after 10

Everything prints JSON; what cannot be done is said on stderr, with status 1.
"""

import base64
import json
import re
import signal
import sys
import tempfile
import wave
from pathlib import Path
from typing import Annotated, Any

import trio
import typer

from hil.bench import MODELS, Bench, BenchLine
from hil.control import ask, default_path, line_facts, serve
from hil.network import NetworkError
from hil.plans import ordered
from hil.subscriber import Behaviour

bench = typer.Typer(help="A simulated telephone network with modems on ptys.", no_args_is_help=True)

Control = Annotated[Path | None, typer.Option(help=f"The bench's socket; {default_path()} by default.")]
Number = Annotated[str, typer.Argument(help="A subscriber's number.")]
Modem = Annotated[str, typer.Argument(help="A modem's line, by its name: `status` shows them.")]

# ITU-T E.164; eight digits at least, as the service wants them.
E164 = re.compile(r"\+[1-9]\d{7,14}")


class Mistake(Exception):
    """Something that the caller of a command can put right."""


@bench.command()
def up(
    line: Annotated[
        list[str],
        typer.Option(
            help="MODEL:NUMBER, as ec25:+33700000002; once for each modem. An analog line is one of its number's "
            "country, or MODEL:NUMBER@COUNTRY[,polarity][,echo=DB][,noise=DBM0]."
        ),
    ],
    name: Annotated[list[str] | None, typer.Option(help="The lines' names, in order; line1, line2...")] = None,
    subscriber: Annotated[
        list[str] | None,
        typer.Option(help="NUMBER[=answer|busy|no-answer|reject], once for each phone; it answers by default."),
    ] = None,
    directory: Annotated[Path | None, typer.Option(help="Where the ports' names stand; a new one by default.")] = None,
    control: Control = None,
    write_config: Annotated[Path | None, typer.Option(help="A configuration for `branchline run`.")] = None,
    by_usb: Annotated[bool, typer.Option("--by-usb", help="It names USB ports, on a USB of the bench's own.")] = False,
) -> None:
    """Stays in the foreground until a signal; one line of JSON on stdout says that all is there."""
    with _plainly():
        lines = [_line(text, index, name or []) for index, text in enumerate(line)]
        phones = [_phone(text) for text in subscriber or []]
        with tempfile.TemporaryDirectory(prefix="branchline-bench-") as fresh:
            place = (directory or Path(fresh)).absolute()
            place.mkdir(parents=True, exist_ok=True)
            trio.run(_stay_up, lines, phones, place, control or default_path(), write_config, by_usb)


async def _stay_up(
    lines: list[BenchLine],
    phones: list[tuple[str, Behaviour]],
    place: Path,
    control: Path,
    write_config: Path | None,
    by_usb: bool,
) -> None:
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with Bench(lines, directory=place) as running, trio.open_nursery() as nursery:
            for number, behaviour in phones:
                running.subscriber(running.network.international(number), behaviour=behaviour)
            await nursery.start(serve, running, control)
            facts = [line_facts(line) for line in running.lines]
            if write_config:
                await trio.Path(write_config).write_text(_config(running, place, by_usb=by_usb))
            _print({"lines": facts, "control": str(control), "environment": running.cards.environment})
            async for _ in signals:
                nursery.cancel_scope.cancel()
                return


def _line(text: str, index: int, names: list[str]) -> BenchLine:
    model, _, rest = text.partition(":")
    number, _, ways = rest.partition("@")
    if model not in MODELS or not number:
        raise Mistake(f"--line {text}: MODEL:NUMBER is wanted, with a model of: {', '.join(MODELS)}")
    if not E164.fullmatch(number):
        raise Mistake(f"--line {text}: the number must be an international one, like +33700000002")
    try:
        plan = ordered(ways) if ways else None
    except ValueError as exc:
        raise Mistake(f"--line {text}: {exc}") from exc
    return BenchLine(names[index] if index < len(names) else f"line{index + 1}", number, model, plan=plan)


def _phone(text: str) -> tuple[str, Behaviour]:
    number, _, behaviour = text.partition("=")
    if not number.removeprefix("+").isdecimal():
        raise Mistake(f"--subscriber {text}: {number!r} is no telephone number")
    try:
        return number, Behaviour(behaviour or "answer")
    except ValueError:
        known = ", ".join(each.value for each in Behaviour)
        raise Mistake(f"--subscriber {text}: a phone's behaviour is one of: {known}") from None


def _config(running: Bench, place: Path, *, by_usb: bool) -> str:
    text = ""
    if running.cards.running:
        variables = " ".join(f"{name}={value}" for name, value in running.cards.environment.items())
        text += f"# For its sound cards: {variables} branchline run --config ...\n"
    text += f'[service]\ndata_dir = {json.dumps(str(place / "data"))}\nlisten = "127.0.0.1:8080"\n'
    for line in running.lines:
        # Where a call's sound is on a card, that one is no device of this USB.
        on_usb = by_usb and line.usb_port is not None and "card" not in line.addresses
        text += line.configured(usb=str(line.usb_port)) if on_usb else line.configuration
    text += "\n[lab]\nallow_loopback = true    # so that webhooks and streams may go to this machine itself\n"
    if by_usb:
        text += f"sysfs = {json.dumps(str(running.usb.sysfs))}\ndev = {json.dumps(str(running.usb.dev))}\n"
    return text


@bench.command()
def dial(
    from_: Annotated[str, typer.Option("--from", help="Who calls; a new phone when nobody has the number.")],
    to: Annotated[str, typer.Option(help="Whom.")],
    play: Annotated[Path | None, typer.Option(help="A WAV to say once answered: 8000 Hz, mono, 16 bits.")] = None,
    record: Annotated[Path | None, typer.Option(help="Where to write what was heard, as a WAV.")] = None,
    dtmf: Annotated[str, typer.Option(help="Keys to press once answered.")] = "",
    hang_up_after: Annotated[float | None, typer.Option(help="Seconds after the answer.")] = None,
    control: Control = None,
) -> None:
    """Places a call and waits for its end."""
    request = {"do": "dial", "from": from_, "to": to, "dtmf": dtmf, "hang_up_after_s": hang_up_after}
    with _plainly():
        if play:
            request["play"] = base64.b64encode(read_wav(play)).decode()
        request["record"] = record is not None
        answer = _ask(control, request)
        heard = answer.pop("heard", None)
        if record and heard is not None:
            write_wav(record, base64.b64decode(heard))
        _print(answer)


@bench.command()
def answer(number: Number, control: Control = None) -> None:
    """Answers the call that rings at a phone."""
    with _plainly():
        _print(_ask(control, {"do": "answer", "number": number}))


@bench.command("hang-up")
def hang_up(number: Number, control: Control = None) -> None:
    """Ends the calls of a phone."""
    with _plainly():
        _print(_ask(control, {"do": "hang-up", "number": number}))


@bench.command()
def sms(
    from_: Annotated[str, typer.Option("--from", help="Who writes; a new phone when nobody has the number.")],
    to: Annotated[str, typer.Option(help="To whom.")],
    text: Annotated[str, typer.Option(help="What; in as many parts as it takes.")],
    report: Annotated[bool, typer.Option("--report", help="Ask for a delivery report.")] = False,
    shuffle: Annotated[bool, typer.Option("--shuffle", help="Its parts come in any order.")] = False,
    twice: Annotated[bool, typer.Option("--twice", help="Each part comes twice.")] = False,
    lose: Annotated[int | None, typer.Option(help="This part never comes.")] = None,
    control: Control = None,
) -> None:
    """Sends a short message from a phone; what phones receive is in `status`."""
    request = {"do": "sms", "from": from_, "to": to, "text": text, "report": report}
    with _plainly():
        _print(_ask(control, {**request, "shuffle": shuffle, "twice": twice, "lose": lose}))


@bench.command()
def unplug(line: Modem, control: Control = None) -> None:
    """Pulls a modem out, calls and all."""
    with _plainly():
        _print(_ask(control, {"do": "unplug", "line": line}))


@bench.command()
def plug(line: Modem, control: Control = None) -> None:
    """Puts a modem back in."""
    with _plainly():
        _print(_ask(control, {"do": "plug", "line": line}))


@bench.command()
def fault(
    line: Modem,
    name: Annotated[str, typer.Argument(help="What goes wrong; without it, all names there are.")] = "",
    value: Annotated[str, typer.Argument(help="A number, a text, NAME=NUMBER: as the fault wants it.")] = "",
    clear: Annotated[bool, typer.Option("--clear", help="All is well again.")] = False,
    control: Control = None,
) -> None:
    """Lets something go wrong with a line, until it is cleared."""
    with _plainly():
        _print(_ask(control, {"do": "fault", "line": line, "name": name, "value": value, "clear": clear}))


@bench.command()
def status(control: Control = None) -> None:
    """Shows lines, phones and calls."""
    with _plainly():
        _print(_ask(control, {"do": "status"}))


def read_wav(path: Path) -> bytes:
    """Raises: Mistake: unreadable, or another format than the network's."""
    try:
        with wave.open(str(path), "rb") as file:
            found = (file.getframerate(), file.getnchannels(), 8 * file.getsampwidth())
            if found != (8000, 1, 16):
                rate, channels, bits = found
                raise Mistake(
                    f"{path}: {rate} Hz, {channels} channel(s), {bits} bits; a phone speaks 8000 Hz, mono, 16 bits"
                )
            return file.readframes(file.getnframes())
    except (OSError, wave.Error, EOFError) as exc:
        raise Mistake(f"{path}: {exc}") from exc


def write_wav(path: Path, samples: bytes) -> None:
    with wave.open(str(path), "wb") as file:
        file.setframerate(8000)
        file.setnchannels(1)
        file.setsampwidth(2)
        file.writeframes(samples)


def _ask(control: Path | None, request: dict[str, Any]) -> dict[str, Any]:
    answer = trio.run(ask, control or default_path(), request)
    if "error" in answer:
        raise Mistake(answer["error"])
    return answer


def _print(answer: dict[str, Any]) -> None:
    print(json.dumps(answer), flush=True)


class _plainly:
    """Mistakes in plain words, and status 1."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, exc: BaseException | None, trace: object) -> None:
        while isinstance(exc, BaseExceptionGroup) and len(exc.exceptions) == 1:
            exc = exc.exceptions[0]
        if isinstance(exc, Mistake | NetworkError | OSError):
            print(f"branchline bench: {exc}", file=sys.stderr)
            raise typer.Exit(1)


if __name__ == "__main__":
    bench()
