"""The screen of a course: the text of a page beside its live instrument.

Knows no torch and no instrument by name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container, Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.screen import Screen
from textual.widgets import Static

from lmtui.errors import LmtuiError
from lmtui.learn.course import TEXTBOOK, TITLE, Exercise, Page, Sentence, sentence_text
from lmtui.learn.course import Paragraph as PageParagraph
from lmtui.learn.figure import Words
from lmtui.learn.instrument import SLIDE, Instrument
from lmtui.learn.lesson import Lesson
from lmtui.text import visible_line
from lmtui.tui.controller import Activity
from lmtui.tui.engine.client import MakeClient
from lmtui.tui.keys import key_display
from lmtui.tui.learn.figure_view import FigureView
from lmtui.tui.learn.measure import MeasureController
from lmtui.tui.model_state import ModelState
from lmtui.tui.picker import Picker, PickerRows
from lmtui.tui.widgets.cells import fit_best
from lmtui.tui.widgets.line_prompt import TextField
from lmtui.tui.widgets.paragraphs import Paragraph, Paragraphs
from lmtui.tui.widgets.status import Status
from lmtui.tui.widgets.styled_lines import Part

LOADING = "The model is loading; the instrument begins once it is there."
DONE, OPEN = "☑", "☐"
_STYLES = {"strong": "strong", "emphasis": "accent", "code": "strong", "key": "accent"}


class LearnField(TextField):
    """The field of an instrument. Enter holds for what is written when it is
    pressed."""

    async def action_submit(self) -> None:
        await self.run_action("screen.enter")


class InstrumentPane(Vertical, can_focus=True):
    """The instrument of a page: an input field, a message and a figure."""

    HELP_TITLE = "Instrument"
    HELP = """\
The actions of the instrument, and their keys, stand on the line above the status.
"""
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "screen.slide(1)", "Slider up", id="instrument.up", show=False,
                tooltip="Move the slider up; without one, scroll the figure."),
        Binding("down", "screen.slide(-1)", "Slider down", id="instrument.down",
                show=False,
                tooltip="Move the slider down; without one, scroll the figure."),
        Binding("ctrl+up", "screen.scroll_figure(-1)", "Figure up",
                id="instrument.figure-up", show=False,
                tooltip="Scroll the figure up."),
        Binding("ctrl+down", "screen.scroll_figure(1)", "Figure down",
                id="instrument.figure-down", show=False,
                tooltip="Scroll the figure down."),
        Binding("pageup", "screen.scroll(-1)", "Scroll up", id="instrument.page-up",
                show=False, tooltip="Scroll the text of the page up."),
        Binding("pagedown", "screen.scroll(1)", "Scroll down",
                id="instrument.page-down", show=False,
                tooltip="Scroll the text of the page down."),
    ]  # fmt: skip

    def compose(self) -> ComposeResult:
        with Horizontal(id="entry"):
            yield Static(id="label", markup=False)
            yield LearnField(id="field")
        yield Paragraphs(id="message")
        with VerticalScroll(id="figures", can_focus=False):
            yield FigureView(id="figure")


class LearnScreen(Screen[None]):
    """A page of a course; its exercises are ticked once the instrument has seen them
    done."""

    HELP = """\
