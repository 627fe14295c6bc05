"""What else a box has to do while calls are up: its API asked without pause, and a recording encoded at the same time.

    python -m tests.bench.load PORT WAV      until it is told to `end`; then says {"requests": n}

One client that asks for /healthz again as soon as it has its answer, and the service's own encoder at its own
niceness, on WAV, over and over.
"""

import http.client
import subprocess
import sys
import threading
from pathlib import Path

from tests.bench.apart import say


class Load:
    def __init__(self, port: int, wav: Path) -> None:
        self.requests = 0
        self._port = port
        self._wav = wav
        self._ended = threading.Event()
        self._encoder: subprocess.Popen[bytes] | None = None

    def ask(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=10)
        while not self._ended.is_set():
            connection.request("GET", "/healthz")
            connection.getresponse().read()
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
    load = Load(int(sys.argv[1]), Path(sys.argv[2]))
    threads = [threading.Thread(target=work, daemon=True) for work in (load.ask, load.encode)]
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
