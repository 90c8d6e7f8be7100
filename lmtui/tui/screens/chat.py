"""The chat: talk, and watch every distribution beside the words.

Owns the conversation on screen and what each key does to it. The engine is asked
through the runner and answers by messages; a handler here makes every change, and an
answer to an older question is dropped. Knows no torch.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.screen import Screen
from textual.widgets import Static, TextArea

from lmtui.chat.node import Node
from lmtui.chat.tree import Conversation
from lmtui.engine.types import EngineInfo, FinishReason, Prompt, SamplingSettings
from lmtui.errors import LmtuiError
from lmtui.text import visible, visible_line
from lmtui.tui import messages as facts
from lmtui.tui.batches import Post
from lmtui.tui.questions import OpenEngine, TextAfter
from lmtui.tui.runner import Runner
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
_GROWING = "…"
_NOTES = {
    FinishReason.CANCELLED: "stopped",
    FinishReason.LENGTH: "reached max tokens; Ctrl+G goes on",
    FinishReason.CONTEXT: "the context is full",
}


class ChatScreen(Screen[None]):
    """Transcript and panel, prompt and status line."""

    CSS_PATH = "chat.tcss"
    HORIZONTAL_BREAKPOINTS = [  # noqa: RUF012 (the base class declares it so)
        (0, "-narrow"),
        (100, "-wide"),
        (160, "-very-wide"),
    ]
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "stop", "Stop", id="chat.stop",
                tooltip="Stop the answer; else back to the prompt."),
        Binding("ctrl+c", "interrupt", "Copy or stop", id="chat.interrupt",
                tooltip="Copy the selection, or stop the answer.",
                priority=True, show=False),
        Binding("ctrl+r", "regenerate", "Regenerate", id="chat.regenerate",
                tooltip="Another answer in place of the last one."),
        Binding("ctrl+g", "go_on", "Continue", id="chat.continue", priority=True,
                tooltip="Let the last answer go on from exactly where it stands."),
        Binding("f2", "panel", "Panel", id="chat.panel",
                tooltip="Show or hide the panel."),
        Binding("f3", "tokens", "Tokens", id="chat.tokens",
                tooltip="Show the message in focus, or the last one, as tokens."),
        Binding("f4", "sampler", "Sampler", id="chat.sampler",
                tooltip="To the slider and the other sampler settings."),
        Binding("f6", "pause", "Pause panel", id="chat.pause", show=False,
                tooltip="Hold the panel still while the answer goes on."),
    ]  # fmt: skip

    def __init__(
        self,
        make_runner: Callable[[Post], Runner],
        open_engine: OpenEngine,
        *,
        sampling: SamplingSettings,
        system: str = "",
    ) -> None:
        super().__init__()
        self.runner = make_runner(self.post_message)
        self._open_engine = open_engine
        self._settings = sampling
        self._conversation = Conversation(system)
        self._info: EngineInfo | None = None
        self._numbers = count(1)
        self._job = 0  # of the answer that is being made, 0 for none
        self._scoring = 0
        self._reply: Node | None = None
        self._revision = 0
        self._previewed = 0
        self._inspected = self._conversation.root
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
        """Begin to load; the prompt can be used meanwhile."""
        self._panel.clear("The model is loading.")
        self._status.state = "loading the model"
        self.query_one(PromptField).focus()
        self.runner.load(self._open_engine)

    @property
    def _panel(self) -> ProbabilityPanel:
        return self.query_one(ProbabilityPanel)

    @property
    def _strip(self) -> LikelihoodStrip:
        return self.query_one(LikelihoodStrip)

    @property
    def _status(self) -> Status:
        return self.query_one(Status)

    def _view(self, node: Node) -> MessageView | None:
        views = self.query(MessageView)
        return next((view for view in views if view.key == str(node.id)), None)

    # The model.

    @on(facts.ModelLoadProgressed)
    def show_loading(self, event: facts.ModelLoadProgressed) -> None:
        """Say what is being loaded and how far it is."""
        part = f" {event.done / event.total:.0%}" if event.done and event.total else ""
        self._status.state = f"{visible_line(event.what)}{part}"

    @on(facts.ModelLoadWarned)
    def show_warning(self, event: facts.ModelLoadWarned) -> None:
        """Pass a warning on."""
        self.notify(visible(event.what), severity="warning", markup=False)

    @on(facts.ModelLoaded)
    def begin(self, event: facts.ModelLoaded) -> None:
        """A model is there: look at the draft, answer what waited."""
        self._info = event.info
        self._status.show_info(event.info)
        self._strip.reset(info=event.info)
        waiting, self._waiting = self._waiting, ""
        self._status.state = "" if waiting else "ready"
        if waiting:
            self.call_later(self._say, waiting)
        else:
            self._look()

    @on(facts.ModelFailed)
    def show_no_model(self, event: facts.ModelFailed) -> None:
        """There is no model: say why and what to do."""
        self._status.state = "no model"
        self._panel.clear(f"{event.error}. {event.error.hint}")
        self._show_error(event.error)

    def _show_error(self, error: LmtuiError) -> None:
        text = visible("\n".join(part for part in (error.detail, error.hint) if part))
        title = visible_line(error.title)
        self.notify(text, title=title, severity="error", markup=False, timeout=12)

    # The draft.

    @on(TextArea.Changed)
    def look_at_draft(self) -> None:
        """The draft changed: what comes next in it?"""
        self._look()

    def _look(self) -> None:
        if self._info is None or self._job:
            return
        self._revision = next(self._numbers)
        draft = self.query_one(PromptField).text
        self.runner.look(
            self._revision, self._conversation.messages(), draft, self._settings
        )

    @on(facts.DraftLooked)
    def show_draft(self, event: facts.DraftLooked) -> None:
        """Show what the model expects after the draft."""
        if event.revision != self._revision or self._job:
            return
        self._panel.title = "Next in your message"
        self._panel.show(event.distribution)
        self._strip.reset(info=self._info)
        self._strip.extend(event.tokens)
        self._status.state = "ready"

    @on(facts.LookFailed)
    def show_look_failed(self, event: facts.LookFailed) -> None:
        """The draft can't be looked at; writing goes on."""
        if event.revision == self._revision:
            self._panel.clear(str(event.error))

    # The sampler.

    @on(SamplerControls.SettingsChanged)
    def use_settings(self, event: SamplerControls.SettingsChanged) -> None:
        """Redraw what is shown; the next answer uses them."""
        self._settings = event.settings
        shown = self._panel.distribution
        if shown is not None:
            self._preview(shown.handle, shown.start, len(shown.candidates))

    @on(ProbabilityPanel.PageRequested)
    def show_page(self, event: ProbabilityPanel.PageRequested) -> None:
        """Fetch other rows of the ranking."""
        self._preview(event.handle, event.start, event.count)

    def _preview(self, handle: int, start: int, rows: int) -> None:
        self._previewed = next(self._numbers)
        self.runner.preview(self._previewed, handle, self._settings, start, rows)

    @on(facts.PreviewReady)
    def show_preview(self, event: facts.PreviewReady) -> None:
        """Draw the same position anew, unless another one is shown by now."""
        shown = self._panel.distribution
        same = shown is not None and shown.handle == event.distribution.handle
        if event.revision == self._previewed and same:
            self._panel.show(event.distribution, chosen=self._panel.chosen)

    # An answer.

    @on(PromptField.Submitted)
    async def answer(self, event: PromptField.Submitted) -> None:
        """The user sent a prompt."""
        if self._info is None:
            self._waiting = event.text
            self._status.state = "your message is sent once the model is there"
        elif self._job:
            self.query_one(PromptField).give_back(event.text)
            self.notify("An answer is being made; Esc stops it.")
        else:
            await self._say(event.text)

    async def _say(self, text: str) -> None:
        asked = self._conversation.say(text)
        await self.query_one(Transcript).add(MessageView(str(asked.id), "user", text))
        await self._reply_to(asked)

    async def _reply_to(self, asked: Node) -> None:
        assert self._info is not None
        self._reply = self._conversation.reply(
            asked.id, model=self._info.model, settings=self._settings
        )
        view = MessageView(str(self._reply.id), "assistant", note=_GROWING)
        await self.query_one(Transcript).add(view)
        self._start(self._conversation.messages(asked.id))

    def _start(self, begin: tuple[object, ...] | Prompt) -> None:
        self._job = next(self._numbers)
        self._panel.title = "Next token"
        self._status.state = "reading the prompt"
        self._strip.reset(info=self._info)
        self.runner.generate(self._job, begin, self._settings)  # type: ignore[arg-type]

    @on(facts.GenerationStarted)
    def keep_prompt(self, event: facts.GenerationStarted) -> None:
        """The prompt is laid out: its ids are what a continuation goes on from."""
        if event.job != self._job or self._reply is None:
            return
        self._reply = self._conversation.lay_out(self._reply.id, event.prompt)
        self._strip.reset(info=self._info, prompt_tokens=len(event.prompt.ids))

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
            await view.grow("".join(step.piece for step in event.steps))

    @on(facts.GenerationFinished)
    async def end_answer(self, event: facts.GenerationFinished) -> None:
        """The answer is whole, or was stopped."""
        if event.job != self._job or self._reply is None:
            return
        self._job = 0
        self._reply = self._conversation.finish(self._reply.id, event.finish)
        self._strip.finish(event.finish)
        self._status.state = "ready"
        if view := self._view(self._reply):
            await view.grow(event.finish.piece)
            await view.complete()
            view.set_note(_NOTES.get(event.finish.reason, ""))

    @on(facts.GenerationFailed)
    async def return_prompt(self, event: facts.GenerationFailed) -> None:
        """Nothing is lost: what was written goes back to the prompt."""
        if event.job != self._job or self._reply is None:
            return
        self._job = 0
        self._reply = self._conversation.fail(self._reply.id)
        self._status.state = "ready"
        self._show_error(event.error)
        if self._reply.content:
            if view := self._view(self._reply):
                await view.complete()
                view.set_note("broke off")
            return
        asked = self._conversation.node(self._reply.parent or 0)
        for node in (self._reply, asked):
            if view := self._view(node):
                await view.remove()
        self.query_one(PromptField).give_back(asked.content)

    # Keys.

    def action_stop(self) -> None:
        """Stop the answer, close the tokens, or go back to the prompt."""
        if self._job:
            self.runner.stop(self._job)
        elif self.has_class("-tokens"):
            self.remove_class("-tokens")
        self.query_one(PromptField).focus()

    def action_interrupt(self) -> None:
        """Copy what is selected, or stop, or say how to leave."""
        selected = self.get_selected_text() or self.query_one(PromptField).selected_text
        if selected:
            self.app.copy_to_clipboard(selected)
        elif self._job:
            self.runner.stop(self._job)
        else:
            self.notify("Ctrl+Q quits.")

    async def action_regenerate(self) -> None:
        """Another answer in place of the last one."""
        leaf = self._conversation.leaf
        if self._job or self._info is None or leaf.role != "assistant":
            return
        self._reply = self._conversation.regenerate(
            leaf.id, model=self._info.model, settings=self._settings
        )
        await self._redraw()
        assert self._reply.parent is not None
        self._start(self._conversation.messages(self._reply.parent))

    async def action_go_on(self) -> None:
        """Let the last answer go on from exactly where it stands."""
        leaf = self._conversation.leaf
        prompt = leaf.continuation
        if self._job or self._info is None or prompt is None:
            return
        self._reply = self._conversation.resume(leaf.id, settings=self._settings)
        await self._redraw()
        self._start(prompt)

    async def _redraw(self) -> None:
        """Draw the active branch, of which the last message grows."""
        nodes = [
            n for n in self._conversation.path[1:] if n.content or n == self._reply
        ]
        views = [
            MessageView(
                str(node.id),
                node.role,
                node.content,
                note=_GROWING if node == self._reply else "",
            )
            for node in nodes
        ]
        await self.query_one(Transcript).show(views)

    def action_panel(self) -> None:
        """Show or hide the panel."""
        self.toggle_class("-no-panel")

    def action_sampler(self) -> None:
        """Go to the sampler's settings, or back."""
        self.remove_class("-no-panel")
        sampler = self.query_one(SamplerControls)
        if sampler.has_focus:
            self.remove_class("-sampler")
            self.query_one(PromptField).focus()
        else:
            self.add_class("-sampler")
            sampler.focus()

    def action_pause(self) -> None:
        """Hold the panel still, or let it go on."""
        self._panel.paused = not self._panel.paused

    def action_tokens(self) -> None:
        """Show a message as tokens, or the conversation again."""
        if self.has_class("-tokens"):
            self.remove_class("-tokens")
            self.query_one(PromptField).focus()
            return
        focused = self.focused
        wanted = focused.key if isinstance(focused, MessageView) else None
        path = [n for n in self._conversation.path[1:] if n.content]
        node = next(
            (n for n in path if str(n.id) == wanted), path[-1] if path else None
        )
        if node is None or self._job:
            return
        self._inspected = node
        if node.tokens:
            self._open_tokens(node)
            return
        self._scoring = next(self._numbers)
        before = self._conversation.messages(node.parent)
        self.runner.score(self._scoring, TextAfter(before, node.content))

    @on(facts.TokensScored)
    def keep_scores(self, event: facts.TokensScored) -> None:
        """A written message was scored: show its tokens."""
        if event.job == self._scoring:
            node = self._conversation.score(self._inspected.id, event.tokens)
            self._open_tokens(node)

    def _open_tokens(self, node: Node) -> None:
        self._inspected = node
        self.add_class("-tokens")
        tokens = self.query_one(TokenView)
        tokens.show(node.tokens)
        tokens.focus()

    @on(TokenView.TokenSelected)
    def show_token(self, event: TokenView.TokenSelected) -> None:
        """The panel shows the step that the cursor is on."""
        if self._inspected.steps and event.index < len(self._inspected.steps):
            step = self._inspected.steps[event.index]
            self._panel.title = f"Token {event.index + 1}"
            self._panel.show(step.distribution, chosen=step.id)

    @on(Transcript.LinkChosen)
    def show_link(self, event: Transcript.LinkChosen) -> None:
        """A link is shown and copied, never opened."""
        self.app.copy_to_clipboard(event.address)
        self.notify(visible(event.address), title="Link copied", markup=False)
