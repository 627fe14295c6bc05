"""The main job, proved with no hardware: `./dev demo`.

    phones ── simulated network ── simulated modems ══ ptys ══ the service ──── webhooks, WebSocket ──── a customer
    (speech)                                              (a process of its own)                        (on loopback)

`--keep` leaves all of it running, with addresses and commands to try, until Ctrl-C.
"""

import argparse
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import httpx
import trio
from rich.console import Console

from hil import control
from hil.bench import Bench, BenchLine
from hil.box import COMMAND, Box
from hil.customer import ANSWER, EVENTS, Missing, VoiceServer, open_webhooks
from hil.listening import Sound, at_peak, read_wav
from hil.proofs import SECRET, STOPPED, TITLES, prove_all
from hil.report import Report
from hil.scene import BRANCH, CALLEE, CALLER, ENGAGED, LINES, OWNER, RECEPTION, SALES, TEXTS, Scene

TOOLS = ("espeak-ng", "openssl")
# Loud speech, far from clipping.
SPEECH_DBFS = -6
# Time enough for a ring webhook before it, and to be heard ringing. An answer that is much faster and says nothing is
# doubted for seconds (docs/dialing.md).
ANSWERS_AFTER_S = 1.5
# Without a terminal to ask.
LOG_COLUMNS = 120

TO_TRY = """
All of it goes on until Ctrl-C. The customer plays back what callers say.

  the service   {box.url}, key {box.key}
  webhooks      {webhooks.url}
  voice server  {voice.url}
  files         {directory}

To try in another terminal:

  curl -s {box.url}/healthz -H 'X-API-Key: {box.key}'
  curl -s {box.url}/superfone/sfvopi/apps -H 'X-API-Key: {box.key}'
  tail -f {box.log}

  {command} bench status --control {socket}
  {command} bench dial --control {socket} --from {caller} --to {reception} \\
      --dtmf 12# --record /tmp/heard.wav --hang-up-after 5
  curl -s {box.url}/superfone/sfvopi/calls -H 'X-API-Key: {box.key}' \\
      -d '{{"from": "{sales}", "to": "{callee}", "answer_url": "{answer_url}"}}'

The branch office's number, {branch}, relays to its owner, {owner}, who answers and says hello:

  {command} bench dial --control {socket} --from {caller} --to {branch} \\
      --record /tmp/heard.wav --hang-up-after 8
  curl -s {box.url}/api/v1/calls -H 'Authorization: Bearer {token}'
  curl -s -X PATCH {box.url}/api/v1/relay_numbers/1 -H 'Authorization: Bearer {token}' -d '{{"relay_enabled": false}}'

A modem that is pulled out, and plugged in again:

  {command} bench unplug reception --control {socket}
  {command} bench plug reception --control {socket}
"""


async def demonstrate(report: Report, console: Console, directory: Path, *, keep: bool) -> None:
    voice = VoiceServer(directory)
    async with AsyncExitStack() as stack:
        bench = await stack.enter_async_context(
            Bench([BenchLine(name, number) for name, number in LINES.items()], directory=directory)
        )
        bench.subscriber(CALLER)
        bench.subscriber(CALLEE, answers_after_s=ANSWERS_AFTER_S)
        bench.subscriber(ENGAGED, behaviour="busy")
        bench.subscriber(OWNER, answers_after_s=ANSWERS_AFTER_S)
        webhooks = await stack.enter_async_context(
            open_webhooks(lambda: {"url": voice.url, "codec": "PCMA", "sample_rate": 8000})
        )
        nursery = await stack.enter_async_context(_background())
        await nursery.start(voice.run)
        box = Box(directory, bench.lines, events_url=webhooks.url + EVENTS, secret=SECRET)
        stack.push_async_callback(box.kill)
        # Ctrl-C leaves out what is left to prove; the service is stopped in its order all the same.
        with trio.CancelScope() as interruptible:
            nursery.start_soon(_cancel_on_signal, interruptible)
            speech = {text: await _spoken(text, directory) for text in TEXTS}
            scene = Scene(report, bench=bench, box=box, webhooks=webhooks, voice=voice, speech=speech, nursery=nursery)
            await prove_all(scene)
            if keep and box.running:
                socket = directory / "bench.sock"
                await nursery.start(control.serve, bench, socket)
                addresses = {"box": box, "webhooks": webhooks, "voice": voice, "directory": directory, "socket": socket}
                numbers = {"caller": CALLER, "callee": CALLEE, "reception": RECEPTION, "sales": SALES, "branch": BRANCH}
                known = {"answer_url": webhooks.url + ANSWER, "owner": OWNER}
                known["token"] = scene.project.token if scene.project else "(there is no project)"
                text = TO_TRY.format(command=COMMAND, **known, **addresses, **numbers)
                console.print(text, markup=False, highlight=False, soft_wrap=True)
                await trio.sleep_forever()
        if box.started:
            await _stop(report, bench, box, stack, directory)


