"""What a configuration says: lines and their places, webhooks, the cloud, and what is doubted without being wrong."""

from datetime import time
from pathlib import Path

import pydantic
import pytest

from appliance.config import Config, Keeping, Service
from appliance.configfile import doubts
from appliance.ingest import Window
from drivers.models import Sound
from tests.configs import CLOUD, DEVICES, LINE, SECRET, SERVICE, WEBHOOK, problems, read, with_place, with_webhook


def test_the_least_configuration_has_every_default():
    assert read(SERVICE) == Config(
        service=Service(data_dir="/var/lib/branchline", listen="127.0.0.1:8080", log_level="info", recordings=True)
    )
    assert read(SERVICE).sfvopi.org_id == 1
    assert read(SERVICE).sfvopi.default_country == "FR"
    assert not read(SERVICE).lab.allow_loopback


def test_a_whole_configuration():
    config = read(
        SERVICE
        + 'listen = "[::]:80"\nlog_level = "debug"\nrecordings = false\n'
        + 'public_url = "https://box.example/voice"\n'
        + "[recordings]\nkeep_days = 90\nmax_mib = 20000\nkeep_free_mib = 1024\n"
        + LINE
        + WEBHOOK
        + 'events = ["phone_call.*", "sms.received"]\nname = "crm"\n'
        + '[sfvopi]\norg_id = 7\ndefault_country = "IN"\n[lab]\nallow_loopback = true\n'
    )
    assert config.service.data_dir == Path("/var/lib/branchline")
    assert config.service.public_url == "https://box.example/voice"
    assert config.recordings == Keeping(keep_days=90, max_mib=20000, keep_free_mib=1024)
    assert config.lines[0].at == Path("/dev/serial/by-path/modem-if02")
    assert config.webhooks[0].events == ("phone_call.*", "sms.received")
    assert config.webhooks[0].key == "crm"
    assert (config.sfvopi.org_id, config.sfvopi.default_country, config.lab.allow_loopback) == (7, "IN", True)


@pytest.mark.parametrize(
    ("keys", "sound"),
    [
        ({"usb": '"1-1.2"'}, Sound.PCM),
        ({"imei": '"867698040000018"'}, Sound.PCM),
        ({"usb": '"1-1.2"', "imei": '"867698040000018"', "iccid": '"89330123456789012345"'}, Sound.PCM),
        ({"at": '"/a"', "pcm": '"/b"', "imei": '"867698040000018"'}, Sound.PCM),
        ({"usb": '"1-1.2"', "card": '"usb"'}, Sound.CARD),
        ({"usb": '"1-1.2"', "card": '"1-1.3"', "model": '"a7672"'}, Sound.CARD),
        ({"at": '"/a"', "card": '"USB Audio"', "model": '"sim800"', "pin": '"0000"'}, Sound.CARD),
        ({"usb": '"2-1"', "model": '"v253"', "country": '"GB"', "polarity": "true", "silence_s": "60"}, Sound.AT),
        ({"at": '"/a"', "model": '"v253"'}, Sound.AT),
    ],
)
def test_a_line_has_a_place_and_a_way_for_its_audio(keys, sound):
    (line,) = read(SERVICE + with_place(**keys)).lines
    assert line.sound(DEVICES[line.model]) is sound


def test_two_modems_that_are_their_own_sound_cards_have_two():
    line = with_place(usb='"1-1.2"', card='"usb"')
    assert read(SERVICE + line + with_place(usb='"1-1.3"', card='"usb"', name='"b"', number='"+33700000003"'))


def test_a_pin_is_in_no_representation_and_no_message():
    assert "1357" not in repr(read(SERVICE + with_place(usb='"1-1"', pin='"1357"')))
    assert "13579x" not in str(problems(SERVICE + with_place(usb='"1-1"', pin='"13579x"')))


def test_a_tty_whose_number_changes_is_doubted():
    said = list(doubts(read(SERVICE + with_place(at='"/dev/ttyUSB2"', pcm='"/dev/serial/by-path/x"'))))
    assert said == [
        'lines.1.at: /dev/ttyUSB2 changes with each reset; usb = "..." does not (`branchline lines`)',
    ]


def test_values_are_frozen():
    with pytest.raises(pydantic.ValidationError):
        read(SERVICE).service.recordings = False


