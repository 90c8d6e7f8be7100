"""Markdown of a model, drawn while it is generated.

Splits a text into blocks (CommonMark, with tables and strikethrough) and draws each on
its own, so that growing text costs its last block, not its length. Knows no
conversation.
"""

from __future__ import annotations

import io
import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from copy import copy
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import takewhile, zip_longest
from typing import Any, ClassVar, NamedTuple

from markdown_it import MarkdownIt
from markdown_it.token import Token
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.markdown import CodeBlock, Heading, ListItem, Markdown
from rich.segment import Segment
from rich.style import Style
from rich.styled import Styled
from rich.syntax import ANSISyntaxTheme, Syntax
from rich.text import Text
from rich.theme import Theme
from textual.geometry import Region, Size
from textual.selection import Selection
from textual.strip import Strip
from textual.widget import Widget

from lmtui.text import signs_undone, visible, visible_line
from lmtui.tui.widgets.cells import tame_heaps
from lmtui.tui.widgets.styled_lines import DirectLines, filled, rendered

STYLES = (
    "heading", "code", "bullet", "quote", "link", "rule",
    "keyword", "string", "number", "comment", "name",
)  # fmt: skip
"""Names of the styles; the last five are for parts of code."""

_PARSER = MarkdownIt("commonmark", {"html": False})
_PARSER.enable(["table", "strikethrough"])
_PARSER.disable(["reference", "entity", "image"])
_DEEPEST = 15
"""Deepest nesting that is laid out; deeper blocks are drawn as plain text."""
# Begins with a letter: a line can begin with a number or a mark that starts a list or
# another block. Holds no character that has a meaning within a line.
_PLAIN = re.compile(r"[^\W\d_][^\\`*_~\[\]<>|#&\t\n]*")
_LISTS = ("bullet_list_open", "ordered_list_open")

# Characters that a growing block may have before it is cut: about what can be drawn in
# a few milliseconds. Code and tables cost the most.
_LONG = {"fence": 600, "table_open": 1_200, "paragraph_open": 6_000}

CLASSES = {f"markdown--{name}" for name in STYLES}
"""The component classes of a widget that draws Markdown."""
SHEET = """
        & > .markdown--heading { color: $primary; text-style: bold; }
        & > .markdown--code { background: $surface; }
        & > .markdown--bullet { color: $accent; }
        & > .markdown--quote { color: $quiet; }
        & > .markdown--link { color: $quiet; text-style: underline; }
        & > .markdown--rule { color: $quiet; }
        & > .markdown--keyword { color: $accent; text-style: bold; }
        & > .markdown--string { color: $success; }
        & > .markdown--number { color: $warning; }
        & > .markdown--comment { color: $quiet; text-style: italic; }
        & > .markdown--name { color: $primary; }
"""
"""CSS rules for the component classes, to be put within the widget's own rule."""
_AHEAD = 6
_PARTED = 2  # lines above the last one of a paragraph from which on it is split


@dataclass(frozen=True, slots=True)
class MarkdownBlock:
    """A part of a text that is drawn on its own: a paragraph, a list item, a code
    block."""

    source: str
    kind: str = "paragraph_open"
    """The type of its first token in markdown-it."""
    joined: bool = False
    """Whether no empty line separates it from the block before."""


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
        stands = "\n".join(lines[:-1]) + "\n"
        grows = "\n".join([*lines[:head], lines[-1]])
    else:
        stands, space, grows = block.source.rpartition(" ")
        if not stands:
            return [block]
        stands += space
    return [
        replace(block, source=stands),
        MarkdownBlock(grows, block.kind, joined=True),
    ]


def is_plain(source: str) -> bool:
    """Return whether a paragraph is one line of words without markup: then words that
    follow never change how its beginning is drawn."""
    return _PLAIN.fullmatch(source) is not None


class MarkdownStyles:
    """The styles in which blocks are drawn, as a Rich console and a code theme."""

    def __init__(self, styles: Mapping[str, Style]) -> None:
        """Build them from a style for each name in `STYLES`."""
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


