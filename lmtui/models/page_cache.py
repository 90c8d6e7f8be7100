"""Read mapped files into the page cache before they are used.

What is not there is read page by page while the first token is computed: slowly, and
without a word. Read ahead, it comes in order and with a progress bar.
"""

from __future__ import annotations

import ctypes
import mmap
from collections.abc import Iterable
from pathlib import Path

import torch

from lmtui.models.progress import OnProgress, Progress

_CHUNK = 1 << 24  # bytes
_FEW = 200_000_000  # bytes that are not worth a bar


def read_ahead(files: Iterable[Path], name: str, on_progress: OnProgress) -> None:
    """Read files into memory, if much of them is not there yet. A file that can't be
    read is left to whoever uses it."""
    cold = [file for file in files if _missing(file) > _FEW]
    total, done = sum(file.stat().st_size for file in cold), 0
    for file in cold:
        with file.open("rb", buffering=0) as opened:
            while size := len(opened.read(_CHUNK)):
                on_progress(Progress(f"reading {name} from the disk", done, total))
                done += size


def _missing(file: Path) -> int:
    """Return how many bytes of a file are not in the page cache; 0 where the system
    does not say."""
    try:
        size = file.stat().st_size
        mapped = torch.from_file(str(file), size=size, dtype=torch.uint8)
        pages = (size + mmap.PAGESIZE - 1) // mmap.PAGESIZE
        residency = torch.zeros(pages, dtype=torch.uint8)
        library = ctypes.CDLL(None)
        given = ctypes.c_void_p(mapped.data_ptr()), ctypes.c_size_t(size)
        if library.mincore(*given, ctypes.c_void_p(residency.data_ptr())):
            return 0
    except (OSError, RuntimeError, AttributeError):
        return 0
    return int((residency & 1 == 0).sum()) * mmap.PAGESIZE
