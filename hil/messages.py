"""Short messages as a module's host sees them (3GPP TS 27.005, in PDU mode): memories, routes, sending; and USSD.

AT+CPMS memories for reading, for writing, for what comes      AT+CMGL, +CMGR, +CMGD, +CMGW, +CMSS, +CMGS
AT+CNMI what comes is told of (+CMTI), told (+CMT), or neither; AT+CSMS=1 wants AT+CNMA for what is told
"""

from collections.abc import Sequence
from functools import partial

from drivers import gsm7, sms, ussd
from drivers.sms import Deliver, Report
from hil.board import Session, Submit
from hil.commandline import Command, Kind, Prompted, Refused
from hil.module import Module
from hil.settings import Table, only
from hil.storage import Status

# 27.005 3.2.5.
_NOT_ALLOWED, _NOT_SUPPORTED, _BAD_PDU, _BAD_INDEX, _FULL = 302, 303, 304, 321, 322
_NO_NETWORK, _NO_ACK_EXPECTED = 331, 340
# 24.011 5.3.3, TR2M: without AT+CNMA by then, the network hears that the message was not taken.
ACKNOWLEDGE_S = 15.0
# Then the service centre tries again.
AGAIN_S = 60.0
# What the network takes to answer.
USSD_S = 0.5

MESSAGES = Table()


# --- what comes ---


def arrive(module: Module, pdu: str) -> bool:
    """The network delivers a message; False when it is not taken, and must come again."""
    if not module.registered or module.unacknowledged is not None:
        return False
    message = sms.decode(pdu)
    mode, kept, _, reported, _ = map(int, module.setting("+CNMI", module.settings["+CNMI"].default).split(","))
    if isinstance(message, Report):
        return _arrive_report(module, pdu, reported if mode else 0)
    assert isinstance(message, Deliver)
    # 27.005 3.4.1: flash messages are shown at once where anybody looks; messages for the SIM are always on it.
    flash, for_sim = message.message_class == 0, message.message_class == 2
    if flash or (kept in (2, 3) and not for_sim and mode):
        if not mode or not kept:
            return flash
        _tell_at_once(module, f"+CMT: ,{sms.tpdu_length(pdu)}", pdu)
        return True
    memory = "SM" if for_sim else module.memory(2)
    index = module.storage.put(memory, pdu, Status.UNREAD)
    if index is None:
        return False
    if kept and mode:
        module.tell(f'+CMTI: "{memory}",{index}')
    if module.storage.is_full(memory):
        module.tell_full(memory)
    return True


def _arrive_report(module: Module, pdu: str, route: int) -> bool:
    if route == 1:
        _tell_at_once(module, f"+CDS: {sms.tpdu_length(pdu)}", pdu)
    elif route == 2:
        index = module.storage.put("SR", pdu, Status.UNREAD)
        if index is None:
            return False
        module.tell(f'+CDSI: "SR",{index}')
    return True


def _tell_at_once(module: Module, header: str, pdu: str) -> None:
    module.tell(f"{header}\r\n{pdu}")
    if module.setting("+CSMS", "0") == "1":
        module.unacknowledged = pdu
        module.agenda.at(module.now + ACKNOWLEDGE_S, partial(_miss_acknowledgement, module, pdu))


def _miss_acknowledgement(module: Module, pdu: str) -> None:
    """27.005 3.4.1: it tells no more, until AT+CNMI is set anew."""
    if module.unacknowledged is pdu:
        module.unacknowledged = None
        mode, *_ = module.setting("+CNMI", "0").split(",")
        module.values["+CNMI"] = f"{mode},0,0,0,0"
        module.agenda.at(module.now + AGAIN_S, partial(arrive, module, pdu))


@MESSAGES.command("+CNMA")
def _acknowledge(module: Module, asked: Command) -> list[str]:
    if asked.kind is Kind.TEST:
        return ["+CNMA: (0-2)"]
    if module.unacknowledged is None:
        raise Refused(_NO_ACK_EXPECTED)
    module.unacknowledged = None
    return []


# --- memories ---


