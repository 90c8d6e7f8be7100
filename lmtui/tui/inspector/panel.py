"""The distribution at the inspector's cursor, over the whole vocabulary.

The panel shows at once the rows that came with the token, then the engine's own
distribution. That one can be paged, drawn under other settings and searched.
"""

from __future__ import annotations

from asyncio import TimerHandle

from lmtui.analysis.branches import Token, as_scored
from lmtui.engine.types import Distribution, ScoredToken
from lmtui.errors import LmtuiError
from lmtui.tui.controller import Controller
from lmtui.tui.engine.client import EngineClient
from lmtui.tui.inspector.branches import BranchController
from lmtui.tui.inspector.compare import CompareController, expected
from lmtui.tui.inspector.document import DocumentController
from lmtui.tui.inspector.token_finder import TokenFinder
from lmtui.tui.one_shot import call_after
from lmtui.tui.sampler import SamplerController
from lmtui.tui.screen import ModelScreen
from lmtui.worker.requests import Slot
from lmtui.worker.stale_handles import of_position

NO_CONTEXT = "A first token without context has no probability."
_EMPTY = "The text is empty: there is nothing to predict."
_REST = 0.8  # seconds without a move
_SOON = "This is known once the model has read up to here."
_SEARCHING = "Searching."


class PanelController(Controller):
    def __init__(
        self,
        client: EngineClient,
        screen: ModelScreen,
        document: DocumentController,
        sampler: SamplerController,
        *,
        compare: CompareController,
        branches: BranchController,
    ) -> None:
        self._client, self._screen, self._panel = client, screen, screen.panel
        self._document, self._sampler = document, sampler
        self._compare, self._branches = compare, branches
        self._rest_timer: TimerHandle | None = None
        self.finder = TokenFinder(id="finder")
        self.distribution: Distribution | None = None
        """The distribution at the cursor, as far as it is known."""

    def follow_model(self) -> None:
        if self.model.info is None:
            self._client.cancel()
            self.distribution = None

    def _ask_at_rest(self) -> None:
        """Ask once the cursor rests, while the text is scored: a look interrupts the
        scoring, and a part is scored again."""
        self._client.cancel(Slot.LOOK)
        if self._compare.either_reads:
            self._rest_timer = call_after(self._screen, _REST, self._ask_here)

    def _ask_here(self) -> None:
        ids = self._document.ids_before(self._document.view.index)
        if ids and not self._document.why_not and not self._branches.is_writing:
            self._ask(ids)

    def show(self, index: int) -> None:
        """Show what is known at a position, and ask the engine for the rest, unless
        that delays something that the user waits for."""
        document, panel = self._document, self._panel
        if document.model.info is None:
            return
        path = document.path
        token = path[index] if index < len(path) else None
        at_end = index >= len(document.view.tokens)
        panel.title = "Expected next" if at_end else f"Expected at token {index + 1}"
        vocabulary = document.model.info.vocabulary
        self.distribution = None
        if token is not None:
            self.distribution = own_rows(token, vocabulary=vocabulary)
        if self.distribution is not None:
            panel.show(self.distribution, chosen=token)
        ids = document.ids_before(index)
        if self.distribution is None:
            panel.clear(self._why_nothing(ids))
        is_idle = not (self._branches.is_writing or self._compare.either_reads)
        if self._rest_timer is not None:
            self._rest_timer.cancel()
        if ids and not document.why_not and is_idle:
            self._ask(ids)
        else:
            self._ask_at_rest()
        self.search()

    def _why_nothing(self, ids: tuple[int, ...]) -> str:
        if self._document.path and not ids:
            return NO_CONTEXT
        return self._document.why_not or (_SOON if ids else _EMPTY)

    def _ask(self, ids: tuple[int, ...]) -> None:
        settings = self._sampler.settings
        self._client.ask(
            Slot.LOOK,
            lambda engine, _: engine.next_distribution(ids, settings),
            self._show_answer,
            self._show_failed,
        )

    def _show_answer(self, distribution: Distribution) -> None:
        path, index = self._document.path, self._document.view.index
        same = self.distribution is not None
        self.distribution = distribution
        # Scored: a generated token was drawn with the settings of its time.
        chosen = as_scored(path[index], index) if index < len(path) else None
        self._panel.show(distribution, chosen=chosen, same=same)
        self.search()
        self._compare.ask()

    def _show_failed(self, error: LmtuiError) -> None:
        if self.distribution is None:
            self._document.explain(error)
        self._show_search_failed(error)

    # Finding a token.

    def open_finder(self) -> None:
        self._screen.show_panel()
        self._screen.add_class("-finding")
        self.finder.open()

    def search(self) -> None:
        finder, distribution = self.finder, self.distribution
        if not finder.is_open:
            return
        if distribution is None or distribution.handle < 0:
            reason = _SOON if distribution is None else _SEARCHING
            finder.show_message(self._document.why_not or reason)
            if not self._client.is_pending(Slot.LOOK):
                self._ask_here()
            return
        if not finder.rows:
            finder.show_message(_SEARCHING)
        handle, text = distribution.handle, finder.text
        settings = self._sampler.settings
        self._client.ask(
            Slot.SEARCH,
            of_position(
                lambda engine: engine.search_vocabulary(handle, text, settings),
                "tokens can't be searched here any more",
                "Move the cursor and come back.",
            ),
            finder.show,
            self._show_search_failed,
        )

    def _show_search_failed(self, error: LmtuiError) -> None:
        if self.finder.is_open:
            self.finder.show_message(f"{error}. {error.hint}")


def own_rows(token: Token, *, vocabulary: int) -> Distribution | None:
    """Return the rows that came with a token; None where it has no distribution."""
    if not isinstance(token, ScoredToken):
        # Without rows where it comes from a stored chat.
        distribution = token.distribution
        return distribution if distribution.candidates else None
    if token.logprob is None or not token.top:
        return None
    return expected(token, vocabulary=vocabulary)
