"""What a model's files say of its text: tokenizer, chat template, stop tokens.

Loads no weights, and needs no torch.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lmtui.engine.text.prompt import PromptBuilder
from lmtui.errors import LmtuiError
from lmtui.models import template_renderer
from lmtui.models.gguf.generation import end_ids
from lmtui.models.gguf.header import GgufHeader, read_gguf_header
from lmtui.models.gguf.tokenizer import GgufTokenizer, read_tokenizer, save_tokenizer
from lmtui.models.tokenizer_json import TokenizersTokenizer

TextFact = str | bool | int | list[str] | dict[str, float]

_ALWAYS_GIVEN = {
    "messages",
    "tools",
    "documents",
    "add_generation_prompt",
    "namespace",
    "raise_exception",
    "strftime_now",
    "range",
    "dict",
}
"""Names that a template can look up whatever the user asks for."""
_SETS = re.compile(r"\bset\s+(\w+)")
"""Assignments in a template; one in a branch does not hide a name elsewhere."""
_GENERATION = ("generation_config.json", "config.json")


def text_facts(path: Path) -> dict[str, TextFact]:
    """Return the facts about the text of the model in a folder or a `.gguf` file; none
    for a folder without tokenizer.json and its configuration, or with damaged ones.

    Raises:
        LmtuiError: a `.gguf` file is damaged.
    """
    if path.is_dir():
        try:
            tokenizer = TokenizersTokenizer(path)
        except (OSError, ValueError, KeyError):
            return {}
        return _facts(tokenizer, _kind(tokenizer), _declared(path))
    header = read_gguf_header(path)
    whole = sum(header.by_type.values()) or 1
    types = {name: count / whole for name, count in header.by_type.items()}
    try:
        read = read_tokenizer(header)
        facts = _gguf_facts(header, read)
    except LmtuiError as error:
        return {"tokenizer_kind": f"none: {error.detail}", "types": types}
    return facts | {"types": types}


def _gguf_facts(header: GgufHeader, read: GgufTokenizer) -> dict[str, TextFact]:
    with tempfile.TemporaryDirectory(prefix="lmtui-") as folder:
        save_tokenizer(read, Path(folder))
        tokenizer = TokenizersTokenizer(Path(folder))
    facts = _facts(tokenizer, read.kind, frozenset(end_ids(header, read)))
    if read.pre_tokenizer:
        facts["pre_tokenizer"] = read.pre_tokenizer
    guesses = [*read.guesses]
    if read.chat_template is None:
        guesses.append("chat: the file has no template; a plain format is used")
    return facts | {"guessed": guesses}


def _facts(
    tokenizer: TokenizersTokenizer, kind: str, declared: frozenset[int]
) -> dict[str, TextFact]:
    prompts = PromptBuilder(tokenizer)
    known = declared & {*tokenizer.get_vocab().values()}
    ends = [tokenizer.convert_ids_to_tokens(i) for i in prompts.end_ids(known)]
    template = tokenizer.chat_template or ""
    own = template_renderer.variables(template) - _ALWAYS_GIVEN
    facts: dict[str, TextFact] = {
        "vocabulary": len(tokenizer.get_vocab()),
        "tokenizer_kind": kind,
        "bos": prompts.adds_bos,
        "stop_tokens": sorted(end for end in ends if end),
    }
    if template:
        given = {*_SETS.findall(template), *tokenizer.special_tokens_map}
        facts["template_switches"] = sorted(own - given)
    return facts


def _kind(tokenizer: TokenizersTokenizer) -> str:
    """Return the kind of vocabulary that a tokenizer.json holds, in words."""
    parts: dict[str, Any] = json.loads(tokenizer.backend_tokenizer.to_str())
    kind = str(parts["model"]["type"])
    if kind == "BPE":
        bytes_ = '"ByteLevel"' in json.dumps(parts["decoder"])
        return "byte-level BPE" if bytes_ else "SentencePiece BPE"
    return "SentencePiece unigram" if kind == "Unigram" else kind


def _declared(folder: Path) -> frozenset[int]:
    """Return the stop tokens that the configurations in a folder name."""
    ids: set[int] = set()
    for name in _GENERATION:
        try:
            config = json.loads((folder / name).read_bytes())
        except (OSError, ValueError, RecursionError):
            continue
        value = config.get("eos_token_id") if isinstance(config, Mapping) else None
        listed = value if isinstance(value, list) else [value]
        ids.update(item for item in listed if type(item) is int)
    return frozenset(ids)
