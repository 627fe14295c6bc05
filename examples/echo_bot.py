"""A voice bot that says everything back to the caller, a second later.

    pip install fastapi uvicorn websockets
    python examples/echo_bot.py --host bot.example.com

Then make an app whose answer_url is http://bot.example.com:9000/answer (README, "Tell the box what to do"), and call.
On the internet, put a proxy with a certificate before both ports, and say where it has the second:
--audio wss://bot.example.com/audio, for one.
"""

import argparse
import asyncio
import json
from collections import deque

import uvicorn
import websockets
from fastapi import FastAPI, Request

DELAY_FRAMES = 50  # of 20 ms

parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
parser.add_argument("--host", default="127.0.0.1", help="the name by which the box finds this machine")
parser.add_argument("--port", type=int, default=9000, help="of the webhooks; audio is one above")
parser.add_argument("--audio", help="where the box finds the audio, if not at ws://HOST:PORT+1/")
options = parser.parse_args()
AUDIO_URL = options.audio or f"ws://{options.host}:{options.port + 1}/"
web = FastAPI()


@web.post("/answer")
async def answer(request: Request) -> dict:
    """The box has answered a call: where is its audio to go?"""
    call = await request.json()
    print(f"{call['from']} calls {call['to']}", flush=True)
    return {"stream": {"url": AUDIO_URL, "codec": "PCMA", "sample_rate": 8000}}


@web.post("/hangup")
async def hangup(request: Request) -> None:
    call = await request.json()
    print(f"{call['from']} hung up after {call['duration']} s", flush=True)


async def talk(socket: websockets.ServerConnection) -> None:
    """One call's audio, 20 ms a message: the media object that came is the one to be played."""
    waiting: deque[dict] = deque()
    async for message in socket:
        event = json.loads(message)
        if event["event"] == "media":
            waiting.append(event["media"])
        if len(waiting) > DELAY_FRAMES:
            await socket.send(json.dumps({"event": "playAudio", "media": waiting.popleft()}))


async def main() -> None:
    async with websockets.serve(talk, "", options.port + 1):
        await uvicorn.Server(uvicorn.Config(web, host="0.0.0.0", port=options.port, log_level="warning")).serve()


asyncio.run(main())
