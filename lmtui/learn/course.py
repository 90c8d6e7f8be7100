"""A course: a folder with pages in Markdown, a text and a glossary, checked when read.

A page is CommonMark: a title, paragraphs and lists with `**strong**`, `*emphasis*` and
`` `code` ``, and one fenced block, its instrument:

    ```bars
    text: The cat sat on the
    - typed: Write one more word.
    ```

`text:` is an option, `- typed:` an exercise. A paragraph that begins with `In a
textbook:` is folded. Control characters are made visible, but in options. Knows no
engine.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from markdown_it import MarkdownIt
from markdown_it.token import Token

from lmtui.errors import LmtuiError
from lmtui.files import read_file
from lmtui.learn.instrument import SLIDE, Instrument, Options
from lmtui.text import visible_line

_PAGE = re.compile(r"(\d+)-([a-z0-9]+(?:-[a-z0-9]+)*)\.md")
_EXERCISE = re.compile(r"- ([a-z-]+):\s+(\S.*)")
_OPTION = re.compile(r"([a-z-]+):(?:\s+(.*))?")
_KEY = re.compile(r"\{([a-z-]+)\}")
TEXTBOOK = "In a textbook:"
_KEYS = ("enter", "next", "back", "pages", "help")
"""Keys of every page that its text can name."""
_FENCE = "Write ```NAME, its options and exercises, and ``` below."
_MARKDOWN = MarkdownIt("commonmark", {"html": False})
_LAYOUT = ("paragraph_open", "bullet_list_open", "list_item_open")

SpanStyle = Literal["", "strong", "emphasis", "code", "key"]
_STYLES: Mapping[str, SpanStyle] = {"strong_open": "strong", "em_open": "emphasis"}


@dataclass(frozen=True, slots=True)
class Span:
    """Part of a sentence. Of a `key`, the text is the id of the action."""

    text: str
    style: SpanStyle = ""

    def plain(self, keys: Mapping[str, str]) -> str:
        """Return it as a text that needs no style: what is to be typed stands in
        quotes; `keys` is what to press or to write for each action."""
        if self.style == "key":
            return keys.get(self.text, self.text)
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
    id: str
    """Names it where the learner's progress is saved."""
    title: str
    pages: tuple[Page, ...]
    text: str = ""
    """The text that is counted and trained on."""
    text_name: str = ""
    glossary: tuple[tuple[str, Sentence], ...] = ()
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


def first_course() -> Path:
    return Path(__file__).resolve().parent.parent / "courses" / "first"


def read_course(folder: Path, instruments: Catalogue) -> Course:
    """Read a course and check all of it. Files outside its folder are not read, and
    nothing in it is run.

    Raises:
        LmtuiError: something in it can't be used; the detail has file and line.
    """
    if not folder.is_dir():
        hint = "Give the folder of a course: pages like 01-name.md, and course.toml."
        raise LmtuiError("there is no such course", str(folder), hint)
    values = _about(_File(folder, "course.toml"))
    names = [m for file in folder.iterdir() if (m := _PAGE.fullmatch(file.name))]
    pages: dict[str, Page] = {}
    for name in sorted(names, key=lambda match: (int(match[1]), match[2])):
        file = _File(folder, name[0])
        if name[2] in pages:
            raise file.wrong("another page has this name")
        pages[name[2]] = _page(file, name[2], instruments)
    if not pages:
        hint = "Name its pages like 01-name.md."
        raise LmtuiError("the course has no pages", str(folder), hint)
    has_glossary = (folder / "glossary.md").exists()
    return Course(
        id="first" if folder == first_course() else str(folder.resolve()),
        title=visible_line(values["title"]),
        pages=tuple(pages.values()),
        text=_File(folder, values["text"]).source if values["text"] else "",
        text_name=visible_line(values["text-name"]),
        glossary=tuple(_terms(_File(folder, "glossary.md"))) if has_glossary else (),
    )


class _File:
    """A file of a course: its text, and what errors name."""

    def __init__(self, folder: Path, name: str) -> None:
        file = folder / name
        if Path(name).name != name or file.resolve().parent != folder.resolve():
            raise LmtuiError(
                "a course reads only files in its own folder",
                str(file),
                "Copy the file there, and give its name alone.",
            )
        self.name = name
        self.source = read_file(str(file)).text
        self.line = 1
        """The line that is read, from 1."""
        self.keys: Sequence[str] = ()
        """Keys that its text can name."""

    def wrong(self, what: str, hint: str = "") -> LmtuiError:
        detail = f"{self.name}, line {self.line}: {what}"
        return LmtuiError("the course can't be used", detail, hint)

    def refused(self, token: Token) -> LmtuiError:
        kind = token.type.removesuffix("_open").replace("_", " ")
        hint = "A page has paragraphs, lists, **strong**, *emphasis* and `code`."
        return self.wrong(f"not possible on a page: {kind}", hint)

    def unknown(self, what: str, known: Iterable[str]) -> LmtuiError:
        return self.wrong(what, f"Known are: {', '.join(known) or 'none'}.")

    def sentence(self, markdown: str) -> Sentence:
        """Return inline Markdown as its parts; a line break is a space."""
        spans: list[Span] = []
        styles: list[SpanStyle] = [""]
        (inline,) = _MARKDOWN.parseInline(markdown.replace("\n", " "))
        for token in inline.children or ():
            if token.type == "code_inline":
                spans.append(Span(visible_line(token.content), "code"))
            elif token.type in _STYLES:
                styles.append(_STYLES[token.type])
            elif token.type in ("strong_close", "em_close"):
                styles.pop()
            elif token.type == "text":
                spans += self._text(token.content, styles[-1])
            else:
                raise self.refused(token)
        return tuple(spans)

    def _text(self, text: str, style: SpanStyle) -> Iterator[Span]:
        for number, part in enumerate(_KEY.split(text)):
            if number % 2 == 0 and part:
                yield Span(visible_line(part), style)
            elif number % 2:
                if part not in self.keys:
                    keys = (f"{{{key}}}" for key in self.keys)
                    raise self.unknown(f"{{{part}}} is no key", keys)
                yield Span(part, "key")


