"""The course: pages in Markdown, a text and a glossary in the program's own folder.

A page is CommonMark: a title, paragraphs and lists with `**strong**`, `*emphasis*` and
`` `code` ``, and one fenced block, its instrument:

    ```bars
    text: The cat sat on the
    - typed: Write one more word.
    ```

`text:` is an option, `- typed:` an exercise. A paragraph that begins with `In a
textbook:` is folded. Pages are trusted: a test reads all of them. Knows no engine.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from markdown_it import MarkdownIt
from markdown_it.token import Token

from lmtui.errors import LmtuiError
from lmtui.learn.instrument import Instrument, Options

FOLDER = Path(__file__).resolve().parent.parent / "course"
TITLE = "How a language model works"
TEXT_NAME = "Northanger Abbey"
TEXTBOOK = "In a textbook:"

_PAGE = re.compile(r"\d\d-.+\.md")
_LINE = re.compile(r"^(- )?([a-z-]+): (.+)$", re.MULTILINE)
_TERM = re.compile(r"^\*\*(.+)\*\*: (.+)$", re.MULTILINE)
_KEY = re.compile(r"\{([a-z-]+)\}")
_MARKDOWN = MarkdownIt("commonmark", {"html": False})

SpanStyle = Literal["", "strong", "emphasis", "code", "key"]
_STYLES: Mapping[str, SpanStyle] = {"strong_open": "strong", "em_open": "emphasis"}


@dataclass(frozen=True, slots=True)
class Span:
    """Part of a sentence. Of a `key`, the text is the id of the action."""

    text: str
    style: SpanStyle = ""

    def plain(self, keys: Mapping[str, str]) -> str:
        """Return it as a text that needs no style: what is to be typed stands in
        quotes; `keys` is what to press for each action."""
        if self.style == "key":
            return keys[self.text]
        return f"“{self.text}”" if self.style == "code" else self.text


Sentence = tuple[Span, ...]


def sentence_text(sentence: Sentence, keys: Mapping[str, str]) -> str:
    return "".join(span.plain(keys) for span in sentence)


@dataclass(frozen=True, slots=True)
class Paragraph:
    """A paragraph of a page, or an item of a list."""

    spans: Sentence
    is_item: bool = False


@dataclass(frozen=True, slots=True)
class Exercise:
    """Something that the learner does on a page, and the instrument sees."""

    id: str
    sentence: Sentence


@dataclass(slots=True)
class Page:
    id: str
    title: str
    instrument: str
    options: Options = field(default_factory=dict)
    before: list[Paragraph] = field(default_factory=list)
    """What stands above the instrument."""
    after: list[Paragraph] = field(default_factory=list)
    """What is said once the exercises are done."""
    exercises: list[Exercise] = field(default_factory=list)
    textbook: Sentence = ()
    """The same in the symbols of a textbook; folded until the learner asks for it."""


@dataclass(frozen=True, slots=True)
class Course:
    pages: tuple[Page, ...]
    text: str
    """The text that is counted and trained on."""
    glossary: tuple[tuple[str, Sentence], ...]
    """Terms and their meanings."""

    def number_of(self, name: str) -> int:
        """Return the number from 0 of a page, given its number from 1 or its id."""
        for number, page in enumerate(self.pages):
            if name in (page.id, str(number + 1)):
                return number
        names = ", ".join(page.id for page in self.pages)
        raise LmtuiError(
            "there is no such page",
            name,
            f"Give a number from 1 to {len(self.pages)}, or one of: {names}.",
        )


Catalogue = Mapping[str, type[Instrument]]
"""The instruments that a page can use, by name."""


def read_course(instruments: Catalogue, folder: Path = FOLDER) -> Course:
    """Read the pages of a folder, in the order of their numbers, its text and its
    glossary."""
    files = sorted(file for file in folder.iterdir() if _PAGE.fullmatch(file.name))
    return Course(
        pages=tuple(_page(file, instruments) for file in files),
        text=_source(folder / "text.txt"),
        glossary=tuple(_terms(_source(folder / "glossary.md"))),
    )


def _source(file: Path) -> str:
    return file.read_text(encoding="utf-8")


def _sentence(markdown: str) -> Sentence:
    """Return inline Markdown as its parts; a line break is a space."""
    spans: list[Span] = []
    style: SpanStyle = ""
    (inline,) = _MARKDOWN.parseInline(markdown.replace("\n", " "))
    for token in inline.children or ():
        if token.type == "code_inline":
            spans.append(Span(token.content, "code"))
        elif token.type == "text":
            spans += _text(token.content, style)
        else:
            style = _STYLES.get(token.type, "")
    return tuple(spans)


def _text(text: str, style: SpanStyle) -> Iterator[Span]:
    for number, part in enumerate(_KEY.split(text)):
        if part:
            yield Span(part, "key" if number % 2 else style)


def _terms(source: str) -> Iterator[tuple[str, Sentence]]:
    """Yield the terms of a glossary: lines like `**term**: meaning`."""
    for match in _TERM.finditer(source):
        yield match[1], _sentence(match[2])


def _page(file: Path, instruments: Catalogue) -> Page:
    tokens = _MARKDOWN.parse(_source(file))
    (fence,) = (token for token in tokens if token.type == "fence")
    title = sentence_text(_sentence(tokens[1].content), {})
    page = Page(file.stem.partition("-")[2], title, fence.info)
    _fill(page, fence, instruments[fence.info])
    blocks = page.before
    for token in tokens[3:]:
        if token is fence:
            blocks = page.after
        elif token.type == "inline":
            spans = _sentence(token.content)
            if spans[0].text.startswith(TEXTBOOK):
                page.textbook = spans
            else:
                blocks.append(Paragraph(spans, is_item=token.level > 1))
    return page


def _fill(page: Page, fence: Token, kind: type[Instrument]) -> None:
    """Read the lines of an instrument: its options and the exercises."""
    given = {}
    for is_exercise, name, text in _LINE.findall(fence.content):
        if is_exercise:
            page.exercises.append(Exercise(name, _sentence(text.strip())))
        else:
            given[name] = type(kind.OPTIONS[name])(text.strip())
    page.options = {**kind.OPTIONS, **given}
