"""Records what callers say and writes it down: a WAV and a text for each call, in the directory `calls`.

    pip install fastapi uvicorn websockets pocketsphinx
    python examples/transcriber.py --host bot.example.com

Then make an app whose answer_url is http://bot.example.com:9000/answer (README, "Tell the box what to do"), and call.
On the internet, put a proxy with a certificate before both ports, and say where it has the second:
--audio wss://bot.example.com/audio, for one.
pocketsphinx needs nothing but itself and understands little English on a telephone: put a better ear in `transcribe`.
"""

import argparse
import asyncio
import base64
import io
import json
import wave
from pathlib import Path

import uvicorn
import websockets
from fastapi import FastAPI
from pocketsphinx import Decoder, Segmenter

RATE_HZ = 16000

parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
parser.add_argument("--host", default="127.0.0.1", help="the name by which the box finds this machine")
parser.add_argument("--port", type=int, default=9000, help="of the webhook; audio is one above")
parser.add_argument("--directory", type=Path, default=Path("calls"))
parser.add_argument("--audio", help="where the box finds the audio, if not at ws://HOST:PORT+1/")
options = parser.parse_args()
AUDIO_URL = options.audio or f"ws://{options.host}:{options.port + 1}/"
web = FastAPI()


@web.post("/answer")
async def answer() -> dict:
    """The caller is only listened to, so the stream needs one direction."""
    return {"stream": {"url": AUDIO_URL, "codec": "L16", "sample_rate": RATE_HZ, "direction": "INBOUND"}}


def transcribe(path: Path) -> str:
    """16-bit mono at 16 kHz: what recognisers like, and what the box makes of a telephone's 8 kHz."""
    ear, phrases = Decoder(samprate=RATE_HZ), []
    with wave.open(str(path)) as file:
        sound = io.BytesIO(file.readframes(file.getnframes()))
    for phrase in Segmenter(sample_rate=RATE_HZ).segment(sound):
        ear.start_utt()
        ear.process_raw(phrase.pcm, full_utt=True)
        ear.end_utt()
        phrases += [ear.hyp().hypstr] if ear.hyp() else []
    return " ".join(phrases)


async def listen(socket: websockets.ServerConnection) -> None:
    """Until the call is over, or the connection; it comes back as the same call, whose WAV is then written anew."""
    call_id, sound = "", bytearray()
    async for message in socket:
        event = json.loads(message)
        if event["event"] == "start":
            call_id = event["callId"]
        elif event["event"] == "media":
            sound += base64.b64decode(event["media"]["payload"])
    path = options.directory / f"{call_id}.wav"
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, RATE_HZ, 0, "NONE", ""))
        file.writeframes(sound)
    text = await asyncio.to_thread(transcribe, path)
    path.with_suffix(".txt").write_text(text + "\n")
    print(f"{call_id}: {len(sound) / 2 / RATE_HZ:.1f} s: {text}", flush=True)


async def main() -> None:
    options.directory.mkdir(parents=True, exist_ok=True)
    async with websockets.serve(listen, "", options.port + 1):
        await uvicorn.Server(uvicorn.Config(web, host="0.0.0.0", port=options.port, log_level="warning")).serve()


asyncio.run(main())
