"""What a conversation is called, and how it reads in a list.

Owns how a long text becomes a short line. Knows no store and no screen; whoever draws
the line makes it safe.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from markdown_it import MarkdownIt

_ENDINGS = {
    "python": "py", "py": "py", "bash": "sh", "sh": "sh", "shell": "sh", "c": "c",
    "javascript": "js", "js": "js", "typescript": "ts", "rust": "rs", "go": "go",
    "json": "json", "html": "html", "css": "css", "sql": "sql", "java": "java",
    "cpp": "cpp", "c++": "cpp", "yaml": "yaml", "toml": "toml", "markdown": "md",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class CodeBlock:
    """A block as it was written, without its fences."""

    text: str
    language: str

    @property
    def file(self) -> str:
        """A name to save it under."""
        return f"code.{_ENDINGS.get(self.language.lower(), 'txt')}"


def blocks_of(text: str) -> list[CodeBlock]:
    """The blocks in a text, in their order."""
    return [
        CodeBlock(token.content, (token.info.split() or [""])[0])
        for token in MarkdownIt().parse(text)
        if token.type == "fence"
    ]


TITLE = 60
"""Most code points of a title that is made from a message."""
_PREVIEW = 120
_COPY = " (copy)"
_READ = 2000  # code points looked at of a long message
_ATTACHED = re.compile(r"\s*`{3,}\w+ +([^`\n]+)\n")
_LEADING = re.compile(r"^(?:[#>*\-\s]|```\w*)+")


def title_of(text: str) -> str:
    """A title from the first message of the user: its first words, cut at a word; the
    name of the file where it begins with one."""
    if attached := _ATTACHED.match(text):
        return _cut(f"@{attached[1]}")
    line = _one_line(_LEADING.sub("", text[:_READ]) or text[:_READ])
    return _cut(line)


def _cut(line: str) -> str:
    if len(line) <= TITLE:
        return line
    cut = line[: TITLE - 1]
    at = cut.rfind(" ")
    return (cut[:at] if at > TITLE // 2 else cut).rstrip(" ,;:.") + "…"


def copy_title(title: str) -> str:
    """The title of a copy."""
    return title if title.endswith(_COPY) else f"{title}{_COPY}"


def preview_of(text: str) -> str:
    """The beginning of a message as a line."""
    line = _one_line(text[:_READ])
    return line if len(line) <= _PREVIEW else line[: _PREVIEW - 1] + "…"


def _one_line(text: str) -> str:
    return " ".join(text.split())
