"""Token view of a chat's messages, in place of the transcript.

A message that the model did not write is scored first. Knows no torch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from textual import on
from textual.binding import Binding, BindingType

from lmtui.chat.conversation import Conversation
from lmtui.chat.message import ChatMessage
from lmtui.chat.token_codec import NO_VALUE
from lmtui.engine.passages import Passage, TextAfter, TokensAfter
from lmtui.engine.types import SamplingSettings, Step
from lmtui.tui.chat.message import MessageView
from lmtui.tui.engine import messages as facts
from lmtui.tui.engine.message_client import EngineClient
from lmtui.tui.engine.messages import Post
from lmtui.tui.inspector.source import InspectSource, KnownTokens
from lmtui.tui.model_state import shown_label
from lmtui.tui.screen import SamplingScreen
from lmtui.tui.widgets.token_view import TokenView


class TokensScreen(SamplingScreen):
    """A conversation, and a `TokenView` for one of its messages."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("f3", "tokens", "Tokens", id="chat.tokens",
                tooltip="Show the message in focus, or the last one, as tokens."),
        Binding("ctrl+t", "inspect", "Inspect", id="chat.inspect", show=False,
                tooltip="Inspect the message in focus, or the last one."),
        Binding("left_square_bracket", "version(-1)", "Version before",
                id="chat.version-before", show=False,
                tooltip="The version before of the message in focus, or of the last one"
                " from the panel and the sampler."),
        Binding("right_square_bracket", "version(1)", "Version after",
                id="chat.version-after", show=False,
                tooltip="The version after of the message in focus, or of the last one"
                " from the panel and the sampler."),
    ]  # fmt: skip

    def __init__(
        self,
        make_client: Callable[[Post], EngineClient],
        *,
        sampling: SamplingSettings,
        system: str = "",
    ) -> None:
        super().__init__(make_client, sampling=sampling)
        self._conversation = Conversation(system)
        self._job = 0  # of the answer that is being made, 0 for none
        self._scoring = self._looking = 0
        self._inspected = self._conversation.root

    def written_here(self, model: str | None) -> bool:
        """Whether that model is the one in use, which alone can go on with its ids
        and whose numbers can be set beside those of today."""
        return self._info is not None and self._info.label == model

    def action_tokens(self) -> None:
        """Show a message as tokens, or the conversation again."""
        if self.close_tokens():
            self.to_text()
            return
        node = self._message_in_focus()
        if self._job:
            self.notify("The model is answering; Esc stops it.")
        elif self._scoring:
            self.notify("The message is being scored; Esc stops that.")
        elif node is None:
            self.notify("There is no message yet to show as tokens.")
        else:
            self._read(node)

    def action_inspect(self) -> None:
        """Look into a message, by its very tokens."""
        shown = self.has_class("-tokens")
        node = self._inspected if shown else self._message_in_focus()
        if node is None or self._job:
            self.notify("There is no finished message yet to inspect.")
            return
        before = self._conversation.messages(node.parent)
        subject = InspectSource(node.role, read=lambda: node.content, after=before)
        if node.steps and node.prompt is not None:
            known = KnownTokens(node.steps, node.prompt.ids, node.model or "")
            subject = InspectSource("answer", known=known)
        self.post_message(facts.SubjectChosen(subject))

    def _read(self, node: ChatMessage) -> None:
        """Show a message as tokens, scored before if need be: by its ids where they
        are known, else by its words."""
        self._inspected = node = self._conversation.node(node.id)
        if (node.steps and not node.given) or self._scores_hold(node):
            self._open_tokens(node)
            return
        if node.own_ids and self.written_here(node.model):
            passage: Passage = TokensAfter(node.own_ids, node.ids_before)
        elif node.steps:
            self._open_tokens(node)
            return
        else:
            before = self._conversation.messages(node.parent)
            passage = TextAfter(before, node.content)
        self._scoring = self.client.number()
        self._status.state = "scoring the message; Esc stops"
        self.client.score(self._scoring, passage)

    def stop_scoring(self) -> bool:
        """Stop scoring a message; whether one was scored."""
        scoring = self._scoring
        if scoring:
            self.client.stop(scoring)
            self._end_scoring()
        return bool(scoring)

    def close_tokens(self) -> bool:
        """Show the conversation again; whether tokens were shown."""
        self.stop_scoring()
        shown = self.has_class("-tokens")
        self.remove_class("-tokens")
        return shown

    def keep(self) -> None:
        """Store the conversation, which has changed."""
        raise NotImplementedError

    async def show_version(self, node: ChatMessage) -> None:
        """Show a version of a message that was chosen."""
        raise NotImplementedError

    async def action_version(self, by: int) -> None:
        """Go to another version of a message, and to what follows that one."""
        shown = self.has_class("-tokens")
        node = self._inspected if shown else self._message_in_focus()
        if node is None or self._job:
            return
        if len(self._conversation.siblings(node.id)) == 1:
            self.notify("There is no other version; Ctrl+R makes one.")
            return
        there = self._conversation.move(node.id, by)
        self.keep()
        await self.show_version(there)
        if shown and there.content:
            self._read(there)

    def focused_message(self) -> ChatMessage | None:
        """The message that has the focus, if one has."""
        focused = self.focused
        if not isinstance(focused, MessageView):
            return None
        return self._conversation.node(int(focused.key))

    def _message_in_focus(self) -> ChatMessage | None:
        path = [node for node in self._conversation.path[1:] if node.content]
        return self.focused_message() or (path[-1] if path else None)

    def _scores_hold(self, node: ChatMessage) -> bool:
        known = self._info is None or self.written_here(node.scored_by)
        return bool(node.scored) and known

    @on(facts.TokensScored)
    def keep_scores(self, event: facts.TokensScored) -> None:
        """A written message was scored: show its tokens."""
        if event.job != self._scoring:
            return
        self._end_scoring()
        if self._info is not None:
            id_, label = self._inspected.id, self._info.label
            self._open_tokens(self._conversation.score(id_, event.tokens, by=label))
            self.keep()

    @on(facts.ScoreFailed)
    def show_score_failed(self, event: facts.ScoreFailed) -> None:
        if event.job == self._scoring:
            self._end_scoring()
            self._show_error(event.error)

    @on(facts.JobDropped)
    def end_dropped_scoring(self, event: facts.JobDropped) -> None:
        if event.job == self._scoring:
            self._end_scoring()

    def _end_scoring(self) -> None:
        self._scoring = 0
        if self._info is not None:
            self._status.state = "ready"

    def _open_tokens(self, node: ChatMessage) -> None:
        self._inspected = node
        self.add_class("-tokens")
        self._strip.reset(info=self._info, before=node.tokens)
        if node.finish is not None:
            self._strip.finish(node.finish)
        self._strip.read(len(node.ids_before) + len(node.tokens))
        tokens = self.query_one(TokenView)
        tokens.show(node.tokens)
        tokens.focus()
        self.show_token(TokenView.TokenSelected(0))

    @on(TokenView.TokenSelected)
    def show_token(self, event: TokenView.TokenSelected) -> None:
        node = self._inspected
        if event.index >= len(node.tokens):
            return
        self._panel.title = f"Token {event.index + 1}"
        self._panel.outdate()
        self._looking = self.client.number()
        token = node.tokens[event.index]
        if isinstance(token, Step) and token.distribution.handle != NO_VALUE:
            self._panel.show(token.distribution, chosen=token.id)
            return
        if node.own_ids:
            self._look_by_ids(node, event.index)
            return
        before = self._conversation.messages(node.parent)
        self.client.score_draft(
            self._looking, before, node.content, self._settings, prefix_len=event.index
        )

    def _look_by_ids(self, node: ChatMessage, index: int) -> None:
        """Ask what was expected where a token stands; only what wrote it can tell."""
        if not self.written_here(node.model):
            writer = shown_label(node.model or "another model")
            self._panel.clear(f"Only {writer} can tell what else could stand here.")
            return
        ids = (*node.ids_before, *node.own_ids[:index])
        settings = node.settings or self._settings
        self.client.next_distribution(self._looking, ids, settings)

    @on(facts.DraftScored)
    def show_written(self, event: facts.DraftScored) -> None:
        tokens = self._inspected.tokens
        index = self.query_one(TokenView).index
        if event.revision == self._looking and index < len(tokens):
            self._panel.show(event.distribution, chosen=tokens[index].id)
            self._strip.read(self._inspected_from(event) + len(tokens))

    def _inspected_from(self, event: facts.DraftScored) -> int:
        """Return how many tokens stand before the message."""
        node = self._inspected
        return len(node.ids_before) if node.own_ids else event.before

    @on(facts.DraftFailed)
    def show_nothing_expected(self, event: facts.DraftFailed) -> None:
        """A first token that nothing stands before has no distribution."""
        if event.revision == self._looking:
            self._panel.clear(str(event.error))
