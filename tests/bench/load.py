"""What else a box has to do while calls are up, all without pause: Python burnt, facts committed, a recording encoded.

    python -m tests.bench.load PORT KEY APP WAV      until it is told to `end`; then says {"requests": n}

A client that asks for /healthz again as soon as it has its answer, one that reads a page of the calls that were, one
that gives APP a new name, which is a commit, and the service's own encoder at its own niceness, on WAV, over and over.
"""

import http.client
import json
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from hil.box import API
from tests.bench.apart import say

PAGE = 100


class Load:
    def __init__(self, port: int, key: str, app: str, wav: Path) -> None:
        self.requests = 0
        self._port = port
        self._key = key
        self._app = app
        self._wav = wav
        self._ended = threading.Event()
        self._encoder: subprocess.Popen[bytes] | None = None

    def ask(self) -> None:
        self._request("GET", "/healthz", lambda: None)

    def look_back(self) -> None:
        self._request("GET", f"/box/v1/calls?limit={PAGE}", lambda: None)

    def commit(self) -> None:
        self._request("PATCH", f"{API}/apps/{self._app}", lambda: json.dumps({"name": f"Bench {self.requests}"}))

    def _request(self, method: str, path: str, body: Callable[[], str | None]) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=10)
        headers = {"X-API-Key": self._key, "Content-Type": "application/json"}
        while not self._ended.is_set():
            connection.request(method, path, body(), headers)
            answer = connection.getresponse()
            answer.read()
            if answer.status != 200:
                raise RuntimeError(f"{method} {path} answered {answer.status}")
            self.requests += 1
        connection.close()

    def encode(self) -> None:
        mp3 = self._wav.with_suffix(".mp3")
        command = ["nice", "-n", "19", sys.executable, "-m", "appliance.recording", str(self._wav), str(mp3)]
        while not self._ended.is_set():
            self._encoder = subprocess.Popen(command, stdout=subprocess.DEVNULL)
            self._encoder.wait()

    def end(self) -> None:
        self._ended.set()
        if self._encoder is not None:
            self._encoder.kill()


def main() -> None:
    load = Load(int(sys.argv[1]), sys.argv[2], sys.argv[3], Path(sys.argv[4]))
    works = (load.ask, load.look_back, load.commit, load.encode)
    threads = [threading.Thread(target=work, daemon=True) for work in works]
    for thread in threads:
        thread.start()
    # Also the end of its input is one.
    sys.stdin.readline()
    load.end()
    for thread in threads:
        thread.join()
    say({"requests": load.requests})


if __name__ == "__main__":
    main()
