"""From a conversation, or a document, to token ids.

Owns the chat template, the plain format for models without one, the tokens that end
an answer, and the rule that no text of a user becomes a control token. Knows the
tokenizer only.

The plain format of a base model, where the parts in brackets may be missing:

    [SYSTEM⏎⏎]User: MESSAGE⏎Assistant: ANSWER⏎User: MESSAGE⏎Assistant:[ PREFILL]
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from typing import Any

from jinja2.exceptions import TemplateError

from lmtui.engine.types import BosRule, Encoding, Message, Prompt
from lmtui.errors import LmtuiError

_SPEAKERS = {"user": "User", "assistant": "Assistant"}
_DOCUMENT_ENDS = ("<|endoftext|>", "<|end_of_text|>", "</s>", "<eos>")

# Put inside a control string that a user typed, so that the template's own control
# strings are the only ones left. Unicode reserves these two for such internal use.
_REMOVE = "\ufdd0"  # …and taken out again: the tokenizer can be told to read it as text
_SPLIT = "\ufdd1"  # …and cut at: the tokenizer always matches these strings
_WRITING = "\ufdd2"  # where the message that is being written will stand
_MARKS = {ord(_REMOVE): "\ufffd", ord(_SPLIT): "\ufffd"}


class PromptWriter:
    """Turns text into ids by the rules of one tokenizer."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self.has_template = bool(tokenizer.chat_template)
        template = str(tokenizer.chat_template or "")
        added = tokenizer.added_tokens_decoder.items()
        self._specials = {t.content: i for i, t in added if t.special}
        others = (t.content for _, t in added if not t.special)
        # Strings such as <think> are no special tokens, but steer the template.
        self._steering = {text for text in others if text.strip() and text in template}

    @cached_property
    def adds_bos(self) -> bool:
        """Whether the tokenizer begins a text with BOS by itself."""
        bos = self._tokenizer.bos_token_id
        ids = self._tokenizer("a").input_ids
        return bos is not None and bool(ids) and ids[0] == bos

    def document(self, text: str, bos: BosRule) -> Encoding:
        """A text as it stands, special-token strings included as ordinary text."""
        encoded = self._tokenizer(
            text,
            add_special_tokens=False,
            split_special_tokens=True,
            return_offsets_mapping=True,
        )
        spans = tuple((start, end) for start, end in encoded.offset_mapping)
        return Encoding(tuple(encoded.input_ids), spans, self._prefix(bos))

    def _prefix(self, bos: BosRule) -> tuple[int, ...]:
        if bos == "no" or (bos == "auto" and not self.adds_bos):
            return ()
        token = self._tokenizer.bos_token_id
        if token is None:
            raise LmtuiError(
                "this model has no BOS token", "", "Use --bos auto or --bos no."
            )
        return (token,)

    def write(self, messages: Sequence[Message], prefill: str = "") -> Prompt:
        """A conversation up to where the model's answer goes on.

        Raises:
            LmtuiError: the model's template refuses the conversation.
        """
        if not self.has_template:
            return self._plain(messages, prefill)
        rendered = self._render(
            [Message(m.role, self._guard(m.content)) for m in messages]
        ) + self._guard(prefill)
        ids = tuple(self._encode(rendered))
        text = rendered.replace(_REMOVE, "").replace(_SPLIT, "")
        return Prompt(ids, text)

    def draft(
        self, messages: Sequence[Message], text: str
    ) -> tuple[list[int], list[int]]:
        """A conversation up to where the user is writing the next message: the ids
        before it, and those of what is written so far.

        Raises:
            LmtuiError: the model's template refuses the conversation.
        """
        turns = [*messages, Message("user", _WRITING)]
        if self.has_template:
            guarded = [Message(m.role, self._guard(m.content)) for m in messages]
            rendered = self._render([*guarded, turns[-1]])
        else:
            rendered = self._plain(turns, "").text
        before = rendered.partition(_WRITING)[0]
        prefix = () if self.has_template else self._prefix("auto")
        context = [*prefix, *self._encode(before)]
        ids = [*prefix, *self._encode(before + self._guard(text))]
        # Where the text merges with what is before it, the merged token is the text's.
        pairs = enumerate(zip(context, ids, strict=False))
        shorter = min(len(context), len(ids))
        same = next((i for i, (a, b) in pairs if a != b), shorter)
        return ids[:same], ids[same:]

    def _render(self, messages: Sequence[Message], *, open_ended: bool = True) -> str:
        turns = [{"role": m.role, "content": m.content} for m in messages]
        try:
            rendered: str = self._tokenizer.apply_chat_template(
                turns, tokenize=False, add_generation_prompt=open_ended
            )
        except (TemplateError, TypeError, ValueError) as error:
            raise LmtuiError(
                "the model's chat template refuses this conversation",
                str(error),
                "Some models take no system message, or want user and assistant to "
                "take turns.",
            ) from error
        return rendered

    def _plain(self, messages: Sequence[Message], prefill: str) -> Prompt:
        parts = [
            f"{_SPEAKERS[m.role]}: {m.content}\n" if m.role in _SPEAKERS
            else f"{m.content}\n\n"
            for m in messages
        ]  # fmt: skip
        text = "".join(parts) + "Assistant:" + (f" {prefill}" if prefill else "")
        encoding = self.document(text, "auto")
        return Prompt((*encoding.prefix, *encoding.ids), text, ("\nUser:",))

    def _guard(self, text: str) -> str:
        """Mark every control string in a user's text."""
        text = text.translate(_MARKS)
        for mark, strings in ((_REMOVE, self._specials), (_SPLIT, self._steering)):
            for pattern in _any_of(strings):
                text = _marked(text, pattern, mark)
        return text

    def _encode(self, rendered: str) -> Iterator[int]:
        if _REMOVE not in rendered and _SPLIT not in rendered:
            yield from self._tokenizer(rendered, add_special_tokens=False).input_ids
            return
        for pattern in _any_of(self._specials):
            for part in re.split(f"({pattern.pattern})", rendered):
                if part in self._specials:
                    yield self._specials[part]
                    continue
                for piece in part.replace(_REMOVE, "").split(_SPLIT):
                    yield from self._tokenizer(
                        piece, add_special_tokens=False, split_special_tokens=True
                    ).input_ids

    def end_ids(self, model: Any) -> frozenset[int]:
        """Every token that ends an answer: the model's, the tokenizer's, the one that
        the template puts after an answer, and the end of a document."""
        declared = (
            getattr(model.generation_config, "eos_token_id", None),
            model.config.get_text_config().eos_token_id,
            self._tokenizer.eos_token_id,
        )
        ids = {i for value in declared for i in _as_list(value)}
        ids |= {self._specials[t] for t in _DOCUMENT_ENDS if t in self._specials}
        return frozenset(ids | self._template_end())

    def _template_end(self) -> set[int]:
        if not self.has_template:
            return set()
        turns = [Message("user", "question"), Message("assistant", "ANSWER")]
        try:
            rendered = self._render(turns, open_ended=False)
        except LmtuiError:
            return set()
        after = rendered.rpartition("ANSWER")[2]
        matches = (pattern.search(after) for pattern in _any_of(self._specials))
        return {self._specials[match[0]] for match in matches if match}


def _marked(text: str, pattern: re.Pattern[str], mark: str) -> str:
    """Put `mark` after the first character of every match."""
    return pattern.sub(lambda match: match[0][0] + mark + match[0][1:], text)


def _as_list(value: int | list[int] | None) -> list[int]:
    if value is None:
        return []
    return [value] if isinstance(value, int) else list(value)


def _any_of(strings: Iterable[str]) -> list[re.Pattern[str]]:
    """One pattern that matches any of the strings, longest first; none for none."""
    ordered = sorted(strings, key=len, reverse=True)
    return [re.compile("|".join(map(re.escape, ordered)))] if ordered else []
