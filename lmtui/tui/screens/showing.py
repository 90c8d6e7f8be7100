"""A conversation as pages to read: its numbers, and what the model was given.

Owns the words. What the model was given is shown as it was sent: with every control
token, drawn so that it can't be taken for text. Knows no screen.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

from textual.content import Content

from lmtui.chat.node import Node
from lmtui.chat.thoughts import thought_of
from lmtui.chat.tree import Conversation
from lmtui.engine.types import EngineInfo
from lmtui.text import visible, visible_line
from lmtui.tui.model_state import shown_label

_CONTROL = re.compile(
    r"(<\|[^|<>\n]{1,40}\|>|</?s>|<(?:bos|eos|start_of_turn|end_of_turn)>)"
)


def prompt_page(conversation: Conversation) -> Content:
    """What the model was given for the last answer, and the answer after it."""
    reply = _last_reply(conversation)
    if reply is None or reply.prompt is None:
        return Content("Nothing was sent to a model in this branch yet.")
    prompt, own = reply.prompt, len(reply.ids)
    head = (
        f"{len(prompt.ids):,} tokens were sent to {shown_label(reply.model or '')};"
        f" the answer is {own:,} more.\n\n"
    )
    answer = "".join(step.text for step in reply.steps)
    return Content.assemble(
        (head, "$quiet"),
        *_with_controls(prompt.text, ""),
        *_with_controls(answer, "bold"),
    )


def _with_controls(text: str, style: str) -> Iterator[tuple[str, str]]:
    for place, part in enumerate(_CONTROL.split(text)):
        yield visible(part), "$accent reverse" if place % 2 else style


def stats_page(conversation: Conversation, info: EngineInfo | None) -> Content:
    """What was said in numbers, of the shown branch and of all of it."""
    shown = [node for node in conversation.path[1:] if not node.is_empty]
    path = [conversation.node(node.id) for node in shown]
    replies = [node for node in path if node.steps]
    everything = [n for n in conversation.nodes[1:] if not (n.gone or n.is_empty)]
    lines = [
        ("messages", f"{len(path):,} shown, {len(everything):,} in all branches"),
        *_token_lines(replies),
    ]
    if (reply := _last_reply(conversation)) is not None and reply.prompt is not None:
        used = len(reply.prompt.ids) + len(reply.ids)
        room = f" of {info.context:,}" if info else ""
        lines.append(("context", f"{used:,} tokens{room} at the last answer"))
    models = dict.fromkeys(node.model for node in replies if node.model)
    lines.append(("written by", ", ".join(map(visible_line, models)) or "nobody yet"))
    return _table(lines)


def totals_page(node: Node) -> Content | None:
    """What the tokens of a message come to, and the seed that draws them again; nothing
    where none is scored."""
    scored = [t.logprob for t in node.tokens if t.logprob is not None]
    if not scored or node.logprob is None:
        return None
    lines = [("tokens", f"{len(scored):,}")]
    if (thought := thought_of(node)) and thought.tokens:
        answer = len(scored) - thought.tokens
        lines.append(("thinking", f"{thought.tokens:,} of them, the answer {answer:,}"))
    lines += _likelihood_lines(node.logprob, len(scored))
    if node.finish and node.settings and node.settings.temperature > 0:
        all_of_it = node.finish.tokens == len(node.steps) and not node.given
        does = "which draws it again" if all_of_it else "of what was drawn last"
        lines.append(("seed", f"{node.finish.seed}, {does}"))
    return _table(lines)


def _table(lines: list[tuple[str, str]]) -> Content:
    return Content("\n".join(f"{name:<12}  {value}" for name, value in lines))


def _likelihood_lines(logprob: float, tokens: int) -> Iterator[tuple[str, str]]:
    yield "Σ log P", f"{logprob:,.2f} nats".replace("-", "−")
    yield "perplexity", f"{math.exp(min(700.0, -logprob / tokens)):,.2f}"


def _token_lines(replies: list[Node]) -> Iterator[tuple[str, str]]:
    tokens = sum(len(node.steps) for node in replies)
    if not tokens:
        return
    answers = f"{len(replies):,} answer{'' if len(replies) == 1 else 's'}"
    yield "tokens", f"{tokens:,} generated in {answers}"
    thoughts = [thought for node in replies if (thought := thought_of(node))]
    if thinking := sum(thought.tokens for thought in thoughts):
        yield "thinking", f"{thinking:,} of them, the answers {tokens - thinking:,}"
    known = [step.logprob for node in replies for step in node.steps]
    yield from _likelihood_lines(math.fsum(known), tokens)
    ends = [node.finish for node in replies if node.finish is not None]
    seconds = math.fsum(end.seconds for end in ends)
    if seconds > 0:
        made = sum(end.tokens for end in ends)
        yield "speed", f"{made / seconds:,.1f} tokens/s, {seconds:,.1f} s in all"


def _last_reply(conversation: Conversation) -> Node | None:
    replies = [node for node in conversation.path if node.role == "assistant"]
    with_words = [node for node in replies if not node.is_empty]
    return conversation.node(with_words[-1].id) if with_words else None
