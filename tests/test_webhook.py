import base64
import itertools
import json
import shutil
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.webhook import (
    KEEP_H,
    LONGEST_WAIT_S,
    RETRY_AFTER_S,
    Verdict,
    next_attempt,
    refusal,
    retry_after_s,
    sign,
    verdict,
)

# PhoneVoice contract, section 8.
SECRET = "whsec_test_0123456789abcdef"
T = 1780565036
BODY = (
    '{"id":"evt_0001","type":"sms.received","created_at":"2026-06-04T09:23:56Z","data":{"direction":"inbound",'
    '"from":"+33700000001","to":"+33700000002","relay_number":"+33700000002","body":"Ça va ?"}}'
).encode()
V1 = "6d3496e1aad09eef6a86551e8d0227f6a34e439d19054c40a4c3b3e0f45ae16e"

# The two ways in which published receivers verify: over the raw body, and over the body parsed and written again.
NODE_VERIFIERS = """
const crypto = require("crypto");
const {secret, header, body} = JSON.parse(require("fs").readFileSync(0, "utf8"));
const raw = Buffer.from(body, "base64").toString("utf8");
const [t, v1] = header.split(",").map((element) => element.split("=")[1]);
const verify = (signed) => crypto.timingSafeEqual(
    Buffer.from(crypto.createHmac("sha256", secret).update(`${t}.${signed}`).digest("hex")), Buffer.from(v1));
console.log(JSON.stringify([verify(raw), verify(JSON.stringify(JSON.parse(raw)))]));
"""


def test_8_after_a_week_without_internet_there_is_time_for_the_whole_schedule():
    retries = range(1, len(RETRY_AFTER_S) + 1)
    schedule_s = sum(next_attempt(n, 0, 1.0, 3600) for n in retries)
    assert 7 * 24 + schedule_s / 3600 <= KEEP_H


def test_signature_of_the_contracts_own_vector():
    assert len(BODY) == 196
    assert sign(SECRET, T, BODY) == f"t={T},v1={V1}"


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
def test_a_verifier_in_node_accepts_raw_and_rewritten_bodies():
    given = {"secret": SECRET, "header": sign(SECRET, T, BODY), "body": base64.b64encode(BODY).decode()}
    node = subprocess.run(
        ["node", "-e", NODE_VERIFIERS], input=json.dumps(given).encode(), capture_output=True, check=True
    )
    assert json.loads(node.stdout) == [True, True]


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def test_openssl_computes_the_same_signature():
    openssl = subprocess.run(
        ["openssl", "dgst", "-sha256", "-hmac", SECRET, "-hex"],
        input=b"%d." % T + BODY,
        capture_output=True,
        check=True,
    )
    assert openssl.stdout.decode().split("= ")[1].strip() == V1


def test_eight_attempts_in_27_hours_and_35_minutes():
    now, attempts = 0.0, 1
    while (then := next_attempt(attempts, now, jitter=0)) is not None:
        now, attempts = then, attempts + 1
    assert (attempts, now) == (8, 27 * 3600 + 35 * 60 + 5)


@given(
    attempts=st.integers(1, 7),
    now=st.floats(0, 4e9),
    jitter=st.floats(0, 1, exclude_max=True),
    asked=st.floats(0, 1e9),
)
def test_a_wait_has_up_to_a_tenth_of_jitter_and_at_most_an_hour_on_request(attempts, now, jitter, asked):
    then = next_attempt(attempts, now, jitter, asked)
    scheduled = RETRY_AFTER_S[attempts - 1]
    assert now + max(scheduled, min(asked, 3600)) <= then + 1e-3
    assert then - 1e-3 <= now + max(scheduled * 1.1, min(asked, 3600))
    assert then - now <= LONGEST_WAIT_S + 1e-3


@pytest.mark.parametrize("attempts", [8, 9, 100])
def test_nothing_follows_the_eighth_failure_whatever_the_receiver_asks(attempts):
    assert next_attempt(attempts, 0, jitter=0, retry_after_s=60) is None


@pytest.mark.parametrize(
    ("status", "expected"),
    [(200, Verdict.DELIVERED), (204, Verdict.DELIVERED), (299, Verdict.DELIVERED), (410, Verdict.GONE)]
    + [(status, Verdict.RETRY) for status in (199, 300, 301, 307, 400, 401, 404, 409, 429, 500, 503, 599)],
)
def test_verdict_of_a_status(status, expected):
    assert verdict(status) is expected


@pytest.mark.parametrize(
    ("status", "header", "expected"),
    [
        (503, "120", 120),
        (429, " 7 ", 7),
        (503, "Thu, 04 Jun 2026 09:24:56 GMT", 60),
        (503, "Thu, 04 Jun 2026 09:22:56 GMT", 0),
        (500, "120", 0),
        (503, None, 0),
        (503, "-5", 0),
        (503, "soon", 0),
        (503, "", 0),
        (503, "²", 0),
        (503, "Thu, 99 Jun 2026 09:24:56 GMT", 0),
        (503, "Thu, 04 Jun 9999999 09:24:56 GMT", 0),
    ],
)
def test_retry_after(status, header, expected):
    assert retry_after_s(status, header, 1780565036) == expected


@given(st.text())
def test_any_retry_after_is_survived(header):
    assert retry_after_s(503, header, 0) >= 0


REFUSED = [
    "127.0.0.1",
    "127.8.9.1",
    "::1",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "169.254.169.254",
    "169.254.0.7",
    "fe80::1",
    "fe80::1%eth0",
    "fd00:ec2::254",
    "100.100.100.200",
    "0.0.0.0",
    "::",
    "0.1.2.3",
    "224.0.0.1",
    "ff02::1",
    "255.255.255.255",
    "240.0.0.1",
    "192.0.2.1",
    "2001:db8::1",
]


@pytest.mark.parametrize("address", REFUSED)
def test_what_is_neither_internet_nor_lan_is_refused(address):
    assert refusal(address, encrypted=True, allow_loopback=False)


@pytest.mark.parametrize("encrypted", [True, False])
@pytest.mark.parametrize("address", ["192.168.1.20", "10.0.0.1", "172.31.255.1", "100.64.0.9", "fd12::1"])
def test_the_lan_is_the_point_of_a_box(address, encrypted):
    assert refusal(address, encrypted=encrypted, allow_loopback=False) is None


@pytest.mark.parametrize("address", ["1.1.1.1", "172.32.0.1", "2606:4700::1", "::ffff:8.8.8.8"])
def test_the_internet_only_hears_what_is_encrypted(address):
    assert refusal(address, encrypted=True, allow_loopback=False) is None
    assert "https" in refusal(address, encrypted=False, allow_loopback=False)


@pytest.mark.parametrize(("address", "encrypted"), list(itertools.product(["127.0.0.1", "::1"], [True, False])))
def test_a_lab_may_send_to_itself_but_no_further(address, encrypted):
    assert refusal(address, encrypted=encrypted, allow_loopback=True) is None
    assert refusal("169.254.169.254", encrypted=encrypted, allow_loopback=True)
