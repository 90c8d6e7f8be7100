"""A tokenizer without transformers, whose import takes longer than the model.

It reads the files that transformers saved. `llama/cache` has compared it with the
original once, with `same_as`. Attributes have transformers' names, so that either kind
can be used.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Any

import tokenizers

from lmtui.errors import panics_as_errors
from lmtui.models.errors import without_labels
from lmtui.models.tokenizer_check import check_file, prepare

TOKENIZER = "tokenizer.json"
CONFIG = "tokenizer_config.json"
TEMPLATE = "chat_template.jinja"
_GENERAL_CLASSES = ("PreTrainedTokenizerFast", "TokenizersBackend")
_BPE_SETTINGS = (
    "dropout",
    "unk_token",
    "continuing_subword_prefix",
    "end_of_word_suffix",
    "fuse_unk",
    "byte_fallback",
    "ignore_merges",
)
_NAMES = ("bos", "eos", "unk", "sep", "pad", "cls", "mask")


@dataclass(frozen=True, slots=True)
class Encoded:
    input_ids: list[int]
    offset_mapping: list[tuple[int, int]]
    """Start and end of each token, in code points."""


class TokenizersTokenizer:
    """The tokenizer in a folder that transformers wrote."""

    def __init__(self, folder: Path) -> None:
        """Read the tokenizer.

        Raises:
            OSError, ValueError, KeyError: the folder holds none, or a damaged one.
            LmtuiError: it makes texts far longer.
        """
        try:
            with panics_as_errors():
                self.backend_tokenizer = _read_in_parts(folder / TOKENIZER)
        except Exception as error:  # tokenizers raises no narrower class
            raise ValueError(str(error)) from error
        prepare(self.backend_tokenizer)
        try:
            config = json.loads((folder / CONFIG).read_bytes())
        except RecursionError as error:
            raise ValueError(f"{CONFIG} is nested too deeply") from error
        if not isinstance(config, Mapping):
            raise ValueError(f"{CONFIG} is not an object")
        self.special_tokens_map = {
            name: text
            for name in (f"{kind}_token" for kind in _NAMES)
            if (text := _text(config.get(name))) is not None
        }
        template = folder / TEMPLATE
        self.chat_template = (
            template.read_text("utf-8") if template.is_file() else _template_in(config)
        )
        self.is_fast = True

    @property
    def bos_token_id(self) -> int | None:
        return self._id("bos_token")

    @property
    def eos_token_id(self) -> int | None:
        """The token that ends a text, or an answer."""
        return self._id("eos_token")

    @property
    def eos_token(self) -> str | None:
        """The same token, as text."""
        return self.special_tokens_map.get("eos_token")

    def _id(self, name: str) -> int | None:
        text = self.special_tokens_map.get(name)
        if text is None:
            return None
        token: int | None = self.backend_tokenizer.token_to_id(text)
        return token

    @cached_property
    def added_tokens_decoder(self) -> Mapping[int, tokenizers.AddedToken]:
        """Tokens, by id, that are matched before the text is split."""
        known: Mapping[int, tokenizers.AddedToken]
        known = self.backend_tokenizer.get_added_tokens_decoder()
        return known

    def get_vocab(self) -> Mapping[str, int]:
        """Return every token as the vocabulary spells it, and its id."""
        vocabulary: Mapping[str, int] = self.backend_tokenizer.get_vocab()
        return vocabulary

    def convert_ids_to_tokens(self, token: int) -> str | None:
        """Return the vocabulary's spelling of a token; None for an unknown id."""
        spelled: str | None = self.backend_tokenizer.id_to_token(token)
        return spelled

    def __call__(
        self,
        text: str,
        *,
        add_special_tokens: bool = True,
        split_special_tokens: bool = False,
        return_offsets_mapping: bool = True,
    ) -> Encoded:
        """Return the tokens of a text. With `split_special_tokens`, control tokens in
        it are treated as ordinary text."""
        self.backend_tokenizer.encode_special_tokens = split_special_tokens
        # A batch of one: `encode_batch` releases the GIL, `encode` does not.
        [read] = self.backend_tokenizer.encode_batch(
            [text], add_special_tokens=add_special_tokens
        )
        return Encoded(read.ids, read.offsets if return_offsets_mapping else [])


