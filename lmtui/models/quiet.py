"""Keeping libraries quiet and off the network while they work for us.

Owns the switches of transformers, huggingface_hub and Python's warnings, and
puts each back where it was.
"""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

_LOUD = ("accelerate", "huggingface_hub", "torch", "py.warnings", "gguf")


def hush() -> None:
    """Let transformers, which is not imported yet, write nothing in this process: some
    models warn when they run, long after they were loaded."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "critical")


@contextmanager
def quiet() -> Iterator[None]:
    """Nothing is written to the terminal by a library: no bar, warning or log."""
    with ExitStack() as stack:
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        stack.enter_context(_loggers_off())
        stack.enter_context(_transformers_quiet())
        yield


@contextmanager
def offline() -> Iterator[None]:
    """Every library that goes through huggingface_hub believes to be offline."""
    from huggingface_hub import constants

    with replaced(constants, "HF_HUB_OFFLINE", True):
        yield


@contextmanager
def _loggers_off() -> Iterator[None]:
    loggers = [logging.getLogger(name) for name in _LOUD]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


@contextmanager
def _transformers_quiet() -> Iterator[None]:
    # Imported here: transformers takes a second, and not all work needs it.
    from transformers.utils import logging as library

    level, bars = library.get_verbosity(), library.is_progress_bar_enabled()
    library.set_verbosity(logging.CRITICAL)
    library.disable_progress_bar()
    try:
        yield
    finally:
        library.set_verbosity(level)
        if bars:
            library.enable_progress_bar()


@contextmanager
def replaced(owner: Any, name: str, value: object) -> Iterator[None]:
    """Let a library find something else where it looks this up."""
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)
