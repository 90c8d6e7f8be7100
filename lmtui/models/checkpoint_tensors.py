"""Memory-mapped tensors of a folder in the format of transformers, in one file or
several.

Knows no model.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from lmtui.models.checkpoint import ModelFolder


class FolderTensors:
    """The tensors of a folder, by name."""

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
        """Return a tensor with the dtype of its file."""
        tensor: Tensor = self._files[name].get_tensor(name)
        return tensor

    def floats(self, name: str) -> Tensor:
        """Return a tensor in float32."""
        return self.tensor(name).float()
