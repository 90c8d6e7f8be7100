"""A GGUF file in a folder of its own.

Owns that transformers, which is given a folder, reads nothing that lies beside the
file: a configuration or a template there belongs to something else.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def alone(file: Path) -> Iterator[Path]:
    """A folder with nothing but `file`, by the same name."""
    with tempfile.TemporaryDirectory(prefix="lmtui-") as folder:
        os.symlink(file.resolve(), Path(folder) / file.name)
        yield Path(folder)
