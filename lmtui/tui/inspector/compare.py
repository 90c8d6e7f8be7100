"""Comparison of two models on one text.

Scores the text with the other model too. Tokens are compared one by one where both
tokenizers cut alike, else by the smallest parts that both have.
"""

from __future__ import annotations

from collections.abc import Callable

from lmtui.analysis.compare import ComparedSpan, Comparison, pieces, unit_of
from lmtui.analysis.scored_document import ScoredDocument
from lmtui.engine.scoring.passages import DocumentTokens, tokenize_document
from lmtui.engine.types import Distribution, EngineInfo, ScoredToken
from lmtui.errors import LmtuiError
from lmtui.models.source import short_labels
from lmtui.partial import RankAbove
from lmtui.tui.controller import Controller
from lmtui.tui.engine.client import EngineClient
from lmtui.tui.inspector.document import DocumentController, document_of, part_of
from lmtui.tui.sampler import SamplerController
from lmtui.tui.screen import ModelScreen
from lmtui.tui.widgets.cells import progress_bar
from lmtui.tui.widgets.probability_panel import ProbabilityPanel
from lmtui.worker.partial_answers import score_parts
from lmtui.worker.requests import Slot

_ONLY_TEXT = (
    "The other model has a different tokenizer: it is compared on the text only, not "
    "on branches."
)
_ASKED = "Asking the other model."
_TO_COME = "The other model is reading the text."
_MISSING = "Not compared: the other model has not read all of the text."
_UNITS = {
    "token": "token by token",
    "span": "by parts that both have",
}


