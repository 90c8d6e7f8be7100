"""Attribution by leaving out: which parts of a context made what follows them likely.

The effect of a part is log P(target | context) - log P(target | context without it):
above 0 where it made the target likelier, below where it argued against it. That is no
explanation of the network: of two parts that say the same, each can have none, since
the other stays. Cohen-Wang and others, "ContextCite", NeurIPS 2024; Liu and others,
"AttriBoT", ICLR 2025. Knows the engine only through its protocol.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from types import MappingProxyType
from typing import Literal

from lmtui.engine.protocol import Engine
from lmtui.engine.text.detokenizer import spelled
from lmtui.engine.text.thinking import thinking_in
from lmtui.engine.types import ChatTurn, Encoding, ScoredToken
from lmtui.engine.windows import Windows
from lmtui.errors import LmtuiError
from lmtui.notation import LN2, location
from lmtui.text import visible_line, visible_token

Granularity = Literal["word", "sentence", "line", "token", "turn"]
Span = tuple[int, int]
NamedSpan = tuple[str, int, int]
"""Name of a part of a text, such as a file in a message; start and end in code
points."""
ContextTurn = tuple[ChatTurn, Sequence[NamedSpan]]
"""A turn of a conversation, with the files in it."""

LISTED = 10
"""Effects in a list of the strongest."""
NOTHING = 0.05
"""Bits below which an effect is not listed: it is shown as none."""

_SHOWN = 160  # characters of a part, on a line

AS_TOKENS = (
    "some parts were left out as the tokens that they are: the tokenizer would make "
    "others of this text"
)

_PARTS = {
    "word": re.compile(r"\S+"),
    "sentence": re.compile(
        r"\S.*?(?:[.!?…。！？]+[\"'”’»)\]]*(?=\s)|\n\s*\n|\Z)", re.DOTALL
    ),
    "line": re.compile(r"\S[^\n]*"),
    "turn": re.compile(r"\S.*", re.DOTALL),
}
"""Parts of a text, without the white space that goes along with them."""


@dataclass(frozen=True, slots=True)
class Source:
    """A text in the context, of which parts can be left out."""

    name: str
    """Role of who said it and the number of the message, or the name of a file; "" is
    the target's own text."""
    start: int
    """Where it begins and ends in all that is read, in code points."""
    end: int
    text: str
    """All of its turn or document."""
    turn: int | None = None
    """Index of its turn; None where it is in none."""
    offset: int = 0
    """Where the text of its turn or document begins."""
    is_file: bool = False


@dataclass(frozen=True, slots=True)
class Effect:
    """What a part of the context did to the target."""

    start: int
    """Offset in code points, in the text of its source, as is `end`. The white space
    that is left out with it is in between."""
    end: int
    text: str
    logprob_without: float | None
    """log P(target | context without the part), in nats; None where nothing is left to
    predict it from."""
    bits: float | None
    """What the part adds to log P(target | context), in bits."""
    by: Granularity
    source: int
    """Index of its source."""
    token: int | None
    """Index in the context, where it is one token."""
    as_tokens: bool
    """Whether its tokens were left out as they are, and the text around it was not
    tokenized anew."""

    @property
    def words(self) -> Span:
        """Start and end without the white space that goes along with it."""
        start = self.end - len(self.text.lstrip() or self.text)
        return start, start + len(self.text.strip() or self.text)

    @property
    def shown(self) -> str:
        """The beginning of its text, on a line; white space is a sign in a token."""
        text = self.text.strip()[:_SHOWN].replace("\n", "⏎")
        is_token = self.by == "token" or not text
        return visible_token(self.text[:_SHOWN]) if is_token else visible_line(text)


