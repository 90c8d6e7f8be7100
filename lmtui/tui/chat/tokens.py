"""Token view of a chat's messages, in place of the transcript.

A message that the model did not write is scored first.
"""

from __future__ import annotations

from functools import partial

from lmtui.chat.message import NO_VALUE, ChatMessage
from lmtui.engine.scoring.passages import Passage, TextInContext, TokensInContext
from lmtui.engine.types import (
    Distribution,
    DraftScores,
    ScoredToken,
    Step,
)
from lmtui.errors import LmtuiError
from lmtui.tui.chat.draft import DraftController
from lmtui.tui.chat.pages import last_reply, prompt_page
from lmtui.tui.chat.view import TOKENS, ChatView
from lmtui.tui.controller import Controller
from lmtui.tui.dialogs import PageScreen
from lmtui.tui.engine.client import EngineClient
from lmtui.tui.inspect_source import InspectSource, KnownTokens
from lmtui.tui.model_state import shown_label
from lmtui.tui.widgets.probability_panel import AS_DRAWN, WITH_THESE
from lmtui.tui.widgets.token_view import TokenView
from lmtui.worker.partial_answers import score_parts
from lmtui.worker.requests import Slot

NO_PROBABILITIES = "The server sends no probabilities for this token."
SCORING = "The message is being scored; Esc stops that."


