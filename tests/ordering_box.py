"""A box whose lines a test speaks for, and one order by PhoneVoice's REST, given twice with the same Idempotency-Key.

Run by tests/test_repeats.py. Each line on stdin is `{"path", "order", "crash"}`: with `crash` the first life, which
dies as it is told; without, the life after it. A fork of this process, which has all that is slow to load, lives it,
and prints what it was answered. The line after that is how it ended.
"""

import json
import os
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog
import trio

from appliance.tenants import BOX, digest_of
from tests.line_box import NOON
from tests.phonevoice_box import HOOK, Asker
from tests.relay_town import SPARE
from tests.switchboard import DESK, INITIATE, LEGACY, RECIPIENT, SUPERVISOR, open_switchboard

TOKEN = "pv_project_" + "0" * 43
KEY = {"Idempotency-Key": "once"}
# Against a box that hangs; nothing is measured with it.
LIMIT_S = 60


@dataclass(frozen=True)
class Order:
    """`made` counts what comes of it."""

    path: str
    body: dict[str, Any]
    made: str


CALLS = "SELECT count(*) FROM calls"
ORDERS = {
    "number": Order(
        "/api/v1/relay_numbers",
        {"phone_number": SPARE},
        f"SELECT count(*) FROM relay_numbers WHERE number = '{SPARE}'",
    ),
    "webhook": Order("/api/v1/webhooks", HOOK, "SELECT count(*) FROM subscriptions"),
    "agent": Order(INITIATE, {"agent_id": 1, "recipient_phone_number": RECIPIENT}, CALLS),
    "bridge": Order(
        INITIATE,
        {"call_type": "bridge", "inbound_phone_number": DESK, "recipient_phone_number": RECIPIENT},
        CALLS,
    ),
    "older": Order(LEGACY, {"phone_number": RECIPIENT, "assistant_id": "desk"}, CALLS),
    "monitor": Order(
        "/api/v1/calls/1/add_monitor",
        {"supervisor_phone": SUPERVISOR},
        "SELECT count(*) FROM legs WHERE role = 'monitor'",
    ),
}


async def live(path: Path, order: Order, crash: str | None) -> None:
    with trio.fail_after(LIMIT_S):
        async with open_switchboard(path) as desk:
            store = desk.town.store
            if crash is not None:
                await store.tenants.add_token(digest_of(TOKEN), project=BOX, name="crm", at=NOON)
                await desk.agent()
                if "monitor" in order.path:
                    await desk.talking()
                os.environ["BRANCHLINE_CRASH_AT"] = crash
            asker = Asker(desk.ours.http, store, BOX, TOKEN)
            for _ in range(2):
                answer = await asker.send("POST", order.path, order.body, KEY)
                replayed = "Idempotency-Replayed" in answer.headers
                print(json.dumps([answer.status_code, replayed, answer.text]), flush=True)


def main() -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    for line in sys.stdin:
        order = json.loads(line)
        if (pid := os.fork()) == 0:
            try:
                trio.run(live, Path(order["path"]), ORDERS[order["order"]], order["crash"])
            except BaseException:
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        _, ended = os.waitpid(pid, 0)
        print(os.waitstatus_to_exitcode(ended), flush=True)


if __name__ == "__main__":
    main()
