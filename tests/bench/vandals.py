"""Voice servers that nobody wants, in a process of their own: each connection is dealt with as its path says.

python -m tests.bench.vandals       says {"port": n}, lives until the end of its input

/stall      takes the handshake, and never reads
/flood      reads, and sends audio and checkpoints as fast as they are taken, for ever
/vanish     resets the connection after a second; and so each that comes again
"""

import base64
import contextlib
import os
import socket
import struct
import sys
import threading
import time

from tests.bench.apart import say
from tests.bench.voice import FRAME_BYTES, message, noise, shake_hands

KINDS = ("stall", "flood", "vanish")
# After the box: what is to be seen is what they do to it, and not what they cost its machine.
NICENESS = 19
VANISH_AFTER_S = 1.0
FLOOD_FRAMES = 100
# Closed with one, a connection is reset.
NO_LINGER = struct.pack("ii", 1, 0)


def serve(tcp: socket.socket, flood: bytes) -> None:
    with tcp, contextlib.suppress(OSError):
        path = shake_hands(tcp)
        tcp.settimeout(None)
        match path:
            case "/stall":
                threading.Event().wait()
            case "/flood":
                threading.Thread(target=read, args=(tcp,), daemon=True).start()
                while True:
                    tcp.sendall(flood)
            case "/vanish":
                time.sleep(VANISH_AFTER_S)
                tcp.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)


def read(tcp: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while tcp.recv(65536):
            pass


def main() -> None:
    os.nice(NICENESS)
    audio = base64.b64encode(noise(0)[:FRAME_BYTES]).decode()
    play = message("playAudio", media={"contentType": "audio/PCMA", "sampleRate": 8000, "payload": audio})
    flood = FLOOD_FRAMES * play + message("checkpoint", name="flood")
    listener = socket.create_server(("127.0.0.1", 0), backlog=256)
    say({"port": listener.getsockname()[1]})
    threading.Thread(target=accept, args=(listener, flood), daemon=True).start()
    sys.stdin.read()


def accept(listener: socket.socket, flood: bytes) -> None:
    while True:
        threading.Thread(target=serve, args=(listener.accept()[0], flood), daemon=True).start()


if __name__ == "__main__":
    main()
