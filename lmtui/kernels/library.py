"""Functions of a compiled library, as Python calls them."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import torch

ADDRESS, WHOLE = ctypes.c_void_p, ctypes.c_long


def bound(
    library: ctypes.CDLL, name: str, *arguments: type[Any]
) -> Callable[..., None]:
    """Return a function of a library that returns nothing. It runs with as many threads
    as torch.

    Raises:
        AttributeError: the library lacks it.
    """
    call, set_threads = getattr(library, name), library.set_threads
    call.restype, call.argtypes = None, arguments
    set_threads.restype, set_threads.argtypes = None, (WHOLE,)

    def run(*given: object) -> None:
        set_threads(torch.get_num_threads())
        call(*given)

    return run


def bound_if_there(
    library: ctypes.CDLL, name: str, *arguments: type[Any]
) -> Callable[..., None] | None:
    """Return `bound`; None where the library lacks the function, as it does for some
    processors."""
    return bound(library, name, *arguments) if hasattr(library, name) else None
