"""Answers of the model in a rendered conversation, and the ids that it generated.

A text has many tokenisations. What the model generated is read again by the same ids,
wherever they spell what the chat template writes. Knows no tokenizer and no template.
"""

from __future__ import annotations

import codecs
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lmtui.engine.text.thinking import thinking_in
from lmtui.engine.types import ChatTurn

OWN = "\ufdd4"
"""Mark before the text of an answer whose ids are known. Unicode reserves this code
point for internal use."""


@dataclass(frozen=True, slots=True)
class OwnAnswer:
    """Part of a rendered conversation that known ids spell."""

    start: int
    """Where it begins and ends, in code points."""
    end: int
    ids: tuple[int, ...]
    is_whole: bool
    """Whether they spell all of the answer."""


@dataclass(frozen=True, slots=True)
class OwnAnswerFinder:
    """Finds the answers whose ids are known in rendered conversations."""

    spell: Callable[[int], bytes]
    """Returns the bytes of a token."""
    guard: Callable[[str], str]
    """Puts marks into control strings, as they stand in a rendered conversation."""
    marks: tuple[str, ...]
    has_end: bool
    """Whether the template ends an answer with a control token. Otherwise a token may
    spell the end of an answer together with what is after it."""

    def find(
        self, turns: Sequence[ChatTurn], rendered: str, marked: str
    ) -> list[OwnAnswer]:
        """Return the parts of a rendered conversation that the ids of `turns` spell;
        `marked` is the same with `OWN` before the text of each."""
        *parts, _ = marked.split(OWN)
        if len(parts) != len(turns):  # the template leaves some out
            return []
        answers: list[OwnAnswer] = []
        at = end = 0
        for part, turn in zip(parts, turns, strict=True):
            # Without a mark before it, a template can strip the text of an answer.
            texts = (part, part.lstrip("\n"), part.lstrip())
            fits = [text for text in texts if rendered.startswith(text, at)]
            if not fits:
                break
            at += len(fits[0])
            if own := self._answer_at(turn, rendered, at, end):
                answers.append(own)
                end = own.end
        return answers

    def _answer_at(
        self, turn: ChatTurn, rendered: str, at: int, least: int
    ) -> OwnAnswer | None:
        """Return the part that the ids of an answer spell. What the template writes of
        its text is at `at`, and what it writes of its thinking may be before that, from
        `least` on."""
        text = turn.content
        span = thinking_in(text)
        starts = [0, *((span.stop + len(span.closing), span.end) if span else ())]
        starts += [len(text) - len(text[start:].lstrip()) for start in starts]
        for start in starts:
            words = self.guard(text[start:])
            if not words or not rendered.startswith(words.rstrip() or words, at):
                continue
            for begin, offset in ((0, at - start), (start, at)):
                own = self._spelled_part(turn, begin, rendered, offset)
                if offset >= least and own is not None and own.end > at:
                    return own
        return None

    def _spelled_part(
        self, turn: ChatTurn, begin: int, rendered: str, at: int
    ) -> OwnAnswer | None:
        """Return the part from `at` on that the ids of an answer spell, from the code
        point `begin` of its text on; None where no token begins there."""
        pieces = self._pieces(turn.ids)
        first = skipped = 0
        while skipped < begin and first < len(pieces):
            skipped, first = skipped + len(pieces[first] or ""), first + 1
        if skipped != begin or at < 0:
            return None
        words = len(turn.content) - begin
        longest = 2 * sum(len(piece or "") for piece in pieces[first:])
        following = self._unmarked(rendered[at : at + longest])  # 2: marks
        last, size = first, 0
        sure = first, 0  # where a character ends
        while last < len(pieces) and (size < words or not self.has_end):
            piece = pieces[last]
            if not following.startswith(piece or "", size):
                break
            size, last = size + len(piece or ""), last + 1
            if piece is not None:
                sure = last, size
        last, size = sure
        end = self._offset_after(rendered, at, size)
        whole = not begin and size >= words
        return OwnAnswer(at, end, turn.ids[first:last], whole)

    def _pieces(self, ids: Sequence[int]) -> list[str | None]:
        """Return the text that each token adds, up to an id that is no token; None for
        one that ends within a character, whose text is in the next one's."""
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        pieces: list[str | None] = []
        waits = ""
        for token in ids:
            if not (data := self.spell(token)):
                break
            waits += decoder.decode(data)
            is_whole = not decoder.getstate()[0]
            pieces.append(waits if is_whole else None)
            waits = "" if is_whole else waits
        return pieces

    def _unmarked(self, text: str) -> str:
        for mark in self.marks:
            text = text.replace(mark, "")
        return text

    def _offset_after(self, rendered: str, at: int, count: int) -> int:
        """Return where `count` characters from `at` on end, marks not counted."""
        while count:
            count -= rendered[at] not in self.marks
            at += 1
        return at
