"""Puts the top-level ``configs/`` tree into the wheel as ``maskbench/configs``; everything else is in ``pyproject.toml``."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithConfigs(build_py):
    """An editable install reads ``configs/`` where it lies, so only real builds copy it."""

    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            target = Path(self.build_lib, "maskbench", "configs")
            shutil.rmtree(target, ignore_errors=True)  # a reused build/ must not keep configs that are gone
            shutil.copytree("configs", target)


setup(cmdclass={"build_py": BuildWithConfigs})
