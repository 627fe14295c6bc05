"""Each fault of a configuration is named with its key, in words; and no text ends otherwise."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.config import LineConfig, Service, Webhook
from appliance.configfile import ConfigError
from drivers.countries import PROFILES
from tests.configs import CLOUD, LINE, SECRET, SERVICE, WEBHOOK, problems, read, with_line, with_place, with_webhook

ONE_FAULT = {
    "": "service: is missing",
    "[service]": "service.data_dir: is missing",
    "service = 1": "service: must be one section that begins with [service]",
    '[service]\ndata_dir = "data"': ('service.data_dir: must be a path from the root, like "/var/lib/branchline"'),
    "[service]\ndata_dir = 1": 'service.data_dir: must be a path from the root, like "/var/lib/branchline"',
    SERVICE + 'listen = "8080"': 'service.listen: "8080" is not an address and a port, like "127.0.0.1:8080"',
    SERVICE + 'listen = "::1:80"': 'service.listen: "::1:80" is not an address and a port, like "127.0.0.1:8080"',
    SERVICE + 'listen = "a:65536"': 'service.listen: "a:65536" is not an address and a port, like "127.0.0.1:8080"',
    SERVICE + "listen = 8080": "service.listen: must be text in quotes",
    SERVICE + 'log_level = "loud"': "service.log_level: must be 'debug', 'info', 'warning' or 'error'",
    SERVICE + 'recordings = "yes"': "service.recordings: must be true or false, without quotes",
    SERVICE + "recording = true": 'service.recording: unknown key, did you mean "recordings"?',
    SERVICE + "zzz = 1": "service.zzz: unknown key (known: data_dir, listen, log_level, recordings, public_url)",
    SERVICE + "[[line]]": 'line: unknown key, did you mean "lines"?',
    SERVICE + "[lines]": "lines: must be sections that each begin with [[lines]]",
    SERVICE + with_line(name='"Büro"'): 'lines.1.name: "Büro" must be 1 to 32 of a-z, 0-9 and -',
    SERVICE + with_line(name='""'): 'lines.1.name: "" must be 1 to 32 of a-z, 0-9 and -',
    SERVICE + with_line(name=f'"{"a" * 33}"'): f'lines.1.name: "{"a" * 33}" must be 1 to 32 of a-z, 0-9 and -',
    SERVICE
    + with_line(model='"sim7700"'): 'lines.1.model: unknown model "sim7700" (known: a7672, e1550, ec25, sim800, v253)',
    SERVICE + with_line(model=""): "lines.1.model: is missing",
    SERVICE + with_line(number='"0612345678"'): (
        'lines.1.number: "0612345678" is not an international number, like "+33612345678"'
    ),
    SERVICE + with_line(number="33612345678"): "lines.1.number: must be text in quotes",
    SERVICE + with_line(at='"ttyUSB2"'): ('lines.1.at: must be a path from the root, like "/var/lib/branchline"'),
    SERVICE + with_line(prt='"x"'): (
        "lines.1.prt: unknown key (known: name, model, number, usb, imei, iccid, at, pcm, card, pin, country, polarity,"
        " silence_s, call_waiting, hide_number, limits)"
    ),
    SERVICE + with_line(at="", pcm=""): "lines.1.usb: is missing (or imei, or at): where is the modem?",
    SERVICE + with_line(pcm=""): "lines.1.pcm: is missing (or card)",
    SERVICE + with_line(pcm="", model='"sim800"'): "lines.1.card: is missing",
    SERVICE
    + with_line(model='"v253"'): "lines.1.pcm: the audio of a voice modem comes by the tty of its commands (at)",
    SERVICE + with_line(pcm="", card='"x"', model='"e1550"'): (
        "lines.1.card: the audio of Huawei E1550 comes by a tty (pcm)"
    ),
    SERVICE + with_line(card='"x"'): "lines.1.card: goes without pcm: there is one way for the audio",
    SERVICE + with_line(pcm="", card='"usb"'): (
        'lines.1.card: "usb" is the modem that usb or imei finds; here it must be a name'
    ),
    SERVICE + with_line(pcm="", usb='"1-1.2"'): "lines.1.at: goes without usb, which finds the ports by itself",
    SERVICE + with_line(at="", usb='"1-1.2"'): "lines.1.pcm: goes with at; usb finds the ports by itself",
    SERVICE + "[recordings]\nkeep_days = 0": "recordings.keep_days: must be at least 1",
    # With less than 200 MiB nothing is recorded, and so nothing would ever go.
    SERVICE + "[recordings]\nkeep_free_mib = 100": "recordings.keep_free_mib: must be at least 256",
    SERVICE + 'public_url = "box.example"': "service.public_url: is not an absolute http or https URL",
    SERVICE + 'public_url = "https://box.example/?a=b"': (
        'service.public_url: must be no more than where this box is reached, like "https://box.example"'
    ),
    SERVICE + with_place(usb='"1.2"'): (
        'lines.1.usb: "1.2" is not a USB port, like "1-1.2": `branchline lines` shows them'
    ),
    SERVICE + with_place(imei='"86769804000001"'): "lines.1.imei: must be 15 digits",
    SERVICE + with_place(imei="867698040000018"): "lines.1.imei: must be text in quotes",
    SERVICE + with_place(usb='"1-1"', iccid='"8933"'): "lines.1.iccid: must be 18 to 20 digits",
    SERVICE + with_place(usb='"1-1"', pin='"123"'): "lines.1.pin: must be 4 to 8 digits",
    SERVICE + with_place(usb='"1-1"', model='"a7672"'): "lines.1.card: is missing",
    SERVICE + with_place(usb='"1-1"', card='"x"', model='"sim800"'): (
        "lines.1.usb: can't find SIMCom SIM800: give its tty as at"
    ),
    SERVICE + with_place(imei='"867698040000018"', model='"v253"'): (
        "lines.1.imei: a voice modem is for analog lines, and has no SIM"
    ),
    SERVICE + with_place(usb='"1-1"', pin='"1234"', model='"v253"'): (
        "lines.1.pin: a voice modem is for analog lines, and has no SIM"
    ),
    SERVICE + with_place(usb='"1-1"', polarity="true"): "lines.1.polarity: is for analog lines only",
    SERVICE + with_place(usb='"1-1"', call_waiting="1"): "lines.1.call_waiting: must be true or false, without quotes",
    SERVICE + with_place(usb='"1-1"', hide_number="true", model='"v253"'): (
        "lines.1.hide_number: a voice modem is for analog lines, and has no SIM"
    ),
    SERVICE + with_place(usb='"1-1"', silence_s="60"): "lines.1.silence_s: is for analog lines only",
    SERVICE + with_place(usb='"1-1"', silence_s="1", model='"v253"'): "lines.1.silence_s: must be at least 5",
    SERVICE + with_place(usb='"1-1"', silence_s='"x"', model='"v253"'): "lines.1.silence_s: must be a whole number",
    SERVICE + with_place(usb='"1-1"', country='"fr"'): (
        'lines.1.country: "fr" is not a country of two capital letters, like "FR" (ISO 3166)'
    ),
    SERVICE + with_place(usb='"1-1"', model='"v253"', number='"+3545812345"'): (
        f"lines.1.country: no tones are known of IS (known: {', '.join(PROFILES)})"
    ),
    SERVICE + with_place(usb='"1-1"') + with_place(usb='"1-1"', name='"b"', number='"+33700000003"'): (
        'lines.2.usb: "1-1" is taken already by lines.1.usb'
    ),
    SERVICE + '[lab]\nsysfs = "sys"': 'lab.sysfs: must be a path from the root, like "/var/lib/branchline"',
    SERVICE + LINE + with_line(number='"+33700000003"', at='"/a"', pcm='"/b"'): (
        'lines.2.name: "office" is taken already by lines.1.name'
    ),
    SERVICE + LINE + with_line(name='"b"', at='"/a"', pcm='"/b"'): (
        'lines.2.number: "+33700000002" is taken already by lines.1.number'
    ),
    SERVICE + with_line(pcm='"/dev/serial/by-path/modem-if02"'): (
        'lines.1.pcm: "/dev/serial/by-path/modem-if02" is taken already by lines.1.at'
    ),
    SERVICE
    + LINE
    + with_line(name='"b"', number='"+33700000003"', at='"/dev/serial/by-path/modem-if01"', pcm='"/b"'): (
        'lines.2.at: "/dev/serial/by-path/modem-if01" is taken already by lines.1.pcm'
    ),
    SERVICE + with_webhook(secret='"' + "s" * 23 + '"'): "webhooks.1.secret: must be at least 24 characters long",
    SERVICE + with_webhook(secret=""): "webhooks.1.secret: is missing",
    SERVICE + with_webhook(name='""'): "webhooks.1.name: must be at least 1 characters long",
    SERVICE + with_webhook(events="[]"): 'webhooks.1.events: must name at least one event; ["*"] is all',
    SERVICE + with_webhook(events='"*"'): "webhooks.1.events: must be a list",
    SERVICE + with_webhook(events='["*", 1]'): "webhooks.1.events.2: must be text in quotes",
    SERVICE + WEBHOOK + WEBHOOK: ('webhooks.2.url: "https://crm.example/hook" is taken already by webhooks.1.url'),
    SERVICE + "[sfvopi]\norg_id = 0": "sfvopi.org_id: must be at least 1",
    SERVICE + '[sfvopi]\norg_id = "1"': "sfvopi.org_id: must be a whole number",
    SERVICE + "[phonevoice]\nsignup = 1": "phonevoice.signup: must be true or false, without quotes",
    SERVICE + '[phonevoice]\nproject = ""': (
        "phonevoice.project: must not be empty nor have an @: that is how projects of users are called"
    ),
    SERVICE + '[phonevoice]\nemail = "desk"': "phonevoice.email: is not an address, like desk@example.com",
    SERVICE + "[phonevoice]\nsign_up = true": 'phonevoice.sign_up: unknown key, did you mean "signup"?',
    SERVICE + '[sfvopi]\ndefault_country = "fr"': (
        'sfvopi.default_country: "fr" is not a country of two capital letters, like "FR" (ISO 3166)'
    ),
    SERVICE + "[lab]\nallow_loopback = 1": "lab.allow_loopback: must be true or false, without quotes",
    "[service\n": "line 1, column 9: expected ']' at the end of a table declaration",
    SERVICE + "listen = 127.0.0.1:8080": ("line 3, column 15: expected newline or end of document after a statement"),
    SERVICE + 'listen = "': "end of document: unterminated string",
    SERVICE + with_line(limits="{ spend_per_month = 20 }"): (
        "lines.1.limits: spend_per_month needs a price_per_minute to count by"
    ),
    SERVICE + with_line(limits="{ minute_per_day = 60 }"): (
        'lines.1.limits.minute_per_day: unknown key, did you mean "minutes_per_day"?'
    ),
    SERVICE + '[dialing]\ndeny = ["0899*"]\n': (
        'dialing.deny: "0899*" is neither a number, like "+33899123456", nor a beginning, like "+33899*"'
    ),
    SERVICE + "[dialing]\nconcurrent_calls = 0\n": "dialing.concurrent_calls: must be at least 1",
    SERVICE + "[dialing]\nconcurrent_calls = 1.5\n": "dialing.concurrent_calls: must be a whole number",
    SERVICE + LINE + 'limits = { price_per_minute = "5 ct" }\n': "lines.1.limits.price_per_minute: must be a number",
    SERVICE + LINE + "limits = { price_per_minute = 0 }\n": "lines.1.limits.price_per_minute: must be more than 0",
    SERVICE + LINE + "limits = { minutes = 3 }\n": (
        'lines.1.limits.minutes: unknown key, did you mean "minutes_per_day"?'
    ),
    SERVICE + "[relay]\nring_s = 300\n": "relay.ring_s: must be at most 120",
    SERVICE + "[relay]\nconsents = 1\n": "relay.consents: must be a section of its own",
    SERVICE + '[relay.consents]\nde = "beep"\n': (
        'relay.consents.de: "de" is not a country of two capital letters, like "FR" (ISO 3166)'
    ),
    SERVICE + '[relay]\nconsent = "/tmp/recorded.wav"\n': (
        'relay.consent: must be "none", "beep", or a file\'s name without its directory, like "recorded.wav"'
    ),
    SERVICE + '[relay.busy]\nannouncement = "closed.mp3"\n': (
        'relay.busy.announcement: must be a file\'s name without its directory, like "closed.wav"'
    ),
    SERVICE + '[doctor]\npairs = [["office", "shop", "home"]]\n': "doctor.pairs.1: must be 2 of them at most",
    SERVICE + '[doctor]\nat = "3:30"\n': 'doctor.at: must be a time of day in quotes, like "03:30"',
    SERVICE + "[doctor]\nat = 03:30:00\n": 'doctor.at: must be a time of day in quotes, like "03:30"',
    SERVICE + '[doctor]\nlines = ["shop"]\n': "doctor.lines: no line is called shop",
    SERVICE + '[doctor]\npairs = [["shop", "home"]]\n': "doctor.pairs.1: no line is called home, shop",
    SERVICE + LINE + '[doctor]\npairs = [["office", "office"]]\n': "doctor.pairs.1: a line can't call itself",
}


@pytest.mark.parametrize("text", ONE_FAULT)
def test_a_fault_is_named_with_its_key(text):
    assert problems(text) == [ONE_FAULT[text]]


@pytest.mark.parametrize(
    "section",
    ["service", "sfvopi", "phonevoice", "dialing", "recordings", "doctor", "relay", "network", "lab"]
    + [f"relay.{what}" for what in ("no_answer", "busy", "no_line", "paused")],
)
def test_an_unknown_key_is_named_with_the_known_ones(section):
    text = (SERVICE if section == "service" else f"{SERVICE}[{section}]\n") + "zzz = 1\n"
    (problem,) = problems(text)
    assert problem.startswith(f"{section}.zzz: unknown key (known: ")


def test_an_unknown_event_is_named_with_the_known_ones():
    (problem,) = problems(SERVICE + with_webhook(events='["phone_call.rang"]'))
    assert problem.startswith('webhooks.1.events: unknown event "phone_call.rang" (known: *, line.*, ')


def test_all_problems_come_at_once():
    text = (
        SERVICE
        + 'listen = "x"\nlogs = 1\n'
        + LINE
        + with_line(model='"sim7700"', number='"12"')
        + with_webhook(secret='"short"')
    )
    assert [problem.split(": ")[0] for problem in problems(text)] == [
        "service.listen",
        "service.logs",
        "lines.2.model",
        "lines.2.number",
        "webhooks.1.secret",
        "lines.2.name",
        "lines.2.at",
        "lines.2.pcm",
    ]


def test_all_wrong_events_are_named():
    text = SERVICE + with_webhook(events='["phone_call.began", "*", "sms.sent"]')
    (problem,) = problems(text)
    assert problem.startswith('webhooks.1.events: unknown event "phone_call.began", "sms.sent" (known: *, ')


@pytest.mark.parametrize(
    "url",
    [
        "crm.example/hook",
        "//crm.example/hook",
        "ftp://crm.example/hook",
        "https://",
        "https:///hook",
        "https://crm.example:0/",
        "https://crm.example:99999/",
        "https://[::1/",
        "https://user@crm.example/",
        "https://user:secret@crm.example/",
        "https://@crm.example/",
        "https://crm.example/a b",
        "https://crm.example/é",
        "https://crm.example/" + "a" * 2029,
        "http://localhost:9000/",
        "http://127.0.0.1/",
        "http://[::1]/",
        "http://169.254.169.254/latest/meta-data",
        "http://0.0.0.0/",
        "http://8.8.8.8/",
    ],
)
def test_an_address_that_no_event_may_go_to(url):
    (problem,) = problems(SERVICE + with_webhook(url=f'"{url}"'))
    assert problem.startswith("webhooks.1.url: ")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (f'[cloud]\ntoken = "{SECRET}"\n', "cloud.url: is missing (or presign): where is the cloud?"),
        ('[cloud]\nurl = "https://a.example"\n', "cloud.token: is missing"),
        (CLOUD.replace(SECRET, "short"), "cloud.token: must be at least 16 characters long"),
        (CLOUD.replace("box/", "box?a=b"), "cloud.url: must end with its path"),
        (CLOUD.replace("https://ingest.example", "https://127.0.0.1"), "cloud.url: 127.0.0.1 is this box itself"),
        (CLOUD + 'window = "22:00"\n', 'cloud.window: must be two times of day, like "22:00-06:00"'),
        (CLOUD + "window = 22\n", 'cloud.window: must be two times of day, like "22:00-06:00"'),
        (CLOUD + "bandwidth_kib_s = 0\n", "cloud.bandwidth_kib_s: must be at least 1"),
        (CLOUD + 'events = ["sms"]\n', 'cloud.events: unknown event "sms"'),
        (CLOUD + WEBHOOK + 'name = "cloud"\n', 'webhooks.1.name: "cloud" is what the section [cloud] is called'),
    ],
)
def test_a_clouds_fault_is_named_with_its_key(text, problem):
    (said,) = problems(SERVICE + text)
    assert said.startswith(problem)


TOML = st.recursive(
    st.booleans() | st.integers() | st.text(st.characters(codec="ascii")) | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=4,
)


def toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return "'''" + "".join(c for c in value if c.isprintable() and c != "'") + "'''"
    return "[" + ", ".join(map(toml, value)) + "]" if isinstance(value, list) else repr(value)


@given(
    st.dictionaries(st.sampled_from([*Service.model_fields, "x"]), TOML),
    st.dictionaries(st.sampled_from([*LineConfig.model_fields, "x"]), TOML),
    st.dictionaries(st.sampled_from([*Webhook.model_fields, "x"]), TOML),
)
def test_any_values_at_all_end_in_a_configuration_or_in_named_problems(service, line, webhook):
    text = ""
    for header, rows in (("[service]", service), ("[[lines]]", line), ("[[webhooks]]", webhook)):
        text += header + "\n" + "".join(f"{key} = {toml(value)}\n" for key, value in rows.items())
    found: tuple[str, ...] = ()
    try:
        read(text)
    except ConfigError as exc:
        found = exc.problems or ("no problem named",)
    assert all(problem.startswith(("service.", "lines.1.", "webhooks.1.")) for problem in found)


@given(st.text())
def test_any_text_at_all_ends_in_named_problems(text):
    assert problems(text)
