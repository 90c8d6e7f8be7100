"""Markdown as lines of cells, block by block.

Owns how a text is cut into blocks, so that only the last one of a text that grows is
drawn again, and how a block reads; Rich lays it out. Everything that was written can
be seen: HTML, entities, images and link definitions are text here, an address stands
beside its link, and a new line is one. Knows no widget.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping
from copy import copy
from dataclasses import dataclass, replace
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

from lmtui.text import visible_line

STYLES = (
    "heading", "code", "bullet", "quote", "link", "rule",
    "keyword", "string", "number", "comment", "name",
)  # fmt: skip
"""What can have a style of its own; the last five are parts of code."""

_PARSER = MarkdownIt("commonmark", {"html": False})
_PARSER.enable(["table", "strikethrough"])
_PARSER.disable(["reference", "entity", "image"])
_DEEPEST = 15
"""Blocks in blocks that are laid out; the parser leaves out what is much deeper."""
# A letter, for a line can begin with a number or a mark of something else, and then
# nothing that has a meaning within a line.
_PLAIN = re.compile(r"[^\W\d_][^\\`*_~\[\]<>|#&\t\n]*")
_LISTS = ("bullet_list_open", "ordered_list_open")

# Characters that the block that grows may have before it is cut: about what can be
# drawn in a few milliseconds. Code and tables are the dear ones.
_LONG = {"fence": 600, "table_open": 1_200, "paragraph_open": 6_000}


@dataclass(frozen=True, slots=True)
class Block:
    """A part of a text that is drawn on its own: a paragraph, an item of a list."""

    source: str
    kind: str = "paragraph_open"
    """What the parser calls its first token."""
    joined: bool = False
    """Whether it follows the block before without an empty line."""


def blocks_of(source: str, *, joined: bool = False) -> list[Block]:
    """The blocks of a text, at least one; their sources joined are the text."""
    lines = source.split("\n")
    starts = list(_starts(_PARSER.parse(source)))
    if not starts:
        return [Block(source, joined=joined)]
    starts[0] = (0, *starts[0][1:])
    ends = [start for start, _, _ in starts[1:]] + [len(lines)]
    blocks: list[Block] = []
    for (start, kind, item), end in zip(starts, ends, strict=True):
        text = "\n".join(lines[start:end]) + ("\n" if end < len(lines) else "")
        tight = bool(blocks) and item and not blocks[-1].source.endswith("\n\n")
        blocks.append(Block(text, kind, tight if blocks else joined))
    return blocks


def _starts(tokens: list[Token]) -> Iterator[tuple[int, str, bool]]:
    """First line and kind of each block, and whether it is an item after another."""
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


def cut(block: Block) -> list[Block]:
    """A block that has grown too long to be drawn many times a second, in two: what
    stands, and what still grows. Where they meet, a table repeats its head."""
    if len(block.source) <= _LONG.get(block.kind, len(block.source)):
        return [block]
    lines = block.source.split("\n")
    head = {"fence": 1, "table_open": 2}.get(block.kind)
    if head is not None:
        if len(lines) <= head + 1:
            return [block]
        stands = "\n".join(lines[:-1]) + "\n"
        grows = "\n".join([*lines[:head], lines[-1]])
    else:
        stands, space, grows = block.source.rpartition(" ")
        if not stands:
            return [block]
        stands += space
    return [replace(block, source=stands), Block(grows, block.kind, joined=True)]


def is_plain(source: str) -> bool:
    """Whether a paragraph is one line of mere words: what is drawn of its beginning
    stays the same, whatever words follow."""
    return _PLAIN.fullmatch(source) is not None


class Look:
    """The styles in which blocks are drawn."""

    def __init__(self, styles: Mapping[str, Style]) -> None:
        """`styles` names a style for each of `STYLES`."""
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


def draw(block: Block, width: int, look: Look) -> list[list[Segment]]:
    """The lines of a block in so many cells, without empty ones around them."""
    plain = Text(block.source.strip("\n"))
    tokens = _PARSER.parse(block.source)
    if any(token.level > _DEEPEST for token in tokens):
        lines = _lines(plain, width, look)
    else:
        try:
            lines = _lines(_Document.of(tokens, look), width, look)
        except Exception:  # Rich draws what people write; a model writes anything
            lines = _lines(plain, width, look)
    while lines and not _text(lines[-1]).strip():
        lines.pop()
    while lines and not _text(lines[0]).strip():
        lines.pop(0)
    return lines


def _lines(what: Markdown | Text, width: int, look: Look) -> list[list[Segment]]:
    options = look.console.options.update(width=max(1, width), height=None)
    lines = look.console.render_lines(what, options, pad=False)
    return [[Segment(visible_line(s.text), s.style) for s in line] for line in lines]


def _text(line: list[Segment]) -> str:
    return "".join(segment.text for segment in line)


class _Code(CodeBlock):
    """Code on a ground of its own, without empty lines around it."""

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
    """A heading where the text begins."""

    LEVEL_ALIGN: ClassVar[dict[str, Any]] = {}


class _Item(ListItem):
    """An item whose text begins where its neighbours' does: each is drawn alone."""

    def render_number(
        self, console: Console, options: ConsoleOptions, number: int, last_number: int
    ) -> RenderResult:
        segments = super().render_number(console, options, number, max(number, 10))
        for index, segment in enumerate(segments):
            if index == 0:  # the numeral, which gets its point back
                assert isinstance(segment, Segment)
                text = f"{number}.".rjust(len(segment.text) - 1) + " "
                segment = Segment(text, segment.style)
            yield segment


class _Document(Markdown):
    """One block, as the parser of this module reads it."""

    elements = Markdown.elements | {
        "fence": _Code,
        "code_block": _Code,
        "heading_open": _Heading,
        "list_item_open": _Item,
    }

    @classmethod
    def of(cls, tokens: list[Token], look: Look) -> _Document:
        """What was parsed, in the styles of a look."""
        for token in tokens:
            for inline in token.children or ():
                if inline.type == "softbreak":
                    inline.type = "hardbreak"
        document = copy(_EMPTY)
        document.parsed = tokens
        document.code_theme = look.code_theme  # type: ignore[assignment]
        return document


# To be copied: Rich makes a parser of its own for each, which takes as long as to draw
# a paragraph.
_EMPTY = _Document("", hyperlinks=False)
