"""The engine as everyone else sees it.

Owns the contract between whoever computes distributions and whoever shows them.
Imports nothing but values, so that screens and fakes can use it without torch.

An engine is not thread-safe: one thread owns it and makes every call, and runs
each iterator to its end (or closes it) before the next call.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from lmtui.engine.suggestion import Suggestion, SuggestionRules
from lmtui.engine.types import (
    BosRule,
    Capabilities,
    ChatTurn,
    CompletionContext,
    CursorPrediction,
    Distribution,
    DraftScores,
    Encoding,
    EngineInfo,
    GenerationResult,
    Prompt,
    Replacement,
    SamplingSettings,
    ScoredSpan,
    ScoredToken,
    Step,
    TokenMatches,
)
from lmtui.engine.windows import Windows

Stop = Callable[[], bool]
"""Polled between tokens and between parts of a prompt; True ends the work."""

ReportCount = Callable[[int, int], None]
"""Called with (tokens done, tokens in all) while a long prompt is read; where a verb
says so, with other things than tokens."""


class Engine(Protocol):
    """A language model: text so far → probability of every next token."""

    @property
    def info(self) -> EngineInfo:
        """What is loaded."""

    @property
    def capabilities(self) -> Capabilities:
        """What this engine can tell."""

    def encode(self, text: str, *, bos: BosRule = "auto") -> Encoding:
        """Tokenise a document; special-token strings in it stay ordinary text.

        Raises:
            LmtuiError: `bos` is "yes" and the tokenizer has no BOS token.
        """

    def prompt(
        self,
        messages: Sequence[ChatTurn],
        *,
        prefill: str = "",
        thinking: bool | None = None,
    ) -> Prompt:
        """Lay out a conversation for the model, up to where its answer begins.

        `prefill` is the beginning of that answer; `thinking` has the model think
        first, or not, where its template knows how (`info.switches_thinking`). Message
        text never becomes a control token, but for the marks around what a model
        thought at the beginning of its own answers: the template reads them.
        """

    def look(
        self,
        ids: Sequence[int],
        settings: SamplingSettings,
        *,
        top: int = 20,
        stop: Stop = lambda: False,
    ) -> Distribution:
        """The distribution of the token after `ids`.

        Raises:
            LmtuiError: `ids` is empty or does not fit the context.
            Cancelled: `stop` answered True.
        """

    def trace(
        self,
        messages: Sequence[ChatTurn],
        draft: str,
        settings: SamplingSettings,
        *,
        upto: int | None = None,
        thinking: bool | None = None,
        top: int = 20,
        stop: Stop = lambda: False,
    ) -> DraftScores:
        """What the model expects next in a message that the user is writing, and what
        it thought of the words so far. Only what changed since the last call is run.

        The distribution is that after the whole draft, or after its first `upto`
        tokens; `thinking` is that of `prompt`.

        Raises:
            LmtuiError: it does not fit the context.
            Cancelled: `stop` answered True.
        """

    def preview(
        self,
        handle: int,
        settings: SamplingSettings,
        *,
        start: int = 0,
        count: int = 20,
    ) -> Distribution:
        """The distribution of an earlier position under other settings.

        Exactly what the sampler would have drawn from, without running the model
        (a position older than the last 64 costs one forward). `start` and `count`
        page through the ranking of the whole vocabulary.

        Raises:
            KeyError: there was never such a handle.
        """

    def find(
        self, handle: int, text: str, settings: SamplingSettings, *, count: int = 50
    ) -> TokenMatches:
        """The tokens of an earlier position that have these characters, wherever they
        stand in the ranking, without running the model.

        Raises:
            KeyError: there was never such a handle.
        """

    def look_ahead(
        self,
        ids: Sequence[int],
        starts: Sequence[int],
        *,
        more: int = 6,
        stop: Stop = lambda: False,
    ) -> list[tuple[ScoredToken, ...]]:
        """For each of `starts` the way on after `ids`: that token, then up to `more`
        greedy ones; fewer before an end token or where the context is full. The numbers
        are those that each way would have alone.

        Raises:
            LmtuiError: `ids` is empty or does not fit the context.
            Cancelled: `stop` answered True.
        """

    def generate(
        self,
        prompt: Prompt,
        settings: SamplingSettings,
        *,
        top: int = 20,
        single_line: bool = False,
        stop: Stop = lambda: False,
        progress: ReportCount | None = None,
    ) -> Iterator[Step | GenerationResult]:
        """Draw tokens one by one; the last item is the `GenerationResult`.

        Raises:
            LmtuiError: the prompt is empty or leaves no room in the context.
        """

    def spell(self, ids: Sequence[int]) -> tuple[ScoredToken, ...]:
        """The tokens with these ids as they are, without numbers."""

    def windows(
        self, prefix: int = 0, window: int | None = None, stride: int | None = None
    ) -> Windows:
        """The windows in which `score` reads a text after `prefix` tokens.

        Raises:
            LmtuiError: window or stride can't be used.
        """

    def score(
        self,
        ids: Sequence[int],
        *,
        prefix: Sequence[int] = (),
        window: int | None = None,
        stride: int | None = None,
        since: int = 0,
        top: int = 0,
        stop: Stop = lambda: False,
    ) -> Iterator[ScoredToken]:
        """What the model thought of each of `ids`, in order, from `since` on: the first
        token that is scored in a window.

        `prefix` (BOS, or a prompt) is context for every window and is not scored.
        Windows start at multiples of `stride`; a token is scored once, in the first
        window that gives it at least `window - stride` tokens of context.

        Raises:
            LmtuiError: window or stride can't be used.
            Cancelled: `stop` answered True.
        """


class EditorEngine(Engine, Protocol):
    """An engine that follows a text while it is edited.

    It remembers the last text it was asked about: of the next one, only what differs
    is tokenised and run. The text is a document, never a chat; its windows are those
    of `score` without a prefix but BOS, so that the numbers are the same.
    """

    def expect(
        self,
        text: str,
        cursor: int,
        *,
        top: int = 20,
        stop: Stop = lambda: False,
    ) -> CursorPrediction:
        """What the model expects at a cursor, half-typed words healed.

        A cursor at a place whose neighbourhood was scored before costs no forward.

        Raises:
            Cancelled: `stop` answered True.
        """

    def heat(
        self, text: str, start: int, end: int, *, stop: Stop = lambda: False
    ) -> Iterator[ScoredSpan]:
        """What the model thought of the tokens from `start` to `end` of a text, in
        order; what is known already is not run again.

        Raises:
            Cancelled: `stop` answered True; what was yielded stays known.
        """

    def beginning(
        self, text: str, cursor: int, settings: SamplingSettings
    ) -> CompletionContext:
        """What `go_on` would read, without running it.

        Raises:
            LmtuiError: there is nothing to continue.
        """

    def go_on(
        self,
        text: str,
        cursor: int,
        settings: SamplingSettings,
        *,
        top: int = 20,
        single_line: bool = False,
        stop: Stop = lambda: False,
        progress: ReportCount | None = None,
    ) -> Iterator[Step | GenerationResult]:
        """Continue a text at a cursor, half-typed words healed; last comes the
        `GenerationResult`.

        The first step may be several tokens, whose bytes are those beyond the cursor;
        it is drawn from the rows of `expect` as any other, but for the repetition
        penalty. Control tokens are end tokens here.
        Where `capabilities.infill` says so, the model reads what follows as well.

        Raises:
            LmtuiError: there is nothing to continue.
        """

    def alternatives(
        self,
        text: str,
        cursor: int,
        rules: SuggestionRules,
        *,
        count: int = 5,
        stop: Stop = lambda: False,
    ) -> list[Suggestion]:
        """Suggestions that begin with the first rows of `expect`, in their order, and
        go on greedily.

        Raises:
            LmtuiError: there is nothing to continue.
            Cancelled: `stop` answered True.
        """

    def replacements(
        self,
        text: str,
        start: int,
        end: int,
        *,
        count: int = 8,
        stop: Stop = lambda: False,
        progress: ReportCount | None = None,
    ) -> list[Replacement]:
        """What could stand from `start` to `end` instead, the most probable first;
        what stands there now is among them. `progress` counts the candidates that are
        scored.

        Raises:
            Cancelled: `stop` answered True.
        """