def draw(block: MarkdownBlock, width: int, look: MarkdownStyles) -> list[list[Segment]]:
    """Return the lines of a block, `width` cells wide, without empty lines around
    it."""
    plain = Text(block.source.strip("\n"))
    tokens = _PARSER.parse(block.source)
    if any(token.level > _DEEPEST for token in tokens):
        lines = _lines(plain, width, look)
    else:
        try:
            lines = _lines(_Document.of(tokens, look), width, look)
        except Exception:  # Rich may fail on Markdown that no person would write
            lines = _lines(plain, width, look)
    while lines and not _text(lines[-1]).strip():
        lines.pop()
    while lines and not _text(lines[0]).strip():
        lines.pop(0)
    return lines


def _lines(
    what: Markdown | Text, width: int, look: MarkdownStyles
) -> list[list[Segment]]:
    options = look.console.options.update(width=max(1, width), height=None)
    lines = look.console.render_lines(what, options, pad=False)
    return [[Segment(visible_line(s.text), s.style) for s in line] for line in lines]


def _text(line: list[Segment]) -> str:
    return "".join(segment.text for segment in line)


class _Code(CodeBlock):
    """A code block with a background, without empty lines around it."""

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
    """A heading that is aligned left."""

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
    def of(cls, tokens: list[Token], look: MarkdownStyles) -> _Document:
        """Return a document of these tokens, in the code theme of `look`. Line breaks
        are kept."""
        for token in tokens:
            for inline in token.children or ():
                if inline.type == "softbreak":
                    inline.type = "hardbreak"
        document = copy(_EMPTY)
        document.parsed = tokens
        document.code_theme = look.code_theme  # type: ignore[assignment]
        return document


# A template to copy: Rich creates a parser for each document, which takes as long as
# drawing a paragraph.
_EMPTY = _Document("", hyperlinks=False)


def look_of(widget: Widget) -> MarkdownStyles:
    """Return the Markdown styles from the component styles of a widget (cached)."""
    return _look(
        tuple(
            widget.get_component_rich_style(f"markdown--{name}", partial=True)
            for name in STYLES
        )
    )


@lru_cache(maxsize=4)
def _look(styles: tuple[Style, ...]) -> MarkdownStyles:
    return MarkdownStyles(dict(zip(STYLES, styles, strict=True)))


MarkdownLine = tuple[Iterable[Segment], str]
"""The segments of a row, and the text between it and the row before it: a newline, or
the spaces at which a line was wrapped."""


class MarkdownRow(NamedTuple):
    """A row as it is drawn, as wide as the widget."""

    strip: Strip
    joint: str


