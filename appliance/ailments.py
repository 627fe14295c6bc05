"""What can be wrong with a line, in a sentence, and what to do about it.

Each ailment has a code of its own, for programs; `docs/doctor.md` has a row for each of them.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    FAULT = "fault"
    WARNING = "warning"


@dataclass(frozen=True)
class Ailment:
    wrong: str
    cure: str
    severity: Severity = Severity.FAULT


WARNING = Severity.WARNING

# What comes first explains what comes after it: of all that is found, it is the sentence that people read.
AILMENTS: Mapping[str, Ailment] = {
    # --- the device and its ports ---
    "port-in-use": Ailment("{path} is in use by {program}", "stop that program; only one can have a modem"),
    "modem-manager": Ailment(
        "ModemManager has {path}",
        "install image/udev/70-branchline.rules, or stop it: systemctl disable --now ModemManager",
    ),
    "no-permission": Ailment(
        "the service may not open {path}",
        "put its user into the group dialout, or install image/udev/70-branchline.rules",
    ),
    "low-voltage": Ailment(
        "the computer's supply voltage is too low",
        "use a supply made for it, and a powered hub for modems: they draw 2 A when they call",
    ),
    "absent": Ailment("{problem}", "plug the modem in; if it is, try another cable and a powered hub"),
    "cd-rom": Ailment(
        "the stick shows itself as a CD-ROM", "install the Debian package usb-modeswitch and plug it in anew"
    ),
    "another-device": Ailment("{problem}", "plug in the one that is meant, or mend the configuration"),
    "odd-ports": Ailment("{problem}", "see docs/lines.md, Saying where a line is"),
    "no-card": Ailment("{problem}", "plug the sound card in, or mend `card` in the configuration"),
    "no-voice": Ailment(
        "this modem cannot carry a call: {said}", "unlock its voice or change its firmware; many are sold for data only"
    ),
    # --- the SIM ---
    "no-sim": Ailment("there is no SIM in the module", "put one in; if it is, clean its contacts"),
    "puk": Ailment(
        "the SIM is blocked and asks for its PUK", "unblock it in a phone with the PUK of its operator's letter"
    ),
    "pin-missing": Ailment(
        "the SIM asks for its PIN", "switch the PIN off in a phone, or write `pin` into the configuration"
    ),
    "pin-wrong": Ailment(
        "the PIN of the configuration is not this SIM's", "mend it; it was sent once, and will not be again"
    ),
    "bad-sim": Ailment(
        "{problem}", "try the SIM in a phone; if it works there, the module may be locked to an operator"
    ),
    # --- the module as it works ---
    "worn-out": Ailment(
        "the module's sound does not survive a call, for which it is restarted when it is idle",
        "wait a minute; a newer firmware of the SIM7600 does not wear out",
        WARNING,
    ),
    "silent": Ailment(
        "{problem}", "it is reset, and its power is cut, by itself; if that goes on, unplug it and plug it in"
    ),
    "failed": Ailment("{problem}", "see the service's log, and docs/lines.md"),
    "starting": Ailment("the line is starting", "ask again in half a minute", WARNING),
    # --- the network ---
    "denied": Ailment(
        "the network refuses this SIM", "ask the operator whether it is active and paid, and allows this device"
    ),
    "radio-off": Ailment(
        "the module is in flight mode", "unplug it and plug it in; another program may have left it so"
    ),
    "emergency-only": Ailment(
        "the network carries only emergency calls for this SIM", "ask the operator; its own network may be out of reach"
    ),
    "no-ims": Ailment(
        "the SIM is in LTE without voice (IMS), and can neither call nor be called",
        'have the operator allow VoLTE for this SIM and device; for a Quectel also try AT+QCFG="ims",1 and a restart',
    ),
    "lte-only": Ailment(
        "the SIM is in LTE without voice (IMS), and its calls need 2G or 3G, where there is any",
        'have the operator allow VoLTE for this SIM and device; for a Quectel also try AT+QCFG="ims",1 and a restart',
        WARNING,
    ),
    "no-network": Ailment("no network is found", "move the antenna, to a window or outside; see that it is screwed on"),
    "weak-signal": Ailment(
        "the signal is weak ({signal_dbm} dBm)", "move the antenna; below -105 dBm calls drop", WARNING
    ),
    # --- the test call, before anybody was heard ---
    "no-dial-tone": Ailment(
        "there is no dial tone", "put the cable into the modem's socket LINE, and try the jack with a telephone"
    ),
    "call-refused": Ailment("{caller} could not call {callee}: {detail}", "call that number from another phone"),
    "line-lost": Ailment("the line failed during the test call", "see to its power: modems draw most when they call"),
    "not-arrived": Ailment(
        "{caller} called {callee} ({number}), where nothing rang",
        "see that the number is right, and is forwarded nowhere",
    ),
    "answered-elsewhere": Ailment(
        "{caller} called {callee} ({number}), and somebody else answered",
        "see that the number is right, and switch off forwarding and voice mail for it",
    ),
    "not-answered": Ailment("{callee} could not take the call: {detail}", "see the service's log"),
    # --- and what was heard ---
    "no-downlink": Ailment("the modem gives no sound at all in a call", "see its page in docs/drivers.md; restart it"),
    "no-uplink": Ailment(
        "the modem takes no sound in a call", "restart it; for a Quectel see that AT+QPCMV is not refused"
    ),
    "digital-silence": Ailment(
        "{listener} gets digital silence, whatever {speaker} says",
        "see codec and gains of both modems; what is wired to a sound card may be unplugged or muted",
    ),
    "not-heard": Ailment(
        "what {speaker} says, {listener} does not hear", "call both from a phone to see which of them it is"
    ),
    "clipped": Ailment(
        "the sound from {speaker} to {listener} is too loud and distorted ({value:g} % clipped)",
        "turn the module's gain or AT+CLVL down; it is hardly ever the network",
    ),
    "loss": Ailment(
        "of the sound from {speaker} to {listener}, {value:g} % is lost",
        "see the signal and the power; on a SIM7600 restart it; on USB use another hub",
    ),
    "quiet": Ailment(
        "the sound from {speaker} to {listener} is too quiet ({value:+g} dB)",
        "turn the gain up: see the modem's manual",
    ),
    "loud": Ailment("the sound from {speaker} to {listener} is too loud ({value:+g} dB)", "turn the gain down"),
    "noise": Ailment(
        "there is noise on the way from {speaker} to {listener} ({value:g} dBm0)",
        "see the cabling and the power supply; on a Quectel switch GNSS output off",
    ),
    "echo": Ailment(
        "who speaks on {speaker} hears himself ({value:g} dB)",
        "switch sidetone off, or turn the gain of {speaker} down",
    ),
    "delay": Ailment(
        "the way from {speaker} to {listener} takes {value:g} ms", "see whether the machine is overloaded"
    ),
    "jitter": Ailment(
        "the delay from {speaker} to {listener} changes by {value:g} ms in a call",
        "see the signal, and the machine's load",
    ),
    # --- what is worth knowing of a line that works ---
    "unstable": Ailment(
        "the line was lost {losses} times since the service was started",
        "see to its power: a powered hub, a short cable",
        WARNING,
    ),
    "sim-full": Ailment(
        "the SIM's memory for messages is full",
        "see why messages are not taken (the service's log): new ones do not come",
        WARNING,
    ),
    "modem-manager-runs": Ailment(
        "ModemManager runs on this machine", "install image/udev/70-branchline.rules, that it keeps off", WARNING
    ),
    "not-tested": Ailment("no test call: {detail}", "ask again when the lines are free", WARNING),
}
_WEIGHT = {code: place for place, code in enumerate(AILMENTS)}


@dataclass(frozen=True)
class Verdict:
    code: str
    wrong: str
    cure: str

    @property
    def severity(self) -> Severity:
        return AILMENTS[self.code].severity

    def __str__(self) -> str:
        return f"{self.wrong}: {self.cure}"


def verdict(code: str, **facts: object) -> Verdict:
    ailment = AILMENTS[code]
    return Verdict(code, ailment.wrong.format(**facts), ailment.cure.format(**facts))


# Found by a test call alone: without one, nobody knows whether they are over.
NEEDS_CALL = frozenset(list(AILMENTS)[list(AILMENTS).index("no-dial-tone") : list(AILMENTS).index("unstable")])


@dataclass(frozen=True)
class Finding:
    """What came of the examination of a line. `tested`: of a test call, too."""

    line: str
    number: str
    verdicts: Sequence[Verdict]
    tested: bool

    @property
    def faults(self) -> list[Verdict]:
        return [each for each in self.verdicts if each.severity is Severity.FAULT]

    @property
    def says(self) -> str:
        return str(self.verdicts[0]) if self.verdicts else ""

    def heals(self, codes: Collection[str]) -> bool:
        """It had these faults; they are over, as far as was looked."""
        return not self.faults and (self.tested or not NEEDS_CALL.intersection(codes))


def by_weight(verdicts: Collection[Verdict]) -> list[Verdict]:
    """The one to be read first, first; each once."""
    return sorted(dict.fromkeys(verdicts), key=lambda each: _WEIGHT[each.code])
