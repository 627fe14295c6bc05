"""What Prometheus sees of a running service."""

from collections.abc import Mapping
from importlib.metadata import version

import httpx
import trio
from prometheus_client.parser import text_string_to_metric_families

from tests.rig import KEY, PATIENCE_S, Run, open_rig, together

Labels = Mapping[str, str]


async def scrape(run: Run, **headers: str) -> httpx.Response:
    async with httpx.AsyncClient(base_url=run.url, timeout=PATIENCE_S, trust_env=False) as http:
        return await http.get("/metrics", headers=headers)


async def figures(run: Run) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    response = await scrape(run, authorization=f"Bearer {KEY}")
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
    families = text_string_to_metric_families(response.text)
    return {(each.name, frozenset(each.labels.items())): each.value for family in families for each in family.samples}


def key(name: str, **labels: str) -> tuple[str, frozenset[tuple[str, str]]]:
    return name, frozenset({"line": "line1", **labels}.items())


@together
async def test_figures_need_a_key_in_either_header(tmp_path):
    async with open_rig(tmp_path) as rig:
        run = await rig.start()
        assert (await scrape(run)).status_code == 401
        assert (await scrape(run, authorization="Bearer other")).status_code == 401
        assert (await scrape(run, **{"x-api-key": KEY})).status_code == 200


@together
async def test_a_call_and_an_outage_are_in_the_figures(tmp_path):
    async with open_rig(tmp_path, by="usb") as rig:
        run = await rig.start()
        seen = await figures(run)
        assert seen["branchline_up", frozenset()] == 1
        assert seen["branchline_info", frozenset({("version", version("branchline"))})] == 1
        assert seen[key("branchline_line_state", state="idle")] == 1
        assert seen[key("branchline_line_state", state="in use")] == 0
        assert seen[key("branchline_line_signal_dbm")] == -65
        assert seen[key("branchline_line_calls_total", direction="incoming")] == 0
        assert seen["process_resident_memory_bytes", frozenset()] > 0
        info = next(dict(labels) for name, labels in seen if name == "branchline_line_info")
        assert (info["model"], info["place"], info["operator"]) == ("ec25", "usb 1-1.1", "Orange F")

        call = rig.phone.dial(rig.number)
        await (await rig.voice.connection()).next("media")
        seen = await figures(run)
        with trio.fail_after(PATIENCE_S):
            # The first frames may be the engine's own, of silence.
            while not seen[key("branchline_call_audio_received_s")]:
                seen = await figures(run)
        assert seen[key("branchline_line_state", state="in use")] == 1
        assert seen[key("branchline_line_calls_total", direction="incoming")] == 1
        assert seen[key("branchline_line_calls_answered_total")] == 1

        await rig.line.unplug()
        with trio.fail_after(PATIENCE_S):
            await call.ended()
        await rig.line.plug()
        await run.logged("line ready")
        seen = await figures(run)
        assert seen[key("branchline_line_losses_total")] == 1
        assert seen[key("branchline_line_outage_seconds_count")] == 1
        assert 0 < seen[key("branchline_line_outage_seconds_sum")] == seen[key("branchline_line_last_outage_seconds")]
        assert seen[key("branchline_line_recoveries_total", what="reopen")] >= 1
        assert seen[key("branchline_line_recoveries_total", what="reset")] == 0
        assert run.faults == []
