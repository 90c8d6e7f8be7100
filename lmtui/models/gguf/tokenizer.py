"""The tokenizer of a GGUF file, built from the file's own fields.

Fields: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md#tokenizer. What they
leave open follows llama.cpp's reading of them, for which such files are made.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeGuard

import tokenizers
from tokenizers import AddedToken, decoders, models, normalizers, pre_tokenizers
from tokenizers.processors import TemplateProcessing

from lmtui.errors import LmtuiError, panics_as_errors
from lmtui.models.gguf.header import GgufHeader, GgufValue, read_array
from lmtui.models.gguf.pre_tokenizers import DEFAULT, PRE_TOKENIZERS, PreTokenizer
from lmtui.models.tokenizer_check import prepare
from lmtui.models.tokenizer_json import CONFIG, TEMPLATE, TOKENIZER

FIELDS_VERSION = "2"
"""The version of what this room makes of the fields of a file; copies that another one
made are stale."""
_NORMAL, _UNKNOWN, _CONTROL, _USER_DEFINED, _UNUSED, _BYTE = range(1, 7)
"""Types of tokens, as numbers of `tokenizer.ggml.token_type`."""
_SPACE = "▁"
_MERGES_PER_TOKEN, _MERGES = 16, 2**20
"""Bounds of the merges that scores may imply; real vocabularies have a few a token."""
_LONGEST = 512
"""Characters of the longest token that merges are made for; those of real vocabularies
have at most some dozens, and the work grows with the square."""
_KINDS = {
    "gpt2": "byte-level BPE",
    "llama": "SentencePiece BPE",
    "gemma4": "SentencePiece BPE with merges",
    "t5": "SentencePiece unigram",
}
_NAMES = ("bos", "eos", "unk", "sep", "pad", "cls", "mask")
_FIELDS = {"unk": "unknown", "sep": "seperator", "pad": "padding"}
"""Names in GGUF's fields that differ; one is misspelt there."""
_DEFAULT_IDS = {
    "gpt2": {},
    "llama": {"bos": 1, "eos": 2, "unk": 0},
    "gemma4": {},
    "t5": {"eos": 1, "unk": 2, "pad": 0},
}
"""Ids of a file that does not say, by `tokenizer.ggml.model`."""
END_NAMES = frozenset(
    (
        "<|eot_id|>",
        "<|im_end|>",
        "<|end|>",
        "<|return|>",
        "<|call|>",
        "<end_of_turn>",
        "<eos>",
        "<|endoftext|>",
        "<|eom_id|>",
        "<EOT>",
        "[EOT]",
        "<|end_of_text|>",
        "<end_of_utterance>",
        "<turn|>",
        "<|tool_response>",
        "<|fim_pad|>",
        "<|repo_name|>",
        "<|file_sep|>",
        "[EOS]",
        "[e~[",
        "_<EOT>",
        "<｜end▁of▁sentence｜>",
    )
)
"""Tokens that end an answer or a text, by their usual names."""
HARMONY = {"<|return|>", "<|call|>"}
"""Tokens by which the vocabulary of gpt-oss is known."""
_ALWAYS_CONTROL = END_NAMES | {
    "<|fim_prefix|>",
    "<fim-prefix>",
    "<fim_prefix>",
    "<｜fim▁begin｜>",
    "<|fim_suffix|>",
    "<fim-suffix>",
    "<fim_suffix>",
    "<｜fim▁hole｜>",
    "<|fim_middle|>",
    "<fim-middle>",
    "<fim_middle>",
    "<｜fim▁end｜>",
    "<fim-pad>",
    "<fim_pad>",
}
"""Control tokens that some files call ordinary ones."""


@dataclass(frozen=True, slots=True)
class GgufTokenizer:
    backend: tokenizers.Tokenizer
    specials: dict[str, str]
    """Special tokens by transformers' names: `bos_token`, `eos_token`, …"""
    chat_template: str | None
    kind: str
    """The kind of vocabulary, in words."""
    pre_tokenizer: str
    """The name of the rule that cuts a text into pieces; empty where there is none."""
    guesses: tuple[str, ...]
    """What the file leaves open, and what was taken for it."""


