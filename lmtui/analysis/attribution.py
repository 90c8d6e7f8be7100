"""Attribution by leaving out: which parts of a context made what follows them likely.

The effect of a unit is log P(target | context) - log P(target | context without it):
above 0 where it made the target likelier, below where it argued against it. That is no
explanation of the network: of two units that say the same, each can have none, since
the other stays. Cohen-Wang and others, "ContextCite", NeurIPS 2024; Liu and others,
"AttriBoT", ICLR 2025. Knows the engine only through its protocol.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import groupby, pairwise
from typing import Literal, NamedTuple

from lmtui.engine.protocol import Engine
from lmtui.engine.text.detokenizer import spelled
from lmtui.engine.text.thinking import thinking_in
from lmtui.engine.types import ChatTurn, Encoding, ScoredToken
from lmtui.engine.windows import Windows
from lmtui.errors import LmtuiError
from lmtui.notation import LN2

Granularity = Literal["word", "sentence", "line", "token", "turn"]
Span = tuple[int, int]
NamedSpan = tuple[str, int, int]
"""Name of a part of a text, such as a file in a message; start and end in code
points."""

LISTED = 10
"""Effects in a list of the strongest."""
NOTHING = 0.05
"""Bits below which an effect is shown as none."""

AS_TOKENS = (
    "some parts were left out as the tokens that they are: the tokenizer would make "
    "others of this text"
)

# A unit holds the white space that would be left over without it: a word that before
# it, a sentence or a line that behind it.
_UNITS = {
    "word": re.compile(r"\s*\S+"),
    "sentence": re.compile(
        r"\S.*?(?:[.!?…。！？]+[\"'”’»)\]]*(?=\s)\s+|\n\s*\n|\Z)", re.DOTALL
    ),
    "line": re.compile(r"[^\n]*\S[^\n]*\n*"),
    "turn": re.compile(r".+", re.DOTALL),
}


class ContextTurn(NamedTuple):
    """A turn of a conversation, with the files in it."""

    turn: ChatTurn
    files: Sequence[NamedSpan] = ()


@dataclass(frozen=True, slots=True)
class Source:
    """A text in the context, of which parts can be left out."""

    name: str
    """Role of who said it and the number of the message, or the name of a file; "" is
    the target's own text."""
    start: int
    """Where it begins and ends in all that is read, in code points."""
    end: int
    turn: int | None = None
    """Index of its turn; None where it is in none."""
    offset: int = 0
    """Where the text of its turn or document begins."""
    is_file: bool = False


@dataclass(frozen=True, slots=True)
class Effect:
    """What a unit of the context did to the target."""

    start: int
    """Offset in code points, in the text of its source, as is `end`."""
    end: int
    text: str
    logprob_without: float | None
    """log P(target | context without the unit), in nats; None where nothing is left to
    predict it from."""
    bits: float | None
    """What the unit adds to log P(target | context), in bits."""
    by: Granularity
    source: int
    """Index of its source."""
    token: int | None
    """Index in the context, where it is one token."""
    as_tokens: bool
    """Whether its tokens were left out as they are, and the text around it was not
    tokenized anew."""


class _Unit(NamedTuple):
    start: int
    """In all that is read, as is `end`."""
    end: int
    by: Granularity
    source: int
    token: int | None = None
    """Index in the context, where it is one token."""


