"""Checks of the rules in a tokenizer before its first use.

The rules come with a model, from anywhere: a chain of replacements of a few kB would
turn a word into gigabytes. Growth is bounded by the rules alone, without a text.
"""

from __future__ import annotations

import base64
import json
import math
import unicodedata
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import tokenizers

from lmtui.errors import LmtuiError, panics_as_errors

_MOST_GROWTH = 256  # T5's rules count 176, Llama's 12, byte-level BPE 2 to 6
_MOST_ENDS = 256  # tokens and texts in a post-processor's template
_LONGEST_AFFIX = 64  # bytes that a model puts before or behind each part of a word
_LARGEST = 1 << 27  # bytes of a tokenizer.json; Gemma's has 33 million
_NO_WORDS = {"added_tokens": [], "model": {"type": "BPE", "vocab": {}, "merges": []}}
_STEPS = ("normalizers", "pretokenizers", "processors")


def check_file(file: Path) -> None:
    """Refuse a tokenizer.json that makes texts far longer, before the library reads it
    as a whole: it applies the rules to added tokens at once.

    Raises:
        LmtuiError: it does.
        OSError, ValueError: it can't be read, or is damaged.
    """
    if file.stat().st_size > _LARGEST:
        raise ValueError(f"{file.name} has more than {_LARGEST:,} bytes")
    try:
        about = json.loads(file.read_bytes(), object_pairs_hook=_once)
    except RecursionError as error:
        raise ValueError(f"{file.name} is nested too deeply") from error
    if not isinstance(about, dict):
        raise ValueError(f"{file.name} is not an object")
    bare = about | _NO_WORDS
    try:
        with panics_as_errors():
            rules = tokenizers.Tokenizer.from_str(json.dumps(bare))
    except Exception as error:  # tokenizers raises no narrower class
        raise ValueError(f"{file.name}: {error}") from error
    prepare(rules)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    # Of two normalizers, json returns the last, and the library may use the first.
    made = dict(pairs)
    if len(made) < len(pairs) and "model" in made:
        raise ValueError("a part of the tokenizer is there twice")
    return made


def prepare(backend: tokenizers.Tokenizer) -> None:
    """Turn off truncation, padding and BPE dropout, so that a text has one encoding,
    and refuse a tokenizer that makes texts far longer."""
    backend.no_truncation()
    backend.no_padding()
    model = backend.model
    if getattr(model, "dropout", None) is not None:
        model.dropout = None
    for name in ("continuing_subword_prefix", "end_of_word_suffix"):
        affix = getattr(model, name, None) or ""
        if len(affix.encode()) > _LONGEST_AFFIX:
            raise _grows(f"its {name} has {len(affix):,} characters")
    rules = (backend.normalizer, backend.pre_tokenizer)
    growth = math.prod(_growth(step) for part in rules for step in _steps(part))
    if growth > _MOST_GROWTH:
        raise _grows(f"its rules make {growth:,.0f} bytes of one")
    ends = sum(_ends(step) for step in _steps(backend.post_processor))
    if ends > _MOST_ENDS:
        raise _grows(f"it encloses each text in {ends:,} tokens")


def _steps(part: Any) -> Iterator[Mapping[str, Any]]:
    """Yield the settings of each step of a normalizer, a pre-tokenizer or a
    post-processor."""
    waiting = [] if part is None else [json.loads(part.__getstate__())]
    while waiting:
        step = waiting.pop()
        inner = [inner_step for name in _STEPS for inner_step in step.get(name, ())]
        if not inner:
            yield step
        waiting += inner


def _growth(step: Mapping[str, Any]) -> float:
    """Return how many bytes a step makes of one, at the most. Unicode's own forms and
    small letters count where a text is inserted, and are 1 here: they change a text
    only once."""
    match step["type"]:
        case "Replace":
            return _replaced(step["pattern"].get("String"), step["content"])
        case "Prepend" | "Metaspace":
            return 1 + _most(step.get("prepend", step.get("replacement")))
        case "ByteLevel":
            return 3 if step.get("add_prefix_space") else 2
        case "BertNormalizer":
            return 2  # spaces around Chinese characters
        case "Precompiled":
            return _mapped(base64.b64decode(step["precompiled_charsmap"]))
    return 1


def _replaced(pattern: str | None, content: str) -> float:
    """Return the growth by a replacement; `pattern` is None for a regular expression,
    which may also match nothing between any two bytes."""
    if not content:
        return 1
    if not pattern:
        return 1 + _most(content)
    least = min(len(form.encode()) for form in _forms(pattern))
    return max(1.0, _most(content) / max(1, least))


def _mapped(charsmap: bytes) -> float:
    """Return the growth by a table of SentencePiece: the size of its trie, the trie,
    and texts that end with NUL."""
    texts = charsmap[4 + int.from_bytes(charsmap[:4], "little") :]
    longest = max(map(len, texts.split(b"\0")))
    # The longest text is that of a character of three bytes.
    return max(3.0, longest / 3) if longest > 1 else 1


def _most(text: str) -> int:
    return max(len(form.encode()) for form in _forms(text))


def _forms(text: str) -> Iterator[str]:
    """Yield a text as it is, and as other steps can make it."""
    for form in (text, unicodedata.normalize("NFKD", text)):
        yield from (form, form.lower())


def _ends(step: Mapping[str, Any]) -> int:
    """Return how many tokens and texts a template consists of."""
    known = step.get("special_tokens", {})
    parts = step.get("single", ()) if step["type"] == "TemplateProcessing" else ()
    names = [part.get("SpecialToken", {}).get("id") for part in parts]
    return sum(len(known[name]["ids"]) if name else 1 for name in names)


def _grows(why: str) -> LmtuiError:
    return LmtuiError(
        "the model's tokenizer makes texts far too long",
        why,
        "Use another model, or another version of this one.",
    )
