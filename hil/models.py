"""The devices that the bench has, by name: a new one is a class of the shape of hil.device.Device, and a line here."""

from dataclasses import replace

from hil.analog import AnalogLine
from hil.board import profile_of
from hil.device import BenchLine, Device, Maker
from hil.generic import Generic
from hil.huawei import E173, E1550, E3131
from hil.modem import Modem
from hil.module import Module
from hil.network import Network
from hil.quectel import Ec20, Ec21, Ec25, Eg25, Eg91, Eg95, Ep06, Uc20
from hil.simcom import A7672, Sim800, Sim900, Sim7600, Sim7600V2
from hil.sound import Studio
from hil.voicemodels import VOICE_MODELS


def _gsm(family: type[Module], model: str, *, uac: bool = False) -> Maker:
    def make(plan: BenchLine, network: Network, studio: Studio) -> Device:
        profile = plan.profile or profile_of(plan.number)
        return Modem(family(replace(profile, uac=uac or profile.uac)), network, studio, model=model)

    return make


QUECTEL: dict[str, type[Module]] = {
    "uc20": Uc20, "ec20": Ec20, "ec21": Ec21, "ec25": Ec25, "eg25": Eg25, "eg91": Eg91, "eg95": Eg95, "ep06": Ep06,
}  # fmt: skip
OTHERS: dict[str, type[Module]] = {
    "e1550": E1550, "e173": E173, "e3131": E3131,
    "sim7600": Sim7600, "sim800": Sim800, "sim900": Sim900, "a7672": A7672, "generic": Generic,
}  # fmt: skip


def _analog(model: str) -> Maker:
    def make(plan: BenchLine, network: Network, studio: Studio) -> Device:
        return AnalogLine(plan.number, network, studio, model=model, plan=plan.plan)

    return make


MODELS: dict[str, Maker] = {
    **{name: _gsm(family, name) for name, family in (QUECTEL | OTHERS).items()},
    # The same with a sound card of their own.
    **{f"{name}-uac": _gsm(family, name, uac=True) for name, family in QUECTEL.items()},
    # A firmware of another mind.
    "sim7600-v2": _gsm(Sim7600V2, "sim7600"),
    **{name: _analog(name) for name in VOICE_MODELS},
}