def test_a_webhook_without_a_name_is_known_by_its_address():
    assert read(SERVICE + WEBHOOK).webhooks[0].key == "https://crm.example/hook"


def test_a_webhook_is_not_called_as_those_that_are_made_over_the_api():
    for name in ("subscription:1", "legacy:1"):
        text = SERVICE + WEBHOOK + f'name = "{name}"\n'
        (problem,) = problems(text)
        assert problem.startswith("webhooks.1.name: ")


def test_the_probe_is_a_host_and_a_port():
    network = read(SERVICE + '[network]\nprobe = "[2001:db8::1]:443"\nca = "/etc/branchline/ca.pem"\n').network
    assert network.probe_address == ("2001:db8::1", 443)
    assert read(SERVICE).network.probe_address is None
    assert problems(SERVICE + '[network]\nprobe = "example"\n')[0].startswith("network.probe: ")


def test_the_secret_is_in_no_representation_and_no_message():
    assert SECRET not in repr(read(SERVICE + WEBHOOK))
    assert SECRET not in str(problems(SERVICE + with_webhook(secrets=f'"{SECRET}"', events="[]")))
    assert "tooshort" not in str(problems(SERVICE + with_webhook(secret='"tooshort"')))


@pytest.mark.parametrize(
    "url",
    [
        "https://crm.example/" + "a" * 2028,
        "http://crm.lan:8000/hook?key=a%20b",
        "http://192.168.1.9/hook",
        "https://[2606:4700::1]/",
    ],
)
def test_an_address_that_events_may_go_to(url):
    assert read(SERVICE + with_webhook(url=f'"{url}"')).webhooks[0].url == url


def test_a_lab_may_send_to_itself():
    config = read(SERVICE + with_webhook(url='"http://127.0.0.1:9000/"') + "[lab]\nallow_loopback = true\n")
    assert config.webhooks[0].url == "http://127.0.0.1:9000/"


README = Path(__file__).resolve().parents[1] / "README.md"


@pytest.mark.skipif(not README.exists(), reason="no README.md in this tree")
def test_the_configurations_of_the_readme_hold():
    samples = [block.split("```")[0] for block in README.read_text().split("```toml\n")[1:]]
    assert samples
    for sample in samples:
        read(sample)


def test_what_will_hardly_do_what_was_meant_is_doubted():
    assert list(doubts(read(SERVICE + WEBHOOK))) == []
    lan = with_webhook(url='"http://192.168.1.2/hook"', events='["phone_call.*"]')
    named = with_webhook(url='"http://crm.example/hook"', events='["phone_call.transcript"]')
    assert list(doubts(read(SERVICE + lan + named))) == [
        'webhooks.2.events: "phone_call.transcript" is known, but this version never sends it',
        "webhooks.2.url: http is refused where crm.example is on the internet: use https there",
    ]


def test_a_cloud_takes_all_that_webhooks_do_at_any_time():
    cloud = read(SERVICE + CLOUD).cloud
    assert cloud is not None
    assert cloud.url == "https://ingest.example/box"
    assert (cloud.events, cloud.recordings, cloud.window, cloud.bandwidth_kib_s) == (("*",), True, None, None)
    assert cloud.webhook is not None
    assert (cloud.webhook.key, cloud.webhook.url) == ("cloud", cloud.url)


def test_a_cloud_may_be_a_bucket_and_have_its_hours():
    keys = 'events = []\nwindow = "22:00-06:00"\nbandwidth_kib_s = 16\n'
    cloud = read(SERVICE + f'[cloud]\npresign = "https://api.example/presign?b=1"\ntoken = "{SECRET}"\n' + keys).cloud
    assert cloud is not None
    assert cloud.window == Window(time(22), time(6))
    assert cloud.webhook is None


def test_the_clouds_token_is_in_no_representation_and_no_message():
    assert SECRET not in repr(read(SERVICE + CLOUD))
    assert SECRET not in str(problems(SERVICE + CLOUD + 'window = "x"\n'))
    assert "not so" not in str(problems(SERVICE + CLOUD.replace(SECRET, "not so, as it has blanks")))


def test_a_cloud_that_is_not_encrypted_is_doubted():
    (said,) = doubts(read(SERVICE + CLOUD.replace("https", "http")))
    assert said == "cloud.url: http is refused where ingest.example is on the internet: use https there"
