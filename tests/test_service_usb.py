"""Lines found where they are plugged in, by the whole service on a USB of its own."""

from tests.rig import Client, Rig, Run, open_rig, together
from tests.test_service_lines import call_works

NOTHING = "nothing is plugged in at USB port 1-1.1"


async def shown(run: Run) -> list[dict[str, object]]:
    async with Client(run) as client:
        lines: list[dict[str, object]] = (await client.health())["lines"]
        return lines


async def pulled_out_in_a_call(rig: Rig) -> None:
    call = rig.phone.dial(rig.number)
    await call.answered()
    await (await rig.voice.connection()).next("media")
    await rig.line.unplug()
    await call.ended()
    await rig.customer.event("phone_call.error")


@together
async def test_a_modem_that_comes_back_under_other_names_is_the_same_line(tmp_path):
    async with open_rig(tmp_path, by="usb") as rig:
        run = await rig.start()
        (before,) = await shown(run)
        assert before["place"] == "usb 1-1.1"
        await pulled_out_in_a_call(rig)
        await run.logged("line lost", error=NOTHING)
        (gone,) = await shown(run)
        assert (gone["state"], gone["problem"]) == ("down", NOTHING)

        await rig.line.plug()
        await run.logged(f"{rig.line.name}: idle", times=2)
        (after,) = await shown(run)
        assert after["place"] == "usb 1-1.1"
        assert {before["at"], before["sound"]}.isdisjoint({after["at"], after["sound"]})
        assert (await run.logged("line ready"))["line"] == "line1"
        await call_works(rig)
        assert run.faults == []


@together
async def test_a_modem_that_is_plugged_in_somewhere_else_is_found_by_its_imei(tmp_path):
    async with open_rig(tmp_path, by="imei", lines=2) as rig:
        run = await rig.start()
        assert [line["place"] for line in await shown(run)] == ["usb 1-1.1", "usb 1-1.2"]
        await pulled_out_in_a_call(rig)
        rig.line.usb_port = "2-1.4"
        await rig.line.plug()
        await run.logged(f"{rig.line.name}: idle", times=2)
        assert [line["place"] for line in await shown(run)] == ["usb 2-1.4", "usb 1-1.2"]
        for which in (0, 1):
            await call_works(rig, which=which)
        assert run.faults == []


@together
async def test_a_modem_that_is_plugged_in_after_the_start_is_a_line_like_any_other(tmp_path):
    async with open_rig(tmp_path, by="usb") as rig:
        await rig.line.unplug()
        run = await rig.launch()
        await run.logged("line lost", error=NOTHING)
        await rig.line.plug()
        ready = await run.logged("line ready")
        assert ready["line"] == "line1"
