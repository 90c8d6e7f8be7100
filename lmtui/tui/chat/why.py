"""What made a message, or tokens of it, likely: the turns before it, and its own text.

What the model in use wrote is asked about by its ids, all else by its text.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Awaitable, Callable

from lmtui.analysis.attribution import Attribution, Effect, Source
from lmtui.chat.attachments import files_in
from lmtui.chat.message import ChatMessage
from lmtui.engine.protocol import Engine
from lmtui.engine.sampling_settings import SamplingSettings
from lmtui.engine.text.detokenizer import spelled
from lmtui.engine.types import Encoding
from lmtui.tui.chat.session import BUSY, EMPTY
from lmtui.tui.chat.tokens import TokensController
from lmtui.tui.chat.view import ChatView
from lmtui.tui.engine.client import EngineClient
from lmtui.tui.why import Subject, WhyController


class ChatWhyController(WhyController):
    def __init__(
        self, client: EngineClient, view: ChatView, tokens: TokensController
    ) -> None:
        super().__init__(client, view.screen)
        self._view, self._tokens = view, tokens

    def ask(self) -> None:
        """Ask about the tokens that are selected or under the cursor, else about all of
        the message in focus."""
        node, session = self._tokens.subject, self._view.session
        if node is None or session.is_answering:
            self._screen.notify(EMPTY if node is None else BUSY)
            return
        node, view = session.conversation.node(node.id), self._tokens.view
        chosen: range | None = None
        if self._tokens.is_shown:
            chosen = range(*(view.selection or (view.index, view.index + 1)))
        self.open(self._subject_of(node, chosen), self._go_from(node))

    def _subject_of(self, node: ChatMessage, chosen: range | None) -> Subject:
        """`chosen` are some of the message's tokens that are known."""
        model = self._view.chat_model
        own = node.own_ids if model.is_in_use(node.model) else ()
        given = model.messages(node.parent)
        turns = tuple((turn, files_in(turn.content)) for turn in given)

        _, spans = spelled([token.bytes for token in node.tokens])

        def make(engine: Engine) -> Attribution:
            ids, before = own, node.ids_before
            if not own:
                scores = engine.score_draft(given, node.content, SamplingSettings())
                ids = tuple(token.id for token in scores.tokens)
                before = scores.context
            text, read = spelled([each.bytes for each in engine.describe_tokens(ids)])
            start, end = 0, len(text)
            if chosen:
                # Where its beginning was written by hand, only the end may be known.
                shift = len(text) - spans[-1][1]
                start = shift + spans[chosen.start][0]
                end = shift + spans[chosen.stop - 1][1]
            encoding = Encoding(ids, read, before)
            return Attribution(engine, text, encoding, start, end, turns=turns)

        return make

    def _go_from(
        self, node: ChatMessage
    ) -> Callable[[Source, Effect], Awaitable[None]]:
        conversation = self._view.session.conversation
        trail = [turn for turn in conversation.trail(node.id)[:-1] if turn.content]

        async def go(source: Source, part: Effect) -> None:
            if source.turn is None:
                self._select(node, part.words[0])
            elif (turn := trail[source.turn]).role == "system":
                self._screen.notify("It is in the system text.")
            else:
                self._tokens.close()
                spans = (part.words,)
                await self._view.show(at=str(turn.id), matches=spans)

        return go

    def _select(self, node: ChatMessage, offset: int) -> None:
        """Select the token of a message that has a code point of its text."""
        if not self._tokens.is_shown:
            self._tokens.open(node)
        view = self._tokens.view
        _, spans = spelled([token.bytes for token in view.tokens])
        view.select(bisect_right(spans, offset, key=lambda span: span[0]) - 1)
