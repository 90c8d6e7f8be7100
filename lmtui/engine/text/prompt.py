"""Prompt builder: from a conversation, or a document, to token ids.

Applies the chat template, or a plain format for models without one, and finds the
tokens that end an answer. No text of a user becomes a control token. Knows the
tokenizer only.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from lmtui.engine.text.common_prefix import common_prefix_len
from lmtui.engine.text.normalization import covering
from lmtui.engine.text.thinking import (
    ReasoningSpan,
    before_thinking,
    behind_thinking,
    marks_of,
    opens,
    thinking_in,
)
from lmtui.engine.types import BosRule, ChatTurn, Encoding, Prompt
from lmtui.errors import LmtuiError
from lmtui.models import template_renderer
from lmtui.models.errors import tokenizing

# Plain format of a base model; parts in brackets may be missing:
# [SYSTEM⏎⏎]User: MESSAGE⏎Assistant: ANSWER⏎User: MESSAGE⏎Assistant:[ PREFILL]
_SWITCHES = ("enable_thinking", "thinking")
"""Template variables that turn thinking on or off: of Qwen3 and SmolLM3, and of Granite
and DeepSeek-V3.1."""
_REASONING = ("reasoning_content", "thinking", "reasoning")
"""Names by which templates look up the thinking of an answer: of Qwen3 and most others,
of gpt-oss, and of vLLM."""
_DOCUMENT_ENDS = ("<|endoftext|>", "<|end_of_text|>", "</s>", "<eos>")

# Marks put inside control strings that a user typed, so that only the template's own
# control strings remain. Unicode reserves these code points for internal use.
_REMOVE = "\ufdd0"  # removed again; the tokenizer can read such a string as text
_SPLIT = "\ufdd1"  # the text is split here: the tokenizer always matches these strings
_WRITING = "\ufdd2"  # placeholder for the message that is being written
_THOUGHT = "\ufdd3"  # behind the thinking of an answer, where that has ended
_ALL = (_REMOVE, _SPLIT, _WRITING, _THOUGHT)
_MARKS = dict.fromkeys(map(ord, _ALL), "\ufffd")
_NO_MARKS = dict.fromkeys(map(ord, (_WRITING, _THOUGHT)))


Message = Mapping[str, str]
"""A message as templates get it: `role`, `content`, perhaps the reasoning."""


@dataclass(frozen=True, slots=True)
class _Answer:
    """An answer that is to be continued, with marks behind its words."""

    message: Message
    words: tuple[tuple[str, str], ...]
    """Texts that the template has to write, each with the mark behind it."""

    def end_in(self, rendered: str) -> int | None:
        """Return where the answer goes on in a rendered conversation; None where its
        words are not all there."""
        for words, mark in self.words:
            before, separator, _ = rendered.rpartition(mark)
            whole = before.rstrip().endswith(words.translate(_NO_MARKS).strip())
            if not separator or not whole:
                return None
        return rendered.rindex(_WRITING)


class PromptBuilder:
    """Converts conversations and documents to ids, for one tokenizer."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self.has_template = bool(tokenizer.chat_template)
        self._template = str(tokenizer.chat_template or "")
        added = tokenizer.added_tokens_decoder.items()
        self._added = frozenset(i for i, _ in added)
        self._specials = {t.content: i for i, t in added if t.special}
        self._others = [t.content for _, t in added if not t.special]

    @cached_property
    def _special_pattern(self) -> re.Pattern[str]:
        return _any_of(self._specials)

    @cached_property
    def _marker_pattern(self) -> re.Pattern[str]:
        """Strings such as <think>, which are no special tokens but which the template
        uses."""
        shown = (text for text in self._others if text.strip())
        return _any_of(text for text in shown if text in self._template)

    def _read(self, text: str, **options: bool) -> Any:
        with tokenizing():
            return self._tokenizer(text, **options)

    @cached_property
    def adds_bos(self) -> bool:
        """Whether the tokenizer begins a text with BOS by itself."""
        bos = self._tokenizer.bos_token_id
        ids = self._read("a").input_ids
        return bos is not None and bool(ids) and ids[0] == bos

    @property
    def normalizes(self) -> bool:
        """Whether the tokenizer may compose, replace or drop characters."""
        return self._tokenizer.backend_tokenizer.normalizer is not None

    def document(self, text: str, bos: BosRule) -> Encoding:
        """Tokenise a text as it stands; special-token strings in it are ordinary text.
        The spans cover all of it."""
        encoded = self._read(
            text,
            add_special_tokens=False,
            split_special_tokens=True,
            return_offsets_mapping=True,
        )
        spans = covering([(a, b) for a, b in encoded.offset_mapping], len(text))
        return Encoding(tuple(encoded.input_ids), spans, self.prefix(bos))

    def prefix(self, bos: BosRule) -> tuple[int, ...]:
        """Return the ids that begin a document and are not part of it: BOS, or none.

        Raises:
            LmtuiError: `bos` is "yes" and the tokenizer has no BOS token.
        """
        if bos == "no" or (bos == "auto" and not self.adds_bos):
            return ()
        token = self._tokenizer.bos_token_id
        if token is None:
            raise LmtuiError(
                "this model has no BOS token", "", "Use --bos auto or --bos no."
            )
        return (token,)

    @cached_property
    def switch(self) -> str | None:
        """Template variable that turns thinking on or off, if the template has one."""
        if not any(name in self._template for name in _SWITCHES):
            return None
        known = template_renderer.variables(self._template)
        return next((name for name in _SWITCHES if name in known), None)

    def render(
        self,
        messages: Sequence[ChatTurn],
        prefill: str = "",
        *,
        thinking: bool | None = None,
    ) -> Prompt:
        """Build the prompt of a conversation, up to where the model's answer continues.

        `thinking` tells the template whether the model thinks first, if it can be told.
        The template also decides what becomes of the thinking in earlier answers.

        Raises:
            LmtuiError: the model's template refuses the conversation.
        """
        if not self.has_template:
            return self._plain(messages, prefill)
        # 1) text: the template writes it, with marks in what a user typed of its
        # control strings
        turns = [self._message(turn) for turn in messages]
        if prefill:
            rendered = self._render_continued(turns, prefill, thinking)
        else:
            rendered = self._render(turns, thinking=thinking)
        # 2) ids: those of the last answer and its prompt, and those of the rest
        ids = self._ids_after_answer(rendered, messages)
        # 3) what of them is the beginning of the answer
        given = self._prefill_length(rendered, messages, ids, self._guard(prefill))
        return Prompt(ids, _unmarked(rendered), given=given, begun=prefill)

    def _prefill_length(
        self,
        rendered: str,
        messages: Sequence[ChatTurn],
        ids: tuple[int, ...],
        prefill: str,
    ) -> int:
        """Return how many of a prompt's ids are those of the prefill at its end; 0
        where one of them has more, or the template wrote it otherwise."""
        if not prefill or not rendered.endswith(prefill):
            return 0
        before = rendered.removesuffix(prefill)
        first = self._ids_after_answer(before, messages, apart=_is_marked(rendered))
        return len(ids) - len(first) if ids[: len(first)] == first else 0

    def _ids_after_answer(
        self, rendered: str, messages: Sequence[ChatTurn], *, apart: bool = False
    ) -> tuple[int, ...]:
        """Return a rendered conversation as ids. Where it begins with the text of the
        last answer and its prompt, their ids stay: the KV cache has them."""
        known = [turn.known for turn in messages if turn.known is not None]
        if known and rendered.startswith(known[-1].text):
            rest = rendered.removeprefix(known[-1].text)
            if not rest or self._special_pattern.match(rest):  # a token begins here
                return (*known[-1].ids, *self._encode(rest, apart=apart))
        return tuple(self._encode(rendered, apart=apart))

    def draft(
        self, messages: Sequence[ChatTurn], text: str, *, thinking: bool | None = None
    ) -> tuple[list[int], list[int]]:
        """Return the ids before a message that the user is writing, and those of what
        is written so far.

        Raises:
            LmtuiError: the model's template refuses the conversation.
        """
        writing = ChatTurn("user", _WRITING)
        if self.has_template:
            given = [self._message(turn) for turn in messages]
            rendered = self._render(
                [*given, _plain_message(writing)], thinking=thinking
            )
        else:
            rendered = self._plain([*messages, writing], "").text
        before = rendered.partition(_WRITING)[0]
        if self.has_template:
            whole = before + self._guard(text)
            context = [*self._ids_after_answer(before, messages)]
            ids = [*self._ids_after_answer(whole, messages)]
        else:
            context, ids = map(self._plain_ids, (before, before + text))
        # A token that merges text with what is before it counts as the text's.
        same = common_prefix_len(context, ids)
        return ids[:same], ids[same:]

    def render_with_answer_spans(
        self, messages: Sequence[ChatTurn]
    ) -> tuple[list[int], list[tuple[int, int]]]:
        """Return a whole conversation as ids, and the range of ids of each of the
        model's answers, the token that ends it included.

        An answer that the template changes beyond recognition has no range.

        Raises:
            LmtuiError: the model's template refuses the conversation.
        """
        turns = [ChatTurn(m.role, self._guard(m.content)) for m in messages]
        rendered = self._render_all(turns)
        # Around a typed control string, parts are tokenised one by one. Whatever is
        # compared with the result has to be tokenised in the same way.
        apart = _is_marked(rendered)
        ids = self._ids_of(rendered, apart=apart)
        ranges = []
        for index, turn in enumerate(turns):
            if turn.role != "assistant":
                continue
            if span := self._answer_span(rendered, turns, index):
                cuts = (self._ids_of(rendered[:at], apart=apart) for at in span)
                first, behind = (common_prefix_len(ids, cut) for cut in cuts)
                ranges.append((first, behind))
        return ids, ranges

    def _render_all(self, turns: Sequence[ChatTurn]) -> str:
        if self.has_template:
            return self._render(map(_plain_message, turns), open_ended=False)
        return _plain_turns(turns).removesuffix("\n")

    def _render_question(self, turns: Sequence[ChatTurn]) -> str:
        if self.has_template:
            return self._render(map(_plain_message, turns))
        return f"{_plain_turns(turns)}Assistant:"

    def _ids_of(self, rendered: str, *, apart: bool) -> list[int]:
        if self.has_template:
            return list(self._encode(rendered, apart=apart))
        return self._plain_ids(_unmarked(rendered))

    def _plain_ids(self, text: str) -> list[int]:
        encoding = self.document(text, "auto")
        return [*encoding.prefix, *encoding.ids]

    def _answer_span(
        self, rendered: str, turns: list[ChatTurn], index: int
    ) -> tuple[int, int] | None:
        """Return where in a rendered conversation an answer begins and ends, in code
        points; None where that can't be told."""
        marked = [*turns[:index], ChatTurn("assistant", _WRITING), *turns[index + 1 :]]
        before, separator, after = self._render_all(marked).partition(_WRITING)
        start, end = len(before), len(rendered) - len(after)
        fits = rendered.startswith(before) and rendered.endswith(after)
        if not (separator and fits and start <= end):
            return None
        asked = self._render_question(turns[:index]) if index else before
        if before.startswith(asked):  # the model writes all that follows the prompt
            start = len(asked)
        closing = self._closing[0]
        return start, end + (len(closing) if after.startswith(closing) else 0)

    @cached_property
    def _closing(self) -> tuple[str, int | None]:
        """Text that the template puts after an answer, up to and including its first
        control token, and that token's id; None without one."""
        if not self.has_template:
            return "\n", None
        turns = [ChatTurn("user", "question"), ChatTurn("assistant", "ANSWER")]
        try:
            after = self._render_all(turns).rpartition("ANSWER")[2]
        except LmtuiError:
            return "", None
        if match := self._special_pattern.search(after):
            return after[: match.end()], self._specials[match[0]]
        return "", None

    def tokenizer_info(self) -> dict[str, Any]:
        return {
            "tokenizer_class": "PreTrainedTokenizerFast",
            **self._tokenizer.special_tokens_map,
            "add_bos_token": self.adds_bos,
            "chat_template": self._template or None,
        }

    @property
    def turn_end(self) -> int | None:
        """Token that the template puts after an answer, if any."""
        return self._closing[1]

    @cached_property
    def _template_control_ids(self) -> frozenset[int]:
        """Control tokens that the template writes, as far as its text shows: those
        whose strings are in it."""
        ids = {i for text, i in self._specials.items() if text in self._template}
        if "eos_token" in self._template:
            ids.add(self._tokenizer.eos_token_id)
        return frozenset(ids - {None})

    def is_conversation(self, ids: Sequence[int]) -> bool:
        """Return whether `ids` have control tokens of the template. A document has
        none: there, their strings are text."""
        return not self._template_control_ids.isdisjoint(
            ids[len(self.prefix("auto")) :]
        )

    @property
    def document_end(self) -> int | None:
        """Token that ends a document: EOS; or, where the template uses that, the
        vocabulary's own token for documents."""
        eos: int | None = self._tokenizer.eos_token_id
        if self._tokenizer.eos_token in _DOCUMENT_ENDS:
            return eos
        if eos is not None and eos not in self._template_control_ids:
            return eos
        known = (self._specials[t] for t in _DOCUMENT_ENDS if t in self._specials)
        return next(known, eos)

    def _render(
        self,
        messages: Iterable[Message],
        *,
        open_ended: bool = True,
        thinking: bool | None = None,
    ) -> str:
        switch = None if thinking is None else self.switch
        switches = {switch: thinking} if switch else {}
        return template_renderer.render(
            self._template,
            list(messages),
            open_ended=open_ended,
            variables={**self._tokenizer.special_tokens_map, **switches},
        )

    def _plain(self, messages: Sequence[ChatTurn], prefill: str) -> Prompt:
        asked = f"{_plain_turns(messages)}Assistant:"
        text = asked + (_space_before(prefill) + prefill if prefill else "")
        return Prompt(tuple(self._plain_ids(text)), text, ("\nUser:",), begun=prefill)

    def _render_continued(
        self, messages: Sequence[Message], prefill: str, thinking: bool | None
    ) -> str:
        """Return a conversation up to the end of an answer that is to be continued, as
        the template writes an answer.

        Raises:
            LmtuiError: the template refuses the conversation, or drops the answer.
        """
        asked = self._render(messages, thinking=thinking)
        span = thinking_in(prefill)
        if span is None:
            return self._render_plain_answer(
                messages, self._guard(prefill), thinking, asked
            )
        if self._takes_reasoning:
            with suppress(LmtuiError):
                answer = self._marked_reasoning(prefill, span)
                continued = self._render_to_answer_end(messages, answer, thinking)
                if _has_all_messages(messages, asked, continued):
                    return continued
        # The template drops thinking: it is put where the model itself would write it.
        base, marks = before_thinking(asked)
        marks = marks or marks_of(self._template)
        if marks is None:  # text, to this template
            return self._render_plain_answer(
                messages, self._guard(prefill), thinking, asked
            )
        lead = prefill[: span.start].lstrip().removeprefix(span.opening)
        opening = asked[len(base) :] if opens(asked) else marks[0] + lead
        text = base + opening + self._guard(prefill[span.start : span.stop])
        if not span.closing:
            return text
        text += marks[1] + prefill[span.stop + len(span.closing) : span.end]
        rest = self._guard(prefill[span.end :])
        whole = self._render_plain_answer(messages, rest, thinking, asked)
        own = whole[len(base) :] if whole.startswith(base) else rest
        return text + behind_thinking(own)

    def _render_plain_answer(
        self,
        messages: Sequence[Message],
        answer: str,
        thinking: bool | None,
        asked: str,
    ) -> str:
        """Return a conversation up to the end of an answer without thinking; `asked` is
        the conversation up to where the model would begin it."""
        message = {"role": "assistant", "content": answer + _WRITING}
        whole = _Answer(message, ((answer, _WRITING),))
        continued = self._render_to_answer_end(messages, whole, thinking)
        # Some templates write the system message only before a last question.
        return (
            continued
            if _has_all_messages(messages, asked, continued)
            else asked + answer
        )

    def _render_to_answer_end(
        self, messages: Sequence[Message], answer: _Answer, thinking: bool | None
    ) -> str:
        """Render a conversation up to the end of an answer.

        Raises:
            LmtuiError: the template refuses it, or does not write all of the answer.
        """
        rendered = self._render(
            [*messages, answer.message], open_ended=False, thinking=thinking
        )
        end = answer.end_in(rendered)
        if end is None:
            raise LmtuiError(
                "the model's chat template can't continue this answer",
                "it leaves out the text of a last message, or changes it",
                "Let the model answer anew instead.",
            )
        return rendered[:end].translate(_NO_MARKS)

    def _marked_reasoning(self, text: str, span: ReasoningSpan) -> _Answer:
        """Return an answer that is to be continued, its thinking apart."""
        message = dict(self._split_reasoning(text, span))
        thought, answer = message[_REASONING[0]], message["content"]
        if not span.closing:
            thought = self._guard(text[span.start : span.stop].lstrip("\n"))
            fields = dict.fromkeys(_REASONING, thought + _WRITING)
            return _Answer(message | fields, ((thought, _WRITING),))
        fields = dict.fromkeys(_REASONING, thought + _THOUGHT)
        return _Answer(
            message | fields | {"content": answer + _WRITING},
            ((thought, _THOUGHT), (answer, _WRITING)),
        )

    @cached_property
    def _takes_reasoning(self) -> bool:
        """Whether the template takes the thinking of an answer apart from its text."""
        if _REASONING[0] in self._template:
            return True  # though it may drop it
        if not any(name in self._template for name in _REASONING):
            return False
        turns = [
            {"role": "user", "content": "question"},
            {"role": "assistant", "content": "answer"}
            | dict.fromkeys(_REASONING, _THOUGHT),
        ]
        with suppress(LmtuiError):
            return _THOUGHT in self._render(turns, open_ended=False)
        return False

    def _message(self, turn: ChatTurn) -> Message:
        """Return a turn as the template gets it. Every control string in it is text,
        except the marks around the model's thinking: by these the template knows what
        to leave out."""
        text = turn.content
        span = thinking_in(text) if turn.role == "assistant" else None
        if span is None:
            return {"role": turn.role, "content": self._guard(text)}
        if self._takes_reasoning:
            return self._split_reasoning(text, span)
        return {"role": turn.role, "content": self._with_marks(text, span)}

    def _split_reasoning(self, text: str, span: ReasoningSpan) -> Message:
        """Return an answer with its thinking under each name that templates use."""
        thought = self._guard(text[span.start : span.stop].strip("\n"))
        answer = self._guard(text[span.end :])
        return {
            "role": "assistant",
            "content": answer,
            **dict.fromkeys(_REASONING, thought),
        }

    def _with_marks(self, text: str, span: ReasoningSpan) -> str:
        """Return an answer in which the marks around its thinking are marks, if the
        template knows them."""
        known = (
            marker.rstrip() in self._template for marker in (span.opening, span.closing)
        )
        if not all(known):
            return self._guard(text)
        behind = span.stop + len(span.closing)
        thought, answer = text[span.start : span.stop], text[behind:]
        return (
            f"{text[: span.start]}{self._guard(thought)}{span.closing}"
            f"{self._guard(answer)}"
        )

    def _guard(self, text: str) -> str:
        """Put a mark into every control string of a user's text."""
        text = _marked(text.translate(_MARKS), self._special_pattern, _REMOVE)
        return _marked(text, self._marker_pattern, _SPLIT)

    def _encode(self, rendered: str, *, apart: bool = False) -> Iterator[int]:
        if not apart and not _is_marked(rendered):
            yield from self._read(rendered, add_special_tokens=False).input_ids
            return
        for part in re.split(f"({self._special_pattern.pattern})", rendered):
            if part in self._specials:
                yield self._specials[part]
                continue
            for piece in part.replace(_REMOVE, "").split(_SPLIT):
                yield from self._read(
                    piece, add_special_tokens=False, split_special_tokens=True
                ).input_ids

    @cached_property
    def thinking_ids(self) -> tuple[int, ...]:
        """Ids of the mark with which the model can begin to think; none where the
        template has no such mark, or its first token can be text."""
        marks = marks_of(self._template)
        ids = tuple(self._encode(marks[0].rstrip())) if marks else ()
        return ids if ids[:1] and ids[0] in self._added else ()

    def end_ids(self, declared: frozenset[int]) -> frozenset[int]:
        """Return every token that ends an answer: those that end a text, and the one
        that the template puts after an answer."""
        ids = self.text_end_ids(declared)
        return ids if self.turn_end is None else ids | {self.turn_end}

    def text_end_ids(self, declared: frozenset[int]) -> frozenset[int]:
        """Return every token that ends a text: those that the model declares, the
        tokenizer's, and the end of a document. Runs no template."""
        ids = {*declared, self._tokenizer.eos_token_id} - {None}
        ids |= {self._specials[t] for t in _DOCUMENT_ENDS if t in self._specials}
        return frozenset(ids)


