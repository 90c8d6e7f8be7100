"""Text from anywhere, drawn as it is written: as `Content` and in widgets.

Control characters are drawn, and no markup is read. `Content` drops some of them, so
what comes from elsewhere gets into one here.
"""

from __future__ import annotations

from collections.abc import Callable

from textual.content import Content
from textual.visual import VisualType
from textual.widgets import Static

from lmtui.text import visible, visible_line

Part = Content | str | tuple[str, str]
"""A text, or a text and its style; a `Content` is drawn as it is."""


def _assembled(escape: Callable[[str], str], parts: tuple[Part, ...]) -> Content:
    return Content.assemble(*(
        part if isinstance(part, Content)
        else escape(part) if isinstance(part, str) else (escape(part[0]), part[1])
        for part in parts
    ))  # fmt: skip


def plain_text(*parts: Part) -> Content:
    return _assembled(visible, parts)


def plain_line(*parts: Part) -> Content:
    """Return parts of one line, in which newlines and tabs are drawn, too."""
    return _assembled(visible_line, parts)


class PlainText(Static):
    """Text of several lines; a `Content` is drawn as it is."""

    content_of = staticmethod(plain_text)

    def __init__(
        self, text: VisualType = "", *, id: str | None = None, classes: str = ""
    ) -> None:
        super().__init__(self._drawn(text), id=id, classes=classes)

    def update(self, content: VisualType = "", *, layout: bool = True) -> None:
        super().update(self._drawn(content), layout=layout)

    def _drawn(self, text: VisualType) -> VisualType:
        return self.content_of(text) if isinstance(text, str) else text


class PlainLine(PlainText):
    """One line of text."""

    content_of = staticmethod(plain_line)
