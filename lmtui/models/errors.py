"""Mapping of libraries' errors while loading to titles and hints for the user.

While a model's files are read, every exception is taken to be about them and mapped;
the library's message is the detail, and the original exception the cause.
"""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lmtui import cache_dir
from lmtui.errors import LmtuiError, panics_as_errors, system_limit

_LOUD = ("accelerate", "huggingface_hub", "torch", "py.warnings", "gguf")

_LABELS = ("num_labels", "id2label", "label2id")
_LONGEST = 300  # characters of a library's message
_OTHER = "See `lmtui models list` for models that work."
_OLD = "Update the transformers package, or use another model."
# The first entry with words that occur in the library's message decides.
_KNOWN = (
    (
        ("trust_remote_code", "custom code"),
        "this model brings code of its own, which is never run",
        _OTHER,
    ),
    (
        (
            "Unrecognized configuration class",
            "not supported yet",
            "not recognize this architecture",
            "Unrecognized model",
            "Unknown gguf model_type",
        ),
        "this kind of model is not supported",
        _OLD,
    ),
    (
        ("out of memory", "can't allocate memory", "not enough memory"),
        "memory ran out while the model was loaded",
        "Use a smaller model, --dtype bfloat16, or close other programs.",
    ),
    (
        ("tokenizer", "Tokenizer", "vocab"),
        "the model's tokenizer can't be loaded",
        "Fetch or copy the model again, with all its tokenizer files.",
    ),
)


def hush() -> None:
    """Silence transformers, before its import, for this whole process: some models warn
    when they run, long after they were loaded."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "critical")


@contextmanager
def quiet() -> Iterator[None]:
    """Keep libraries from writing to the terminal: no bar, warning or log."""
    # Imported here: transformers takes a second, and not all callers need it.
    from transformers.utils import logging as library

    loggers = [logging.getLogger(name) for name in _LOUD]
    levels = [logger.level for logger in loggers]
    level, bars = library.get_verbosity(), library.is_progress_bar_enabled()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.CRITICAL)
        library.set_verbosity(logging.CRITICAL)
        library.disable_progress_bar()
        try:
            yield
        finally:
            for logger, before in zip(loggers, levels, strict=True):
                logger.setLevel(before)
            library.set_verbosity(level)
            if bars:
                library.enable_progress_bar()


@contextmanager
def offline() -> Iterator[None]:
    """Make every library that uses huggingface_hub take itself to be offline."""
    from huggingface_hub import constants

    with replaced(constants, "HF_HUB_OFFLINE", True):
        yield


@contextmanager
def without_labels() -> Iterator[None]:
    """Keep the labels of classes out of the configurations that transformers reads: a
    causal model needs none, and a few bytes can ask for 10⁹ of them."""
    from transformers import PreTrainedConfig

    read = vars(PreTrainedConfig)["get_config_dict"].__func__

    def unlabelled(cls: Any, *arguments: Any, **options: Any) -> Any:
        read_config, others = read(cls, *arguments, **options)
        return _without_labels(read_config), others

    with replaced(PreTrainedConfig, "get_config_dict", classmethod(unlabelled)):
        yield


def _without_labels(config: dict[str, Any]) -> dict[str, Any]:
    return {
        name: _without_labels(value) if isinstance(value, dict) else value
        for name, value in config.items()
        if name not in _LABELS
    }


@contextmanager
def replaced(owner: Any, name: str, value: object) -> Iterator[None]:
    """Replace an attribute of a library's module for a while."""
    before = vars(owner)[name]
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)


@contextmanager
def wrap_load_errors(path: str) -> Iterator[None]:
    """Turn a library's exceptions about `path` into an LmtuiError."""
    try:
        with panics_as_errors("this model can't be loaded", _OTHER):
            yield
    except LmtuiError:
        raise
    except Exception as error:
        raise _explain(error, path) from error


@contextmanager
def tokenizing() -> Iterator[None]:
    """Turn a tokenizer's exceptions into an LmtuiError: its patterns and settings come
    with the model and may fail on some texts."""
    title = "the model's tokenizer fails on this text"
    hint = "Use another model, or take what it fails on out of the text."
    try:
        with panics_as_errors(title, hint):
            yield
    except LmtuiError:
        raise
    except Exception as error:
        raise LmtuiError(title, str(error)[:_LONGEST], hint) from error


def _explain(error: Exception, path: str) -> LmtuiError:
    if limit := system_limit(error):
        return limit
    words = " ".join(str(error).split()) or type(error).__name__
    detail = f"{path}: {words[:_LONGEST]}"
    if cache_dir.is_disk_full(error):
        return cache_dir.disk_full(Path(path))
    if isinstance(error, ImportError):
        return LmtuiError(
            "a package that this model needs is missing",
            detail,
            "Install it in the environment of lmtui, or use another model.",
        )
    if isinstance(error, MemoryError):
        words = "out of memory"
    for signs, title, hint in _KNOWN:
        if any(sign in words for sign in signs):
            return LmtuiError(title, detail, hint)
    return LmtuiError("this model can't be loaded", detail, _OTHER)


def refuse_incomplete(info: dict[str, Any], path: Path) -> None:
    """Refuse a model for which transformers made up some weights.

    `info` is the loading info of `from_pretrained`.
    """
    missing = sorted(map(str, info.get("missing_keys") or ()))
    wrong = sorted(str(key) for key in info.get("mismatched_keys") or ())
    if not missing and not wrong:
        return
    first, count = (missing or wrong)[0], len(missing) + len(wrong)
    raise LmtuiError(
        "the weights don't belong to this model",
        f"{path}: {count} tensors are missing or have the wrong shape, the first is "
        f"{first}",
        "Fetch or copy config.json and the weights again, from the same model.",
    )


def refuse_other_kinds(config: dict[str, Any], path: Path) -> None:
    listed = config.get("architectures")
    named = [str(name) for name in listed] if isinstance(listed, list) else []
    masked = any("MaskedLM" in name or "PreTraining" in name for name in named)
    if masked or config.get("is_encoder_decoder"):
        raise LmtuiError(
            "this is not a causal language model",
            f"{path}: {', '.join(named) or config.get('model_type')}",
            _OTHER,
        )
