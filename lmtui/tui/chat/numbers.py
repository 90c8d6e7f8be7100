"""The stored numbers of one message, in the strip and the panel.

Knows no model.
"""

from __future__ import annotations

from lmtui.chat.message import ChatMessage
from lmtui.engine.types import EngineInfo
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


def show_last_token(panel: ProbabilityPanel, node: ChatMessage) -> None:
    with_candidates = [step for step in node.steps if step.distribution.candidates]
    if with_candidates and not (node.given and node.scored):
        panel.title = f"Token {with_candidates[-1].index + 1:,}"
        panel.show(
            with_candidates[-1].distribution, chosen=with_candidates[-1], drawn=AS_DRAWN
        )
    else:
        panel.title = "The message in focus"
        panel.clear(_NOT_SCORED)
