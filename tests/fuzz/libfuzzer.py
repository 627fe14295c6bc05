"""One target under libFuzzer, in a process of its own: `python -m tests.fuzz.libfuzzer NAME OPTION... FOLDER...`."""

import sys

import atheris

with atheris.instrument_imports(include=["drivers", "hil"], enable_loader_override=False):
    from tests.fuzz.targets import TARGETS

if __name__ == "__main__":
    program, name, *options = sys.argv
    atheris.Setup([program, *options], TARGETS[name])
    atheris.Fuzz()