async def _stop(report: Report, bench: Bench, box: Box, stack: AsyncExitStack, directory: Path) -> None:
    with report.chapter(), report.proof(STOPPED) as proof:
        if not box.running:
            raise Missing(f"expected the service to run still; it ended with status {box.status}; {box.last_words()}")
        try:
            media = (await box.health())["media"]
            proof.figure(f"media clock: {media['ticks']} ticks, {media['skipped']} skipped")
        except (httpx.HTTPError, ValueError) as exc:
            proof.expect(False, "an answer from /healthz", repr(exc))
        status, took_s = await box.stop()
        proof.figure(f"exit status {status} after {took_s:.1f} s")
        proof.expect(status == 0, "exit status 0 after SIGTERM", status)
        proof.expect(not box.remains(), "no process of the service left", "at least one")
        off_hook = [line.name for line in bench.lines if line.modem.calls]
        proof.expect(not off_hook, "every modem on hook", f"a call on {', '.join(off_hook)}")
        await stack.aclose()
        names = [line.at_path.name for line in bench.lines if line.at_path.is_symlink()]
        proof.expect(not names, "no modem left", ", ".join(names))


@asynccontextmanager
async def _background() -> AsyncIterator[trio.Nursery]:
    async with trio.open_nursery() as nursery:
        yield nursery
        nursery.cancel_scope.cancel()


async def _cancel_on_signal(scope: trio.CancelScope) -> None:
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async for _ in signals:
            scope.cancel()


async def _spoken(text: str, directory: Path) -> Sound:
    path = directory / "speech.wav"
    await trio.run_process(["espeak-ng", "-v", "en", "-s", "160", "-w", str(path), text])
    return at_peak(read_wav(path), SPEECH_DBFS)


def main() -> int:
    parser = argparse.ArgumentParser(prog="./dev demo", description=__doc__.partition("\n")[0])
    parser.add_argument("--keep", action="store_true", help="leave it running, and say how to play with it")
    keep = parser.parse_args().keep
    console = Console()
    if not console.is_terminal:
        console.width = LOG_COLUMNS
    if missing := [str(tool) for tool in (*TOOLS, COMMAND) if shutil.which(tool) is None]:
        console.print(f"missing: {', '.join(missing)}; ./dev demo installs what it needs", soft_wrap=True)
        return 1
    report = Report(console, TITLES)
    directory = Path(tempfile.mkdtemp(prefix="branchline-demo-"))
    began = time.monotonic()
    try:
        trio.run(lambda: demonstrate(report, console, directory, keep=keep))
    finally:
        console.print()
        console.print(report.table())
        verdict = "[green]all held[/]" if report.held else "[bold red]not all held[/]"
        console.print(f"\n{verdict}, {time.monotonic() - began:.0f} s")
        if not report.held and (load := os.getloadavg()[0]) > (cores := os.cpu_count() or 1):
            console.print(
                f"this machine is busy with other work (load {load:.1f} on {cores} cores): sound waits for none"
            )
        if report.held and not keep:
            shutil.rmtree(directory)
        else:
            console.print(f"logs, audio and recordings: {directory}", soft_wrap=True)
    return 0 if report.held else 1


if __name__ == "__main__":
    sys.exit(main())
