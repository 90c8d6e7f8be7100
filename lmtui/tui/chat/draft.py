"""Next-token distribution in the message that is being written, or the numbers of the
message in focus."""

from __future__ import annotations

from collections.abc import Sequence

from lmtui.chat.message import ChatMessage
from lmtui.engine.types import ChatTurn, DraftScores, Step
from lmtui.errors import LmtuiError
from lmtui.tui.chat.view import TOKENS, ChatView
from lmtui.tui.controller import Controller
from lmtui.tui.engine.client import EngineClient
from lmtui.tui.widgets.probability_panel import AS_DRAWN
from lmtui.worker.requests import Slot

_NOT_SCORED = "F3 shows this message as tokens, with what was expected at each."
_ANSWERS = "What it tells of its answers appears here."
_NOT_AS_SENT = (
    "While the message holds a file or a long pasted text, nothing is computed: it is"
    " sent with all of that."
)


def last_with_candidates(steps: Sequence[Step]) -> Step | None:
    return next((s for s in reversed(steps) if s.distribution.candidates), None)


class DraftController(Controller):
    """Scores the draft at every key, and shows what comes next in it; or the numbers of
    the message in focus."""

    def __init__(self, client: EngineClient, view: ChatView) -> None:
        self._client, self._screen = client, view.screen
        self._session, self._sampler = view.session, view.screen.sampler
        self._prompt, self._strip = view.prompt, view.strip
        self._view, self._chat_model = view, view.chat_model
        self._shows_message = False  # in the panel, in place of the draft
        self._has_files = False  # whether it names files, which are sent with it

    @property
    def status_text(self) -> str:
        is_asking, panel = self._client.is_pending(Slot.LOOK), self._screen.panel
        is_outdated = panel.distribution is None or panel.stale
        return "reading your message" if is_asking and is_outdated else ""

    def start(self) -> None:
        self._screen.watch(self._screen, "focused", self.follow_focus, init=False)

    def follow_model(self) -> None:
        self.ask()

    def follow_focus(self) -> None:
        """Show the numbers of the message in focus; in the prompt, those of the
        draft. An answer that is being made, tokens and versions are shown in any
        case."""
        if self._session.is_answering or self._view.cover:
            return
        if (node := self._view.focused()) is not None:
            self.cancel()
            self._shows_message = True
            self.show_numbers(node)
            self._screen.activity.update()
        elif self._shows_message and self._screen.focused is self._prompt:
            self.ask_anew()

    def show_numbers(self, node: ChatMessage) -> None:
        """Show the stored numbers of a message, in the strip and the panel."""
        self.show_strip(node)
        step, panel = last_with_candidates(node.steps), self._screen.panel
        if step is not None and not (node.given and node.scored):
            panel.title = f"Token {step.index + 1:,}"
            panel.show(step.distribution, chosen=step, drawn=AS_DRAWN)
        else:
            panel.title = "The message in focus"
            panel.clear(_NOT_SCORED)

    def show_strip(self, node: ChatMessage) -> None:
        context, finish = None, node.finish
        if node.prompt is not None:
            context = len(node.prompt.ids) + len(node.steps)
        elif finish is not None and finish.prompt_tokens:
            context = finish.prompt_tokens + finish.tokens
        self._strip.show(
            node.tokens, info=self.model.info, finish=finish, context=context
        )

    def follow_files(self, *, has_files: bool) -> None:
        self._has_files = has_files
        self.ask()

    def cancel(self) -> None:
        self._shows_message = False
        self._client.cancel()

    def ask_anew(self) -> None:
        """Ask what comes next in the draft, also where a message is shown."""
        self._shows_message = False
        self.ask()

    def ask(self) -> None:
        """Ask what comes next in the draft, unless something else is shown."""
        is_covered = self._shows_message or self._view.cover == TOKENS
        if not self.has_model or self._session.is_answering or is_covered:
            return
        if (turns := self._previous_turns) is None:
            return
        panel = self._screen.panel
        # The tokens of a long text are more than can be shown at every key.
        is_incomplete = self._has_files or bool(self._prompt.folded)
        why = _NOT_AS_SENT if is_incomplete else ""
        if why_not := self.lacks("edits"):
            why = f"{why_not} {_ANSWERS}"
        if why:
            self._client.cancel()
            panel.clear(why)
            self._screen.activity.update()
            return
        if panel.distribution is not None:
            panel.outdate()
            self._strip.outdate()
        draft, settings = self._prompt.text, self._sampler.settings
        thinking = self._session.thinking
        self._client.ask(
            Slot.LOOK,
            lambda engine, _: engine.score_draft(
                turns, draft, settings, thinking=thinking
            ),
            self._show,
            self._show_failed,
        )
        if panel.distribution is None:
            self._screen.activity.clear_notice()

    @property
    def _previous_turns(self) -> tuple[ChatTurn, ...] | None:
        """The messages before the draft; None where a message that is not the user's is
        edited."""
        conversation, edited = self._session.conversation, self._prompt.edited
        if edited is None:
            return self._chat_model.messages(conversation.turns[-1].id)
        node = conversation.node(edited)
        return self._chat_model.messages(node.parent) if node.role == "user" else None

    def _show(self, scores: DraftScores) -> None:
        panel = self._screen.panel
        panel.title = "Next in your message"
        panel.show(scores.distribution)
        self._strip.reset(info=self.model.info, prompt_tokens=len(scores.context))
        self._strip.extend(scores.tokens)
        self._screen.activity.clear_notice()

    def _show_failed(self, error: LmtuiError) -> None:
        self._screen.panel.clear(str(error))
        self._screen.activity.clear_notice()
