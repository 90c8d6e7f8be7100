"""Memory-mapped tensors of a folder in the format of transformers, in one file or
several.

Knows no model.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lmtui.kernels.gguf_formats import DTYPES
from lmtui.models.checkpoint import ModelFolder


class FolderTensors:
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

    def shape(self, name: str) -> tuple[int, ...]:
        return tuple(self.tensor(name).shape)

    def blocks(self, name: str) -> tuple[Tensor, str]:
        """Return a tensor of 16-bit numbers as it lies in the file, uint8 [bytes], and
        its type.

        Raises:
            ValueError: it has other numbers.
        """
        tensor = self.tensor(name)
        for kind in ("BF16", "F16"):
            if tensor.dtype is getattr(torch, DTYPES[kind]) and tensor.is_contiguous():
                return tensor.view(torch.uint8).flatten(), kind
        raise ValueError(f"{name} is {tensor.dtype}, most others have 16 bits")

    def floats(self, name: str) -> Tensor:
        """Return a tensor in float32."""
        return self.tensor(name).float()
