"""Lines that go and come back under a running service, and modems that talk nonsense or nothing at all."""

from hil.network import State
from tests.rig import Client, Rig, open_rig, together


async def call_works(rig: Rig, which: int = 0) -> None:
    call = rig.phone.dial(rig.bench.lines[which].number)
    await call.answered()
    voice = await rig.voice.connection()
    uuid = (await voice.next("start"))["callId"]
    await voice.next("media")
    call.hang_up()
    assert (await rig.customer.post("/hangup", call_uuid=uuid)).json["call_status"] == "COMPLETED"


@together
async def test_a_modem_that_is_pulled_out_ends_its_call_and_is_back_when_plugged_in(tmp_path):
    async with open_rig(tmp_path) as rig:
        run = await rig.start()
        call = rig.phone.dial(rig.number)
        await call.answered()
        voice = await rig.voice.connection()
        uuid = (await voice.next("start"))["callId"]
        await voice.next("media")

        await rig.line.unplug()
        await call.ended()
        ended = (await rig.customer.post("/hangup", call_uuid=uuid)).json
        error = await rig.customer.event("phone_call.error")
        assert (ended["call_status"], ended["hangup_cause"]) == ("FAILED", "27")
        assert error["data"]["ended_reason"] == "line_lost"
        # Told again once it is recorded.
        assert rig.customer.events[:2] == ["phone_call.started", "phone_call.error"]
        async with Client(run) as client:
            (line,) = (await client.health())["lines"]
            assert (line["state"], line["losses"]) == ("down", 1)

            await rig.line.plug()
            await run.logged(f"{rig.line.name}: idle", times=2)
            (line,) = (await client.health())["lines"]
            assert (line["name"], line["number"], line["state"]) == ("line1", rig.number, "idle")
        await call_works(rig)
        assert run.faults == []


@together
async def test_a_line_that_stays_away_is_logged_once(tmp_path):
    async with open_rig(tmp_path) as rig:
        await rig.line.unplug()
        run = await rig.launch()
        why = f"{rig.line.at_path}: no such device"
        await run.logged("line lost", error=why)
        await rig.line.plug()
        await run.logged(f"{rig.line.name}: idle")
        assert [line["error"] for line in run.lines("line lost")] == [why]


@together
async def test_a_modem_that_talks_nonsense_in_a_call_does_not_end_it(tmp_path):
    async with open_rig(tmp_path) as rig:
        run = await rig.start()
        call = rig.phone.dial(rig.number)
        await call.answered()
        voice = await rig.voice.connection()
        for noise in (
            b"\xff\x00noise\r\n",
            b'+CLCC: 1,0,"',
            b"\r\n+CME ERROR: what\r\n",
            b"OK\r\nOK\r\n",
            b"\r\nRI",
        ):
            rig.line.modem.inject(noise)
            await voice.next("media")
        rig.line.modem.inject(b"\r\n")
        await call.press("5")
        assert (await voice.next("dtmf"))["digit"] == "5"
        assert call.state is State.ACTIVE
        call.hang_up()
        assert (await rig.customer.post("/hangup")).json["call_status"] == "COMPLETED"
        assert run.lines("line lost") == run.faults == []


@together
async def test_a_modem_that_sends_keys_without_end_does_not_take_the_service_with_it(tmp_path):
    async with open_rig(tmp_path) as rig:
        run = await rig.start()
        rig.customer.replies["/answer"] = rig.stream(keep_call_alive=True)
        call = rig.phone.dial(rig.number)
        (await rig.voice.connection()).close()
        await run.logged("stream ended")
        for _ in range(10):
            rig.line.modem.inject(b"\r\n+QTONEDET: 53\r\n\r\n+QTONEDET: 54\r\n" * 25)
        await run.logged("keys are lost: nobody reads them")
        call.hang_up()
        assert (await rig.customer.post("/hangup")).json["call_status"] == "COMPLETED"
        await call_works(rig)
        assert len(run.lines("keys are lost: nobody reads them")) == 1
        assert run.faults == []


@together
async def test_half_an_answer_does_not_end_a_call(tmp_path):
    async with open_rig(tmp_path) as rig:
        run = await rig.start()
        call = rig.phone.dial(rig.number)
        await call.answered()
        voice = await rig.voice.connection()
        # The next list of calls breaks off; a module that is silent after that is brought in step again.
        rig.line.faults.cut_at = 5
        await run.logged(f"{rig.line.name}: no readable list of calls")
        await call.press("5")
        assert (await voice.next("dtmf"))["digit"] == "5"
        call.hang_up()
        assert (await rig.customer.post("/hangup")).json["call_status"] == "COMPLETED"
        assert run.lines("line lost") == run.faults == []


@together
async def test_a_modem_that_falls_silent_leaves_other_lines_alone_and_comes_back_by_itself(tmp_path):
    async with open_rig(tmp_path, lines=2) as rig:
        run = await rig.start()
        rig.line.faults.deaf = True
        async with Client(run) as client:
            request = await client.place(rig, "+33612345678")
            await call_works(rig, which=1)
            ended = (await rig.customer.post("/hangup", request_uuid=request)).json
            assert ended["call_status"] == "FAILED"
            await run.logged("line lost", line=rig.line.name)
            assert [line["state"] for line in (await client.health())["lines"]] == ["down", "idle"]
            rig.line.faults.deaf = False
            await run.logged(f"{rig.line.name}: idle", times=2)
        await call_works(rig)
        assert run.faults == []


@together
async def test_a_modem_that_loses_its_answers_at_hang_up_does_not_keep_the_call(tmp_path):
    async with open_rig(tmp_path, lines=5) as rig:
        run = await rig.start()
        calls = {}
        for lost, line in enumerate(rig.bench.lines, 1):
            calls[line.number] = rig.bench.subscriber(f"+3378348405{lost}").dial(line.number)
            voice = await rig.voice.connection()
            await voice.next("media")
            line.faults.lost_finals = lost
            voice.close()
        for number, call in calls.items():
            await call.ended()
            assert (await rig.customer.post("/hangup", to=number)).json["call_status"] == "COMPLETED"
        assert run.faults == []


@together
async def test_a_phone_that_rang_for_too_long_stops_ringing_however_slow_the_modem_is(tmp_path):
    async with open_rig(tmp_path) as rig:
        run = await rig.start()
        callee = rig.bench.subscriber("+33612345678", behaviour="no-answer")
        async with Client(run) as client:
            await client.place(rig, callee.number, ring_timeout=1)
            await run.logged("call", state="alerting")
            rig.line.faults.delay_s = 4
            assert (await rig.customer.post("/hangup")).json["call_status"] == "NO_ANSWER"
            request = await client.place(rig, callee.number)
            assert (await rig.customer.post("/hangup", request_uuid=request)).json["call_status"] == "BUSY"
            await callee.calls[0].ended()


@together
async def test_a_call_whose_modem_gives_no_sound_goes_on_and_the_log_says_so_once(tmp_path):
    async with open_rig(tmp_path) as rig:
        run = await rig.start()
        call = rig.phone.dial(rig.number)
        voice = await rig.voice.connection()
        # Nobody has said anything.
        await run.logged("sound alarm", alarm="digital silence")
        rig.line.modem.stop_sound()
        await run.logged("sound alarm", alarm="no downlink")
        await call.press("5")
        assert (await voice.next("dtmf"))["digit"] == "5"
        call.hang_up()
        assert (await rig.customer.post("/hangup")).json["call_status"] == "COMPLETED"
        alarms = [line["alarm"] for line in run.log.all if line["level"] == "warning"]
        assert alarms == ["digital silence", "no downlink"]
