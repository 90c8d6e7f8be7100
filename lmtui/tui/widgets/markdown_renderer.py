"""Parsing and drawing of Markdown, block by block.

CommonMark, with tables and strikethrough. Imported when there is something to draw:
the parser and the highlighter take some 50 ms.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from copy import copy
from dataclasses import replace
from functools import lru_cache
from typing import Any, ClassVar

from markdown_it import MarkdownIt
from markdown_it.token import Token
from rich.console import Console, ConsoleOptions, RenderResult
from rich.markdown import CodeBlock, Heading, ListItem, Markdown
from rich.segment import Segment
from rich.style import Style
from rich.styled import Styled
from rich.syntax import ANSISyntaxTheme, Syntax
from rich.text import Text
from rich.theme import Theme
from textual.widget import Widget

from lmtui.text import visible_line
from lmtui.tui.widgets.markdown_blocks import STYLES, MarkdownBlock

_PARSER = MarkdownIt("commonmark", {"html": False})
_PARSER.enable(["table", "strikethrough"])
_PARSER.disable(["reference", "entity", "image"])
_DEEPEST = 15
"""Deepest nesting that is laid out; deeper blocks are drawn as plain text."""
_LISTS = ("bullet_list_open", "ordered_list_open")

# Characters that a growing block may have before it is cut: about what can be drawn in
# a few milliseconds. Code and tables cost the most.
_LONG = {"fence": 600, "table_open": 1_200, "paragraph_open": 6_000}


def blocks_of(source: str, *, joined: bool = False) -> list[MarkdownBlock]:
    """Split a text into blocks, at least one; their sources joined are the text."""
    lines = source.split("\n")
    starts = list(_starts(_PARSER.parse(source)))
    if not starts:
        return [MarkdownBlock(source, joined=joined)]
    starts[0] = (0, *starts[0][1:])
    ends = [start for start, _, _ in starts[1:]] + [len(lines)]
    blocks: list[MarkdownBlock] = []
    for (start, kind, item), end in zip(starts, ends, strict=True):
        text = "\n".join(lines[start:end]) + ("\n" if end < len(lines) else "")
        tight = bool(blocks) and item and not blocks[-1].source.endswith("\n\n")
        blocks.append(MarkdownBlock(text, kind, tight if blocks else joined))
    return blocks


def _starts(tokens: list[Token]) -> Iterator[tuple[int, str, bool]]:
    """Yield the first line and kind of each block, and whether it is a list item that
    follows another one."""
    first = True
    for token in tokens:
        if token.map is None or token.nesting < 0:
            continue
        if token.level == 0:
            first = True
            if token.type not in _LISTS:
                yield token.map[0], token.type, False
        elif token.level == 1 and token.type == "list_item_open":
            yield token.map[0], token.type, not first
            first = False


def cut(block: MarkdownBlock) -> list[MarkdownBlock]:
    """Split a block that is too long to be drawn many times a second into two: one that
    no longer changes and one that grows. The second part of a table or a code block
    repeats the head (the opening fence)."""
    if len(block.source) <= _LONG.get(block.kind, len(block.source)):
        return [block]
    lines = block.source.split("\n")
    head = {"fence": 1, "table_open": 2}.get(block.kind)
    if head is not None:
        if len(lines) <= head + 1:
            return [block]
        fixed = "\n".join(lines[:-1]) + "\n"
        growing = "\n".join([*lines[:head], lines[-1]])
    else:
        fixed, space, growing = block.source.rpartition(" ")
        if not fixed:
            return [block]
        fixed += space
    return [
        replace(block, source=fixed),
        MarkdownBlock(growing, block.kind, joined=True),
    ]


class MarkdownStyles:
    """The styles in which blocks are drawn, as a Rich console and a code theme."""

    def __init__(self, styles: Mapping[str, Style]) -> None:
        bold, italic = Style(bold=True), Style(italic=True)
        self.code_theme = ANSISyntaxTheme(
            {
                ("Comment",): styles["comment"],
                ("Keyword",): styles["keyword"],
                ("Operator", "Word"): styles["keyword"],
                ("Literal", "String"): styles["string"],
                ("Literal", "Number"): styles["number"],
                ("Name", "Function"): styles["name"],
                ("Name", "Class"): styles["name"],
                ("Name", "Builtin"): styles["name"],
            }
        )
        named = {
            "em": italic, "strong": bold, "s": Style(strike=True),
            "code": styles["code"], "code_block": styles["code"],
            "block_quote": styles["quote"], "hr": styles["rule"],
            "item.bullet": styles["bullet"], "item.number": styles["bullet"],
            "link": bold, "link_url": styles["link"],
            "table.border": styles["rule"], "table.header": bold,
            "h1": styles["heading"] + Style(underline=True),
            **{f"h{level}": styles["heading"] for level in range(2, 7)},
        }  # fmt: skip
        self.console = Console(
            file=io.StringIO(),
            force_terminal=True,
            color_system="truecolor",
            theme=Theme({f"markdown.{name}": style for name, style in named.items()}),
        )


def draw(
    block: MarkdownBlock, width: int, styles: MarkdownStyles
) -> list[list[Segment]]:
    """Return the lines of a block, `width` cells wide, without empty lines around
    it."""
    plain = Text(block.source.strip("\n"))
    tokens = _PARSER.parse(block.source)
    if any(token.level > _DEEPEST for token in tokens):
        lines = _lines(plain, width, styles)
    else:
        try:
            lines = _lines(_Document.of(tokens, styles), width, styles)
        except Exception:  # Rich may fail on Markdown that no person would write
            lines = _lines(plain, width, styles)
    while lines and not _text(lines[-1]).strip():
        lines.pop()
    while lines and not _text(lines[0]).strip():
        lines.pop(0)
    return lines


def _lines(
    renderable: Markdown | Text, width: int, styles: MarkdownStyles
) -> list[list[Segment]]:
    options = styles.console.options.update(width=max(1, width), height=None)
    lines = styles.console.render_lines(renderable, options, pad=False)
    return [[Segment(visible_line(s.text), s.style) for s in line] for line in lines]


def _text(line: list[Segment]) -> str:
    return "".join(segment.text for segment in line)


class _Code(CodeBlock):
    def __rich_console__(
        self, console: Console, options: ConsoleOptions
    ) -> RenderResult:
        syntax = Syntax(
            str(self.text).rstrip("\n"),
            self.lexer_name,
            theme=self.theme,
            word_wrap=True,
            padding=(0, 1),
        )
        yield Styled(syntax, "markdown.code_block")


class _Heading(Heading):
    LEVEL_ALIGN: ClassVar[dict[str, Any]] = {}


class _Item(ListItem):
    """A list item with an indent for two digits at least, so that items, which are
    drawn one by one, are aligned."""

    def render_number(
        self, console: Console, options: ConsoleOptions, number: int, last_number: int
    ) -> RenderResult:
        segments = super().render_number(console, options, number, max(number, 10))
        for index, segment in enumerate(segments):
            if index == 0:  # the number: Rich leaves its point out
                assert isinstance(segment, Segment)
                text = f"{number}.".rjust(len(segment.text) - 1) + " "
                segment = Segment(text, segment.style)
            yield segment


class _Document(Markdown):
    """One block, parsed by the parser of this module instead of Rich's."""

    elements = Markdown.elements | {
        "fence": _Code,
        "code_block": _Code,
        "heading_open": _Heading,
        "list_item_open": _Item,
    }

    @classmethod
    def of(cls, tokens: list[Token], styles: MarkdownStyles) -> _Document:
        """Return a document of these tokens, in the code theme of `styles`. Line breaks
        are kept."""
        for token in tokens:
            for inline in token.children or ():
                if inline.type == "softbreak":
                    inline.type = "hardbreak"
        document = copy(_EMPTY)
        document.parsed = tokens
        document.code_theme = styles.code_theme  # type: ignore[assignment]
        return document


# A template to copy: Rich creates a parser for each document, which takes as long as
# drawing a paragraph.
_EMPTY = _Document("", hyperlinks=False)


def styles_of(widget: Widget) -> MarkdownStyles:
    return _cached_styles(
        tuple(
            widget.get_component_rich_style(f"markdown--{name}", partial=True)
            for name in STYLES
        )
    )


@lru_cache(maxsize=4)
def _cached_styles(styles: tuple[Style, ...]) -> MarkdownStyles:
    return MarkdownStyles(dict(zip(STYLES, styles, strict=True)))
