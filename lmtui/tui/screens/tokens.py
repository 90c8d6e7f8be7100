"""Reading the messages of a conversation token by token, in place of the transcript.

Owns which message is read, and scoring one that the model did not write. What is said
in the conversation is its subclass's. Knows no torch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from textual import on
from textual.binding import Binding, BindingType

from lmtui.chat.node import Node
from lmtui.chat.tree import Conversation
from lmtui.engine.types import SamplingSettings
from lmtui.tui import messages as facts
from lmtui.tui.batches import Post
from lmtui.tui.questions import TextAfter
from lmtui.tui.runner import Runner
from lmtui.tui.screens.sampling import SamplingScreen
from lmtui.tui.subject import Known, Subject
from lmtui.tui.widgets.token_view import TokenView
from lmtui.tui.widgets.transcript import MessageView


class TokensScreen(SamplingScreen):
    """A conversation, and a `TokenView` for one of its messages."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("f3", "tokens", "Tokens", id="chat.tokens",
                tooltip="Show the message in focus, or the last one, as tokens."),
        Binding("ctrl+t", "inspect", "Inspect", id="chat.inspect", show=False,
                tooltip="Look into the message in focus, or the last one."),
        Binding("left_square_bracket", "version(-1)", "Version before",
                id="chat.version-before", show=False,
                tooltip="The version before of the message in focus, or the last."),
        Binding("right_square_bracket", "version(1)", "Version after",
                id="chat.version-after", show=False,
                tooltip="The version after of the message in focus, or the last."),
    ]  # fmt: skip

    def __init__(
        self,
        make_runner: Callable[[Post], Runner],
        *,
        sampling: SamplingSettings,
        system: str = "",
    ) -> None:
        super().__init__(make_runner, sampling=sampling)
        self._conversation = Conversation(system)
        self._job = 0  # of the answer that is being made, 0 for none
        self._scoring = self._looking = 0
        self._inspected = self._conversation.root
        self._scored_by: dict[int, str] = {}  # of each message, the model

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
            self.notify("An answer is being made; Esc stops it.")
        elif node is None:
            self.notify("There is no message yet whose tokens could be shown.")
        else:
            self._read(node)

    def action_inspect(self) -> None:
        """Look into a message, by its very tokens."""
        shown = self.has_class("-tokens")
        node = self._inspected if shown else self._message_in_focus()
        if node is None or self._job:
            self.notify("There is no whole message yet that could be looked into.")
            return
        before = self._conversation.messages(node.parent)
        subject = Subject(node.role, read=lambda: node.content, after=before)
        if node.steps and node.prompt is not None:
            known = Known(node.steps, node.prompt.ids, node.model or "")
            subject = Subject("answer", known=known)
        self.post_message(facts.SubjectChosen(subject))

    def _read(self, node: Node) -> None:
        """Show a message as tokens, scored before if need be."""
        self._inspected = node
        if node.steps or self._scores_hold(node):
            self._open_tokens(node)
            return
        self._scoring = self.runner.number()
        before = self._conversation.messages(node.parent)
        self.runner.score(self._scoring, TextAfter(before, node.content))

    def close_tokens(self) -> bool:
        """Show the conversation again; whether tokens were shown."""
        shown = self.has_class("-tokens")
        self.remove_class("-tokens")
        return shown

    async def show_version(self, node: Node) -> None:
        """Another version of a message was chosen."""
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
        await self.show_version(there)
        if shown and there.content:
            self._read(there)

    def _message_in_focus(self) -> Node | None:
        focused = self.focused
        wanted = focused.key if isinstance(focused, MessageView) else None
        path = [node for node in self._conversation.path[1:] if node.content]
        last = path[-1] if path else None
        return next((node for node in path if str(node.id) == wanted), last)

    def _scores_hold(self, node: Node) -> bool:
        model = self._scored_by.get(node.id)
        return bool(node.scored) and self.written_here(model)

    @on(facts.TokensScored)
    def keep_scores(self, event: facts.TokensScored) -> None:
        """A written message was scored: show its tokens."""
        if event.job == self._scoring and self._info is not None:
            node = self._conversation.score(self._inspected.id, event.tokens)
            self._scored_by[node.id] = self._info.label
            self._open_tokens(node)

    @on(facts.ScoreFailed)
    def show_score_failed(self, event: facts.ScoreFailed) -> None:
        """The message stays as it reads."""
        if event.job == self._scoring:
            self._show_error(event.error)

    def _open_tokens(self, node: Node) -> None:
        self._inspected = node
        self.add_class("-tokens")
        self._strip.reset(info=self._info, before=node.tokens)
        if node.finish is not None:
            self._strip.finish(node.finish)
        prompt = len(node.prompt.ids) if node.prompt else 0
        self._strip.read(prompt + len(node.tokens))
        tokens = self.query_one(TokenView)
        tokens.show(node.tokens)
        tokens.focus()
        self.show_token(TokenView.TokenSelected(0))

    @on(TokenView.TokenSelected)
    def show_token(self, event: TokenView.TokenSelected) -> None:
        """The panel shows the step that the cursor is on."""
        node = self._inspected
        if event.index >= len(node.tokens):
            return
        self._panel.title = f"Token {event.index + 1}"
        self._looking = self.runner.number()
        if node.steps:
            step = node.steps[event.index]
            self._panel.show(step.distribution, chosen=step.id)
            return
        before = self._conversation.messages(node.parent)
        self.runner.look(
            self._looking, before, node.content, self._settings, upto=event.index
        )

    @on(facts.DraftLooked)
    def show_written(self, event: facts.DraftLooked) -> None:
        """What the model expected where a token of a written message stands."""
        tokens = self._inspected.scored
        index = self.query_one(TokenView).index
        if event.revision == self._looking and index < len(tokens):
            self._panel.show(event.distribution, chosen=tokens[index].id)
            self._strip.read(event.before + len(tokens))

    @on(facts.LookFailed)
    def show_nothing_expected(self, event: facts.LookFailed) -> None:
        """A first token that nothing stands before has no distribution."""
        if event.revision == self._looking:
            self._panel.clear(str(event.error))
