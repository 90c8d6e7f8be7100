"""Writes the pages of a course as web pages: exercise sheets with a model's numbers.

Foreign text can't act there: it is made visible and escaped, no page has a script, and
its policy forbids all addresses. Pure; knows no engine and writes no file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from string import Template

from rich.cells import cell_len

from lmtui import html_page
from lmtui.engine.types import EngineInfo
from lmtui.errors import LmtuiError
from lmtui.html_page import shown
from lmtui.learn.course import TEXTBOOK, Course, Page, Paragraph, Sentence, Span
from lmtui.learn.figure import Figure, Part
from lmtui.learn.figure_lines import figure_lines, figure_text
from lmtui.learn.handout.worksheet import Worksheet
from lmtui.models.remote.address import is_address, parse
from lmtui.models.source import short_label

INDEX = "index.html"
"""Name of the page with the contents and the glossary."""
_WIDTHS = {"wide": 72, "narrow": 40}
"""Cells of a line on paper and on a large screen, and on a phone."""
_TAGS = {"strong": "strong", "emphasis": "em", "code": "code", "key": "kbd"}


def file_name(course: Course, number: int) -> str:
    """Return the name of the file of page `number`, counted from 0."""
    digits = max(2, len(str(len(course.pages))))
    return f"{number + 1:0{digits}}-{course.pages[number].id}.html"


@dataclass(frozen=True, slots=True)
class Handout:
    """A course, and which model and text the numbers of its pages are of."""

    course: Course
    info: EngineInfo
    text_name: str

    def index(self) -> str:
        course = self.course
        links = "\n".join(
            f"<li>{self._link(number)}</li>" for number in range(len(course.pages))
        )
        parts = [
            f"<h1>{shown(course.title)}</h1>",
            self._about(),
            f'<section class="contents">\n<h2>Pages</h2>\n<ol>\n{links}\n</ol>\n'
            "</section>",
            *self._glossary(),
        ]
        return _page(course.title, parts)

    def page(self, sheet: Worksheet) -> str:
        page, keys = sheet.page, sheet.keys
        first, last = _figures(sheet)
        textbook = _sentence(page.textbook, keys).removeprefix(TEXTBOOK).strip()
        number = self.course.pages.index(page)
        parts = [
            f'<p class="course">{shown(self.course.title)} · page {number + 1} of '
            f"{len(self.course.pages)}</p>",
            f"<h1>{shown(page.title)}</h1>",
            _paragraphs(page.before, keys),
            first,
            _exercises(page, keys),
            last,
            _folded(TEXTBOOK.rstrip(":"), textbook and f"<p>{textbook}</p>"),
            _folded("Answer", _paragraphs(page.after, keys)),
            f"<footer>{self._links(number)}\n{self._about()}</footer>",
        ]
        return _page(f"{page.title} · {self.course.title}", parts)

    def _about(self) -> str:
        info = self.info
        model = f"{_model(info)} ({info.precision}, {info.number_format})"
        text = f" · text: {shown(self.text_name)}" if self.text_name else ""
        return f'<p class="about">Numbers of {shown(model)}{text}</p>'

    def _glossary(self) -> Iterator[str]:
        if not self.course.glossary:
            return
        terms = "\n".join(
            f"<dt>{shown(term)}</dt><dd>{_sentence(meaning, {})}</dd>"
            for term, meaning in self.course.glossary
        )
        yield f"<section>\n<h2>Glossary</h2>\n<dl>\n{terms}\n</dl>\n</section>"

    def _links(self, number: int) -> str:
        pages = self.course.pages
        links = [f'<a href="{INDEX}">Contents and glossary</a>']
        if number > 0:
            links.insert(0, f"<span>← {self._link(number - 1, rel='prev')}</span>")
        if number + 1 < len(pages):
            links.append(f"<span>{self._link(number + 1, rel='next')} →</span>")
        return f'<nav aria-label="Pages">{" ".join(links)}</nav>'

    def _link(self, number: int, *, rel: str = "") -> str:
        title = shown(self.course.pages[number].title)
        name = shown(file_name(self.course, number))
        attribute = f' rel="{rel}"' if rel else ""
        return f'<a{attribute} href="{name}">{title}</a>'


def _model(info: EngineInfo) -> str:
    """Return the name of a model: pages are shared, so without its folder, and without
    the address of its server."""
    if not is_address(info.model):
        return short_label(info.label)
    try:
        name = parse(info.model).model
    except LmtuiError:
        name = ""
    return f"{short_label(name) if name else 'a model'} on a server"


def _page(title: str, parts: Sequence[str]) -> str:
    style = html_page.asset("lmtui.analysis.html", "shades.css")
    style += html_page.asset("lmtui.learn.handout", "page.css")
    style += "".join(f".w{n}{{width:{n}ch}}" for n in range(1, _WIDTHS["wide"] + 1))
    return Template(html_page.asset("lmtui.learn.handout", "page.html")).substitute(
        title=shown(title),
        policy=html_page.policy(style=style),
        style=style,
        body="\n".join(parts),
    )


# Figures.


def _figures(sheet: Worksheet) -> tuple[str, str]:
    """Return the figure above the exercises, and the one below with what was done for
    it; one that nothing was done for stands above them."""
    words = []
    if sheet.error is not None:
        words.append(
            '<p class="words warning">This model could not do all of this page: '
            f"{shown(sheet.error.title)}.</p>"
        )
    if sheet.steps:
        words.append(f'<p class="did">Done here: {shown("; ".join(sheet.steps))}.</p>')
    if sheet.message:
        words.append(f'<p class="words">{shown(sheet.message)}</p>')
    first = figure_html(sheet.start, "At the beginning") if sheet.start else ""
    result = sheet.result
    if not sheet.start and not sheet.steps:
        first = figure_html(result, "With this model") if result else ""
        result = ()
    last = figure_html(result, "With this model", "\n".join(words)) if words else ""
    return first, last


def figure_html(figure: Figure, name: str, before: str = "") -> str:
    """Return a figure under its heading, with `before` above it as HTML: its lines in
    two widths, for paper and for a phone, and as text folded below, which also a screen
    reader can read."""
    drawings = "\n".join(
        f'<pre class="drawn {size}" aria-hidden="true">{_drawing(part, width)}</pre>'
        for part in figure
        for size, width in _WIDTHS.items()
    )
    text = shown("\n".join(figure_text(figure)))
    lines = f'<details class="lines"><summary>As text</summary><pre>{text}</pre>'
    return (
        f'<section class="figure">\n<h2>{shown(name)}</h2>\n{before}\n'
        f"{f'{drawings}{lines}</details>' if figure else ''}\n</section>"
    )


def _drawing(part: Part, width: int) -> str:
    lines = figure_lines((part,), width)
    return "\n".join("".join(_styled(*piece) for piece in line) for line in lines)


def _styled(text: str, style: str) -> str:
    """Return a part of a line. It keeps its cells where a sign comes from another font,
    and so does each sign of a curve."""
    inner = shown(text)
    if style == "line":
        inner = "".join(f'<i class="w1">{sign}</i>' for sign in inner)
    name = style.replace("surprise-", "s")
    return f'<span class="{name} w{cell_len(text)}">{inner}</span>'


# Texts.


def _exercises(page: Page, keys: Mapping[str, str]) -> str:
    questions = "\n".join(
        f'<li>{_sentence(question, keys)}<p class="blank">My answer:</p></li>'
        for question in page.questions
    )
    items = "\n".join(
        f'<li><label><input type="checkbox"><span>{_sentence(exercise.sentence, keys)}'
        "</span></label></li>"
        for exercise in page.exercises
    )
    paper = (
        '<section class="questions">\n<h2>On paper</h2>\n'
        f"<ol>\n{questions}\n</ol>\n</section>\n"
    )
    name = "With the program" if questions else "Exercises"
    return (
        f'{paper if questions else ""}<section class="exercises">\n<h2>{name}</h2>\n'
        f'<ul class="exercises">\n{items}\n</ul>\n</section>'
    )


def _folded(name: str, text: str) -> str:
    folded = f'<details class="answer"><summary>{name}</summary>\n{text}\n</details>'
    return folded if text else ""


def _paragraphs(paragraphs: Sequence[Paragraph], keys: Mapping[str, str]) -> str:
    parts = []
    for is_item, group in groupby(paragraphs, key=lambda part: part.is_item):
        tag = "li" if is_item else "p"
        texts = (f"<{tag}>{_sentence(part.spans, keys)}</{tag}>" for part in group)
        parts.append(f"<ul>{''.join(texts)}</ul>" if is_item else "\n".join(texts))
    return "\n".join(parts)


def _sentence(sentence: Sentence, keys: Mapping[str, str]) -> str:
    return "".join(_span(span, keys) for span in sentence)


def _span(span: Span, keys: Mapping[str, str]) -> str:
    text = shown(keys.get(span.text, span.text) if span.style == "key" else span.text)
    tag = _TAGS.get(span.style)
    return f"<{tag}>{text}</{tag}>" if tag else text
