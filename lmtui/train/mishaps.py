"""What a training can break off with, as errors that a user is meant to see.

Owns which of the libraries' errors mean what, and what to do about each. Knows no step.
"""

from __future__ import annotations

import traceback
from pathlib import Path

import torch

from lmtui.errors import LmtuiError
from lmtui.models import disk
from lmtui.train.trainer import NotANumber

_NO_MEMORY = ("can't allocate memory", "not enough memory", "out of memory")


def explained(error: Exception, folder: Path) -> LmtuiError:
    """What happened in a training whose run folder is `folder`; a bug is written to
    stderr as well."""
    if isinstance(error, LmtuiError):
        return error
    if _is_out_of_memory(error):
        return _out_of_memory(error)
    if disk.is_disk_full(error):
        return disk.disk_full(folder)
    traceback.print_exception(error)
    return LmtuiError(
        "unexpected error",
        f"{type(error).__name__}: {error}",
        "Checkpoints are still there; the log of the training says more.",
    )


def no_number(
    error: NotANumber, *, rate: float, half: bool, kept: int | None = None
) -> LmtuiError:
    """A loss that is NaN or infinite; `kept` is the step whose weights were saved
    from it."""
    detail = f"in step {error.step}"
    if kept is not None:
        detail += f"; the adapter has the weights of step {kept}"
    other = ", or with --dtype float32" if half else ""
    hint = f"Train with a lower rate than --lr {rate:g}{other}."
    return LmtuiError("the loss is no longer a number", detail, hint)


def _is_out_of_memory(error: Exception) -> bool:
    known = isinstance(error, MemoryError | torch.OutOfMemoryError)
    said = isinstance(error, RuntimeError) and any(x in str(error) for x in _NO_MEMORY)
    return known or said


def _out_of_memory(error: Exception) -> LmtuiError:
    return LmtuiError(
        "out of memory",
        str(error).partition("\n")[0][:300],
        "Lower --block, --batch or --rank, use a smaller model, or close other "
        "programs.",
    )
