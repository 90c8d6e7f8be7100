"""The stored numbers of one message, in the strip and the panel.

Knows no model.
"""

from __future__ import annotations

from collections.abc import Sequence

from lmtui.chat.message import ChatMessage
from lmtui.engine.types import EngineInfo, Step
from lmtui.tui.widgets.likelihood_strip import LikelihoodStrip
from lmtui.tui.widgets.probability_panel import AS_DRAWN, ProbabilityPanel

_NOT_SCORED = "F3 shows this message as tokens, with what was expected at each."


def show_strip(
    strip: LikelihoodStrip, node: ChatMessage, info: EngineInfo | None
) -> None:
    context = None
    if node.prompt is not None:
        context = len(node.prompt.ids) + len(node.steps)
    elif node.finish is not None and node.finish.prompt_tokens:
        context = node.finish.prompt_tokens + node.finish.tokens
    strip.show(node.tokens, info=info, finish=node.finish, context=context)


def last_with_candidates(steps: Sequence[Step]) -> Step | None:
    return next((s for s in reversed(steps) if s.distribution.candidates), None)


def show_last_token(panel: ProbabilityPanel, node: ChatMessage) -> None:
    step = last_with_candidates(node.steps)
    if step is not None and not (node.given and node.scored):
        panel.title = f"Token {step.index + 1:,}"
        panel.show(step.distribution, chosen=step, drawn=AS_DRAWN)
    else:
        panel.title = "The message in focus"
        panel.clear(_NOT_SCORED)
