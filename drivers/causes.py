"""Why a call ended, as an ITU-T Q.850 number, whatever the device calls it."""

import re

# What the causes of Q.850 table 1 are called by firmware which gives words (27.007 8.27 leaves the text free), in
# lower case and letters only; the longer before the one it contains.
_WORDS = {
    "unassigned": 1,
    "unallocated": 1,
    "no route": 3,
    "operator determined barring": 8,
    "normal call clearing": 16,
    "client ended": 16,
    "network ended": 16,
    "user busy": 17,
    "userbusy": 17,
    "no user responding": 18,
    "no answer": 19,
    "absent": 20,
    "rejected": 21,
    "number changed": 22,
    "destination out of order": 27,
    "invalid number": 28,
    "facility rejected": 29,
    "normal unspecified": 31,
    "no circuit": 34,
    "network out of order": 38,
    "no service": 38,
    "temporary failure": 41,
    "congestion": 42,
    "resources unavailable": 47,
    "not subscribed": 50,
    "not authorized": 57,
    "incompatible destination": 88,
    "timer expiry": 102,
    "protocol error": 111,
    "interworking": 127,
}
# <end_status> of Huawei's ^CEND, where the network's cause is not told. 29 is any end that is none of the device's own.
_HUAWEI_ENDS = {104: 21}


def cause_in_words(text: str) -> int | None:
    words = re.sub(r"[^a-z]+", " ", text.lower())
    return next((cause for name, cause in _WORDS.items() if name in words), None)


def cause_of_end(status: int | None, cause: int | None) -> int | None:
    """Of ^CEND. 24.008 10.5.4.11 gives its causes the numbers of Q.850."""
    if cause is not None and cause in range(1, 128):
        return cause
    return _HUAWEI_ENDS.get(status) if status is not None else None