def _about(file: _File) -> Mapping[str, str]:
    known = {"title": "", "text": "", "text-name": ""}
    try:
        given = tomllib.loads(file.source)
    except tomllib.TOMLDecodeError as error:
        detail = f"{file.name}: {error}"
        raise LmtuiError("the course can't be used", detail) from error
    lines = file.source.split("\n")
    for key, value in given.items():
        file.line = 1 + next((n for n, text in enumerate(lines) if key in text), 0)
        if key not in known:
            raise file.unknown(f"{key} is unknown", known)
        if not isinstance(value, str):
            raise file.wrong(f"{key} is no text", "Write it in quotes.")
    if not given.get("title", "").strip():
        raise file.wrong("the title is missing", 'Write title = "…".')
    return {**known, **given}


def _terms(file: _File) -> Iterator[tuple[str, Sentence]]:
    """Yield the terms of a glossary: lines like `**term**: meaning`."""
    for file.line, text in enumerate(file.source.split("\n"), 1):  # noqa: B020
        match = re.fullmatch(r"\*\*([^*]+)\*\*:\s+(\S.*)", text)
        if match:
            yield visible_line(match[1]), file.sentence(match[2])
        elif text.strip():
            raise file.wrong("this is no term", "Write **term**: meaning.")


def _page(file: _File, id_: str, instruments: Catalogue) -> Page:
    tokens = _MARKDOWN.parse(file.source)
    fence, kind = _instrument(file, tokens, instruments)
    file.keys = (*_KEYS, *(action.id for action in kind.ACTIONS))
    file.keys += (SLIDE.id,) if kind.SLIDES else ()
    if tokens[0].tag != "h1" or not tokens[1].content:
        file.line = 1
        raise file.wrong("the title is missing", "Begin with # and the title.")
    title = sentence_text(file.sentence(tokens[1].content), {})
    page = Page(id_, title, kind.NAME)
    blocks = page.before
    for token in tokens[3:]:
        file.line = token.map[0] + 1 if token.map else 1
        if token is fence:
            _fill(file, page, fence, kind)
            blocks = page.after
        elif token.type == "inline":
            spans = file.sentence(token.content)
            if blocks is page.after and spans[0].text.startswith(TEXTBOOK):
                page.textbook = spans
            else:
                blocks.append(Paragraph(spans, is_item=token.level > 1))
        elif token.nesting >= 0 and token.type not in _LAYOUT:
            raise file.refused(token)
    return page


def _instrument(
    file: _File, tokens: Sequence[Token], instruments: Catalogue
) -> tuple[Token, type[Instrument]]:
    fences = [token for token in tokens if token.type == "fence"]
    if not fences:
        lines = file.source.split("\n")
        file.line = next((n for n, s in enumerate(lines, 1) if s[:3] == ":::"), 1)
        hint = _FENCE if file.line == 1 else f"{_FENCE} ::: is no fence any more."
        raise file.wrong("the page has no instrument", hint)
    *_, fence = fences[:2]
    file.line = fence.map[0] + 1 if fence.map else 1
    if len(fences) > 1:
        raise file.wrong("a page has one instrument only", "Make two pages of it.")
    name = fence.info.strip()
    if not name:
        raise file.wrong("the instrument has no name", _FENCE)
    if name not in instruments:
        raise file.unknown(f"there is no instrument {name}", instruments)
    return fence, instruments[name]


def _fill(file: _File, page: Page, fence: Token, kind: type[Instrument]) -> None:
    options = {name: option.default for name, option in kind.OPTIONS.items()}
    start = file.line
    for file.line, line in enumerate(fence.content.split("\n"), start + 1):
        text = line.strip()
        if match := _EXERCISE.fullmatch(text):
            sentence = file.sentence(match[2])
            if match[1] not in kind.EXERCISES:
                known = (f"{name}: {what}" for name, what in kind.EXERCISES.items())
                raise file.unknown(f"{kind.NAME} knows no exercise {match[1]}", known)
            if any(exercise.id == match[1] for exercise in page.exercises):
                raise file.wrong(f"the exercise {match[1]} is there twice")
            page.exercises.append(Exercise(match[1], sentence))
        elif match := _OPTION.fullmatch(text):
            if match[1] not in kind.OPTIONS:
                what = f"{kind.NAME} has no option {match[1]}"
                raise file.unknown(what, kind.OPTIONS)
            option = kind.OPTIONS[match[1]]
            try:
                options[match[1]] = option.read(match[2] or "")
            except ValueError as error:
                raise file.wrong(str(error), option.meaning) from None
        elif text:
            hint = f"Write NAME: value, or - EXERCISE: sentence. {_FENCE}"
            raise file.wrong("this is neither an option nor an exercise", hint)
    page.options = options
    if not page.exercises:
        file.line = start
        known = (f"- {name}: SENTENCE" for name in kind.EXERCISES)
        raise file.unknown("there is no exercise", known)
