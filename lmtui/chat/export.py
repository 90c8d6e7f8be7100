"""Export of the active branch as Markdown or HTML, and import of Markdown.

In Markdown each message follows a heading with its speaker, and reasoning is folded.
Text that looks like these is escaped and control characters are spelled out, so that
every text is imported as it was. Knows no store.
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
from lmtui.text import visible

_SPEAKERS: dict[Role, str] = {
    "system": "System",
    "user": "You",
    "assistant": "Assistant",
}
_ROLES: dict[str, Role] = {
    "system": "system",
    "you": "user",
    "user": "user",
    "assistant": "assistant",
    "model": "assistant",
}
_NAMES = "|".join(_ROLES)
_HEADING = re.compile(rf"^## ({_NAMES})(?: · (.*))?$", re.IGNORECASE | re.MULTILINE)
_FOLD, _UNFOLD = "<details><summary>Thinking</summary>\n\n", "\n\n</details>\n\n"
_OURS = rf"(?:## (?:{_NAMES})\b|<details><summary>Thinking<)"
_LOOKS_ALIKE = re.compile(rf"^(\\*)({_OURS})", re.IGNORECASE | re.MULTILINE)
_ESCAPED = re.compile(rf"^\\(\\*{_OURS})", re.IGNORECASE | re.MULTILINE)
_CONTROL = re.compile(r"(\\*)(?:⟨U\+([0-9A-F]{4,5})⟩|([^\x20-\x7e\n\t]))")

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
    parts = [f"# {_shown(' '.join(title.split()))}\n"]
    parts += [_section(node) for node in conversation.path if node.content]
    return "\n".join(parts)


def from_markdown(text: str) -> tuple[str, Conversation]:
    """Return the title, which may be empty, and the conversation of a Markdown text.

    Raises:
        LmtuiError: the text holds no conversation.
    """
    text = text.removeprefix("\ufeff").replace("\r\n", "\n")
    headings = list(_HEADING.finditer(text))
    if not headings:
        raise LmtuiError(
            "there is no conversation in this text",
            "no heading says who speaks",
            "Put each message under a line “## You” or “## Assistant”.",
        )
    first = text[: headings[0].start()].strip()
    title = first.removeprefix("# ").split("\n")[0] if first.startswith("# ") else ""
    nodes = [ChatMessage(0, None, "system", "")]
    ends = [*(heading.start() for heading in headings[1:]), len(text)]
    for heading, end in zip(headings, ends, strict=True):
        content = _read(text[heading.end() : end], last=end == len(text))
        role = _ROLES[heading[1].lower()]
        content = _unfolded(role, content)
        if role != "system":
            last = len(nodes)
            model = heading[2] and _hidden(heading[2])
            nodes.append(ChatMessage(last, last - 1, role, content, model=model))
        elif len(nodes) == 1 and not nodes[0].content:
            nodes[0] = ChatMessage(0, None, role, content)
        else:
            raise LmtuiError(
                "the system message is not the first one", heading[0], "Move it up."
            )
    chosen = {node.id - 1: node.id for node in nodes[1:]}
    return _hidden(title), Conversation.restored(nodes, chosen)


def _section(node: ChatMessage) -> str:
    model = _shown(" ".join((node.model or "").split()))
    writer = f"{_SPEAKERS[node.role]} · {model}" if model else _SPEAKERS[node.role]
    return f"## {writer}\n\n{_written(node.role, node.content)}\n"


def _written(role: Role, text: str) -> str:
    """Return a message's text with look-alikes escaped and its reasoning folded."""
    thinking = thinking_in(text) if role == "assistant" else None
    if thinking is None or not thinking.closing:
        return _escaped(text)
    cut = thinking.stop + len(thinking.closing)
    return f"{_FOLD}{_escaped(text[:cut])}{_UNFOLD}{_escaped(text[cut:])}"


def _unfolded(role: Role, content: str) -> str:
    """Return the message's text that `_written` turned into `content`."""
    folded = content.removeprefix(_FOLD)
    if folded != content:
        for match in re.finditer(f"(?={_UNFOLD})", folded):
            thought, answer = folded[: match.start()], folded[match.start() :]
            answer = answer.removeprefix(_UNFOLD)
            text = _unescaped(thought) + _unescaped(answer)
            if _written(role, text) == content:
                return text
    return _unescaped(content)


def _escaped(text: str) -> str:
    return _LOOKS_ALIKE.sub(r"\\\1\2", _shown(text))


def _unescaped(text: str) -> str:
    return _hidden(_ESCAPED.sub(r"\1", text))


def _shown(text: str) -> str:
    """Return a text with control characters written as ⟨U+001B⟩.

    Backslashes before one are doubled; a further backslash marks text that had this
    form already.
    """

    def shown(match: re.Match[str]) -> str:
        slashes, code, raw = match.groups()
        if not _is_control(raw or chr(int(code, 16))):
            return match[0]
        return f"{slashes * 2}⟨U+{ord(raw):04X}⟩" if raw else f"{slashes}\\{match[0]}"

    return _CONTROL.sub(shown, text)


def _hidden(text: str) -> str:
    """Return the text that `_shown` turned into `text`."""

    def hidden(match: re.Match[str]) -> str:
        slashes, code, _ = match.groups()
        if code is None or not _is_control(chr(int(code, 16))):
            return match[0]
        half = slashes[: len(slashes) // 2]
        if len(slashes) % 2:
            return f"{half}⟨U+{code}⟩"
        return half + chr(int(code, 16))

    return _CONTROL.sub(hidden, text)


def _is_control(character: str) -> bool:
    return visible(character) != character


def _read(content: str, *, last: bool) -> str:
    """Return a message without the empty lines that belong to the format."""
    content = content.removeprefix("\n").removeprefix("\n")
    content = content.removesuffix("\n") if last else _before_heading(content)
    return content


def _before_heading(content: str) -> str:
    return content[:-2] if content.endswith("\n\n") else content.removesuffix("\n")


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
