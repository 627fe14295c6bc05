import json
import shutil
import subprocess

import pytest

from appliance.webhook import sign
from tests.test_webhook import BODY, SECRET, T
from tests.verifiers import refusing, stringify

# Each once as JSON may have it, where JavaScript writes it otherwise, or Python would.
NUMBERS = "0,-0,1.0,1e-7,1e-6,0.000001,123456789012,1e21,1e20,-1.50,0.12,5e-324,1.7976931348623157e308,12.5e-8,100"
TEXTS = [
    f"[{NUMBERS}]",
    '{"b":1,"10":2,"9":3,"a":{"x":[]},"01":4,"4294967295":5}',
    r'["\u00e7\/\u007f\u0001\t\"\\","\ud83d\ude00",null,true]',
]


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
def test_a_body_is_written_anew_as_node_would():
    program = "console.log(JSON.stringify(JSON.parse(process.argv[1]).map((text) => JSON.stringify(JSON.parse(text)))))"
    node = subprocess.run(["node", "-e", program, json.dumps(TEXTS)], capture_output=True, check=True)
    assert [stringify(json.loads(text)) for text in TEXTS] == json.loads(node.stdout)


def test_each_verifier_takes_what_is_signed_and_nothing_else():
    header = sign(SECRET, T, BODY)
    assert refusing(header, BODY, SECRET) == []
    everyone = refusing(header, BODY.replace(b"+33700000001", b"+33700000009"), SECRET)
    assert len(everyone) == 8
    assert refusing(header, BODY, SECRET + "0") == refusing(header.replace("t=1", "t=2"), BODY, SECRET) == everyone


def test_what_would_trip_one_of_them_does():
    header, spaced = sign(SECRET, T, BODY), BODY.replace(b'","', b'", "')
    assert refusing(sign(SECRET, T, spaced), spaced, SECRET) == ["older_node"]
    t, v1 = header.split(",")
    assert refusing(f"{v1},{t}", BODY, SECRET) == ["older_node", "older_python", "older_ruby", "older_go"]
