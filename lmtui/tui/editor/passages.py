"""Passages: text that the sampler writes at the cursor, as long as the user asks.

A passage is shown as ghost text, of which a part can be taken.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from secrets import randbelow

from lmtui.engine.sampling.recommended import NAMES
from lmtui.engine.types import GenerationResult, SamplingSettings, Step
from lmtui.errors import LmtuiError
from lmtui.notation import counted
from lmtui.text import visible_line
from lmtui.tui.controller import Controller
from lmtui.tui.editor.options import Writing
from lmtui.tui.editor.text_area import GhostEditor
from lmtui.tui.engine.client import EngineClient
from lmtui.tui.model_state import ModelState
from lmtui.tui.screen import ModelScreen
from lmtui.tui.widgets.line_prompt import LinePrompt, LineQuestion
from lmtui.worker.generation import run_completion
from lmtui.worker.requests import Slot

LENGTH = 120
"""Tokens of a passage, unless the user asks for others."""
_MOST = 4096
_SEEDS = 2**31
_ANSWER = re.compile(
    r"([0-9]{1,4})(?: tokens?)?(?:,?\s+(?:temperature )?([0-9]*\.?[0-9]+))?"
)


def settings_named(answer: str, sampling: SamplingSettings) -> SamplingSettings:
    """Return the settings that an answer names: `120`, or `120 0.9` with a temperature,
    or in words as the question has them. Raises LmtuiError."""
    match = _ANSWER.fullmatch(answer.strip())
    if match is None or not 1 <= int(match[1]) <= _MOST:
        hint = "Write how many tokens, then a temperature: 120 0.9"
        raise LmtuiError(f"a passage has 1 to {_MOST:,} tokens", answer, hint)
    temperature = sampling.temperature if match[2] is None else float(match[2])
    return replace(sampling, max_tokens=int(match[1]), temperature=temperature)


def _why_not(answer: str) -> str:
    try:
        settings_named(answer, SamplingSettings())
    except LmtuiError as error:
        return error.title
    return ""


QUESTION = LineQuestion(
    "passage",
    "Write a passage (Enter starts)",
    f"{LENGTH} tokens, temperature 0.7",
    _why_not,
)


@dataclass(slots=True)
class _Passage:
    revision: int
    cursor: int
    settings: SamplingSettings
    text: str = ""
    tokens: int = 0


class PassageController(Controller):
    def __init__(
        self,
        client: EngineClient,
        screen: ModelScreen,
        editor: GhostEditor,
        writing: Writing,
        *,
        before: Callable[[], object],
    ) -> None:
        self._client, self._screen, self._editor = client, screen, editor
        self._activity, self._before_ask = screen.activity, before
        sampling = replace(writing.sampling, max_tokens=LENGTH)
        grammar = writing.rules.grammar or sampling.grammar
        self._sampling = replace(sampling, grammar=grammar)
        self._sampling_for = writing.sampling_for
        self._has_model = False
        self._passage: _Passage | None = None

    def follow_model(self, state: ModelState) -> None:
        self._has_model = state.info is not None
        if state.info is not None and self._sampling_for is not None:
            recommended = self._sampling_for(state.info)
            self._sampling = replace(
                self._sampling, **{name: getattr(recommended, name) for name in NAMES}
            )
        self.forget()

    def forget(self) -> None:
        self._client.cancel()
        self._passage = None

    def stop(self) -> bool:
        if stopped := self._client.cancel():
            self._activity.notice("passage: stopped · Tab takes it")
        return stopped

    def ask(self, prompt: LinePrompt) -> None:
        if not self._has_model:
            self._screen.notify("No model is loaded yet.")
        elif self._passage is not None and self._editor.ghost:
            self._write(self._passage.settings)
        else:
            tokens, temperature = self._sampling.max_tokens, self._sampling.temperature
            prompt.ask(QUESTION, f"{tokens} tokens, temperature {temperature:g}")

    def write(self, answer: str) -> None:
        self._sampling = settings_named(answer, self._sampling)
        self._write(self._sampling)

    def _write(self, settings: SamplingSettings) -> None:
        editor = self._editor
        self._before_ask()
        editor.forget_ghosts()
        # A fixed seed: a passage that is interrupted begins anew with the same text.
        is_new = self._passage is not None or settings.seed is None
        settings = replace(
            settings, seed=randbelow(_SEEDS) if is_new else settings.seed
        )
        passage = _Passage(editor.revision, editor.cursor_index, settings)
        self._passage = passage
        text = editor.text
        self._client.ask(
            Slot.SUGGEST,
            lambda engine, context: run_completion(
                engine, context, text, passage.cursor, settings
            ),
            partial(self._show_end, passage),
            lambda error: self._activity.notice(
                f"passage: {visible_line(error.title)}"
            ),
            batch=partial(self._show, passage),
        )
        self._activity.clear_notice()

    @property
    def status_text(self) -> str:
        passage = self._passage
        if passage is None or not self._client.is_pending(Slot.SUGGEST):
            return ""
        limit = passage.settings.max_tokens
        progress = f": {passage.tokens:,} of {limit:,} tokens" if passage.tokens else ""
        return f"writing a passage{progress}"

    def _show(self, passage: _Passage, steps: tuple[Step, ...]) -> None:
        for step in steps:
            if step.index == 0:  # begun anew
                passage.text = ""
            passage.text += step.piece
            passage.tokens = step.index + 1
        self._editor.show_ghost(
            passage.text, revision=passage.revision, cursor=passage.cursor
        )

    def _show_end(self, passage: _Passage, result: GenerationResult) -> None:
        seed = f"seed {result.seed}" if passage.settings.temperature else "greedy"
        self._activity.notice(
            f"passage: {counted(result.tokens, 'token')}, {seed} · "
            "Tab takes it · Alt+G writes another"
        )
