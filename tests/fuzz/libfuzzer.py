"""One target under libFuzzer, in a process of its own: `python -m tests.fuzz.libfuzzer NAME OPTION... FOLDER...`."""

import sys

import atheris

with atheris.instrument_imports(include=["drivers", "hil"], enable_loader_override=False):
    from tests.fuzz.targets import TARGETS

if __name__ == "__main__":
    _, name, *options = sys.argv
    # To merge, libFuzzer runs itself again, by way of a shell.
    itself = f"{sys.executable} -m tests.fuzz.libfuzzer {name}"
    atheris.Setup([itself, *options], TARGETS[name])
    atheris.Fuzz()