class StreamingMarkdown(DirectLines):
    """Markdown that can grow. Links are shown with their address and never opened."""

    LEFT: ClassVar[int] = 0
    RIGHT: ClassVar[int] = 0
    """Cells left and right of the text. They are drawn with it: Textual's border and
    padding would cost as much time as the text."""

    DEFAULT_CSS = """
    StreamingMarkdown {
        width: 1fr;
        height: auto;
        color: $foreground;
    }
    """

    def __init__(self, text: str = "", *, classes: str = "") -> None:
        super().__init__(classes=classes)
        self._text = ""
        self._blocks: list[MarkdownBlock] = []
        self._rows: list[MarkdownRow] = []
        self._starts: list[int] = []
        """Index of the first row of each block that has rows."""
        self._width = 0
        self._room = 0
        self._behind: tuple[Style, list[Segment]] | None = None
        self._grows = False
        self._parted = False
        """Whether the last block is the last line of the paragraph in the block before
        it."""
        self.update(text)

    @property
    def text(self) -> str:
        """The text, as it was given."""
        return self._text

    def update(self, text: str) -> None:
        """Show this text, which is complete."""
        self.replace(text, grows=False)

    @property
    def grows(self) -> bool:
        """Whether more text is expected."""
        return self._grows

    def replace(self, text: str, *, grows: bool) -> None:
        """Show this text, to which more may be added if it `grows`. Unchanged blocks at
        the beginning are not drawn again."""
        self._text, self._grows, self._parted = text, grows, False
        before, self._blocks = self._blocks, self.blocks()
        pairs = zip(before, self._blocks, strict=False)
        self._show(sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs)))

    @property
    def styled_by(self) -> Widget:
        """The widget whose component styles are used."""
        raise NotImplementedError

    def blocks(self) -> list[MarkdownBlock]:
        """Return the blocks of the text; the last one grows with it."""
        return blocks_of(tame_heaps(visible(self._text)))

    def grow(self, piece: str) -> None:
        """Append to the text. Only the last block is parsed and drawn again."""
        self._text, self._grows = self._text + piece, True
        if not is_plain(self._blocks[-1].source + piece):
            self._join()
        last = self._blocks.pop()
        stand = len(self._blocks)
        source = tame_heaps(last.source + visible(piece))
        *whole, growing = blocks_of(source, joined=last.joined)
        self._blocks += [*whole, *cut(growing)]
        self._show(stand)
        self._part()

    def _part(self) -> None:
        """Split the last line off a plain paragraph, so that its growth costs a line,
        not the paragraph's length."""
        last, at = self._blocks[-1], len(self._rows) - 1
        drawn = len(self._starts) == len(self._blocks)
        if not drawn or at - self._starts[-1] < _PARTED or not is_plain(last.source):
            return
        end = self._rows[at].strip.text[self.LEFT :].rstrip()
        source = last.source.rstrip()
        if not is_plain(end) or not source.endswith(f" {end}"):
            return
        stands = source.removesuffix(end)
        grows = MarkdownBlock(last.source[len(stands) :], last.kind, joined=True)
        self._blocks.pop()
        if self._parted:
            last = self._blocks.pop()
            stands = last.source + stands
            self._starts.pop()
        self._blocks += [replace(last, source=stands), grows]
        self._starts.append(at)
        self._parted = True

    def _join(self) -> None:
        """Undo `_part`: merge the split paragraph into one block again."""
        if not self._parted:
            return
        grows, stands = self._blocks.pop(), self._blocks.pop()
        self._blocks.append(replace(stands, source=stands.source + grows.source))
        self._parted = False

    def _show(self, stand: int) -> None:
        """Draw the blocks from index `stand` on, and request a layout where the height
        changes."""
        row = self._starts[stand] if stand < len(self._starts) else 0
        before = self._rows[row:]
        self._forget(stand)
        self._lay_out(self._width)
        if self._wanted_room() != self._room:
            self.refresh(layout=True)
            self.call_after_refresh(self._require_room)
            return
        pairs = list(zip_longest(before, self._rows[row:]))
        other = [row + at for at, (old, new) in enumerate(pairs) if old != new]
        if other:
            top, bottom = other[0], other[-1] + 1
            self.refresh(Region(0, top, self._width, bottom - top))

    def _require_room(self) -> None:
        """Request a layout again where the last one did not give the wanted height.
        Textual caches a widget's height, and ignores a request made while a layout is
        pending."""
        if self.is_attached and self._wanted_room() != self._room:
            self.refresh(layout=True)

    def _wanted_room(self) -> int:
        """Return the number of lines to request. Growing text requests some in advance,
        because a layout of the screen costs much more than drawing a line."""
        rows = max(1, len(self._rows))
        return -(-rows // _AHEAD) * _AHEAD if self._grows else rows

    def _forget(self, stand: int = 0) -> None:
        """Drop the rows of the blocks from index `stand` on."""
        if stand < len(self._starts):
            del self._rows[self._starts[stand] :]
            del self._starts[stand:]

    def _lay_out(self, width: int) -> None:
        """Draw the blocks that have no rows at this width."""
        if width != self._width:
            self._width = width
            self._join()
            self._forget()
        drawn = len(self._starts) == len(self._blocks)
        if drawn or not width or not self.is_attached:  # detached: no styles yet
            return
        base, left = self._ground()
        room = max(0, width - self.LEFT - self.RIGHT)
        for block in self._blocks[len(self._starts) :]:
            self._starts.append(len(self._rows))
            lines = self.lines_of(block, room)
            if lines and self._rows and not block.joined:
                lines.insert(0, ([], "\n"))
            self._rows += [
                MarkdownRow(
                    filled([*left, *Segment.apply_style(line, base)], width, base),
                    joint,
                )
                for line, joint in lines
            ]

    def _ground(self) -> tuple[Style, list[Segment]]:
        """Return the background style and the segments to the left of the text
        (cached)."""
        if self._behind is None:
            self._behind = self.rich_style, self.left_of_text()
        return self._behind

    def block_at(self, y: int) -> MarkdownBlock:
        """Return the block at line `y`."""
        return self._blocks[max(0, bisect_right(self._starts, y) - 1)]

    def left_of_text(self) -> list[Segment]:
        """Return the segments before each line, `LEFT` cells wide."""
        return []

    def lines_of(self, block: MarkdownBlock, width: int) -> list[MarkdownLine]:
        """Return the lines of a block, wrapped to `width` cells."""
        lines = draw(block, width, look_of(self.styled_by))
        return [(line, "\n") for line in lines]

    # Overrides of Textual's methods.

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        self._lay_out(width)
        self._room = self._wanted_room()
        return self._room

    def notify_style_update(self) -> None:
        """Drop all rows: theme or background has changed."""
        super().notify_style_update()
        self._behind = None
        self._forget()
        if self._width and self.is_attached:
            self.refresh(layout=True)

    def render_lines(self, crop: Region) -> list[Strip]:
        return rendered(self, crop, self._line)

    def render_line(self, y: int) -> Strip:
        """Return a line with the text offset of each cell. Only mouse events need
        those."""
        return self._line(y).apply_offsets(-self.LEFT, y)

    def _line(self, y: int) -> Strip:
        """Return a line with the selection drawn in."""
        self._lay_out(self._width)
        if y >= len(self._rows):
            base, left = self._ground()
            return filled(left, self._width, base)
        strip = self._rows[y].strip
        selection = self.text_selection
        if selection is not None and (span := selection.get_span(y)) is not None:
            return self._select(strip, *self._cells(strip, *span))
        return strip

    def _select(self, strip: Strip, start: int, end: int) -> Strip:
        style = self.screen.get_component_rich_style("screen--selection")
        chosen = Segment.apply_style(strip.crop(start, end), post_style=style)
        return Strip.join([strip.crop(0, start), Strip(chosen), strip.crop(end)])

    def _cells(self, strip: Strip, start: int, end: int) -> tuple[int, int]:
        """Return the first and last cell of a selection's span; -1 as `end` is the
        line's end."""
        text = strip.text[self.LEFT :]
        upto = text if end == -1 else text[: max(0, end)]
        return self.LEFT + cell_len(text[: max(0, start)]), self.LEFT + cell_len(upto)

    def get_selection(self, selection: Selection) -> tuple[str, str] | None:
        """Return the selected text as it reads on the screen, with emoji in their
        original form."""
        parts: list[str] = []
        for y, (strip, joint) in enumerate(self._rows):
            if (span := selection.get_span(y)) is not None:
                parts += joint, strip.crop(*self._cells(strip, *span)).text.rstrip()
        return signs_undone("".join(parts[1:]), self._text), "\n"

    def selection_updated(self, selection: Selection | None) -> None:
        self.refresh()


class MarkdownView(StreamingMarkdown):
    """Markdown in its own component styles."""

    COMPONENT_CLASSES: ClassVar[set[str]] = CLASSES
    DEFAULT_CSS = f"MarkdownView {{ {SHEET} }}"

    @property
    def styled_by(self) -> Widget:
        return self
