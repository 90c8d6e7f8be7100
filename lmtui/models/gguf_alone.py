"""A GGUF file in a folder of its own, whose header is read once.

Owns that transformers, which is given a folder, reads nothing that lies beside the
file: a configuration or a template there belongs to something else. And that it does
not read the same header twice, which takes it seconds.
"""

from __future__ import annotations

import copy
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any


@contextmanager
def alone(file: Path) -> Iterator[Path]:
    """A folder with nothing but `file`, by the same name."""
    with tempfile.TemporaryDirectory(prefix="lmtui-") as folder:
        os.symlink(file.resolve(), Path(folder) / file.name)
        yield Path(folder)


@contextmanager
def read_once() -> Iterator[None]:
    """Let transformers remember what it has read of a header.

    Both its configuration and its tokenizer ask for it, each anew, so the function is
    replaced where they look it up.
    """
    import transformers.modeling_gguf_pytorch_utils as reader

    read = reader.load_gguf_checkpoint

    @cache
    def config_of(path: str) -> dict[str, Any]:
        found: dict[str, Any] = read(path, return_tensors=False)
        return found

    def remembered(path: str, return_tensors: bool = False, **more: Any) -> Any:
        if return_tensors:
            return read(path, return_tensors=True, **more)
        return copy.deepcopy(config_of(path))  # who gets it takes things out

    reader.load_gguf_checkpoint = remembered
    try:
        yield
    finally:
        reader.load_gguf_checkpoint = read