class Attribution:
    """Effects of the units before a target."""

    def __init__(
        self,
        engine: Engine,
        text: str,
        encoding: Encoding,
        start: int,
        end: int,
        *,
        turns: Sequence[ContextTurn] = (),
        files: Sequence[NamedSpan] = (),
        windows: Windows | None = None,
    ) -> None:
        """The target are the tokens that the characters from `start` up to `end` are
        in. Before the text, the model reads `turns`, or `files`, each of some tokens
        of `encoding.prefix`. Of the text it reads the window that the target is in.

        Raises:
            LmtuiError: no token has these characters, or the target is too long.
        """
        self._engine = engine
        prefix, spans = encoding.prefix, encoding.spans
        first, beyond = _tokens_at(spans, start, end)
        if windows is None:
            room = engine.info.context - len(prefix) if turns else None
            windows = engine.info.windows(len(prefix), room)
        if (begin := windows.start_of(beyond - 1)) > first:
            hint = "Name a shorter one."
            raise LmtuiError("the target is longer than a window", "", hint)
        # 1) ids: of the context [n], and of the target, which never change
        self.ids = (*prefix, *encoding.ids[begin:first])
        self.target = encoding.ids[first:beyond]
        self.span = spans[first][0], spans[beyond - 1][1]
        """Start and end of the target in the text, in code points."""
        # 2) text: all that is read, and where each token of the context [n] is in it
        read = engine.describe_tokens(prefix)
        before, known = _spelled(read)
        at = len(before)
        self.text = before + text[: self.span[1]]
        """What the model reads, without control tokens, up to the target's end."""
        self._spans = [*known, *((a + at, b + at) for a, b in spans[begin:first])]
        self.at = at + self.span[0]
        """Where the target begins in it."""
        # 3) sources: parts of it that can be left out
        self.sources = [*_file_sources(files, known)]
        if turns:
            whole = Source("prompt", 0, at)
            self.sources = _turn_sources(engine, before, turns) or [whole]
        if begin < first:
            own = Source("", at + spans[begin][0], self.at, None, at)
            self.sources.append(own)
        # 4) runs: tokens that the tokenizer makes from one text
        controls = {i for i, token in enumerate(read) if token.is_control}
        bounds = {0, len(prefix), len(self.ids), *controls, *(i + 1 for i in controls)}
        self._runs = [*pairwise(sorted(bounds.union(*(span for _, *span in files))))]
        self._canonical: dict[Span, bool] = {}
        self._known: dict[tuple[int, int, int | None], float | None] = {}
        self.planned = 0
        """How many units are left out, as far as that is known."""

    @classmethod
    def of_tokens(
        cls,
        engine: Engine,
        ids: Sequence[int],
        prefix: Sequence[int],
        target: range,
        *,
        turns: Sequence[ContextTurn] = (),
        windows: Windows | None = None,
    ) -> Attribution:
        """Return that of some of the `ids` that were read after a prefix; the text is
        what they spell."""
        text, spans = spelled([token.bytes for token in engine.describe_tokens(ids)])
        start, end = spans[target[0]][0], spans[target[-1]][1]
        encoding = Encoding(tuple(ids), spans, tuple(prefix))
        return cls(engine, text, encoding, start, end, turns=turns, windows=windows)

    @cached_property
    def logprob(self) -> float | None:
        """log P(target | context), in nats; None without a context."""
        return self._after(self.ids)

    @cached_property
    def logprob_without_all(self) -> float | None:
        """log P(target) without any of the sources, in nats; None where nothing is left
        to predict it from."""
        whole = [_Unit(s.start, s.end, "turn", i) for i, s in enumerate(self.sources)]
        gone = {index for unit in whole for index in self._tokens_in(unit)}
        return self._after([id_ for i, id_ in enumerate(self.ids) if i not in gone])

    def _after(self, ids: Sequence[int]) -> float | None:
        return self._engine.target_logprob(ids, self.target) if ids else None

    def _units(self, by: Granularity) -> Iterator[_Unit]:
        for index, source in enumerate(self.sources):
            start, end = source.start, source.end
            if by == "token":
                for token in self._tokens_in(_Unit(start, end, by, index)):
                    yield _Unit(*self._spans[token], by, index, token)
            else:
                for match in _UNITS[by].finditer(self.text, start, end):
                    yield _Unit(*match.span(), by, index)

    @property
    def coarsest(self) -> Granularity:
        return "turn" if len(self.sources) > 1 else "sentence"

    def effects(self, by: Granularity) -> Iterator[Effect]:
        """Yield the effect of each unit, the last one first, since all before it need
        not be read again.

        A token is left out as it is; of other units the text is, and the text around it
        is tokenized anew, where that gives the tokens that were read. What was computed
        once is known then.
        """
        units = [*self._units(by)]
        self.planned = len(units)
        yield from map(self._effect, reversed(units))

    def _effect(self, unit: _Unit) -> Effect:
        part = unit.start, unit.end, unit.token
        if part not in self._known:
            self._known[part] = self._after(self._ids_without(unit))
        logprob, effect = self._known[part], None
        if logprob is not None and self.logprob is not None:
            effect = (self.logprob - logprob) / LN2
        offset = self.sources[unit.source].offset
        return Effect(
            unit.start - offset,
            unit.end - offset,
            self.text[unit.start : unit.end],
            logprob,
            effect,
            unit.by,
            unit.source,
            unit.token,
            unit.token is not None or self._run_of(unit) is None,
        )

    # Leaving out.

    def ids_without(self, effect: Effect) -> tuple[int, ...]:
        """Return the context without the unit of an effect."""
        offset = self.sources[effect.source].offset
        start, end = effect.start + offset, effect.end + offset
        unit = _Unit(start, end, effect.by, effect.source, effect.token)
        return tuple(self._ids_without(unit))

    def _ids_without(self, unit: _Unit) -> list[int]:
        ids, run = list(self.ids), self._run_of(unit)
        if unit.token is not None:
            del ids[unit.token]
        elif run is None:
            gone = set(self._tokens_in(unit))
            ids = [id_ for index, id_ in enumerate(ids) if index not in gone]
        else:
            ids[slice(*run)] = self._read(run, unit.start, unit.end)
        return ids

    def _tokens_in(self, unit: _Unit) -> list[int]:
        """Return the tokens that end in a unit; each ends in one."""
        return [
            index
            for index, (a, b) in enumerate(self._spans)
            if a < b and unit.start < b <= unit.end
        ]

    def _run_of(self, unit: _Unit) -> Span | None:
        """Return the run that a unit is in; None where it is in several, or where the
        tokenizer makes other tokens of the run's text than were read."""
        for first, beyond in self._runs:
            a, b = self._spans[first][0], self._spans[beyond - 1][1]
            if a <= unit.start and unit.end <= b and a < b:
                return (first, beyond) if self._is_canonical(first, beyond) else None
        return None

    def _is_canonical(self, first: int, beyond: int) -> bool:
        if (first, beyond) not in self._canonical:
            at = self._spans[first][0]
            same = self._read((first, beyond), at, at) == [*self.ids[first:beyond]]
            self._canonical[first, beyond] = same
        return self._canonical[first, beyond]

    def _read(self, run: Span, start: int, end: int) -> list[int]:
        """Return the tokens of a run's text without a part. What is before the target
        is cut where that begins."""
        first, beyond = run
        low, high = self._spans[first][0], self._spans[beyond - 1][1]
        kept = self.text[low:start] + self.text[end:high]
        behind = self.text[high:] if beyond == len(self.ids) else ""
        read = self._engine.encode(kept + behind, bos="no")
        for index, (begin, _) in enumerate(read.spans):
            if begin == len(kept):
                return list(read.ids[:index])
        return list(self._engine.encode(kept, bos="no").ids) if behind else [*read.ids]


