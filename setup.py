"""The folders of the wheel; everything else is in setup.cfg.

The examples stand beside the packages, as readers of the repository expect. They are installed below
``lightning_callbacks``, so that ``captum-cams example`` finds them, and no package of the name ``examples`` appears
among the user's own.
"""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=["captum_cams*", "lightning_callbacks*"]), "lightning_callbacks.examples"],
    package_dir={"lightning_callbacks.examples": "examples"},
)