def read_tokenizer(header: GgufHeader) -> GgufTokenizer:
    fields = _Fields(header)
    try:
        with panics_as_errors():
            backend = fields.backend()
            prepare(backend)
    except LmtuiError:
        raise
    except Exception as error:  # `tokenizers` raises no narrower class
        raise _unusable(header, str(error)) from error
    template = header.values.get("tokenizer.chat_template")
    return GgufTokenizer(
        backend,
        {f"{name}_token": fields.tokens[i] for name, i in fields.special_ids.items()},
        template if isinstance(template, str) else None,
        _KINDS[fields.model],
        fields.pre_name,
        tuple(fields.guesses),
    )


def save_tokenizer(tokenizer: GgufTokenizer, folder: Path) -> None:
    """Write it as transformers would, for that library and for `TokenizersTokenizer`.

    Raises:
        OSError: the folder can't be written.
    """
    texts = {TOKENIZER: tokenizer.backend.to_str(pretty=False)}
    about = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "clean_up_tokenization_spaces": False,
        **tokenizer.specials,
    }
    texts[CONFIG] = json.dumps(about, indent=1)
    if tokenizer.chat_template is not None:
        texts[TEMPLATE] = tokenizer.chat_template
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8", newline="")


def library_tokenizer_of(tokenizer: GgufTokenizer) -> Any:
    """Return it as a tokenizer of transformers, without a file."""
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer.backend,
        chat_template=tokenizer.chat_template,
        clean_up_tokenization_spaces=False,
        **tokenizer.specials,
    )


def is_token_id(value: object, count: int) -> TypeGuard[int]:
    if not isinstance(value, int) or isinstance(value, bool):
        return False
    return 0 <= value < count


def _unusable(header: GgufHeader, why: str) -> LmtuiError:
    return LmtuiError(
        "the tokenizer of this GGUF file can't be used",
        f"{header.path}: {why}",
        "Use another file of the model, or its folder from the Hub.",
    )


