"""Three webhook receivers who know what they have been told, in a process of their own.

python -m tests.bench.judges      says {"ports": [prompt, slow, unwell]}; the word `told` is answered by a list of what
                                  each has taken: {"told", "doubled", "disordered"}

The slow one thinks for 50 ms, the unwell one's first twenty answers are 500. "told" counts what was told at least once,
"disordered" the calls of which something came after what happened later, unless it had been refused before.
"""

import asyncio
import json
import sys
from dataclasses import dataclass, field
from functools import partial

from tests.bench.apart import say
from tests.bench.receiver import ANSWER, Receiver

SICK = b"HTTP/1.1 500 Unwell\r\nContent-Length: 0\r\n\r\n"
ORDER = {"phone_call.started": 0, "phone_call.no-answer": 1, "phone_call.completed": 1}


@dataclass
class Judge:
    think_s: float = 0
    refusals: int = 0
    told: set[tuple[int, int]] = field(default_factory=set)
    latest: dict[int, int] = field(default_factory=dict)
    refused: set[int] = field(default_factory=set)
    disordered: set[int] = field(default_factory=set)
    doubled: int = 0

    def hear(self, body: bytes) -> bytes:
        event = json.loads(body)
        call: int = event["data"]["id"]
        place = ORDER[event["type"]] + event["data"]["revision"] - 1
        if self.refusals:
            self.refusals -= 1
            self.refused.add(call)
            return SICK
        self.doubled += (call, place) in self.told
        self.told.add((call, place))
        if place < self.latest.get(call, 0) and call not in self.refused:
            self.disordered.add(call)
        self.latest[call] = max(place, self.latest.get(call, 0))
        return ANSWER

    def report(self) -> dict[str, int]:
        return {"told": len(self.told), "doubled": self.doubled, "disordered": len(self.disordered)}


class Court(Receiver):
    def __init__(self, judge: Judge) -> None:
        self._judge = judge

    def answer(self, body: bytes) -> None:
        asyncio.get_running_loop().call_later(self._judge.think_s, self._transport.write, self._judge.hear(body))


async def main() -> None:
    loop = asyncio.get_running_loop()
    words = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(words), sys.stdin)
    judges = [Judge(), Judge(think_s=0.05), Judge(refusals=20)]
    servers = [await loop.create_server(partial(Court, judge), "127.0.0.1", 0) for judge in judges]
    say({"ports": [server.sockets[0].getsockname()[1] for server in servers]})
    while await words.readline():
        say([judge.report() for judge in judges])
    for server in servers:
        server.close()


if __name__ == "__main__":
    asyncio.run(main())
