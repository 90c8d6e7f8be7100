"""Text pages about a conversation: statistics, totals, and the model's prompt.

The prompt is shown by its ids, with every control token marked. Knows no screen.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from textual.content import Content

from lmtui import notation
from lmtui.chat.conversation import Conversation
from lmtui.chat.message import ChatMessage
from lmtui.chat.thinking import thought_of
from lmtui.engine.scoring.totals import bits_per, mean_nll, perplexity
from lmtui.engine.types import EngineInfo, ScoredToken, Step
from lmtui.tui.model_state import shown_label
from lmtui.tui.widgets.cells import aligned
from lmtui.tui.widgets.plain_text import plain_text
from lmtui.tui.widgets.sampler_chain import others_on
from lmtui.tui.widgets.token_lines import pieces_of

_CONTROL = "$accent reverse"
_SHADES = ("", "underline on $panel")
"""Styles of text tokens, in turns: each ends visibly, in 16 colours too."""


def prompt_page(
    reply: ChatMessage | None, tokens: Sequence[ScoredToken] = ()
) -> Content:
    """Return the prompt of an answer, and the answer: as `tokens`, which are those of
    both, or as text where they are not known."""
    if reply is None:
        return Content("Nothing was sent to a model in this branch yet.")
    if reply.prompt is None:
        return Content(
            "The tokens that the model read are not known: the answer was written "
            "elsewhere, or by a server that tells none."
        )
    prompt, model = reply.prompt, shown_label(reply.model or "")
    head = (
        f"{len(prompt.ids):,} tokens were sent to {model}; the answer is "
        f"{len(reply.ids):,} more, in bold."
    )
    if tokens:
        legend = Content.assemble(
            (f"{head} The shade changes with each token; ", "$quiet"),
            ("control tokens", _CONTROL),
            (" are marked.\n\n", "$quiet"),
        )
        return Content.assemble(legend, *_styled_tokens(tokens, len(prompt.ids)))
    answer = "".join(step.text for step in reply.steps)
    return plain_text(
        (f"{head} Shown as text: only {model}, once it is loaded, can tell the tokens"
         " apart.\n\n", "$quiet"),
        prompt.text,
        (answer, "bold"),
    )  # fmt: skip


def _styled_tokens(
    tokens: Sequence[ScoredToken], prompt_len: int
) -> Iterator[tuple[str, str]]:
    for index, group in enumerate(pieces_of(tokens)):
        token = tokens[group.first]
        style = _CONTROL if token.is_control else _SHADES[index % 2]
        bold = " bold" if group.first >= prompt_len else ""
        yield group.text, f"{style}{bold}".strip()


def stats_page(conversation: Conversation, info: EngineInfo | None) -> Content:
    visible = [node for node in conversation.path[1:] if not node.is_empty]
    path = [conversation.node(node.id) for node in visible]
    replies = [node for node in path if node.steps]
    everything = [n for n in conversation.nodes[1:] if not (n.gone or n.is_empty)]
    lines = [
        ("messages", f"{len(path):,} shown, {len(everything):,} in all branches"),
    ]
    if (reply := last_reply(conversation)) is not None and reply.prompt is not None:
        used = len(reply.prompt.ids) + len(reply.ids)
        limit = f" of {info.context:,}" if info and info.context else ""
        lines.append(("context", f"{used:,} tokens{limit} at the last answer"))
    by_model: dict[str, list[ChatMessage]] = {}
    for node in replies:
        by_model.setdefault(node.model or "unknown", []).append(node)
    by_label = [(shown_label(model), answers) for model, answers in by_model.items()]
    lines += [line for model in by_label for line in _thinking_lines(*model)]
    rows = [_model_row(*model) for model in by_label]
    return Content("\n\n".join([_table(lines), *_model_table(rows)]))


def totals_page(node: ChatMessage) -> Content | None:
    """Return the totals of a message's tokens, how they were sampled, and the timing;
    None where none is scored."""
    scored = [t.logprob for t in node.tokens if t.logprob is not None]
    if not scored or node.logprob is None:
        return None
    lines, part = [("tokens", f"{len(scored):,}")], ""
    if len(scored) < len(node.tokens):
        part = f", {notation.part_of_tokens(len(scored), len(node.tokens))}"
    if (thought := thought_of(node)) and thought.tokens:
        answer = len(scored) - thought.tokens
        lines.append(("thinking", f"{thought.tokens:,} of them, the answer {answer:,}"))
    nats, per_byte = node.logprob, bits_per(node.logprob, _bytes_of(node.tokens))
    lines += [
        ("Σ log P", f"{notation.log_prob(nats)} nats{part}"),
        ("surprisal", f"{notation.surprisal(nats)} bits"),
        ("perplexity", notation.perplexity(perplexity(mean_nll(nats, len(scored))))),
        ("bits/byte", notation.rate(per_byte)),
    ]
    if model := node.model or node.scored_by:
        lines.append(("model", shown_label(model)))
    return Content(_table([*lines, *_drawing_lines(node)]))


def _drawing_lines(node: ChatMessage) -> Iterator[tuple[str, str]]:
    settings, finish = node.settings, node.finish
    if settings is None or finish is None:
        return
    yield "temperature", f"{settings.temperature:g}"
    if settings.temperature > 0:
        yield (
            "sampler",
            f"top-k {settings.top_k:,} · top-p {settings.top_p:g} · "
            f"min-p {settings.min_p:g} · penalty {settings.repetition_penalty:g}",
        )
        is_whole = finish.tokens == len(node.steps) and not node.head
        meaning = "see help numbers" if is_whole else "of the last answer"
        yield "seed", f"{finish.seed}, {meaning}"
    elif settings.repetition_penalty != 1:
        yield "sampler", f"penalty {settings.repetition_penalty:g}"
    if others := others_on(settings):
        yield "also", " · ".join(others)
    if finish.tokens:
        first = notation.seconds(finish.first_token_seconds)
        prompt = notation.seconds(finish.prompt_seconds)
        total_time = notation.seconds(finish.prompt_seconds + finish.seconds)
        speed = notation.speed(finish.tokens_per_second)
        yield "time", f"first token {first} · prompt {prompt} · {total_time} in all"
        yield "speed", f"{speed} tokens/s"


def _table(lines: list[tuple[str, str]]) -> str:
    return "\n".join(f"{name:<12}  {value}" for name, value in lines)


def _thinking_lines(
    model: str, replies: list[ChatMessage]
) -> Iterator[tuple[str, str]]:
    thoughts = [thought for node in replies if (thought := thought_of(node))]
    if thinking := sum(thought.tokens for thought in thoughts):
        tokens = sum(len(node.steps) for node in replies)
        answers = f"the answers {tokens - thinking:,}"
        yield "thinking", f"{thinking:,} of {tokens:,} tokens by {model}, {answers}"


_COLUMNS = (
    "answers",
    "tokens",
    notation.LOG_PROB.short,
    notation.PERPLEXITY.short,
    notation.PER_BYTE.short,
    notation.SPEED.short,
    "model",
)
_LEGEND = """\
Σ log P is in nats; ppl is perplexity; bits/B is bits a byte, the number to compare \
models with different tokenizers by."""


def _model_row(model: str, replies: list[ChatMessage]) -> tuple[str, ...]:
    """Return the totals of one model's answers, formatted. Totals are not added up
    across models, whose tokenizers may differ."""
    steps = [step for node in replies for step in node.steps]
    logprobs = [step.logprob for step in steps if step.logprob is not None]
    # A part of them is never shown as all.
    is_complete = bool(logprobs) and len(logprobs) == len(steps)
    nats = math.fsum(logprobs) if is_complete else None
    ends = [node.finish for node in replies if node.finish is not None]
    seconds = math.fsum(end.seconds for end in ends)
    generated = sum(end.tokens for end in ends)
    return (
        notation.count(len(replies)),
        # A server that sends no numbers sends texts of any length.
        notation.count(len(steps) if logprobs else generated or None),
        notation.log_prob(nats),
        notation.perplexity(
            perplexity(None if nats is None else mean_nll(nats, len(logprobs)))
        ),
        notation.rate(bits_per(nats, _bytes_of(steps))),
        notation.speed(generated / seconds if generated and seconds > 0 else None),
        model,
    )


def _model_table(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    if not rows:
        yield "No model has answered yet."
        return
    numbers = range(len(_COLUMNS) - 1)
    yield "\n".join(aligned((_COLUMNS, *rows), right=numbers))
    yield _LEGEND


def _bytes_of(tokens: Sequence[Step | ScoredToken]) -> int:
    """Return the number of UTF-8 bytes of the scored tokens."""
    return sum(
        len(
            t.piece.encode("utf-8", "surrogatepass") if isinstance(t, Step) else t.bytes
        )
        for t in tokens
        if t.logprob is not None
    )


def last_reply(conversation: Conversation) -> ChatMessage | None:
    replies = [node for node in conversation.path if node.role == "assistant"]
    with_words = [node for node in replies if not node.is_empty]
    return conversation.node(with_words[-1].id) if with_words else None