class CompareController(Controller):
    def __init__(
        self,
        client: EngineClient,
        screen: ModelScreen,
        document: DocumentController,
        sampler: SamplerController,
        *,
        compared: Callable[[], object],
    ) -> None:
        """`compared` is called when both models have scored the text."""
        self._client, self._screen, self._activity = client, screen, screen.activity
        self._document, self._sampler, self._on_compared = document, sampler, compared
        self._other = ScoredDocument()
        self._by_model: dict[EngineInfo, ScoredDocument] = {}
        self._span_at: dict[int, ComparedSpan] = {}  # of each token of the text
        self.panel = ProbabilityPanel(id="other", title="The other model")
        self.comparison: Comparison | None = None
        sampler.add_other_panel(self.panel)

    @property
    def is_reading(self) -> bool:
        return self._client.is_pending(Slot.SCORE)

    @property
    def either_reads(self) -> bool:
        return self._document.is_scoring or self.is_reading

    @property
    def is_missing(self) -> bool:
        """Whether the other model has not read the text and does not read it now: it
        was stopped, or failed. Before that the model itself reads."""
        compared = self.model.against is None or self.comparison is not None
        return not (compared or self.either_reads)

    @property
    def status_text(self) -> str:
        if not self.is_reading:
            return ""
        other = self._other
        share = other.scored / len(other.ids) if other.ids else 0.0
        bar = f" · {progress_bar(share)} {share:.0%}" if other.scored else ""
        return f"{self._name} reads the text{bar}"

    @property
    def _name(self) -> str:
        own, other = self._document.model.info, self.model.against
        if other is None:
            return ""
        return short_labels(own.label if own else "", other.label)[1]

    def follow_model(self) -> None:
        self._client.cancel()
        self._screen.set_class(self.model.against is not None, "-comparing")
        self._other, self.comparison = ScoredDocument(), None
        self._span_at = {}
        self._document.view.compare((), {})

    def stop(self) -> bool:
        return self._client.stop(Slot.SCORE)

    # Reading.

    def begin(self) -> None:
        if self.model.against is None or self._document.text is None:
            return
        if scored := self._by_model.get(self.model.against):
            self._other = scored
            self._score_on()
            return
        document = document_of(self._document.source, self._document.text)
        self._client.ask(
            Slot.SCORE,
            lambda engine, _: tokenize_document(engine, document),
            self._score_tokenized,
            self._show_reading_failed,
            dropped=self._show_stopped,
            other=True,
        )
        self._activity.clear_notice()

    def _score_tokenized(self, answer: DocumentTokens) -> None:
        self._other = ScoredDocument.of(answer.encoding, answer.windows, answer.tokens)
        if self.model.against is not None:
            self._by_model[self.model.against] = self._other
        self._score_on()

    def _score_on(self) -> None:
        other = self._other
        if other.is_read or other.windows is None:
            self._compare()
            return
        self._client.ask(
            Slot.SCORE,
            score_parts(part_of(other, other.unread[0])),
            self._end_part,
            self._show_reading_failed,
            dropped=self._show_stopped,
            other=True,
        )
        self._activity.clear_notice()

    def _end_part(self, tokens: tuple[ScoredToken, ...]) -> None:
        self._other.take(tokens)
        self._other.finish(tokens)
        self._score_on()

    def _show_reading_failed(self, error: LmtuiError) -> None:
        self._activity.clear_notice()
        self._screen.show_error(error)
        self.show(self._document.view.index)

    def _show_stopped(self) -> None:
        self._activity.notice("stopped; nothing is compared · r reads on")
        self.show(self._document.view.index)

    def _compare(self) -> None:
        own, other = self._document.scored, self._other
        tokens, others = own.text, other.text
        unit = unit_of(own.encoding, other.encoding)
        own_tokens = zip(tokens, own.spans, strict=True)
        spans = list(pieces(own_tokens, zip(others, other.spans, strict=True), unit))
        self.comparison = Comparison(unit)
        for piece in spans:
            self.comparison.add(piece)
            self._span_at.update((token.index, piece) for token, _ in piece.tokens)
        self.comparison.measure(self._document.text or "")
        shares = shares_of(spans, len(tokens))
        self._document.view.compare(shares, self._span_at)
        self._activity.notice(f"compared with {self._name}, {_UNITS[unit]}")
        self._on_compared()

    # At the cursor.

    def show(self, index: int) -> None:
        if self.model.against is None:
            return
        self._client.cancel(Slot.LOOK)
        self.panel.title = self._name
        token = self._token_at(index)
        if token is None:
            self.panel.clear(self._why_nothing())
        elif token.logprob is None:
            self.panel.clear(
                "For the other model this is a first token without context."
            )
        else:
            vocabulary = self.model.against.vocabulary
            distribution = expected(token, vocabulary=vocabulary)
            self.panel.show(distribution, chosen=token)

    def _token_at(self, index: int) -> ScoredToken | None:
        """Return the other model's token where the text's own token begins."""
        scored = self._document.scored
        on_text = index < min(scored.branches.leaves(scored.branch), len(scored.spans))
        piece = self._span_at.get(index) if on_text else None
        if piece is None or not piece.others:
            return None
        start = scored.spans[index][0]
        first = piece.others[0][0]
        return next((t for t, (_, end) in piece.others if end > start), first)

    def _why_nothing(self) -> str:
        if self.is_missing:
            return _MISSING
        if self.comparison is None:
            return _TO_COME
        return _ASKED if self._same_ids else _ONLY_TEXT

    # The whole vocabulary of the other model, and branches, where it has the same ids.

    @property
    def _same_ids(self) -> bool:
        """Whether ids mean to the other model what they mean to the first."""
        same_tokens = self.comparison is not None and self.comparison.unit == "token"
        own, other = self._document.model.info, self.model.against
        if not (same_tokens and own and other):
            return False
        return own.vocabulary == other.vocabulary

    def ask(self) -> None:
        """Ask the other model what it expects at the cursor: the first has answered."""
        path, index = self._document.path, self._document.view.index
        ids = self._document.ids_before(index, self._other)
        if not (self._same_ids and ids):
            return
        own = path[index].id if index < len(path) else None
        chosen = self._token_at(index) or own  # of a branch, the probability is unknown

        def show(distribution: Distribution) -> None:
            same = self.panel.distribution is not None
            self.panel.show(distribution, chosen=chosen, same=same)

        settings = self._sampler.settings
        self._client.ask(
            Slot.LOOK,
            lambda engine, _: engine.next_distribution(ids, settings),
            show,
            self._show_failed,
            other=True,
        )

    def _show_failed(self, error: LmtuiError) -> None:
        if self.panel.distribution is None:
            self.panel.clear(str(error))


def expected(token: ScoredToken, *, vocabulary: int) -> Distribution:
    """Build the panel's distribution from a scored token's rows. Nothing was sampled
    there, so no candidate is cut; and it can't be drawn again. How many tokens a server
    lists is told only where the token is none of them."""
    listed_prob = sum(candidate.prob for candidate in token.top)
    return Distribution(
        candidates=tuple(token.top),
        start=0,
        vocabulary=vocabulary,
        rest_prob=max(0.0, 1.0 - listed_prob),
        rest_sampled_prob=0.0,
        remaining=vocabulary,
        remaining_prob=1.0,
        entropy=token.entropy,
        varentropy=token.varentropy,
        handle=-1 - token.index,
        top_logprobs=token.rank.listed if isinstance(token.rank, RankAbove) else None,
    )


def shares_of(spans: list[ComparedSpan], count: int) -> list[float | None]:
    """Return the difference at each of `count` tokens, in bits: that of its part, at
    the first token of the part."""
    shares: list[float | None] = [None] * count
    for piece in spans:
        if piece.tokens:
            shares[piece.tokens[0][0].index] = piece.bits
    return shares