class Attribution:
    """Effects of the parts before a target."""

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
        self.engine = engine
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
        self.sources = _turn_sources(engine, before, turns) if turns else []
        for name, *tokens in files:
            a, b = known[tokens[0]][0], known[tokens[1] - 1][1]
            file = Source(name, a, b, before[a:b], None, a, is_file=True)
            self.sources.append(file)
        if begin < first:
            own = Source("", at + spans[begin][0], self.at, text, None, at)
            self.sources.append(own)
        # 4) runs of tokens that the tokenizer makes from one text: where each begins
        controls = {i for i, token in enumerate(read) if token.is_control}
        bounds = {0, len(prefix), len(self.ids), *controls, *(i + 1 for i in controls)}
        self._bounds = sorted(bounds.union(*(span for _, *span in files)))
        self._known: dict[tuple[int, int, int | None], float | None] = {}
        self.planned = 0
        """How many parts are left out, as far as that is known."""

    @cached_property
    def logprob(self) -> float | None:
        """log P(target | context), in nats; None without a context."""
        return self._after(self.ids)

    @cached_property
    def logprob_without_all(self) -> float | None:
        """log P(target) without any of the sources, in nats; None where nothing is left
        to predict it from."""
        whole = [self._tokens_in(source.start, source.end) for source in self.sources]
        gone = {index for tokens in whole for index in tokens}
        return self._after([id_ for i, id_ in enumerate(self.ids) if i not in gone])

    def _after(self, ids: Sequence[int]) -> float | None:
        return self.engine.target_logprob(ids, self.target) if ids else None

    @property
    def coarsest(self) -> Granularity:
        return "turn" if len(self.sources) > 1 else "sentence"

    def effects(self, by: Granularity) -> Iterator[Effect]:
        """Yield the effect of each part, the last one first, since all before it need
        not be read again.

        A token is left out as it is; of other parts the text is, and the text around it
        is tokenized anew, where that gives the tokens that were read. What was computed
        once is known then.
        """
        parts = [*self._parts(by)]
        self.planned = len(parts)
        for source, start, end, token in reversed(parts):
            if (start, end, token) not in self._known:
                ids = self._ids_without(start, end, token)
                self._known[start, end, token] = self._after(ids)
            logprob, bits = self._known[start, end, token], None
            if logprob is not None and self.logprob is not None:
                bits = (self.logprob - logprob) / LN2
            offset = self.sources[source].offset
            yield Effect(
                start - offset,
                end - offset,
                self.text[start:end],
                logprob,
                bits,
                by,
                source,
                token,
                token is not None or self._run_of(start, end) is None,
            )

    def _parts(self, by: Granularity) -> Iterator[tuple[int, int, int, int | None]]:
        """Yield the source of each part, its start and end in all that is read, and its
        index where it is a token."""
        for index, source in enumerate(self.sources):
            if by == "token":
                for token in self._tokens_in(source.start, source.end):
                    yield index, *self._spans[token], token
                continue
            for match in _PARTS[by].finditer(self.text, source.start, source.end):
                end = match.start() + len(match[0].rstrip())
                yield index, *self._with_space(source, match.start(), end), None

    def _with_space(self, source: Source, start: int, end: int) -> Span:
        """Return a part with the white space that goes along with it, so that none is
        left over: that before it, or at the beginning of its turn or text that behind
        it."""
        texts = [each for each in self.sources if each.offset == source.offset]
        before = self.text[texts[0].start : start]
        if before:
            return start - len(before) + len(before.rstrip()), end
        after = self.text[end : texts[-1].end]
        return start, end + len(after) - len(after.lstrip())

    def span_of(self, effect: Effect) -> Span:
        """Return where a part stands in all that is read."""
        offset = self.sources[effect.source].offset
        return effect.start + offset, effect.end + offset

    def location_of(self, effect: Effect) -> str:
        """Return where a part begins in the text of its source, as LINE:COL."""
        return location(self.sources[effect.source].text, effect.words[0])

    def listed(
        self,
        effects: Iterable[Effect],
        others: Mapping[Effect, Effect] = MappingProxyType({}),
    ) -> tuple[list[Effect], str]:
        """Return the effects to list, the greatest first, that of all of the target's
        own text last; and in words, how many are left out. An effect is as great as it
        is for one of the models, where `others` has what it is for another."""
        sizes: dict[Effect, float] = {}
        for effect in effects:
            both = effect.bits, others.get(effect, effect).bits
            if known := [abs(bits) for bits in both if bits is not None]:
                sizes[effect] = max(known)

        def rank(effect: Effect) -> tuple[bool, float]:
            is_own = effect.by == "turn" and not self.sources[effect.source].name
            return is_own, -sizes[effect]

        noticed = [effect for effect in sizes if sizes[effect] >= NOTHING]
        shown = sorted(noticed, key=rank)[:LISTED]
        hidden = [sizes[effect] for effect in sizes.keys() - {*shown}]
        if not hidden:
            return shown, ""
        most = max(hidden)
        some = f"below {NOTHING}" if most < NOTHING else f"of up to {most:.1f}"
        return shown, f"{len(hidden):,} more {some} bits"

    # Leaving out.

    def ids_without(self, effect: Effect) -> tuple[int, ...]:
        """Return the context without the part of an effect."""
        return tuple(self._ids_without(*self.span_of(effect), effect.token))

    def _ids_without(self, start: int, end: int, token: int | None) -> list[int]:
        ids, run = list(self.ids), self._run_of(start, end)
        if token is not None:
            del ids[token]
        elif run is None:
            gone = set(self._tokens_in(start, end))
            ids = [id_ for index, id_ in enumerate(ids) if index not in gone]
        else:
            ids[slice(*run)] = self._read(run, start, end)
        return ids

    def _tokens_in(self, start: int, end: int) -> list[int]:
        """Return the tokens that end in a part; each ends in one."""
        spans = enumerate(self._spans)
        return [index for index, (a, b) in spans if a < b and start < b <= end]

    @cached_property
    def _runs(self) -> list[tuple[Span, Span]]:
        """Runs of tokens that the tokenizer would make of their text again, and where
        each stands in all that is read."""
        runs = []
        for first, beyond in pairwise(self._bounds):
            low, high = self._spans[first][0], self._spans[beyond - 1][1]
            same = low < high and self._read((first, beyond), low, low)
            if same == [*self.ids[first:beyond]]:
                runs.append(((first, beyond), (low, high)))
        return runs

    def _run_of(self, start: int, end: int) -> Span | None:
        """Return the run that all of a part is in, if there is one."""
        inside = (run for run, (a, b) in self._runs if a <= start and end <= b)
        return next(inside, None)

    def _read(self, run: Span, start: int, end: int) -> list[int]:
        """Return the tokens of a run's text without a part. What is before the target
        is cut where that begins."""
        first, beyond = run
        low, high = self._spans[first][0], self._spans[beyond - 1][1]
        kept = self.text[low:start] + self.text[end:high]
        behind = self.text[high:] if beyond == len(self.ids) else ""
        read = self.engine.encode(kept + behind, bos="no")
        for index, (begin, _) in enumerate(read.spans):
            if begin == len(kept):
                return list(read.ids[:index])
        return list(self.engine.encode(kept, bos="no").ids) if behind else [*read.ids]