@MESSAGES.command("+CPMS")
def _memories(module: Module, asked: Command) -> list[str]:
    module.need_sim()
    choices = ",".join(f'"{memory}"' for memory in module.storage)
    # Reports are read and deleted, but not written.
    others = ",".join(f'"{memory}"' for memory in module.storage if memory != "SR")
    match asked.kind:
        case Kind.TEST:
            return [f"+CPMS: ({choices}),({others}),({others})"]
        case Kind.READ:
            chosen = [module.memory(place) for place in range(3)]
            return ["+CPMS: " + ",".join(f'"{memory}",{module.storage.usage(memory)}' for memory in chosen)]
    only(asked, Kind.SET)
    for place, memory in enumerate(asked.arguments):
        if memory not in module.storage or (place and memory == "SR"):
            raise Refused(_NOT_ALLOWED)
    for place, memory in enumerate(asked.arguments[:3]):
        module.values[f"memory {place}"] = memory
    return ["+CPMS: " + ",".join(module.storage.usage(module.memory(place)) for place in range(3))]


@MESSAGES.command("+CMGL")
def _list(module: Module, asked: Command) -> list[str]:
    if asked.kind is Kind.TEST:
        return ["+CMGL: (0-4)"]
    _need_pdu_mode(module)
    wanted = asked.number(0, 0) if asked.kind is Kind.SET else 0
    if wanted not in list(Status):
        raise Refused(_NOT_ALLOWED)
    lines = []
    for index, slot in sorted(module.storage[module.memory(0)].items()):
        if wanted in (slot.status, Status.ALL):
            lines += [f"+CMGL: {index},{slot.status:d},,{sms.tpdu_length(slot.pdu)}\r\n{slot.pdu}"]
            slot.status = Status.READ if slot.status is Status.UNREAD else slot.status
    return lines


@MESSAGES.command("+CMGR")
def _read(module: Module, asked: Command) -> list[str]:
    if asked.kind is Kind.TEST:
        return []
    _need_pdu_mode(module)
    only(asked, Kind.SET)
    slot = module.storage[module.memory(0)].get(asked.number(0))
    if slot is None:
        if module.reads_empty_slots:
            return []
        raise Refused(_BAD_INDEX)
    line = f"+CMGR: {slot.status:d},,{sms.tpdu_length(slot.pdu)}\r\n{slot.pdu}"
    slot.status = Status.READ if slot.status is Status.UNREAD else slot.status
    return [line]


# 27.005 3.5.4 <delflag>: which go beside the one at the index.
_DELETED: dict[int, Sequence[Status]] = {
    0: (),
    1: (Status.READ,),
    2: (Status.READ, Status.SENT),
    3: (Status.READ, Status.SENT, Status.UNSENT),
    4: tuple(Status),
}


@MESSAGES.command("+CMGD")
def _delete(module: Module, asked: Command) -> list[str]:
    memory = module.memory(0)
    slots = module.storage[memory]
    if asked.kind is Kind.TEST:
        return [f"+CMGD: ({','.join(map(str, sorted(slots)))}),(0-4)"]
    module.need_sim()
    only(asked, Kind.SET)
    index, flag = asked.number(0), asked.number(1, 0)
    if flag not in _DELETED or (not flag and index >= module.storage.capacities[memory]):
        raise Refused(_BAD_INDEX)
    if not flag:
        # To delete what is not there is no error, on any module.
        slots.pop(index, None)
    for each in [place for place, slot in slots.items() if slot.status in _DELETED[flag]]:
        del slots[each]
    return []


# --- sending ---


@MESSAGES.command("+CMGS")
def _send(module: Module, asked: Command) -> list[str]:
    if asked.kind is Kind.TEST:
        return []
    _need_pdu_mode(module)
    only(asked, Kind.SET)
    raise Prompted(partial(_sent, module, asked.number(0)))


@MESSAGES.command("+CMGW")
def _write(module: Module, asked: Command) -> list[str]:
    if asked.kind is Kind.TEST:
        return []
    _need_pdu_mode(module)
    only(asked, Kind.SET)
    length, status = asked.number(0), asked.number(1, Status.UNSENT)

    def written(pdu: str) -> list[str]:
        _check(pdu, length)
        index = module.storage.put(module.memory(1), pdu.upper(), Status(status))
        if index is None:
            raise Refused(_FULL)
        return [f"+CMGW: {index}"]

    raise Prompted(written)


@MESSAGES.command("+CMSS")
def _send_stored(module: Module, asked: Command) -> list[str]:
    if asked.kind is Kind.TEST:
        return []
    only(asked, Kind.SET)
    slot = module.storage[module.memory(1)].get(asked.number(0))
    if slot is None:
        raise Refused(_BAD_INDEX)
    told = _sent(module, sms.tpdu_length(slot.pdu), slot.pdu)
    slot.status = Status.SENT
    return [told[0].replace("+CMGS", "+CMSS")]


