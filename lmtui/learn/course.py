"""A course: a folder with pages in Markdown, a text and a glossary, checked when read.

Of Markdown, a page may use paragraphs, lists, `**strong**`, `*emphasis*` and `` `code`
``; of everything else (links, addresses, HTML, pictures) the line is refused. Each page
has one instrument:

    ::: bars
    text: The cat sat on the
    - typed: Write one more word.
    - paper: Which token is the most probable one?
    :::

`text:` is an option, `- typed:` an exercise, `- paper:` a question of the handout. A
paragraph below it that begins with `In a textbook:` is folded. Knows no engine.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from lmtui.errors import LmtuiError
from lmtui.files import read_file
from lmtui.learn.instrument import SLIDE, Instrument, Option, Options

_LARGEST = 200_000  # bytes of a page, so that no file stops the program
_LARGEST_TEXT = 20_000_000
_PAGE = re.compile(r"(\d+)-([a-z0-9]+(?:-[a-z0-9]+)*)\.md")
_BLOCK = re.compile(r":::\s*([a-z-]+)")
_EXERCISE = re.compile(r"- ([a-z-]+):\s+(\S.*)")
_OPTION = re.compile(r"([a-z-]+):(?:\s+(.*))?")
_NAMED_KEY = re.compile(r"\{([a-z-]+)\}")
_INLINE = re.compile(r"\*\*(.+?)\*\*|\*(.+?)\*|`(.+?)`|\{([a-z-]+)\}")
TEXTBOOK = "In a textbook:"
_PAPER = "paper"
_KEYS = ("enter", "next", "back", "pages", "help")
"""Keys of every page that its text can name."""
_REFUSED = {
    re.compile(r"https?:|\bwww\.|://|mailto:", re.IGNORECASE): "an address",
    re.compile(r"\]\("): "a link or a picture",
    # But not x_<t, the tokens before x_t.
    re.compile(r"(?<!x_)<[a-zA-Z/!?]|<\w+>"): "HTML",
    re.compile(r"^(#|>|\||```|~~~|={3,}|-{3,})"): "a heading, a quote, a table or code",
    re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]"): (
        "a control character"
    ),
}

SpanStyle = Literal["", "strong", "emphasis", "code", "key"]


@dataclass(frozen=True, slots=True)
class Span:
    """Part of a sentence. Of a `key`, the text is the id of the action."""

    text: str
    style: SpanStyle = ""


Sentence = tuple[Span, ...]


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


@dataclass(frozen=True, slots=True)
class Page:
    id: str
    title: str
    before: tuple[Paragraph, ...]
    """What stands above the instrument."""
    instrument: str
    options: Options
    exercises: tuple[Exercise, ...]
    after: tuple[Paragraph, ...]
    """What is said once the exercises are done."""
    textbook: Sentence = ()
    """The same in the symbols of a textbook; folded until the learner asks for it."""
    questions: tuple[Sentence, ...] = ()
    """What a handout asks, to be answered on paper."""


@dataclass(frozen=True, slots=True)
class Course:
    """A course that was read and checked."""

    id: str
    """Names it where the learner's progress is saved."""
    title: str
    pages: tuple[Page, ...]
    text: str
    """The text that is counted and trained on."""
    text_name: str
    glossary: tuple[tuple[str, Sentence], ...]
    """Terms and their meanings."""

    def number_of(self, name: str) -> int:
        """Return the number from 0 of a page, given its number from 1 or its id.

        Raises:
            LmtuiError: there is no such page.
        """
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
    """Return the folder of the course that the program brings."""
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
    about = _About.read(folder)
    found = sorted(
        (int(match[1]), match[2], name)
        for name in _listed(folder)
        if (match := _PAGE.fullmatch(name))
    )
    if not found:
        hint = "Name its pages like 01-name.md."
        raise LmtuiError("the course has no pages", str(folder), hint)
    pages = []
    for number, (order, id_, name) in enumerate(found):
        if any(order == other or id_ == page for other, page, _ in found[:number]):
            raise _wrong(name, 1, "another page has this number or name")
        pages.append(_PageReader(name, _inside(folder, name), instruments).page(id_))
    return Course(
        id="first" if folder == first_course() else str(folder.resolve()),
        title=about.title,
        pages=tuple(pages),
        text=_inside(folder, about.text, most=_LARGEST_TEXT) if about.text else "",
        text_name=about.text_name,
        glossary=tuple(_glossary(folder)),
    )