def strength(effect: Effect) -> float:
    """Key that sorts effects by their size, the greatest first."""
    return -abs(effect.bits or 0.0)


def without_effect(sources: Sequence[Source], effects: Sequence[Effect]) -> list[str]:
    """Return the names of the turns and files that changed nothing, neither as a whole
    nor by a part, as far as is known."""
    greatest: dict[int, float] = {}
    for effect in effects:
        size = abs(effect.bits or 0.0)
        greatest[effect.source] = max(size, greatest.get(effect.source, 0.0))
    return [
        sources[index].name
        for index, bits in sorted(greatest.items())
        if bits < NOTHING and sources[index].name
    ]


def pieces_of(
    text: str, first: int, at: int, bits: Mapping[Span, float | None]
) -> list[tuple[str, float | None]]:
    """Cut a text from `first` on where parts begin and end, and the target at `at`;
    each piece has the bits of the smallest part that it is in. Of two parts, one is in
    the other, or they are apart."""
    smallest: list[Span | None] = [None] * len(text)
    for start, end in sorted(bits, key=lambda span: span[0] - span[1]):
        smallest[start:end] = [(start, end)] * (end - start)
    smallest[at:] = [(at, len(text))] * (len(text) - at)
    pieces = []
    for span, offsets in groupby(range(first, len(text)), smallest.__getitem__):
        piece = "".join(text[offset] for offset in offsets)
        pieces.append((piece, bits.get(span) if span else None))
    return pieces