class _Fields:
    """The fields of one file that make its tokenizer."""

    def __init__(self, header: GgufHeader) -> None:
        self._header = header
        self.guesses: list[str] = []
        self.model = str(header.values.get("tokenizer.ggml.model", ""))
        if self.model not in _KINDS:
            raise self._refused(
                f"its kind, {self.model!r}, is not one of {', '.join(_KINDS)}"
                if self.model
                else "it has none"
            )
        spelled = self._texts("tokens")
        if not spelled:
            raise self._refused("its vocabulary is empty")
        self.tokens = [text or f"[EMPTY_{i}]" for i, text in enumerate(spelled)]
        self.ids = {text: i for i, text in enumerate(self.tokens)}
        if len(self.ids) < len(self.tokens):
            raise self._refused("two of its tokens are spelt alike")
        self.types = self._numbers("token_type") or [_NORMAL] * len(self.tokens)
        self.pre_name, self.pre = self._pre_tokenizer()
        self.special_ids = self._special_ids()

    def _refused(self, why: str) -> LmtuiError:
        return _unusable(self._header, why)

    def _value(self, name: str) -> GgufValue | None:
        return self._header.values.get(f"tokenizer.ggml.{name}")

    def _flag(self, name: str, default: bool) -> bool:
        value = self._value(name)
        return value if isinstance(value, bool) else default

    def _texts(self, name: str) -> list[str]:
        items = read_array(self._header, f"tokenizer.ggml.{name}") or []
        if not all(isinstance(item, bytes) for item in items):
            raise self._refused(f"its {name} are no texts")
        try:
            return [item.decode() for item in items]
        except UnicodeDecodeError as error:
            raise self._refused(f"its {name} are not UTF-8") from error

    def _numbers(self, name: str) -> list[float]:
        """Return one number for each token; an empty list where the file has none."""
        items = read_array(self._header, f"tokenizer.ggml.{name}") or []
        if items and (len(items) < len(self.tokens) or isinstance(items[0], bytes)):
            raise self._refused(f"its {name} does not go with its tokens")
        return items

    def _pre_tokenizer(self) -> tuple[str, PreTokenizer]:
        if self.model == "gemma4":
            return "gemma4", PRE_TOKENIZERS["gemma4"]
        if self.model != "gpt2":
            return "", DEFAULT
        name = self._value("pre")
        if name is None or name == "":
            self.guesses.append(
                "pre-tokenizer: the file names none; the default of llama.cpp"
            )
            return "default", DEFAULT
        if (known := PRE_TOKENIZERS.get(str(name))) is None:
            raise self._refused(f"its pre-tokenizer, {name!r:.40}, is unknown")
        return str(name), known

    def _special_ids(self) -> dict[str, int]:
        special_ids = {}
        for name in _NAMES:
            value = self._value(f"{_FIELDS.get(name, name)}_token_id")
            if not is_token_id(value, len(self.tokens)):
                value = _DEFAULT_IDS[self.model].get(name)
                if is_token_id(value, len(self.tokens)) and name in ("bos", "eos"):
                    self.guesses.append(
                        f"{name.upper()}: the file names none; "
                        f"{self.tokens[value]!r:.40} is usual"
                    )
            if is_token_id(value, len(self.tokens)):
                special_ids[name] = value
        if (
            self.ids.keys() >= HARMONY
            and self.tokens[special_ids.get("eos", 0)] == "<|end|>"
        ):
            special_ids["eos"] = self.ids["<|return|>"]
        return special_ids

    def backend(self) -> tokenizers.Tokenizer:
        build = {
            "gpt2": self._byte_level,
            "llama": self._sentencepiece,
            "gemma4": self._gemma,
            "t5": self._unigram,
        }[self.model]
        backend = build()
        backend.add_tokens(list(self._added()))
        if ends := self._ends():
            backend.post_processor = ends
        return backend

    def _added(self) -> Iterator[AddedToken]:
        """Yield the tokens that are matched before the text is cut into pieces."""
        # Only the name of the model tells that its control tokens take the spaces
        # behind them.
        named = str(self._header.values.get("general.name", "")).lower()
        strips = "phi-3" in named or "phi3" in named
        keeps = ("<unk>", "<s>", "<|endoftext|>")
        ends = self._type_of("<s>") == _CONTROL and self._type_of("</s>") != _NORMAL
        for text, kind in zip(self.tokens, self.types, strict=False):
            control = kind in (_CONTROL, _UNKNOWN) or text in _ALWAYS_CONTROL
            # A mark in some vocabularies, in others (Gemma's) a tag of HTML.
            control = control or (text == "</s>" and ends)
            if control or kind == _USER_DEFINED:
                yield AddedToken(
                    text,
                    special=control,
                    normalized=False,
                    rstrip=strips and text not in keeps,
                )

    def _type_of(self, text: str) -> float | None:
        index = self.ids.get(text)
        return None if index is None else self.types[index]

    def _ends(self) -> TemplateProcessing | None:
        """Return the rule by which BOS and EOS enclose a text; None for no rule."""
        bos, eos = self.special_ids.get("bos"), self.special_ids.get("eos")
        before = self._flag("add_bos_token", self.pre.adds_bos or self.model == "llama")
        # llama.cpp overrides what files of Gemma 4 say.
        before = before or self.model == "gemma4"
        after = self._flag("add_eos_token", self.model == "t5")
        first = [bos] if before and bos is not None else []
        last = [eos] if after and eos is not None else []
        if not first and not last:
            return None
        # Under these names, since `$` or `:` in a token's own would mean something.
        named = {**dict.fromkeys(first, "BOS"), **dict.fromkeys(last, "EOS")}
        before_text, behind = [named[i] for i in first], [named[i] for i in last]
        return TemplateProcessing(
            single=[*before_text, "$A", *behind],
            pair=[*before_text, "$A", *behind, *before_text, "$B:1", *behind],
            special_tokens=[
                {"id": name, "ids": [i], "tokens": [self.tokens[i]]}
                for i, name in named.items()
            ],
        )

    def _merges(self) -> list[tuple[str, str]]:
        """Return the file's merges, without those that make no token."""
        pairs = []
        for text in self._texts("merges"):
            cut = text.find(" ", 1)
            left, right = text[:cut], text[cut + 1 :]
            if cut > 0 and {left, right, left + right} <= self.ids.keys():
                pairs.append((left, right))
        return list(dict.fromkeys(pairs))  # of a pair listed twice, the first counts

    def _scored_merges(self, scores: Sequence[float]) -> list[tuple[str, str]]:
        """Return the merges that a vocabulary with scores implies: of every pair of
        tokens that make a token, the one that makes the best comes first."""
        ids = self.ids
        ranked: list[tuple[float, int, str, str]] = []
        most = _MERGES_PER_TOKEN * len(self.tokens) + _MERGES
        for i, text in enumerate(self.tokens):
            usual = self.types[i] in (_NORMAL, _USER_DEFINED, _UNUSED)
            if usual and len(text) <= _LONGEST:
                ranked += [
                    (-scores[i], i, text[:cut], text[cut:])
                    for cut in range(1, len(text))
                    if text[:cut] in ids and text[cut:] in ids
                ]
            if len(ranked) > most:
                raise self._refused("its vocabulary implies far too many merges")
        ranked.sort(key=lambda merge: merge[:2])
        return [(left, right) for _, _, left, right in ranked]

    def _byte_level(self) -> tokenizers.Tokenizer:
        if not self.pre.byte_level:
            return self._gemma()
        merges = self._merges()
        if not merges and self.pre_name == "kimi-k2":
            # tiktoken's vocabularies rank their tokens by their ids.
            merges = self._scored_merges([-float(i) for i in range(len(self.tokens))])
        if not merges:
            raise self._refused("it has no merges")
        backend = tokenizers.Tokenizer(
            models.BPE(self.ids, merges, ignore_merges=self.pre.ignore_merges)
        )
        spelling = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        backend.pre_tokenizer = pre_tokenizers.Sequence([*self._cuts(), spelling])
        backend.decoder = decoders.ByteLevel()
        return backend

    def _cuts(self) -> list[pre_tokenizers.Split]:
        return [
            pre_tokenizers.Split(tokenizers.Regex(pattern), "isolated")
            for pattern in self.pre.patterns
        ]

    def _gemma(self) -> tokenizers.Tokenizer:
        backend = tokenizers.Tokenizer(self._with_bytes(self._merges()))
        backend.normalizer = normalizers.Replace(" ", _SPACE)
        backend.pre_tokenizer = pre_tokenizers.Sequence(self._cuts())
        backend.decoder = _spaces_decoder(strip=False)
        return backend

    def _with_bytes(self, merges: list[tuple[str, str]]) -> models.BPE:
        """Return a BPE that spells characters outside its vocabulary as bytes."""
        unknown = self.special_ids.get("unk")
        return models.BPE(
            self.ids,
            merges,
            byte_fallback=self._has_bytes,
            fuse_unk=True,
            unk_token=None if unknown is None else self.tokens[unknown],
        )

    @cached_property
    def _has_bytes(self) -> bool:
        return all(f"<0x{byte:02X}>" in self.ids for byte in range(256))

    def _sentencepiece(self) -> tokenizers.Tokenizer:
        scores = self._numbers("scores") or [0.0] * len(self.tokens)
        backend = tokenizers.Tokenizer(self._with_bytes(self._scored_merges(scores)))
        prefix = self._flag("add_space_prefix", True)
        backend.normalizer = normalizers.Sequence(_space_rules(prefix))
        backend.decoder = _spaces_decoder(strip=prefix)
        return backend

    def _unigram(self) -> tokenizers.Tokenizer:
        scores = self._numbers("scores") or [0.0] * len(self.tokens)
        if not all(map(math.isfinite, scores)):
            raise self._refused("a score is no number")
        worst = min(scores) - 10
        ranked = []
        for text, score, kind in zip(self.tokens, scores, self.types, strict=False):
            if kind in (_CONTROL, _UNKNOWN):
                # Worse than its characters one by one: as text, it is not this token.
                score = worst * (len(text) + 1)
            ranked.append((text, 0.0 if kind == _USER_DEFINED else score))
        unknown = self.special_ids.get("unk", 0)
        backend = tokenizers.Tokenizer(models.Unigram(ranked, unknown, False))
        rules: list[Any] = []
        if charsmap := read_array(self._header, "tokenizer.ggml.precompiled_charsmap"):
            data = bytes(byte & 0xFF for byte in charsmap)
            rules.append(normalizers.Precompiled(data))
        prefix = self._flag("add_space_prefix", True)
        if self._flag("remove_extra_whitespaces", False):
            extra = tokenizers.Regex("^ +| +$| +(?= )")
            rules.append(normalizers.Replace(extra, ""))
        backend.normalizer = normalizers.Sequence([*rules, *_space_rules(prefix)])
        backend.decoder = _spaces_decoder(strip=prefix)
        return backend


def _space_rules(prefix: bool) -> list[Any]:
    """Return the rules that spell spaces as `▁`, with one before a text."""
    before = [normalizers.Prepend(_SPACE)] if prefix else []
    return [*before, normalizers.Replace(" ", _SPACE)]


def _spaces_decoder(*, strip: bool) -> decoders.Sequence:
    steps: list[Any] = [
        decoders.Replace(_SPACE, " "),
        decoders.ByteFallback(),
        decoders.Fuse(),
    ]
    if strip:
        steps.append(decoders.Strip(" ", 1, 0))
    return decoders.Sequence(steps)