def _sent(module: Module, length: int, pdu: str) -> list[str]:
    _check(pdu, length)
    if not module.registered:
        raise Refused(_NO_NETWORK)
    if (code := module.faults.refused.get("+CMGS")) is not None:
        raise Refused(code)
    module.sent_messages = (module.sent_messages + 1) % 256
    module.orders.append(Submit(pdu.upper(), module.sent_messages))
    return [f"+CMGS: {module.sent_messages}"]


def _check(pdu: str, length: int) -> None:
    try:
        message = sms.decode(pdu)
        if sms.tpdu_length(pdu) != length or not isinstance(message, sms.Submit | Deliver):
            raise Refused(_BAD_PDU)
    except sms.Unreadable:
        raise Refused(_BAD_PDU) from None


def _need_pdu_mode(module: Module) -> None:
    module.need_sim()
    if module.setting("+CMGF", "0") != "0":
        raise Refused(_NOT_SUPPORTED)


# --- settings ---


@MESSAGES.command("+CSMS")
def _service(module: Module, asked: Command) -> list[str]:
    match asked.kind:
        case Kind.TEST:
            return ["+CSMS: (0,1)"]
        case Kind.READ:
            return [f"+CSMS: {module.setting('+CSMS', '0')},1,1,1"]
    only(asked, Kind.SET)
    if asked.text not in ("0", "1"):
        raise Refused(_NOT_ALLOWED)
    module.values["+CSMS"] = asked.text
    return ["+CSMS: 1,1,1"]


@MESSAGES.command("+CSCA")
def _centre(module: Module, asked: Command) -> list[str]:
    match asked.kind:
        case Kind.TEST:
            return []
        case Kind.READ:
            return [f'+CSCA: "{module.service_centre}",145']
    only(asked, Kind.SET)
    module.service_centre = asked.argument(0)
    return []


# --- USSD ---


@MESSAGES.command("+CUSD")
def _ussd(module: Module, asked: Command) -> list[str]:
    """27.007 7.15. The text is written as it is read: by AT+CSCS, or packed."""
    match asked.kind:
        case Kind.TEST:
            return ["+CUSD: (0-2)"]
        case Kind.READ:
            return [f"+CUSD: {module.setting('+CUSD', '0')}"]
    only(asked, Kind.SET)
    mode = asked.number(0)
    if mode not in (0, 1, 2):
        raise Refused(50)
    if mode == 2:
        module.orders.append(Session(None))
        return []
    module.values["+CUSD"] = str(mode)
    if text := asked.argument(1):
        if not module.registered:
            raise Refused(30)
        module.orders.append(Session(_read_ussd(module, text)))
    return []


def _read_ussd(module: Module, text: str) -> str:
    """Raises: Refused for what is not written as this module has it."""
    try:
        if module.packs_ussd:
            return gsm7.decode(gsm7.unpack(bytes.fromhex(text))).removesuffix("\r")
        return bytes.fromhex(text).decode("utf-16-be") if _charset(module) == "UCS2" else text
    except ValueError:
        raise Refused(50) from None


def answer_ussd(module: Module, outcome: int, text: str) -> None:
    """The network's word in a session, a moment after ours."""
    module.agenda.at(module.now + USSD_S, partial(_tell_ussd, module, outcome, text))


def _tell_ussd(module: Module, outcome: int, text: str) -> None:
    if module.setting("+CUSD", "0") == "1":
        written, coding = _written(module, text)
        module.tell(f'+CUSD: {outcome},"{written}",{coding}' if text else f"+CUSD: {outcome}")


def _written(module: Module, text: str) -> tuple[str, int]:
    """With its coding, of 23.038 5."""
    if not gsm7.fits(text):
        return text.encode("utf-16-be").hex().upper(), 72
    if module.packs_ussd:
        # Whatever AT+CSCS says: gammu, which knows Huawei's, takes anything else for no text at all.
        septets = b"".join(gsm7.encode(text))
        filled = septets + bytes([gsm7.FILL]) if len(septets) % 8 == 7 else septets
        return gsm7.pack(filled).hex().upper(), ussd.CODING
    if _charset(module) == "UCS2":
        return text.encode("utf-16-be").hex().upper(), ussd.CODING
    return b"".join(gsm7.encode(text)).decode("latin-1"), ussd.CODING


def _charset(module: Module) -> str:
    return module.setting("+CSCS", '"GSM"').strip('"')
