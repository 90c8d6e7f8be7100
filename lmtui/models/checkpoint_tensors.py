"""The tensors in a folder in the format of transformers.

Owns how they are found in one file or several, and mapped: they are read where they are
used. Knows no model.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from lmtui.models.checkpoint import ModelFolder
from lmtui.models.llama.int4 import GroupQuantized, quantise


class FolderTensors:
    """All of them, by name."""

    def __init__(self, folder: ModelFolder) -> None:
        """Open the files.

        Raises:
            OSError, SafetensorError: they are not there, or damaged.
        """
        from safetensors import safe_open

        self._files: dict[str, Any] = {}
        for file in folder.weights:
            opened: Any = safe_open(file.path, framework="pt")
            self._files |= dict.fromkeys(opened.keys(), opened)

    def __contains__(self, name: str) -> bool:
        return name in self._files

    def tensor(self, name: str) -> Tensor:
        """As it is in its file."""
        tensor: Tensor = self._files[name].get_tensor(name)
        return tensor

    def floats(self, name: str) -> Tensor:
        """float32."""
        return self.tensor(name).float()


class RoundedTensors(FolderTensors):
    """Matrices among them in few bits."""

    def __init__(self, folder: ModelFolder, bits: int) -> None:
        super().__init__(folder)
        self._bits = bits

    def groups(self, name: str) -> GroupQuantized:
        """A matrix, rounded to groups of 32."""
        return quantise(self.floats(name), self._bits)
