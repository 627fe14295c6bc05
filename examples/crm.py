"""A CRM's end of the webhooks: checks each event's signature, prints who called whom, and keeps the recordings.

    python examples/crm.py --secret whsec_... --directory recordings

Make a webhook that leads to http://crm.example.com:9000/ and take its secret (README, "A branch office"; or write both
into the box's [[webhooks]]). On the internet, put a proxy with a certificate before it.
"""

import argparse
import hashlib
import hmac
import json
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
parser.add_argument("--secret", required=True, help="the webhook's, whsec_ and all")
parser.add_argument("--directory", type=Path, default=Path("recordings"), help="for recordings")
parser.add_argument("--port", type=int, default=9000)
options = parser.parse_args()


def is_signed(header: str, body: bytes) -> bool:
    """`t=<unix seconds>,v1=<hex>`. What is older than five minutes is somebody's repeat."""
    t, _, v1 = header.removeprefix("t=").partition(",v1=")
    if not (t.isascii() and t.isdigit()) or abs(time.time() - int(t)) > 300:
        return False
    wanted = hmac.new(options.secret.encode(), f"{t}.".encode() + body, hashlib.sha256).hexdigest()
    return hmac.compare_digest(v1.encode(), wanted.encode())


def note(event: dict) -> None:
    """An event may come twice, with the same `id`: what is done here can be done twice."""
    call = event["data"]
    print(f"{event['type']}: {call.get('from')} to {call.get('to')}", flush=True)
    # The end of a call is told again, as its next revision, when its recording can be heard.
    if url := call.get("recording_url"):
        options.directory.mkdir(parents=True, exist_ok=True)
        path = options.directory / f"{call['id']}.mp3"
        with urllib.request.urlopen(url) as source:
            path.write_bytes(source.read())
        print(f"recording: {path}", flush=True)


class Receiver(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        good = is_signed(self.headers.get("Phonevoice-Signature", ""), body)
        # At once: what takes its time is done afterwards, or the box would send the event again.
        self.send_response(204 if good else 401)
        self.end_headers()
        if good:
            note(json.loads(body))

    def log_message(self, *_: object) -> None:
        pass


with ThreadingHTTPServer(("", options.port), Receiver) as server:
    server.serve_forever()