def pieces_of(
    text: str, first: int, at: int, bits: Mapping[Span, float | None]
) -> list[tuple[str, float | None]]:
    """Cut a text from `first` on where parts begin and end, and the target at `at`;
    each piece has the bits of the part that it is in. Parts share white space at most:
    it is drawn with the later one."""
    spans = [*sorted(bits), (at, len(text))]
    pieces = []
    for span, (following, _) in zip(spans, [*spans[1:], (len(text), 0)], strict=True):
        start, end = span[0], min(span[1], following)
        pieces += [(text[first:start], None), (text[start:end], bits.get(span))]
        first = end
    return [(piece, value) for piece, value in pieces if piece]


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


def _turn_sources(
    engine: Engine, read: str, turns: Sequence[ContextTurn]
) -> list[Source]:
    """Return the turns, and the files in them, where they stand in what was read: all
    turns, or those that stayed when the oldest were dropped."""
    first = int(turns[0][0].role == "system")
    asked = [i for i in range(first, len(turns)) if turns[i][0].role == "user"]
    best, fewest = list[Source](), len(turns)
    for cut in (first, *asked[1:]):
        sent = [*range(first), *range(cut, len(turns))]
        sources = [*_found(engine, read, turns, sent)]
        missing = len(sent) - len({source.turn for source in sources})
        if missing < fewest:
            best, fewest = sources, missing
        if not missing:
            break
    return best


def _found(
    engine: Engine, read: str, turns: Sequence[ContextTurn], sent: Sequence[int]
) -> Iterator[Source]:
    """Yield those of the turns that were sent that stand in what was read. What the
    template writes around each shows in a prompt of the same turns with a mark as their
    only text; it is no part of any. What follows one that the template changes is not
    found, nor is white space around a turn."""
    mark = "qz"
    while any(mark in turn.content for turn, _ in turns):
        mark = f"q{mark}"
    marked = [
        replace(turns[i][0], content=f"{mark}{i}{mark[::-1]}", known=None) for i in sent
    ]
    rendered, _ = _spelled(engine.describe_tokens(engine.prompt(marked).ids))
    before, *parts = re.split(f"{mark}([0-9]+){mark[::-1]}", rendered)
    at = 0
    for number, after in zip(map(int, parts[::2]), parts[1::2], strict=True):
        turn, files = turns[number]
        # Behind the last one, another turn than an answer may begin.
        following = after[:1] if number == sent[-1] else after.lstrip()
        thought = thinking_in(turn.content) if turn.role == "assistant" else None
        for offset in (0, thought.end) if thought else (0,):
            words = turn.content[offset:]
            written = map(re.escape, (before.strip(), words.strip(), following))
            pattern = re.compile(r"\s*{}\s*({})\s*{}".format(*written))
            if match := pattern.match(read, at):
                break
        else:
            return
        before, at = after, match.end(1)
        offset += len(words) - len(words.lstrip())
        said = number + (turns[0][0].role != "system")
        name = turn.role if turn.role == "system" else f"{turn.role} {said}"
        start = match.start(1)
        whole = Source(name, start, at, turn.content, number, start - offset)
        yield from _apart(whole, files)


def _apart(turn: Source, files: Sequence[NamedSpan]) -> Iterator[Source]:
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
