"""The libraries' errors while loading, in words a user can act on.

Owns the mapping from what transformers raises to a title and a hint; its own
words stay as the detail. While a foreign file is read every exception is about
that file, so every one is mapped; the original stays as the cause.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lmtui.errors import LmtuiError, panics_told
from lmtui.models import disk

_LONGEST = 300  # characters of a library's words
_OTHER = "See `lmtui models list` for models that work."
_OLD = "Update the transformers package, or use another model."

# The first whose words are found in the library's own decides.
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


@contextmanager
def explained(place: str) -> Iterator[None]:
    """Turn what a library raises about `place` into an LmtuiError.

    Raises:
        LmtuiError: anything went wrong inside.
    """
    try:
        with panics_told("this model can't be loaded", _OTHER):
            yield
    except LmtuiError:
        raise
    except Exception as error:
        raise _explain(error, place) from error


@contextmanager
def tokenizing() -> Iterator[None]:
    """Turn what a tokenizer raises, whose patterns and settings come with the model,
    into an LmtuiError.

    Raises:
        LmtuiError: anything went wrong inside.
    """
    title = "the model's tokenizer fails on this text"
    hint = "Use another model, or take what it fails on out of the text."
    try:
        with panics_told(title, hint):
            yield
    except LmtuiError:
        raise
    except Exception as error:
        raise LmtuiError(title, str(error)[:_LONGEST], hint) from error


def _explain(error: Exception, place: str) -> LmtuiError:
    words = " ".join(str(error).split()) or type(error).__name__
    detail = f"{place}: {words[:_LONGEST]}"
    if disk.is_disk_full(error):
        return disk.disk_full(Path(place))
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


def refuse_incomplete(info: dict[str, Any], place: Path) -> None:
    """Refuse a model some of whose weights were made up by the library.

    `info` is the loading info of `from_pretrained`.

    Raises:
        LmtuiError: weights are missing or have the wrong shape.
    """
    missing = sorted(map(str, info.get("missing_keys") or ()))
    wrong = sorted(str(key) for key in info.get("mismatched_keys") or ())
    if not missing and not wrong:
        return
    first, count = (missing or wrong)[0], len(missing) + len(wrong)
    raise LmtuiError(
        "the weights don't belong to this model",
        f"{place}: {count} tensors are missing or have the wrong shape, the first is "
        f"{first}",
        "Fetch or copy config.json and the weights again, from the same model.",
    )


def refuse_other_kinds(config: dict[str, Any], place: Path) -> None:
    """Refuse a model that does not predict the next token from those before.

    Raises:
        LmtuiError: it fills gaps, or translates with an encoder.
    """
    named = [str(name) for name in config.get("architectures") or ()]
    masked = any("MaskedLM" in name or "PreTraining" in name for name in named)
    if masked or config.get("is_encoder_decoder"):
        raise LmtuiError(
            "this is not a causal language model",
            f"{place}: {', '.join(named) or config.get('model_type')}",
            _OTHER,
        )
