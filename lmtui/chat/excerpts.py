"""Titles and previews of conversations, and the code blocks of a text.

Knows no store and no screen; the caller makes a line safe to show.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_ENDINGS = {
    "python": "py", "py": "py", "bash": "sh", "sh": "sh", "shell": "sh", "c": "c",
    "javascript": "js", "js": "js", "typescript": "ts", "rust": "rs", "go": "go",
    "json": "json", "html": "html", "css": "css", "sql": "sql", "java": "java",
    "cpp": "cpp", "c++": "cpp", "yaml": "yaml", "toml": "toml", "markdown": "md",
}  # fmt: skip

TITLE = 60
"""Largest length of a title made from a message, in code points."""
_PREVIEW = 120
_COPY = " (copy)"
_READ = 2000  # code points of a long message that are examined
_ATTACHED = re.compile(r"\s*`{3,}\w+ +([^`\n]+)\n")
_LEADING = re.compile(r"^(?:[#>*\-\s]|```\w*)+")


@dataclass(frozen=True, slots=True)
class CodeBlock:
    text: str
    language: str

    @property
    def file(self) -> str:
        """A file name to save the block under."""
        return f"code.{_ENDINGS.get(self.language.lower(), 'txt')}"


def blocks_of(text: str) -> list[CodeBlock]:
    from markdown_it import MarkdownIt  # imported here: it takes 15 ms

    return [
        CodeBlock(token.content, (token.info.split() or [""])[0])
        for token in MarkdownIt().parse(text)
        if token.type == "fence"
    ]


def title_of(text: str) -> str:
    """Return a title made from the first user message.

    It is the first words, at most `TITLE` code points, or the file's name if the
    message begins with an attachment.
    """
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
    return title if title.endswith(_COPY) else f"{title}{_COPY}"


def preview_of(text: str) -> str:
    """Return the beginning of a message as one line."""
    line = _one_line(text[:_READ])
    return line if len(line) <= _PREVIEW else line[: _PREVIEW - 1] + "…"


def _one_line(text: str) -> str:
    return " ".join(text.split())
