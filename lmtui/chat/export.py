"""Export of the active branch as Markdown or HTML.

In Markdown each message follows a heading with its speaker, and reasoning is folded.
Knows no store.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum
from pathlib import Path

from lmtui import html_page
from lmtui.chat.conversation import Conversation
from lmtui.chat.message import ChatMessage
from lmtui.chat.records import to_json
from lmtui.chat.summary import ConversationMeta
from lmtui.chat.thinking import thought_of
from lmtui.engine.text.thinking import thinking_in
from lmtui.engine.types import Role
from lmtui.errors import LmtuiError
from lmtui.html_page import shown
from lmtui.text import visible_flow

_SPEAKERS: dict[Role, str] = {
    "system": "System",
    "user": "You",
    "assistant": "Assistant",
}
_FOLD, _UNFOLD = "<details><summary>Thinking</summary>\n\n", "\n\n</details>\n\n"

_STYLE = """
body { font: 16px/1.55 system-ui, sans-serif; max-width: 46rem; margin: 2rem auto;
  padding: 0 1rem; background: var(--paper); color: var(--ink); }
h1 { font-size: 1.4rem; overflow-wrap: anywhere; }
.quiet, h2 { color: var(--quiet); font-size: .85rem; font-weight: 600; margin: 0; }
article { border-left: 3px solid var(--line); margin: 1.2rem 0; padding: 0 1rem; }
article.user { border-color: var(--accent); }
summary { color: var(--quiet); font-size: .85rem; cursor: pointer; }
details pre { color: var(--quiet); }
pre { font: inherit; margin: .2rem 0; overflow-wrap: anywhere; white-space: pre-wrap; }
"""
_OTHERS = {"markdown": "md", "htm": "html", "jsonl": "json"}


def to_markdown(conversation: Conversation, title: str) -> str:
    """Return the active branch as Markdown, ending with a newline."""
    parts = [f"# {_line(title)}\n"]
    parts += [_section(node) for node in conversation.path if node.content]
    return "\n".join(parts)


def _section(node: ChatMessage) -> str:
    model = _line(node.model or "")
    writer = f"{_SPEAKERS[node.role]} · {model}" if model else _SPEAKERS[node.role]
    text, folded = node.content, ""
    thinking = thinking_in(text) if node.role == "assistant" else None
    if thinking is not None and thinking.closing:
        cut = thinking.stop + len(thinking.closing)
        folded = f"{_FOLD}{visible_flow(text[:cut])}{_UNFOLD}"
        text = text[cut:]
    return f"## {writer}\n\n{folded}{visible_flow(text)}\n"


def _line(text: str) -> str:
    return visible_flow(" ".join(text.split()))


def to_html(conversation: Conversation, title: str, *, updated: float) -> str:
    """Return the active branch as an HTML page; `updated` is in seconds since the
    epoch."""
    day = datetime.fromtimestamp(updated).strftime("%Y-%m-%d %H:%M")
    articles = "\n".join(_article(node) for node in conversation.path if node.content)
    body = f'<h1>{shown(title)}</h1>\n<p class="quiet">{day}</p>\n{articles}\n'
    style = html_page.asset("lmtui.analysis.html", "shades.css") + _STYLE
    return html_page.page(title, body, style=style)


def _article(node: ChatMessage) -> str:
    writer = node.model or _SPEAKERS[node.role]
    text, folded, thought = node.content, "", thought_of(node)
    if thought is not None:
        words = text[thought.span.start : thought.span.stop].strip("\n")
        text = text[thought.span.end :]
        folded = f"<details><summary>{shown(thought.words)}</summary>\n"
        folded += f"<pre>{shown(words)}</pre></details>\n"
    return (
        f'<article class="{node.role}"><h2>{shown(writer)}</h2>\n'
        f"{folded}<pre>{shown(text)}</pre></article>"
    )


class Format(StrEnum):
    MARKDOWN = "md"
    JSON = "json"
    HTML = "html"


def format_of(path: Path) -> Format:
    """Return the format that a file's suffix names.

    Raises:
        LmtuiError: the suffix names no format.
    """
    ending = path.suffix.lower().lstrip(".")
    try:
        return Format(_OTHERS.get(ending, ending))
    except ValueError:
        raise LmtuiError(
            "the format is not known",
            str(path),
            "End the name with .md, .json or .html.",
        ) from None


def written(format: Format, conversation: Conversation, meta: ConversationMeta) -> str:
    """Return a conversation in a format."""
    if format is Format.JSON:
        return to_json(conversation, meta)
    if format is Format.HTML:
        return to_html(conversation, meta.title, updated=meta.updated)
    return to_markdown(conversation, meta.title)


def write_new(path: Path, parts: Iterable[str]) -> None:
    """Write a new file.

    Raises:
        LmtuiError: the file exists already, or can't be written.
    """
    try:
        with path.open("x", encoding="utf-8", newline="") as file:
            for part in parts:
                file.write(part)
    except FileExistsError:
        raise LmtuiError(
            "this file already exists", str(path), "Name another one."
        ) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise LmtuiError(
            "the file can't be written", f"{path} ({reason})", "Name another place."
        ) from error


def name_for(title: str) -> str:
    """Return a file name without suffix, made from a title."""
    return re.sub(r"[^\w]+", "-", title.lower()).strip("-")[:40] or "conversation"
