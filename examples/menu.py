"""A voice menu: it speaks, the caller presses keys. Cuts itself short when a key comes.

    pip install fastapi uvicorn websockets numpy      (and, for its voice: apt install espeak-ng)
    python examples/menu.py --host bot.example.com

Then make an app whose answer_url is http://bot.example.com:9000/answer (README, "Tell the box what to do"), and call.
On the internet, put a proxy with a certificate before both ports, and say where it has the second:
--audio wss://bot.example.com/audio, for one.
"""

import argparse
import asyncio
import base64
import io
import json
import subprocess
import wave

import numpy as np
import uvicorn
import websockets
from fastapi import FastAPI

MENU = "Press 1 for the time at the office. Press 2 to leave. Press any other key to hear this again."

parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
parser.add_argument("--host", default="127.0.0.1", help="the name by which the box finds this machine")
parser.add_argument("--port", type=int, default=9000, help="of the webhook; audio is one above")
parser.add_argument("--audio", help="where the box finds the audio, if not at ws://HOST:PORT+1/")
options = parser.parse_args()
AUDIO_URL = options.audio or f"ws://{options.host}:{options.port + 1}/"
web = FastAPI()


@web.post("/answer")
async def answer() -> dict:
    return {"stream": {"url": AUDIO_URL, "codec": "L16", "sample_rate": 8000}}


def speech(text: str) -> str:
    """A message that has the box say this: it takes a whole sentence at once, and plays it in its own time."""
    spoken = subprocess.run(["espeak-ng", "--stdout", text], capture_output=True, check=True).stdout
    with wave.open(io.BytesIO(spoken)) as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), np.int16)
    # espeak-ng speaks at 22050 Hz, which is half a rate that the box knows.
    payload = base64.b64encode(np.repeat(samples, 2).tobytes()).decode()
    media = {"contentType": "audio/x-l16", "sampleRate": 44100, "payload": payload}
    return json.dumps({"event": "playAudio", "media": media})


async def attend(socket: websockets.ServerConnection) -> None:
    """One call: closing the socket hangs it up, after what was said has been heard."""

    async def say(text: str) -> None:
        await socket.send(json.dumps({"event": "clearAudio"}))
        await socket.send(await asyncio.to_thread(speech, text))

    async for message in socket:
        event = json.loads(message)
        match event["event"], event.get("digit"):
            case "start", _:
                await say(f"Welcome. {MENU}")
            case "dtmf", "1":
                await say("It is always time for tea.")
            case "dtmf", "2":
                await say("Goodbye.")
                return
            case "dtmf", _:
                await say(MENU)


async def main() -> None:
    async with websockets.serve(attend, "", options.port + 1):
        await uvicorn.Server(uvicorn.Config(web, host="0.0.0.0", port=options.port, log_level="warning")).serve()


asyncio.run(main())