class TokensController(Controller):
    """Shows one message as tokens, with the distribution at each."""

    def __init__(
        self, client: EngineClient, view: ChatView, draft: DraftController
    ) -> None:
        self._client, self._draft = client, draft
        self._screen, self._session = view.screen, view.session
        self._view, self._strip = view, view.strip
        self._chat_model, self._sampler = view.chat_model, view.screen.sampler
        self.view = TokenView(id="tokens")
        self.message = view.session.conversation.root
        """The message that is shown, or was last."""

    @property
    def is_shown(self) -> bool:
        return self._view.cover == TOKENS

    @property
    def is_scoring(self) -> bool:
        return self._client.is_pending(Slot.SCORE)

    @property
    def status_text(self) -> str:
        if self.is_scoring:
            return "scoring the message; Esc stops"
        is_asking = self._client.is_pending(Slot.LOOK)
        return (
            "reading up to the token" if is_asking and self._screen.panel.stale else ""
        )

    def follow_model(self) -> None:
        """Make way for the conversation: beside the panel of another model the tokens
        would be taken for its."""
        if self.has_model and self.close():
            self._screen.focus_text()

    @property
    def _why_not(self) -> str:
        """Why no text is scored; "" where it is."""
        return self.lacks("scores") if self.has_model else "No model is loaded yet."

    def stop(self) -> bool:
        stopped = self._client.cancel(Slot.SCORE)
        self._screen.activity.update()
        return stopped

    def close(self) -> bool:
        """Return whether tokens were shown."""
        self._client.cancel()
        self._screen.activity.update()
        if not self.is_shown:
            return False
        self._view.show_instead("")
        self._screen.activity.clear_notice()
        self._draft.ask_anew()
        return True

    @property
    def subject(self) -> ChatMessage | None:
        """The message that keys are about: shown, in focus, or the last."""
        return self.message if self.is_shown else self._view.focused_or_last()

    def source_of(self, node: ChatMessage) -> InspectSource:
        turns = self._chat_model.messages(node.parent)
        if node.steps and node.prompt is not None:
            known = KnownTokens(node.steps, node.prompt.ids, node.model or "")
            return InspectSource("answer", known=known, after=turns)
        return InspectSource(node.role, read=lambda: node.content, after=turns)

    def show_prompt(self) -> None:
        """Show the prompt of the last answer on a page: as text, and as tokens once the
        model that read it has told them."""
        reply = last_reply(self._session.conversation)
        page = PageScreen("As sent", prompt_page(reply))
        self._screen.app.push_screen(page)
        if reply is None or reply.prompt is None:
            return
        if not self._why_not and self._chat_model.is_in_use(reply.model):
            ids = (*reply.prompt.ids, *reply.ids)
            self._client.ask(
                Slot.PREVIEW,
                lambda engine, _: engine.describe_tokens(ids),
                lambda tokens: page.show(prompt_page(reply, tokens)),
            )

    def open(self, node: ChatMessage) -> None:
        """Show a message as tokens, scored before if need be: by its ids where they
        are known, else by its words."""
        self.stop()
        node = self._session.conversation.node(node.id)
        is_own = self._chat_model.is_in_use(node.model)
        has_all_steps = node.steps and not (node.head and is_own)
        if has_all_steps or self._has_current_scores(node):
            self._show(node)
            return
        if self._why_not:
            self._screen.notify(self._why_not)
            return
        if node.own_ids and is_own:
            passage: Passage = TokensInContext(node.own_ids, node.ids_before)
        else:
            turns = self._chat_model.messages(node.parent)
            passage = TextInContext(turns, node.content)
        self._client.ask(
            Slot.SCORE,
            score_parts(passage),
            partial(self._store_scores, node.id),
            self._show_score_failed,
        )
        self._screen.activity.clear_notice()

    def _has_current_scores(self, node: ChatMessage) -> bool:
        is_current = not self.has_model or self._chat_model.is_in_use(node.scored_by)
        return bool(node.scored) and is_current

    def _store_scores(self, id_: int, tokens: tuple[ScoredToken, ...]) -> None:
        self._screen.activity.update()
        if self.model.info is not None:
            label = self.model.info.label
            self._show(self._session.conversation.score(id_, tokens, by=label))
            self._session.save()

    def _show_score_failed(self, error: LmtuiError) -> None:
        self._screen.activity.update()
        self._screen.show_error(error)

    def _show(self, node: ChatMessage) -> None:
        self.message = node
        self._draft.cancel()
        self._view.show_instead(TOKENS)
        self._draft.show_strip(node)
        self.view.show(node.tokens)
        self.view.focus()
        self.show_position(0)

    # At the cursor.

    def show_position(self, index: int) -> None:
        node, panel = self.message, self._screen.panel
        if index >= len(node.tokens):
            return
        self._client.cancel(Slot.LOOK)
        panel.title = f"Token {index + 1}"
        panel.outdate()
        token = node.tokens[index]
        if isinstance(token, Step) and token.distribution.handle != NO_VALUE:
            panel.show(token.distribution, chosen=token, drawn=AS_DRAWN)
        elif self._why_not:
            is_bare = isinstance(token, Step) and token.logprob is None
            panel.clear(NO_PROBABILITIES if is_bare else self._why_not)
        elif node.own_ids:
            self._ask_by_ids(node, index)
        else:
            self._ask_by_text(node, index)

    def _ask_by_text(self, node: ChatMessage, index: int) -> None:

        def show(scores: DraftScores) -> None:
            self._screen.panel.show(
                scores.distribution, chosen=node.tokens[index], drawn=WITH_THESE
            )
            self._strip.read(len(scores.context))

        turns, settings = self._chat_model.messages(node.parent), self._sampler.settings
        self._client.ask(
            Slot.LOOK,
            lambda engine, _: engine.score_draft(
                turns, node.content, settings, prefix_len=index
            ),
            show,
            self._show_failed,
        )

    def _ask_by_ids(self, node: ChatMessage, index: int) -> None:
        """Ask by ids, which only the model that wrote them can tell about."""
        if not self._chat_model.is_in_use(node.model):
            writer = shown_label(node.model or "another model")
            hint = f"Only {writer} can tell what else could stand here."
            self._screen.panel.clear(hint)
            return

        def show(distribution: Distribution) -> None:
            self._screen.panel.show(
                distribution, chosen=node.tokens[index], drawn=drawn
            )
            self._strip.read(len(node.ids_before))

        drawn = AS_DRAWN if node.settings else WITH_THESE
        ids = (*node.ids_before, *node.own_ids[:index])
        settings = node.settings or self._sampler.settings
        self._client.ask(
            Slot.LOOK,
            lambda engine, _: engine.next_distribution(ids, settings),
            show,
            self._show_failed,
        )

    def _show_failed(self, error: LmtuiError) -> None:
        self._screen.panel.clear(str(error))