def _listed(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError as error:
        raise LmtuiError("the course can't be read", f"{folder}: {error}") from error


def _inside(folder: Path, name: str, *, most: int = _LARGEST) -> str:
    """Return the text of a file of the course.

    Raises:
        LmtuiError: it is not in the folder itself, too large, or can't be read.
    """
    file = folder / name
    here = folder.resolve()
    if Path(name).name != name or file.resolve().parent != here or not file.is_file():
        raise LmtuiError(
            "a course reads only files in its own folder",
            str(file),
            "Copy the file there, and give its name alone.",
        )
    if file.stat().st_size > most:
        raise LmtuiError(
            "this file of the course is too large",
            str(file),
            f"At most {most:,} bytes.",
        )
    return read_file(str(file)).text


def _wrong(name: str, line: int, what: str, hint: str = "") -> LmtuiError:
    return LmtuiError("the course can't be used", f"{name}, line {line}: {what}", hint)


@dataclass(frozen=True, slots=True)
class _About:
    """What `course.toml` says."""

    title: str
    text: str
    text_name: str

    @classmethod
    def read(cls, folder: Path) -> _About:
        name = "course.toml"
        source = _inside(folder, name)
        try:
            given = tomllib.loads(source)
        except tomllib.TOMLDecodeError as error:
            at = re.search(r"line (\d+)", str(error))
            line = int(at[1]) if at else source.count("\n") + 1
            raise _wrong(name, line, f"{error}") from error
        known = {"title": "", "text": "", "text-name": ""}
        for key, value in given.items():
            line = _line_of(source, key)
            if key not in known:
                names = ", ".join(known)
                raise _wrong(name, line, f"{key} is unknown", f"Known are: {names}.")
            if not isinstance(value, str):
                raise _wrong(name, line, f"{key} is no text", "Write it in quotes.")
            for pattern, what in _REFUSED.items():
                if pattern.search(value):
                    raise _wrong(name, line, f"{what} is not allowed here")
        values: dict[str, str] = {**known, **given}
        if not values["title"].strip():
            raise _wrong(name, 1, "the title is missing", 'Write title = "…".')
        return cls(values["title"], values["text"], values["text-name"])


def _line_of(source: str, key: str) -> int:
    lines = enumerate(source.splitlines(), 1)
    return next((n for n, line in lines if line.lstrip().startswith(key)), 1)


def _glossary(folder: Path) -> Iterator[tuple[str, Sentence]]:
    """Yield the terms of `glossary.md`: lines like `**term**: meaning`."""
    name = "glossary.md"
    if not (folder / name).exists():
        return
    for line, text in enumerate(_inside(folder, name).split("\n"), 1):
        if not text.strip():
            continue
        match = re.fullmatch(r"\*\*([^*]+)\*\*:\s+(\S.*)", text)
        if match is None:
            raise _wrong(name, line, "this is no term", "Write **term**: meaning.")
        yield match[1], _sentence(name, line, match[2], keys=())


def _sentence(name: str, line: int, text: str, *, keys: Sequence[str]) -> Sentence:
    """Return a text as its parts.

    Raises:
        LmtuiError: it has something in it that a page may not use.
    """
    _require_plain(name, line, text, keys=keys)
    spans: list[Span] = []
    end = 0
    for match in _INLINE.finditer(text):
        if before := text[end : match.start()]:
            spans.append(Span(before))
        strong, emphasis, code, key = match.groups()
        styles: tuple[tuple[str | None, SpanStyle], ...] = (
            (strong, "strong"), (emphasis, "emphasis"), (code, "code"), (key, "key"),
        )  # fmt: skip
        spans += (Span(part, style) for part, style in styles if part is not None)
        end = match.end()
    if rest := text[end:]:
        spans.append(Span(rest))
    return tuple(spans)


def _require_plain(name: str, line: int, text: str, *, keys: Sequence[str]) -> None:
    """Refuse a line with something that a page may not use."""
    for pattern, what in _REFUSED.items():
        if pattern.search(text):
            hint = "A page has paragraphs, lists, **strong**, *emphasis* and `code`."
            raise _wrong(name, line, f"{what} is not allowed here", hint)
    for match in _NAMED_KEY.finditer(text):
        if match[1] not in keys:
            known = ", ".join(f"{{{each}}}" for each in keys)
            what = f"{match[0]} is no key"
            raise _wrong(name, line, what, f"Known are: {known or 'none'}.")


class _PageReader:
    """The lines of a page, read once from top to bottom."""

    def __init__(self, name: str, source: str, instruments: Catalogue) -> None:
        self._name = name
        self._lines = source.replace("\r\n", "\n").split("\n")
        self._instruments = instruments
        self._keys: tuple[str, ...] = _KEYS

    def page(self, id_: str) -> Page:
        """Return the page.

        Raises:
            LmtuiError: a line can't be used.
        """
        first = self._lines[0] if self._lines else ""
        if not re.fullmatch(r"# \S.*", first):
            raise self._error(1, "the title is missing", "Begin with # and the title.")
        title = "".join(span.text for span in self._spans(1, first[2:]))
        start, end, kind = self._block()
        self._keys = (*_KEYS, *(action.id for action in kind.ACTIONS))
        if kind.SLIDES:
            self._keys = (*self._keys, SLIDE.id)
        options, exercises, questions = self._inner(start + 1, end, kind)
        below = tuple(self._paragraphs(end + 1, len(self._lines) + 1))
        folded = [each for each in below if each.spans[0].text.startswith(TEXTBOOK)]
        if not exercises:
            known = ", ".join(kind.EXERCISES)
            raise self._error(
                start,
                "there is no exercise",
                f"Write - EXERCISE: sentence; known are: {known}.",
            )
        return Page(
            id=id_,
            title=title,
            before=tuple(self._paragraphs(2, start)),
            instrument=kind.NAME,
            options=options,
            exercises=tuple(exercises),
            after=tuple(each for each in below if each not in folded),
            textbook=folded[0].spans if folded else (),
            questions=tuple(questions),
        )

    def _error(self, line: int, what: str, hint: str = "") -> LmtuiError:
        return _wrong(self._name, line, what, hint)

    def _spans(self, line: int, text: str) -> Sentence:
        return _sentence(self._name, line, text, keys=self._keys)

    def _block(self) -> tuple[int, int, type[Instrument]]:
        """Return the first and the last line of the instrument, and its class."""
        fences = [n for n, line in enumerate(self._lines, 1) if line.startswith(":::")]
        hint = "Write ::: NAME, its options and exercises, and ::: below."
        if not fences:
            raise self._error(1, "the page has no instrument", hint)
        match = _BLOCK.fullmatch(self._lines[fences[0] - 1].rstrip())
        if match is None:
            raise self._error(fences[0], "the instrument has no name", hint)
        kind = self._instruments.get(match[1])
        if kind is None:
            known = ", ".join(self._instruments)
            raise self._error(
                fences[0], f"there is no instrument {match[1]}", f"Known are: {known}."
            )
        if len(fences) == 1:
            raise self._error(fences[0], "the instrument is not closed", hint)
        if len(fences) > 2:
            what = "a page has one instrument only"
            raise self._error(fences[2], what, "Make two pages of it.")
        if self._lines[fences[1] - 1].strip() != ":::":
            raise self._error(fences[1], "the instrument is not closed", hint)
        return fences[0], fences[1], kind

    def _inner(
        self, start: int, end: int, kind: type[Instrument]
    ) -> tuple[dict[str, Any], list[Exercise], list[Sentence]]:
        """Return the options, exercises and questions that stand in the lines from
        `start` to `end`."""
        options = {name: option.default for name, option in kind.OPTIONS.items()}
        given: set[str] = set()
        exercises: list[Exercise] = []
        questions: list[Sentence] = []
        for line in range(start, end):
            text = self._lines[line - 1].strip()
            if not text:
                continue
            match = _EXERCISE.fullmatch(text)
            if match and match[1] == _PAPER:
                questions.append(self._spans(line, match[2]))
            elif match:
                exercises.append(
                    self._exercise(line, match[1], match[2], exercises, kind)
                )
            elif match := _OPTION.fullmatch(text):
                if match[1] in given:
                    raise self._error(line, f"{match[1]} is given twice")
                given.add(match[1])
                options[match[1]] = self._value(line, match[1], match[2] or "", kind)
            else:
                what = "this is neither an option nor an exercise"
                raise self._error(
                    line, what, "Write NAME: value, or - EXERCISE: sentence."
                )
        return options, exercises, questions

    def _exercise(
        self,
        line: int,
        name: str,
        sentence: str,
        before: Sequence[Exercise],
        kind: type[Instrument],
    ) -> Exercise:
        if name not in kind.EXERCISES:
            known = "; ".join(
                f"{exercise}: {what}" for exercise, what in kind.EXERCISES.items()
            )
            raise self._error(
                line, f"{kind.NAME} knows no exercise {name}", f"Known are: {known}"
            )
        if any(exercise.id == name for exercise in before):
            raise self._error(line, f"the exercise {name} is there twice")
        return Exercise(name, self._spans(line, sentence))

    def _value(self, line: int, name: str, text: str, kind: type[Instrument]) -> Any:
        option = kind.OPTIONS.get(name)
        if option is None:
            known = ", ".join(kind.OPTIONS) or "none"
            raise self._error(
                line, f"{kind.NAME} has no option {name}", f"Known are: {known}."
            )
        self._spans(line, text)  # no address and no HTML in values either
        try:
            value = option.kind(text)
        except ValueError:
            raise self._error(line, f"{text!r} is no number") from None
        if option.fault is not None and (fault := option.fault(value)):
            raise self._error(line, f"{name}: {fault}", option.meaning)
        if isinstance(value, str):
            return value
        return self._ranged(line, value, option)

    def _ranged(self, line: int, value: int | float, option: Option) -> int | float:
        low = -float("inf") if option.low is None else option.low
        high = float("inf") if option.high is None else option.high
        if low <= value <= high:
            return value
        raise self._error(
            line, f"{value:g} is out of range", f"Give {low:g} to {high:g}."
        )

    def _paragraphs(self, start: int, end: int) -> Iterator[Paragraph]:
        joined: list[str] = []
        first, is_item = start, False

        def finished() -> Iterator[Paragraph]:
            if joined:
                yield Paragraph(self._spans(first, " ".join(joined)), is_item)

        for line in range(start, end):
            text = self._lines[line - 1].strip()
            if not text or text.startswith("- "):
                yield from finished()
                joined, first, is_item = [], line, text.startswith("- ")
            if text:
                part = text if joined else text.removeprefix("- ")
                _require_plain(self._name, line, part, keys=self._keys)
                first = first if joined else line
                joined.append(part)
        yield from finished()