def _spelled(tokens: Sequence[ScoredToken]) -> tuple[str, tuple[Span, ...]]:
    """Return what tokens spell, control tokens left out, and the span of each."""
    return spelled([b"" if token.is_control else token.bytes for token in tokens])


def _tokens_at(spans: Sequence[Span], start: int, end: int) -> Span:
    """Return the first token that is in a part of a text, and the one behind the last.

    Raises:
        LmtuiError: there is none.
    """
    inside = [i for i, (a, b) in enumerate(spans) if a < end and start < b]
    if not inside:
        raise LmtuiError("there is no token", "", "Name another place.")
    return inside[0], inside[-1] + 1


def _file_sources(
    files: Sequence[NamedSpan], tokens: Sequence[Span]
) -> Iterator[Source]:
    for name, first, beyond in files:
        start, end = tokens[first][0], tokens[beyond - 1][1]
        yield Source(name, start, end, None, start, is_file=True)


def _turn_sources(
    engine: Engine, read: str, turns: Sequence[ContextTurn]
) -> list[Source]:
    """Return the turns, and the files in them, where they stand in what was read. What
    the template writes around each shows in a prompt of the same turns with a mark as
    their only text. One that the template changes or leaves out is not found."""
    mark = "qz{}zq"
    while any(mark[:2] in turn.content for turn, _ in turns):
        mark = f"q{mark}"
    marked = [
        replace(turn, content=mark.format(i), known=None)
        for i, (turn, _) in enumerate(turns)
    ]
    rendered, _ = _spelled(engine.describe_tokens(engine.prompt(marked).ids))
    pieces, rest = [], rendered
    for turn in marked:
        before, separator, after = rest.partition(turn.content)
        pieces.append(before if separator else None)
        rest = after if separator else rest
    at, sources = 0, list[Source]()
    for index, ((turn, files), piece) in enumerate(zip(turns, pieces, strict=True)):
        following = next(filter(None, pieces[index + 1 :]), rest[:1])
        if piece is None or not read.startswith(piece, at):
            continue
        start = at + len(piece)
        for offset, words in _wordings(turn):
            if read.startswith(words + following, start):
                at = start + len(words)
                name = _label(turn, index + (turns[0].turn.role != "system"))
                whole = Source(name, start, at, index, start - offset)
                sources += _parts(whole, files)
                break
    return sources


def _label(turn: ChatTurn, number: int) -> str:
    return turn.role if turn.role == "system" else f"{turn.role} {number}"


def _wordings(turn: ChatTurn) -> Iterator[tuple[int, str]]:
    """Yield what a template may write of a turn, and where in its text that begins."""
    text, thought = turn.content, None
    if turn.role == "assistant":
        thought = thinking_in(text)
    for offset in (0, *((thought.end,) if thought else ())):
        words = text[offset:]
        for kept in (words.rstrip(), words):
            yield offset + len(kept) - len(kept.lstrip()), kept.lstrip()
            yield offset, kept


def _parts(turn: Source, files: Sequence[NamedSpan]) -> Iterator[Source]:
    """Yield what stands of a turn, cut at its files."""
    start = turn.start
    for name, *span in files:
        first, beyond = (min(turn.offset + at, turn.end) for at in span)
        if start < first:
            yield replace(turn, start=start, end=first)
        if first < beyond:
            yield replace(turn, name=name, start=first, end=beyond, is_file=True)
        start = beyond
    if start < turn.end:
        yield replace(turn, start=start)
