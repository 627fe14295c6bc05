"""PhoneVoice's REST of the real service: from its console to a number that relays; and what its log never has."""

import json
import signal
import subprocess
from functools import partial

import httpx
import trio

from tests.rig import COMMAND, PATIENCE_S, Rig, open_rig, together

NUMBERS, WEBHOOKS = "/api/v1/relay_numbers", "/api/v1/webhooks"


async def branchline(rig: Rig, *words: str) -> str:
    """As somebody types it on the box, beside the service."""
    order = [COMMAND, *words, "--config", rig.config]
    return (await trio.run_process(order, capture_stdout=True, stderr=subprocess.DEVNULL)).stdout.decode().strip()


@together
async def test_a_project_is_served_by_its_token_and_no_log_has_it_nor_any_secret(tmp_path):
    async with open_rig(tmp_path, linked=False) as rig:
        rig.config.write_text(rig.config.read_text().replace("[service]\n", '[service]\nlog_level = "debug"\n'))
        run = await rig.start()
        await branchline(rig, "project", "create", "shop")
        token = await branchline(rig, "token", "create", "crm", "--project", "shop")
        async with httpx.AsyncClient(base_url=run.url, timeout=PATIENCE_S, trust_env=False) as http:
            email = "desk@example.com"
            assert (await http.post("/api/signup", json={"email": email})).status_code == 201
            code = (await run.logged("signup code", email=email))["code"]
            user = (await http.post("/api/confirm", json={"email": email, "code": code})).json()["user_token"]
            assert (await http.get(f"/api/whoami?user_token={user}")).json()["email"] == email

            ask = partial(http.request, params={"api_token": token})
            assert (await ask("GET", "/api/whoami")).json()["project"]["name"] == "shop"
            (free,) = (await ask("GET", f"{NUMBERS}/available")).json()["available_numbers"]
            assert free["phone_number"] == rig.number
            order = {"phone_number": rig.number, "forward_to": "+33612345678"}
            bought = await ask("POST", NUMBERS, json=order, headers={"Idempotency-Key": "1"})
            assert (bought.status_code, bought.json()["relay_enabled"]) == (201, True)
            hook = {"url": f"{rig.customer.url}/hook"}
            made = (await ask("POST", WEBHOOKS, json=hook)).json()
            for path in ("/api/v1/nothing", f"{NUMBERS}/9", f"{NUMBERS}/1/", f"{WEBHOOKS}?page=0"):
                await ask("GET", path)
            # The power goes.
            run.send(signal.SIGKILL)
            await run.ended()

        again = await rig.launch()
        async with httpx.AsyncClient(base_url=again.url, timeout=PATIENCE_S, trust_env=False) as http:
            repeated = await http.post(
                NUMBERS, json=order, headers={"Authorization": f"Bearer {token}", "Idempotency-Key": "1"}
            )
            assert repeated.headers["Idempotency-Replayed"] == "true"
            assert repeated.json() == bought.json()
        assert again.faults == run.faults == []
        said = json.dumps([*run.log.all, *again.log.all])
        assert not [secret for secret in (token, user, made["secret"]) if secret in said]
        kept = json.dumps(rig.rows("SELECT * FROM tokens"))
        assert token not in kept
        assert user not in kept
