"""Writes the pages of a course as web pages: exercise sheets with a model's numbers.

Foreign text can't act there: it is made visible and escaped, no page has a script, and
its policy forbids all addresses. Pure; knows no engine and writes no file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from string import Template

from lmtui import html_page
from lmtui.engine.types import EngineInfo
from lmtui.errors import LmtuiError
from lmtui.html_page import shown
from lmtui.learn.course import TEXTBOOK, Course, Page, Paragraph, Sentence, Span
from lmtui.learn.figure import Words
from lmtui.learn.handout.figure_html import figure_html
from lmtui.learn.handout.worksheet import Worksheet
from lmtui.models.remote.address import is_address, parse
from lmtui.models.source import short_label

INDEX = "index.html"
"""Name of the page with the contents and the glossary."""
REST = Words("The rest is as at the beginning.", "quiet")
"""Stands for the parts of a figure that did not change."""
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
        """Return the page with the contents and the glossary."""
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
        number = self.course.pages.index(page)
        parts = [
            f'<p class="course">{shown(self.course.title)} · page {number + 1} of '
            f"{len(self.course.pages)}</p>",
            f"<h1>{shown(page.title)}</h1>",
            *_paragraphs(page.before, keys),
            *_first_figure(sheet),
            _exercises(page, keys),
            *_last_figure(sheet),
            *_textbook(page, keys),
            *_answer(page, keys),
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
        """Return the links to the page before, the contents, and the next page."""
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
    return Template(html_page.asset("lmtui.learn.handout", "page.html")).substitute(
        title=shown(title),
        policy=html_page.policy(style=style),
        style=style,
        body="\n".join(parts),
    )


def _first_figure(sheet: Worksheet) -> Iterator[str]:
    """Yield the figure above the exercises: the first one, or the only one."""
    if sheet.start:
        yield figure_html(sheet.start, "At the beginning")
    elif sheet.result and not sheet.steps:
        yield figure_html(sheet.result, "With this model")


def _last_figure(sheet: Worksheet) -> Iterator[str]:
    """Yield the figure below the exercises, with what was done for it."""
    words = []
    if sheet.error is not None:
        words.append(
            '<p class="words warning">This model could not do all of this page: '
            f"{shown(sheet.error.title)}.</p>\n"
        )
    if sheet.steps:
        did = "; ".join(sheet.steps)
        words.append(f'<p class="did">Done here: {shown(did)}.</p>\n')
    if sheet.message:
        words.append(f'<p class="words">{shown(sheet.message)}</p>\n')
    if words:
        result = (*sheet.result, REST) if sheet.repeats else sheet.result
        if not sheet.steps and not sheet.start:  # it stands above the exercises
            result = ()
        yield figure_html(result, "With this model", "".join(words))


def _questions(page: Page, keys: Mapping[str, str]) -> str:
    """Return what is answered on paper, each with a line to write on."""
    items = "\n".join(
        f'<li>{_sentence(question, keys)}<p class="blank">My answer:</p></li>'
        for question in page.questions
    )
    return (
        '<section class="questions">\n<h2>On paper</h2>\n'
        f"<ol>\n{items}\n</ol>\n</section>\n"
        if items
        else ""
    )


def _exercises(page: Page, keys: Mapping[str, str]) -> str:
    items = "\n".join(
        f'<li><label><input type="checkbox"><span>{_sentence(exercise.sentence, keys)}'
        "</span></label></li>"
        for exercise in page.exercises
    )
    name = "With the program" if page.questions else "Exercises"
    return (
        f'{_questions(page, keys)}<section class="exercises">\n<h2>{name}</h2>\n'
        f'<ul class="exercises">\n{items}\n</ul>\n</section>'
    )


def _textbook(page: Page, keys: Mapping[str, str]) -> Iterator[str]:
    if page.textbook:
        text = _sentence(page.textbook, keys).removeprefix(TEXTBOOK).strip()
        yield (
            f'<details class="answer"><summary>{TEXTBOOK.rstrip(":")}</summary>\n'
            f"<p>{text}</p>\n</details>"
        )


def _answer(page: Page, keys: Mapping[str, str]) -> Iterator[str]:
    if page.after:
        text = "\n".join(_paragraphs(page.after, keys))
        yield (f'<details class="answer"><summary>Answer</summary>\n{text}\n</details>')


def _paragraphs(
    paragraphs: Sequence[Paragraph], keys: Mapping[str, str]
) -> Iterator[str]:
    """Yield paragraphs, and the items between them as lists."""
    items: list[str] = []
    for paragraph in paragraphs:
        text = _sentence(paragraph.spans, keys)
        if paragraph.is_item:
            items.append(f"<li>{text}</li>")
            continue
        yield from _list(items)
        items = []
        yield f"<p>{text}</p>"
    yield from _list(items)


def _list(items: Sequence[str]) -> Iterator[str]:
    if items:
        yield f"<ul>{''.join(items)}</ul>"


def _sentence(sentence: Sentence, keys: Mapping[str, str]) -> str:
    return "".join(_span(span, keys) for span in sentence)


def _span(span: Span, keys: Mapping[str, str]) -> str:
    text = keys.get(span.text, span.text) if span.style == "key" else span.text
    if not span.style:
        return shown(text)
    tag = _TAGS[span.style]
    return f"<{tag}>{shown(text)}</{tag}>"
