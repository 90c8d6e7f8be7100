"""Answers to a prompt: makes the rows of a generation with what an engine has, its
sampler and its layout of prompts. Knows no KV cache and no decode loop.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from lmtui.engine.answer_row import AnswerRow, StopRules
from lmtui.engine.backends.base import AnyBackend
from lmtui.engine.prompt import PromptBuilder
from lmtui.engine.rows import RowRequest
from lmtui.engine.sampler import Sampler
from lmtui.engine.server_draws import require_drawable
from lmtui.engine.types import Prompt


@dataclass(frozen=True, slots=True)
class AnswerRows:
    """Makes the answers of one engine."""

    backend: AnyBackend
    sampler: Sampler
    prompts: PromptBuilder
    context: int
    """Most tokens that prompt and answer can have together."""
    ends_after: Callable[[Sequence[int]], frozenset[int]]
    """Returns the tokens that end an answer to a prompt."""

    def of(
        self,
        prompt: Prompt,
        row: RowRequest,
        *,
        top_n: int,
        single_line: bool = False,
        logit_bias: Mapping[int, float] = MappingProxyType({}),
        drawn: int = 0,
    ) -> AnswerRow:
        """Return an answer that has not begun; the options are those of
        `protocol.Engine.generate`.

        Raises:
            LmtuiError: the settings can't be applied to what a server lists.
        """
        settings = row.settings
        require_drawable(self.backend, self.sampler.chain(settings).settings)
        rules = StopRules(
            end_ids=self.ends_after(prompt.ids),
            max_tokens=settings.max_tokens,
            context=self.context,
            stop_texts=prompt.stop_texts,
            single_line=single_line,
        )
        return AnswerRow(
            self.sampler,
            settings,
            rules,
            top_n=max(1, top_n),
            start=row.start,
            logit_bias=logit_bias,
            drawn=drawn,
            grammar=self.sampler.answer_grammar(
                settings, rules.end_ids, prompt, self.prompts.thinking_ids
            ),
            is_stored=top_n > 0,
        )
