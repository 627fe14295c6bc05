"""The C engine's build: setuptools reads `cffi_modules` from here and nowhere else."""

from setuptools import setup

setup(cffi_modules=["native/build.py:ffibuilder"])
