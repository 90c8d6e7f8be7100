"""A hook of hatchling that puts compiled kernels into a wheel for x86-64 Linux:

    LMTUI_BUILD_KERNELS=1 python -m build --wheel

Without that variable a wheel is pure Python, and kernels are compiled when they are
first needed. `auditwheel repair` gives the wheel the tag of the C library it needs.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

_TAG = "py3-none-linux_x86_64"  # no library knows Python


class KernelsHook(BuildHookInterface[Any]):
    """Compiles the library of each class of instructions."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile them, if the environment asks for that."""
        if version == "editable" or os.environ.get("LMTUI_BUILD_KERNELS") != "1":
            return
        sys.path.insert(0, self.root)
        from lmtui.kernels import prebuilt

        self._made = TemporaryDirectory()
        made = Path(self._made.name)
        prebuilt.make(made)
        folder = prebuilt.FOLDER.relative_to(self.root)
        build_data["force_include"] |= {
            str(file): str(folder / file.name) for file in made.iterdir()
        }
        build_data |= {"pure_python": False, "tag": _TAG}

    def finalize(
        self, version: str, build_data: dict[str, Any], artifact_path: str
    ) -> None:
        """Remove what was compiled."""
        if hasattr(self, "_made"):
            self._made.cleanup()
