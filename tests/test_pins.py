from appliance.pins import pin_of


async def test_a_doubted_pin_is_doubted_after_a_restart_and_another_is_not(tmp_path):
    await pin_of("1234", "office", tmp_path).keep(True)
    assert pin_of("1234", "office", tmp_path).doubted
    assert not pin_of("4321", "office", tmp_path).doubted
    assert not pin_of("1234", "shop", tmp_path).doubted


async def test_a_pin_that_was_right_after_all_is_trusted_again(tmp_path):
    pin = pin_of("1234", "office", tmp_path)
    for doubted in (True, True, False, False):
        await pin.keep(doubted)
        assert pin_of("1234", "office", tmp_path).doubted is doubted


async def test_no_file_tells_a_pin(tmp_path):
    await pin_of("1234", "office", tmp_path).keep(True)
    (mark,) = tmp_path.iterdir()
    assert "1234" not in mark.name
    assert (mark.read_bytes(), mark.stat().st_mode & 0o077) == (b"", 0)