def _read_in_parts(file: Path) -> tokenizers.Tokenizer:
    """Read a tokenizer.json: the rules, the vocabulary, then the added tokens.

    The library holds the interpreter's lock while it reads: 170 ms for 49,152 tokens as
    a whole, at most 70 ms for one part. Keys are answered in between.
    """
    # The JSON scanner holds it, too, unless it calls Python.
    content = json.loads(file.read_bytes(), parse_int=lambda digits: int(digits))
    bpe = content["model"]
    if bpe.get("type") != "BPE":
        return tokenizers.Tokenizer.from_file(str(file))
    # 1. The rules, with an empty vocabulary.
    rules = content | {"added_tokens": [], "model": bpe | {"vocab": {}, "merges": []}}
    tokenizer = tokenizers.Tokenizer.from_str(json.dumps(rules))
    # 2. The vocabulary, which takes the longest. Older files write a merge as "a b".
    merges = [
        tuple(pair.split(" ") if isinstance(pair, str) else pair)
        for pair in bpe["merges"]
    ]
    tokenizer.model = tokenizers.models.BPE(
        bpe["vocab"],
        merges,
        **{name: bpe[name] for name in _BPE_SETTINGS if bpe.get(name) is not None},
    )
    # 3. The added tokens. One that the vocabulary has keeps its id. Each call costs as
    # much as all tokens that have been added.
    added = [
        tokenizers.AddedToken(**{k: v for k, v in about.items() if k != "id"})
        for about in content.get("added_tokens") or ()
    ]
    for special, tokens in groupby(added, lambda token: token.special):
        add = tokenizer.add_special_tokens if special else tokenizer.add_tokens
        add(list(tokens))
    return tokenizer


def library_tokenizer(folder: Path) -> Any:
    """Return the tokenizer in a folder as one of transformers.

    Raises:
        LmtuiError: it makes texts far longer.
        Exception: whatever transformers raises for a missing or damaged one.
    """
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    # transformers takes the class by the model's type, even where the folder names a
    # class that leaves tokenizer.json as it is.
    kind = PreTrainedTokenizerFast if names_no_model(folder) else AutoTokenizer
    for file in folder.glob("tokenizer.*json"):  # of several versions of the library
        check_file(file)
    with without_labels():
        tokenizer = kind.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
    if getattr(tokenizer, "is_fast", False):
        prepare(tokenizer.backend_tokenizer)
    return tokenizer


def names_no_model(folder: Path) -> bool:
    """Return whether a folder's tokenizer is tokenizer.json, whatever the model."""
    try:
        config = json.loads((folder / CONFIG).read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    named = config.get("tokenizer_class") if isinstance(config, dict) else None
    return named in _GENERAL_CLASSES and (folder / TOKENIZER).is_file()


_PROBES = (
    "The quick brown fox, 12345 times:\n\n\tdon't <stop>  ",
    "  naïve façade — 日本語 👩‍👩‍👧 ﬁ\r\n",
)
_WAYS = (
    {"add_special_tokens": True},
    {"add_special_tokens": False},
    {"add_special_tokens": False, "split_special_tokens": True},
)


def same_as(library: Any, light: TokenizersTokenizer) -> bool:
    """Return whether a saved tokenizer agrees with the original of transformers: on the
    tokens of some texts with all control tokens, on special tokens and on the template.
    """
    ends = library.bos_token_id, library.eos_token_id
    controls = (token.content for token in light.added_tokens_decoder.values())
    texts = (*_PROBES, "".join(f"a{control} b" for control in controls))
    return (
        ends == (light.bos_token_id, light.eos_token_id)
        and all(
            list(library(text, **way).input_ids) == light(text, **way).input_ids
            for text in texts
            for way in _WAYS
        )
        and (library.chat_template or None) == (light.chat_template or None)
        and library.special_tokens_map == light.special_tokens_map
    )


def _template_in(config: Mapping[str, Any]) -> str | None:
    """Return the chat template in a config: a text, or that of several named ones which
    is called `default`."""
    value = config.get("chat_template")
    for template in value if isinstance(value, list) else ():
        if isinstance(template, Mapping) and template.get("name") == "default":
            value = template.get("template")
    return value if isinstance(value, str) else None


def _text(value: Any) -> str | None:
    """Return the text of a token in a config: a string, or an object with one."""
    if isinstance(value, Mapping):
        value = value.get("content")
    return value if isinstance(value, str) else None
