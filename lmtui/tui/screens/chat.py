"""The chat: talk, and watch every distribution beside the words.

Owns what is said in the conversation and what each key does to it. The engine is asked
through the runner and answers by messages; a handler here makes every change, and an
answer to an older question is dropped. Knows no torch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.widgets import Static, TextArea

from lmtui.chat.node import Node
from lmtui.engine.types import FinishReason, Message, Prompt, SamplingSettings
from lmtui.tui import messages as facts
from lmtui.tui.batches import Post
from lmtui.tui.runner import Runner
from lmtui.tui.screens.drawing import note_of, view_of, views_of
from lmtui.tui.screens.tokens import TokensScreen
from lmtui.tui.widgets.likelihood_strip import LikelihoodStrip
from lmtui.tui.widgets.probability_panel import ProbabilityPanel
from lmtui.tui.widgets.prompt import Prompt as PromptField
from lmtui.tui.widgets.sampler_controls import SamplerControls
from lmtui.tui.widgets.status import Status
from lmtui.tui.widgets.token_view import TokenView
from lmtui.tui.widgets.transcript import MessageView, Transcript

TRY = """\
Three things to try

Ask  What is the capital of France?

Type  the cat sat on the
and watch the panel follow every key.

Press F4 and move the slider
between flat and sharp.
"""

_STOPPED = "stopped · Ctrl+G goes on, Ctrl+R makes another"


class ChatScreen(TokensScreen):
    """Transcript and panel, prompt and status line."""

    CSS_PATH = "chat.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "stop", "Stop", id="chat.stop",
                tooltip="Stop the answer; else back to the prompt."),
        Binding("ctrl+r", "regenerate", "Regenerate", id="chat.regenerate",
                tooltip="Another answer in place of the last one."),
        Binding("ctrl+g", "go_on", "Continue", id="chat.continue", priority=True,
                tooltip="Let the last answer go on from exactly where it stands."),
    ]  # fmt: skip

    def __init__(
        self,
        make_runner: Callable[[Post], Runner],
        *,
        sampling: SamplingSettings,
        system: str = "",
    ) -> None:
        super().__init__(make_runner, sampling=sampling, system=system)
        self._reply: Node | None = None
        self._revision = 0
        self._waiting = ""  # sent before there was a model

    def compose(self) -> ComposeResult:
        """Everything is there from the first frame."""
        with Horizontal(id="main"):
            with Vertical(id="talk"):
                with Transcript(id="transcript"):
                    yield Static(TRY, classes="empty", markup=False)
                yield TokenView(id="tokens")
            with Vertical(id="side"):
                yield ProbabilityPanel(id="panel")
                yield LikelihoodStrip(id="strip")
                yield SamplerControls(self._settings, id="sampler")
        yield PromptField(id="prompt")
        yield Status(id="status")

    def on_mount(self) -> None:
        """The user can write at once."""
        self.to_text()

    def model_ready(self) -> None:
        """Look at the draft, or answer what waited for the model. Tokens that another
        model saw make way: beside the panel of this one they would be taken for its."""
        if self.close_tokens():
            self.to_text()
        waiting, self._waiting = self._waiting, ""
        if waiting:
            self._status.state = ""
            self.call_later(self._say, waiting)
        else:
            self._look()

    def model_missing(self) -> None:
        """What waited for the model goes back to the prompt."""
        self._take_back()

    def _take_back(self) -> bool:
        waiting, self._waiting = self._waiting, ""
        if waiting:
            self.query_one(PromptField).give_back(waiting)
        return bool(waiting)

    def to_text(self) -> None:
        """Focus the prompt."""
        self.query_one(PromptField).focus()

    def close_tokens(self) -> bool:
        """Show the conversation again, and the panel the draft."""
        closed = super().close_tokens()
        if closed:
            self._look()
        return closed

    async def show_version(self, node: Node) -> None:
        """Another version of a message was chosen: draw it and what follows it."""
        await self._redraw()
        if view := self._view(node):
            view.focus()
        self._look()

    def _view(self, node: Node) -> MessageView | None:
        views = self.query(MessageView)
        return next((view for view in views if view.key == str(node.id)), None)

    # The draft.

    @on(TextArea.Changed)
    def look_at_draft(self) -> None:
        """The draft changed: what comes next in it?"""
        self._look()

    def _look(self) -> None:
        if self._info is None or self._job:
            return
        self._revision = self.runner.number()
        draft = self.query_one(PromptField).text
        self.runner.look(
            self._revision, self._conversation.messages(), draft, self._settings
        )

    @on(facts.DraftLooked)
    def show_draft(self, event: facts.DraftLooked) -> None:
        """Show what the model expects after the draft."""
        stale = event.revision != self._revision or self._job
        if stale or self.has_class("-tokens"):
            return
        self._panel.title = "Next in your message"
        self._panel.show(event.distribution)
        self._strip.reset(info=self._info, prompt_tokens=event.before)
        self._strip.extend(event.tokens)
        self._status.state = "ready"

    @on(facts.LookFailed)
    def show_look_failed(self, event: facts.LookFailed) -> None:
        """The draft can't be looked at; writing goes on."""
        if event.revision == self._revision:
            self._panel.clear(str(event.error))

    # An answer.

    @on(PromptField.Submitted)
    async def answer(self, event: PromptField.Submitted) -> None:
        """The user sent a prompt."""
        if self._job or self._waiting:
            self.query_one(PromptField).give_back(event.text)
            self.notify("An answer is on its way; Esc stops it.")
        elif self._info is None:
            self._waiting = event.text
            self._status.state = "your message is sent once the model is there"
        else:
            await self._say(event.text)

    async def _say(self, text: str) -> None:
        assert self._info is not None
        asked = self._conversation.say(text)
        self._reply = self._conversation.reply(
            asked.id, model=self._info.label, settings=self._settings
        )
        transcript = self.query_one(Transcript)
        for node in (asked, self._reply):
            await transcript.add(view_of(self._conversation, node))
        self._start(self._conversation.messages(asked.id))

    def _start(self, begin: Sequence[Message] | Prompt, prefill: str = "") -> None:
        self._job = self.runner.number()
        self._panel.title = "Next token"
        self._status.state = "reading the prompt"
        before = self._reply.steps if self._reply else ()
        self._strip.reset(info=self._info, before=before)
        self.runner.generate(self._job, begin, self._settings, prefill=prefill)

    @on(facts.GenerationStarted)
    def keep_prompt(self, event: facts.GenerationStarted) -> None:
        """The prompt is laid out: its ids are what a continuation goes on from."""
        if event.job != self._job or self._reply is None:
            return
        self._reply = self._conversation.lay_out(self._reply.id, event.prompt)
        self._strip.read(len(event.prompt.ids))

    @on(facts.PromptProgressed)
    def show_reading(self, event: facts.PromptProgressed) -> None:
        """Say how much of the prompt is read."""
        if event.job == self._job:
            self._status.state = f"reading the prompt {event.done:,}/{event.total:,}"

    @on(facts.StepsArrived)
    async def show_steps(self, event: facts.StepsArrived) -> None:
        """The answer grows, and the panel takes its last distribution."""
        if event.job != self._job or self._reply is None:
            return
        self._reply = self._conversation.grow(self._reply.id, event.steps)
        self._status.state = "answering; Esc stops"
        self._strip.extend(event.steps)
        last = event.steps[-1]
        self._panel.show(last.distribution, chosen=last.id)
        if view := self._view(self._reply):
            view.grow("".join(step.piece for step in event.steps))

    @on(facts.GenerationFinished)
    async def end_answer(self, event: facts.GenerationFinished) -> None:
        """The answer is whole, or was stopped."""
        if event.job != self._job or self._reply is None:
            return
        self._job = 0
        self._reply = self._conversation.finish(self._reply.id, event.finish)
        self._strip.finish(event.finish)
        if self._info is not None:
            stopped = event.finish.reason is FinishReason.CANCELLED
            self._status.state = _STOPPED if stopped else "ready"
        if view := self._view(self._reply):
            view.grow(event.finish.piece)
            view.complete()
            view.set_note(note_of(self._conversation, self._reply))

    @on(facts.GenerationFailed)
    async def return_prompt(self, event: facts.GenerationFailed) -> None:
        """Nothing is lost: what was written goes back to the prompt."""
        if event.job == self._job and self._reply is not None:
            self._show_error(event.error)
            await self._break_off(self._conversation.fail(self._reply.id))

    @on(facts.JobDropped)
    async def end_dropped(self, event: facts.JobDropped) -> None:
        """Another model was wanted before the answer began."""
        if event.job == self._job and self._reply is not None:
            await self._break_off(self._conversation.stop(self._reply.id))

    async def _break_off(self, reply: Node) -> None:
        self._job, self._reply = 0, reply
        if self._info is not None:
            self._status.state = "ready"
        if reply.content:
            if view := self._view(reply):
                view.complete()
                view.set_note(note_of(self._conversation, reply))
            return
        asked = self._conversation.node(reply.parent or 0)
        for node in (reply, asked):
            if view := self._view(node):
                await view.remove()
        self.query_one(PromptField).give_back(asked.content)

    # Keys.

    def action_stop(self) -> None:
        """Stop the answer, close the tokens, or go back to the prompt."""
        if not self.stop_work():
            self.close_tokens()
        self.to_text()

    def stop_work(self) -> bool:
        """Stop the answer, or take back what was sent before there was a model."""
        if self._job:
            self.runner.stop(self._job)
        return bool(self._job) or self._take_back()

    async def action_regenerate(self) -> None:
        """Another answer in place of the last one."""
        if self.close_tokens():
            self.to_text()
        leaf = self._conversation.leaf
        if self._job or self._info is None or leaf.role != "assistant":
            return
        self._reply = self._conversation.regenerate(
            leaf.id, model=self._info.label, settings=self._settings
        )
        await self._redraw()
        assert self._reply.parent is not None
        self._start(self._conversation.messages(self._reply.parent))

    async def action_go_on(self) -> None:
        """Let the last answer go on from exactly where it stands."""
        if self.close_tokens():
            self.to_text()
        leaf = self._conversation.leaf
        if self._job or self._info is None or leaf.parent is None:
            return
        if leaf.role != "assistant":
            return
        prompt = leaf.continuation
        if prompt is not None and self.written_here(leaf.model):
            self._reply = self._conversation.resume(leaf.id, settings=self._settings)
            await self._redraw()
            self._start(prompt)
            return
        # Another model's ids mean nothing to this one; its words do.
        self._reply = self._conversation.reply(
            leaf.parent,
            model=self._info.label,
            settings=self._settings,
            prefill=leaf.content,
        )
        await self._redraw()
        before = self._conversation.messages(leaf.parent)
        self._start(before, prefill=leaf.content)

    async def _redraw(self) -> None:
        """Draw the active branch anew."""
        await self.query_one(Transcript).show(views_of(self._conversation))
