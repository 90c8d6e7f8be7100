"""The distribution at the inspector's cursor, over the whole vocabulary.

The panel shows at once the rows that came with the token, then the engine's own
distribution. That one can be paged, drawn under other settings and searched. Knows no
torch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from textual import on
from textual.binding import Binding, BindingType
from textual.timer import Timer

from lmtui.analysis.branches import Token
from lmtui.engine.types import Distribution, SamplingSettings, ScoredToken
from lmtui.tui.engine import messages as facts
from lmtui.tui.engine.message_client import EngineClient
from lmtui.tui.engine.messages import Post
from lmtui.tui.inspector.scored import ScoredScreen
from lmtui.tui.inspector.source import InspectSource
from lmtui.tui.inspector.token_finder import TokenFinder
from lmtui.tui.widgets.token_view import TokenView

NO_CONTEXT = "A first token without context has no probability."
_EMPTY = "The text is empty: there is nothing to predict."
_REST = 0.8  # seconds without a move
_SOON = "This is known once the model has read up to here."


class PlacesScreen(ScoredScreen):
    """Has a `TokenFinder` beside the panel."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("f", "find_token", "Find token", id="inspect.find-token",
                tooltip="Find any token of the vocabulary here, and its rank."),
    ]  # fmt: skip

    def __init__(
        self,
        make_client: Callable[[Post], EngineClient],
        subject: InspectSource,
        *,
        sampling: SamplingSettings,
    ) -> None:
        super().__init__(make_client, subject, sampling=sampling)
        self._looking = self._finding = 0
        self._place: Distribution | None = None  # its first rows, here
        self._rest: Timer | None = None

    @property
    def is_writing(self) -> bool:
        """Whether the model generates now."""
        raise NotImplementedError

    @property
    def may_look(self) -> bool:
        """Whether a look at a place delays nothing that the user waits for."""
        return self.can_ask and not self.is_writing and not self.is_reading

    def ids_before(self, index: int) -> tuple[int, ...]:
        """Return the ids that the model reads before a position of the shown branch."""
        windows = self._reading.windows
        start = windows.start_of(index) if windows else 0
        return (*self._reading.before, *(t.id for t in self.path[start:index]))

    @on(TokenView.TokenSelected)
    def show_token(self, event: TokenView.TokenSelected) -> None:
        """Show the token at the cursor. While the text is scored, the engine is asked
        only when the cursor rests: a look interrupts the scoring, and a part is scored
        again."""
        self.show_place(event.index)
        if self._rest is not None:
            self._rest.stop()
        self._rest = self.set_timer(_REST, self._look_here) if self.is_reading else None

    def _look_here(self) -> None:
        ids = self.ids_before(self.view.index)
        if ids and self.can_ask and self.is_reading and not self.is_writing:
            self._look(ids)

    def _look(self, ids: tuple[int, ...]) -> None:
        self._looking = self.client.number()
        self.client.distribution_at(self._looking, ids, self._settings)

    def show_place(self, index: int) -> None:
        """The rows that are known at once; the engine is asked for the others."""
        if self._info is None:
            return
        path = self.path
        token = path[index] if index < len(path) else None
        end = token is None
        self._panel.title = "Expected next" if end else f"Expected at token {index + 1}"
        size = self._info.vocabulary
        self._place = None if token is None else kept_rows(token, vocabulary=size)
        if self._place is not None:
            self._panel.show(self._place, chosen=token.id if token else None)
        ids = self.ids_before(index)
        if self._place is None:
            self._panel.clear(self._why_nothing(ids, bool(path)))
        if ids and self.may_look:
            self._look(ids)

    def _why_nothing(self, ids: tuple[int, ...], any_tokens: bool) -> str:
        if not ids:
            return NO_CONTEXT if any_tokens else _EMPTY
        return self.why_not or _SOON

    @on(facts.PositionReady)
    def show_looked(self, event: facts.PositionReady) -> None:
        if event.revision != self._looking:
            return
        path, index = self.path, self.view.index
        same = self._place is not None
        self._place = event.distribution
        chosen = path[index].id if index < len(path) else None
        self._panel.show(event.distribution, chosen=chosen, same=same)
        self._search()

    @on(facts.PositionFailed)
    def show_place_failed(self, event: facts.PositionFailed) -> None:
        if event.revision == self._looking and self._place is None:
            self._explain(event.error)

    def _preview(self, handle: int, start: int, rows: int) -> None:
        if handle >= 0:  # else the engine is asked about this place already
            super()._preview(handle, start, rows)

    # Finding a token.

    def action_find_token(self) -> None:
        """Open the finder in place of the panel."""
        self.show_panel()
        self.add_class("-finding")
        self.query_one(TokenFinder).open()

    @on(TokenFinder.Typed)
    def find_typed(self) -> None:
        self._search()

    def _search(self) -> None:
        finder, shown = self.query_one(TokenFinder), self._place
        if not finder.is_open:
            return
        if shown is None or shown.handle < 0:
            finder.say(self.why_not or _SOON)
            return
        self._finding = self.client.number()
        self.client.search_vocabulary(
            self._finding, shown.handle, finder.text, self._settings
        )

    @on(facts.TokensMatched)
    def show_found(self, event: facts.TokensMatched) -> None:
        if event.revision == self._finding:
            self.query_one(TokenFinder).show(event.matches)

    @on(facts.MatchFailed)
    def show_find_failed(self, event: facts.MatchFailed) -> None:
        if event.revision == self._finding:
            self.query_one(TokenFinder).say(f"{event.error}. {event.error.hint}")

    @on(TokenFinder.Closed)
    def close_finder(self) -> None:
        self.remove_class("-finding")
        self.to_text()


def kept_rows(token: Token, *, vocabulary: int) -> Distribution | None:
    """Return the rows that came with a token; None where it has no distribution."""
    if not isinstance(token, ScoredToken):
        kept = token.distribution  # without rows where it comes from a kept chat
        return kept if kept.candidates else None
    if token.entropy is None or not token.top:
        return None
    return expected(token, token.entropy, vocabulary=vocabulary)


def expected(token: ScoredToken, entropy: float, *, vocabulary: int) -> Distribution:
    """Build the panel's distribution from a scored token's rows. Nothing was sampled
    there, so no candidate is cut; and it can't be drawn again."""
    listed = sum(candidate.prob for candidate in token.top)
    return Distribution(
        candidates=tuple(token.top),
        start=0,
        vocabulary=vocabulary,
        rest_prob=max(0.0, 1.0 - listed),
        rest_sampled_prob=0.0,
        remaining=vocabulary,
        remaining_prob=1.0,
        entropy=entropy,
        handle=-1 - token.index,
    )
