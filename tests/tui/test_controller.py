"""What the status line says, of all that could be said."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lmtui.errors import LmtuiError
from lmtui.models.source import ModelRef
from lmtui.tui.controller import Activity, Controller
from lmtui.tui.model_state import ModelState
from lmtui.tui.widgets.status import Status
from tests.fakes import FakeEngine

BROKEN = LmtuiError("the model can't be loaded")


class Worker(Controller):
    """A controller whose work is set from outside."""

    def __init__(self) -> None:
        self.work = ""

    @property
    def status_text(self) -> str:
        return self.work


def ready() -> ModelState:
    return ModelState(ModelRef(), info=FakeEngine().info)


def activity_of(*controllers: Controller) -> tuple[Activity, Status]:
    status = Status()
    activity = Activity(status)
    activity.controllers = controllers
    return activity, status


def test_first_controller_at_work_is_told_and_then_that_the_model_is_ready() -> None:
    first, second = Worker(), Worker()
    activity, status = activity_of(first, second)
    activity.follow_model(ready())
    assert status.state == "ready"
    second.work = "scoring"
    activity.update()
    assert status.state == "scoring"
    first.work = "answering"
    activity.update()
    assert status.state == "answering"
    first.work = second.work = ""
    activity.update()
    assert status.state == "ready"


def test_state_of_a_model_that_is_not_ready_precedes_all_work() -> None:
    worker = Worker()
    worker.work = "answering"
    activity, status = activity_of(worker)
    activity.follow_model(ModelState(ModelRef(), stage="fetching", share=0.5))
    assert status.state == "fetching"
    activity.follow_model(ModelState(ModelRef(), error=BROKEN))
    assert status.state == "no model"
    activity.follow_model(ready())
    assert status.state == "answering"


def test_words_to_the_user_stay_until_the_model_changes() -> None:
    worker = Worker()
    activity, status = activity_of(worker)
    activity.follow_model(ready())
    activity.notice("saved notes.txt")
    worker.work = "scoring"
    activity.update()
    assert status.state == "saved notes.txt"
    activity.follow_model(ready())
    assert status.state == "scoring"


@given(st.lists(st.tuples(st.integers(0, 3), st.booleans()), max_size=12))
def test_words_are_withdrawn_once_what_they_are_about_has_changed(
    steps: list[tuple[int, bool]],
) -> None:
    place = 0
    status = Status()
    activity = Activity(status, context=lambda: place)
    activity.follow_model(ready())
    activity.notice("here")
    said_at = 0
    for place, still_holds in steps:
        gone = status.state == "ready"
        activity.clear_outdated_notice(still_holds=still_holds)
        if still_holds:
            said_at = place
        holds = not gone and place == said_at
        assert status.state == ("here" if holds else "ready")


def test_reading_that_takes_long_is_told_with_its_seconds() -> None:
    worker, status, now = Worker(), Status(), 0.0
    activity = Activity(status, clock=lambda: now)
    activity.controllers = (worker,)
    activity.follow_model(ready())
    for at, work, told in (
        (0.0, "reading the prompt 0/308", "reading the prompt 0/308"),
        (4.0, "reading the prompt 0/308", "reading the prompt 0/308"),
        (61.4, "reading the prompt 0/308", "reading the prompt 0/308 · 61 s"),
        (62.0, "reading the prompt 256/308", "reading the prompt 256/308"),
        (70.0, "reading the prompt 256/308", "reading the prompt 256/308 · 8 s"),
        (71.0, "answering; Esc stops", "answering; Esc stops"),
        (99.0, "answering; Esc stops", "answering; Esc stops"),
        (99.0, "", "ready"),
    ):
        now, worker.work = at, work
        activity.update()
        assert status.state == told
