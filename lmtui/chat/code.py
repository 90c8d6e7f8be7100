"""The blocks of code in a text.

Owns what counts as one: a fence of Markdown, closed or not. Knows no conversation.
"""

from __future__ import annotations

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