def _plain_message(turn: ChatTurn) -> Message:
    return {"role": turn.role, "content": turn.content}


def _has_all_messages(messages: Sequence[Message], asked: str, continued: str) -> bool:
    """Return whether a conversation with an answer still has every message that it has
    without one."""
    texts = (message["content"].strip() for message in messages)
    return all(text in continued for text in texts if text in asked)


def _plain_turns(messages: Sequence[ChatTurn]) -> str:
    """Return a conversation in the plain format, up to the next speaker's name."""
    return "".join(
        f"{m.content}\n\n" if m.role == "system"
        else f"Assistant:{_space_before(m.content)}{m.content}\n"
        if m.role == "assistant"
        else f"User: {m.content}\n"
        for m in messages
    )  # fmt: skip


def _space_before(answer: str) -> str:
    """Return what stands between a speaker's name and an answer of the model, which
    mostly begins with a space itself."""
    return "" if answer[:1].isspace() else " "


def _is_marked(text: str) -> bool:
    return _REMOVE in text or _SPLIT in text


def _unmarked(text: str) -> str:
    return text.replace(_REMOVE, "").replace(_SPLIT, "")


def _marked(text: str, pattern: re.Pattern[str], mark: str) -> str:
    """Put `mark` after the first character of every match."""
    return pattern.sub(lambda match: match[0][0] + mark + match[0][1:], text)


def _any_of(strings: Iterable[str]) -> re.Pattern[str]:
    """Return a pattern that matches any of the strings, longest first; for none, one
    that matches nothing."""
    ordered = sorted(strings, key=len, reverse=True)
    return re.compile("|".join(map(re.escape, ordered)) or "(?!)")
