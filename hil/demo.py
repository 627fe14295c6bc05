"""The main job, proved with no hardware: `./dev demo`.

    phones ── simulated network ── simulated modems ══ ptys ══ the service ──── webhooks, WebSocket ──── a customer
    (speech)                                              (a process of its own)                        (on loopback)

`--keep` leaves all of it running, with addresses and commands to try, until Ctrl-C.
"""

import argparse
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import trio
from rich.console import Console

from hil import control
from hil.bench import Bench, BenchLine
from hil.box import COMMAND, Box
from hil.customer import EVENTS, VoiceServer, open_webhooks
from hil.listening import Sound, at_peak, read_wav
from hil.proofs import CALLEE, CALLER, ENGAGED, LINES, SECRET, STOPPED, TEXTS, TITLES, Proofs
from hil.report import Report

TOOLS = ("espeak-ng", "openssl")
# Loud speech, and far from clipping.
SPEECH_DBFS = -6

TO_TRY = """\
everything goes on until Ctrl-C, in {directory}
  the service    {box.url}/healthz           log: {box.log}
  its key        {box.key}
  the customer   webhooks at {webhooks.url}, voice server at {voice.url} (it plays back what it hears)
to try, in another terminal:
  curl -s {box.url}/healthz
  curl -s {box.url}/superfone/sfvopi/apps -H 'X-API-Key: {box.key}'
  {command} bench status --control {socket}
  {command} bench dial --control {socket} --from {caller} --to {line} --dtmf 12# --hang-up-after 5
  curl -s {box.url}/superfone/sfvopi/calls -H 'X-API-Key: {box.key}' \\
       -d '{{"from": "{line}", "to": "{callee}", "answer_url": "{webhooks.url}/answer"}}'
  tail -f {box.log}
"""


async def demonstrate(report: Report, console: Console, directory: Path, *, keep: bool) -> None:
    speech = {text: await spoken(text, directory) for text in TEXTS}
    lines = [BenchLine(name, number) for name, number in LINES.items()]
    (directory / "voice").mkdir()
    voice = VoiceServer(directory / "voice")
    async with (
        Bench(lines, directory=directory) as bench,
        open_webhooks(lambda: {"url": voice.url, "codec": "PCMA", "sample_rate": 8000}) as webhooks,
        _background() as nursery,
    ):
        bench.subscriber(CALLER)
        bench.subscriber(CALLEE, answers_after_s=0.6)
        bench.subscriber(ENGAGED, behaviour="busy")
        await nursery.start(voice.run)
        box = Box(directory, bench.lines, events_url=webhooks.url + EVENTS, secret=SECRET)
        try:
            await Proofs(report, bench, box, webhooks, voice, speech, nursery).run()
            if keep:
                socket = directory / "bench.sock"
                await nursery.start(control.serve, bench, socket)
                text = TO_TRY.format(
                    directory=directory,
                    box=box,
                    webhooks=webhooks,
                    voice=voice,
                    command=COMMAND,
                    socket=socket,
                    caller=CALLER,
                    callee=CALLEE,
                    line=bench.lines[0].number,
                )
                console.print(text, markup=False, highlight=False, soft_wrap=True)
                await _interrupted()
            with report.chapter(), report.proof(STOPPED) as proof:
                status, took_s = await box.stop()
                proof.figure(f"exit status {status} after {took_s:.1f} s")
                proof.expect(status == 0, "exit status 0 after SIGTERM", status)
                proof.expect(not box.remains(), "no process of it left", "one")
                hanging = [line.name for line in bench.lines if line.modem.calls]
                proof.expect(not hanging, "every modem on hook", f"a call on {', '.join(hanging)}")
        finally:
            await box.kill()


@asynccontextmanager
async def _background() -> AsyncIterator[trio.Nursery]:
    async with trio.open_nursery() as nursery:
        yield nursery
        nursery.cancel_scope.cancel()


async def _interrupted() -> None:
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async for _ in signals:
            return


async def spoken(text: str, directory: Path) -> Sound:
    path = directory / "speech.wav"
    await trio.run_process(["espeak-ng", "-v", "en", "-s", "160", "-w", str(path), text])
    try:
        return at_peak(read_wav(path), SPEECH_DBFS)
    finally:
        path.unlink()


def main() -> int:
    parser = argparse.ArgumentParser(prog="./dev demo", description=__doc__.partition("\n")[0])
    parser.add_argument("--keep", action="store_true", help="leave it running, and say how to play with it")
    keep = parser.parse_args().keep
    console = Console()
    if missing := [tool for tool in (*TOOLS, str(COMMAND)) if shutil.which(tool) is None]:
        console.print(f"demo: {', '.join(missing)} missing; ./dev demo installs what it needs", soft_wrap=True)
        return 1
    # Whoever ends us ends what we started, too.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    report = Report(console, TITLES)
    directory = Path(tempfile.mkdtemp(prefix="branchline-demo-"))
    began = time.monotonic()
    try:
        trio.run(lambda: demonstrate(report, console, directory, keep=keep))
    except KeyboardInterrupt:
        console.print("interrupted")
    console.print()
    console.print(report.table())
    took_s = time.monotonic() - began
    verdict = "[green]all held[/]" if report.held else "[bold red]not all held[/]"
    console.print(f"{verdict}, {took_s:.0f} s")
    if report.held and not keep:
        shutil.rmtree(directory)
    else:
        console.print(f"logs, audio and recordings are in {directory}", soft_wrap=True)
    return 0 if report.held else 1


if __name__ == "__main__":
    sys.exit(main())