Each page has a few sentences and a live instrument on the model. What is to be done
stands under the text and is ticked when it is done; a page may also be left before.
On a small screen the next exercise stands there, and all of them below the text. Your
progress is saved.
"""
    CSS_PATH = "screen.tcss"
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (100, "-wide")]  # noqa: RUF012 (as the base's)
    VERTICAL_BREAKPOINTS = [(0, "-low"), (30, "-high")]  # noqa: RUF012 (as above)
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("f8", "turn(1)", "Next page", id="learn.next",
                tooltip="To the next page."),
        # With priority: a TextArea takes F7.
        Binding("f7", "turn(-1)", "Previous page", id="learn.back",
                tooltip="To the previous page.", priority=True),
        Binding("ctrl+g", "pages", "All pages", id="learn.pages",
                tooltip="All pages of the course, and what is done of each.",
                priority=True),
        # With priority: a TextArea takes F6.
        Binding("f6", "fold", "Fold the text", id="learn.fold", priority=True,
                tooltip="Hide the text of the page, or show it: more room for the "
                "figure."),
        Binding("ctrl+t", "textbook", "In a textbook", id="learn.textbook",
                tooltip="The page in the symbols of a textbook; folded at first."),
        Binding("f2", "act(0)", "First action", id="learn.action-1", show=False,
                tooltip="The first action of the instrument, named on the last line."),
        Binding("f3", "act(1)", "Second action", id="learn.action-2", show=False,
                tooltip="Its second action."),
        Binding("f4", "act(2)", "Third action", id="learn.action-3", show=False,
                tooltip="Its third action."),
        Binding("enter", "enter", "Take", id="learn.enter", show=False,
                tooltip="Give what is written to the instrument."),
        Binding("ctrl+c", "interrupt", "Copy or stop", id="learn.interrupt",
                tooltip="Copy the selection, or stop what the model does.",
                priority=True, show=False),
        Binding("escape", "leave", "Leave", id="learn.leave",
                tooltip="Stop what the model does; else leave the course."),
    ]  # fmt: skip

    def __init__(self, make_client: MakeClient, lesson: Lesson) -> None:
        super().__init__()
        self.lesson = lesson
        """The open page, and what is done."""
        self.status = Status(id="status")
        self.activity = Activity(self.status)
        self.measure = MeasureController(
            partial(make_client, self.call_later)(),
            changed=self.show_result,
            failed=self.show_error,
        )
        """What the model computes for the instrument."""
        self.activity.controllers = (self.measure,)
        self._model = ""
        self._is_unfolded = False  # the words of the textbook
        self._model_words = ""  # why nothing is measured: there is no model
        self._written: dict[Instrument, str] = {}
        """The field of each page, as far as its instrument was given it."""

    def compose(self) -> ComposeResult:
        yield Static(id="head", markup=False)
        with Container(id="main"):
            with Vertical(id="left"):
                with VerticalScroll(id="page", can_focus=False):
                    yield Paragraphs(id="text")
                yield Paragraphs(id="exercises")
            yield InstrumentPane(id="work")
        yield Static(id="actions", markup=False)
        yield self.status

    def on_mount(self) -> None:
        self.open_page()
        self.watch(self.field, "value", self.follow_field, init=False)
        self.watch(self.app, "model", self.follow_model)

    def on_screen_resume(self) -> None:
        self.measure.resume()

    def on_unmount(self) -> None:
        self.measure.leave()

    def follow_model(self, state: ModelState) -> None:
        """Begin the instrument once the model is there, and anew with another one."""
        state = state.usable_with("edits")
        self.status.show_info(state.info)
        self.activity.follow_model(state)
        label = state.info.label if state.info else ""
        is_other = bool(self._model and label and label != self._model)
        self._model = label or self._model
        self._model_words = ""
        if state.error is not None:
            self._model_words = (
                f"{state.error}. {state.error.hint} F5 lists the models."
            )
        elif state.info is None:
            self._model_words = LOADING
        if is_other:
            self.measure.forget()
            self.lesson.forget()
            self.open_page()
        self.measure.set_ready(state.info is not None)

    @property
    def help_terms(self) -> str:
        return "\n".join(
            f"{term}: {sentence_text(meaning, {})}"
            for term, meaning in self.lesson.course.glossary
        )

    # The page.

    @property
    def field(self) -> TextField:
        return self.query_one("#field", TextField)

    def open_page(self) -> None:
        instrument = self.lesson.instrument
        begins = self.measure.open(instrument)
        self._fill_field(instrument.entered if begins else self._written[instrument])
        self.query_one("#entry").set_class(not instrument.ASKS, "-none")
        self.query_one("#label", Static).update(Content(instrument.ASKS))
        self._is_unfolded = False
        pane = self.query_one(InstrumentPane)
        self.set_focus(self.field if instrument.ASKS else pane)
        for part in ("#page", "#figures"):
            self.query_one(part).scroll_home(animate=False)
        self._draw_page()
        self.measure.resume()

    def _fill_field(self, text: str) -> None:
        self._written[self.lesson.instrument] = text
        self.field.value = text
        self.field.cursor_position = len(text)

    def _draw_page(self) -> None:
        lesson, page = self.lesson, self.lesson.page
        number, count = lesson.number + 1, len(lesson.course.pages)
        ticks = "".join(
            DONE if lesson.is_complete(other) else OPEN for other in lesson.course.pages
        )
        forms = [
            (f"{number} of {count}", page.title, TITLE, ticks),
            (f"{number} of {count}", page.title, ticks),
            (f"{number} of {count}", page.title),
        ]
        room = max(20, self.size.width - 2)
        self.query_one("#head", Static).update(Content(fit_best(forms, room)[0]))
        self.query_one("#text", Paragraphs).show(self._page_text(page))
        self.query_one("#exercises", Paragraphs).show(self._exercise_lines(page))
        self.query_one("#actions", Static).update(Content(self._action_words()))

    def on_resize(self) -> None:
        self._draw_page()

    def _page_text(self, page: Page) -> Iterator[Paragraph]:
        """Yield the text; on a small screen with the exercises that have no room of
        their own there: all but the next one."""
        keys = self._keys()
        yield from _paragraphs(page.before, keys)
        if not self.has_class("-wide"):
            others = [t for t in page.exercises if t not in self._still_open(page)[:1]]
            yield from [Paragraph()][: len(others)]
            yield from (self._exercise_line(other, keys) for other in others)
        if self.lesson.is_complete(page) and page.after:
            yield Paragraph()
            yield from _paragraphs(page.after, keys)
        if self._is_unfolded and page.textbook:
            yield Paragraph()
            yield Paragraph(tuple(_parts(page.textbook, keys)))

    def _exercise_lines(self, page: Page) -> Iterator[Paragraph]:
        keys, exercises = self._keys(), page.exercises
        still_open = self._still_open(page)
        if self.has_class("-wide"):
            yield from (self._exercise_line(exercise, keys) for exercise in exercises)
        elif still_open:
            line = self._exercise_line(still_open[0], keys)
            number = f" {exercises.index(still_open[0]) + 1}/{len(exercises)}"
            yield Paragraph((*line.parts, (number, "quiet")), line.indent)
        else:
            done = f"{DONE} This page is done. {keys['next']} goes on."
            yield Paragraph(((done, "accent"),))
        if page.textbook and not self._is_unfolded and len(still_open) < len(exercises):
            folded = f"▸ {TEXTBOOK.rstrip(':')}: {self._key('learn.textbook')}"
            yield Paragraph(((folded, "quiet"),))

    def _still_open(self, page: Page) -> Sequence[Exercise]:
        return [e for e in page.exercises if not self.lesson.is_done(e.id)]

    def _exercise_line(self, exercise: Exercise, keys: Mapping[str, str]) -> Paragraph:
        parts, sign = _parts(exercise.sentence, keys), OPEN
        if self.lesson.is_done(exercise.id):
            parts, sign = ((text, "quiet") for text, _ in parts), DONE
        return Paragraph(((f"{sign} ", "accent"), *parts), 2)

    def _keys(self) -> Mapping[str, str]:
        actions = self.lesson.instrument.ACTIONS
        named = {action: f"learn.action-{n}" for n, action in enumerate(actions, 1)}
        named |= {name: f"learn.{name}" for name in ("enter", "next", "back")}
        keys = {name: self._key(id_) for name, id_ in named.items()}
        keys["help"] = self._key("app.help")
        up, down = self._key("instrument.up"), self._key("instrument.down")
        return {**keys, SLIDE: f"{up} or {down}"}

    def _key(self, binding: str) -> str:
        for known in (*self.BINDINGS, *InstrumentPane.BINDINGS, *self.app.BINDINGS):
            if isinstance(known, Binding) and known.id == binding:
                keys = self.app.own_keys.get(binding, known.key)  # type: ignore[attr-defined]
                return key_display(keys.split(",")[0])
        raise KeyError(binding)

    def _action_words(self) -> str:
        keys, kind = self._keys(), self.lesson.instrument
        said = [f"{keys[action]} {words}" for action, words in kind.ACTIONS.items()]
        if kind.SLIDES:
            said.insert(0, f"{keys[SLIDE].replace(' or', '')} {kind.SLIDES}")
        if kind.ASKS:
            said.insert(0, f"{keys['enter']} takes it")
        fold, page, help = (
            f"{self._key('learn.fold')} fold",
            f"{keys['back']} {keys['next']} pages",
            f"{keys['help']} help",
        )
        if not self.has_class("-wide"):
            fold = f"{self._key('instrument.page-down')} all exercises · {fold}"
        forms = ((*said, fold, page, help), (*said, fold, page), (*said, page))
        room = max(20, self.size.width - 2)
        return fit_best([*forms, said or (page,)], room)[0]

    # The instrument.

    def show_result(self) -> None:
        instrument, view = self.lesson.instrument, self.query_one(FigureView)
        figure, doing = instrument.figure, self.measure.status_text
        if not figure and doing:
            figure = (Words(f"{doing} …", "quiet"),)
        view.show(figure)
        self._mark_outdated()
        self._say(self._model_words or instrument.message)
        if view.marked is not None:
            figures = self.query_one("#figures")
            figures.scroll_to(y=view.marked - figures.size.height // 2, animate=False)
        if self.lesson.note():
            self._draw_page()
            if self.lesson.is_complete(self.lesson.page):
                self.query_one("#page").scroll_end(animate=False)
                self.activity.notice(f"page done · {self._keys()['next']} goes on")
        self.activity.update()

    def _mark_outdated(self) -> None:
        """Draw the figure dim while the field has another text than it is of."""
        view, measured = self.query_one(FigureView), self.lesson.instrument.measured
        text = self.field.value
        if measured is None or measured in (text, text.strip()):
            view.renew()
        else:
            view.outdate()

    def _say(self, words: str) -> None:
        message = self.query_one("#message", Paragraphs)
        message.show([Paragraph(((visible_line(words), "warning"),))])
        message.set_class(bool(words), "-said")

    def show_error(self, error: LmtuiError) -> None:
        parts = (error.title, error.detail, error.hint)
        self._say(" · ".join(part for part in parts if part))
        self.activity.update()

    def follow_field(self, text: str) -> None:
        """Give the instrument what is written; called before the next key."""
        instrument = self.lesson.instrument
        if text == self._written[instrument]:
            return
        self._written[instrument] = text
        self.activity.clear_notice()
        self.measure.add(partial(instrument.follow, text), "text")
        self._mark_outdated()

    def action_enter(self) -> None:
        instrument, text = self.lesson.instrument, self.field.value
        if instrument.EMPTIES:
            self._fill_field("")
        if instrument.ASKS:
            self.measure.add(partial(instrument.submit, text), "enter")

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        actions = range(len(self.lesson.instrument.ACTIONS))
        return action != "act" or parameters[0] in actions

    def action_act(self, number: int) -> None:
        instrument = self.lesson.instrument
        act = partial(instrument.act, [*instrument.ACTIONS][number])
        self.measure.add(act, "key")

    def action_slide(self, by: int) -> None:
        instrument = self.lesson.instrument
        if instrument.SLIDES:
            self.measure.add(partial(instrument.slide, by), "key")
        else:
            self._scroll("#figures", -by)

    def action_scroll(self, by: int) -> None:
        height = self.query_one("#page").size.height
        self._scroll("#page", by * max(1, height - 1))

    def action_scroll_figure(self, by: int) -> None:
        self._scroll("#figures", 3 * by)

    def _scroll(self, part: str, by: int) -> None:
        self.query_one(part).scroll_relative(y=by, animate=False, immediate=True)

    def action_textbook(self) -> None:
        self._is_unfolded = not self._is_unfolded
        self.remove_class("-folded-text")
        self._draw_page()
        page = self.query_one("#page")
        (page.scroll_end if self._is_unfolded else page.scroll_home)(animate=False)

    def action_fold(self) -> None:
        self.toggle_class("-folded-text")

    # Pages, and leaving.

    def action_turn(self, by: int) -> None:
        """Open the page before or after, once the field has taken the letters typed
        before: a key with priority overtakes them."""
        self.field.call_later(self._turn, by)

    def _turn(self, by: int) -> None:
        if self.lesson.move_to(self.lesson.number + by):
            self.activity.clear_notice()
            self.open_page()
        else:
            words = "this is the first page" if by < 0 else "this is the last page"
            self.activity.notice(words)

    def action_pages(self) -> None:
        def go(number: int | None) -> None:
            if number is not None and self.lesson.move_to(number):
                self.open_page()

        self.app.push_screen(PagesScreen(self.lesson), go)

    def action_interrupt(self) -> None:
        if selected := self.get_selected_text() or self.field.selected_text:
            self.app.copy_to_clipboard(selected)
        elif not self.measure.stop():
            self.notify("Ctrl+Q quits.")

    def action_leave(self) -> None:
        if not self.measure.stop():
            self.app.call_later(self.app.run_action, "start")


def _paragraphs(
    shown: Sequence[PageParagraph], keys: Mapping[str, str]
) -> Iterator[Paragraph]:
    for number, paragraph in enumerate(shown):
        if number and not paragraph.is_item:
            yield Paragraph()
        mark = (("• ", ""),) if paragraph.is_item else ()
        indent = 2 if paragraph.is_item else 0
        yield Paragraph((*mark, *_parts(paragraph.spans, keys)), indent)


def _parts(sentence: Sentence, keys: Mapping[str, str]) -> Iterator[Part]:
    for span in sentence:
        yield span.plain(keys), _STYLES.get(span.style, "")


class PagesScreen(Picker[int]):
    """The pages of a course, and what is done of each. Returns the number of the chosen
    one."""

    HELP = """\
A page is ticked once all that it asks for is done. Any page can be opened at any time.
"""

    def __init__(self, lesson: Lesson) -> None:
        pages = lesson.course.pages
        lines = []
        for number, page in enumerate(pages, 1):
            done = sum(lesson.is_done(exercise.id, page) for exercise in page.exercises)
            mark = "☑" if lesson.is_complete(page) else "☐"
            text = f"{mark} {number:>2}  {page.title}"
            lines.append(
                Content.assemble(text, (f"  {done} of {len(page.exercises)}", "$quiet"))
            )
        rows = PickerRows(
            range(len(pages)), lines, foot="Enter opens · Esc closes", at=lesson.number
        )
        super().__init__(TITLE, rows)
