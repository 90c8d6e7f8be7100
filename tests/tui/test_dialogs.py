"""Questions: every way out by letter and by list, and none taken by accident."""

from __future__ import annotations

import asyncio
import random

import pytest
from textual import events
from textual.widgets import Input

from lmtui.tui import dialogs
from lmtui.tui.dialogs import Choice, ConfirmDialog
from tests.tui.hosts import HOSTILE, Host, safe, until

CHOICES = (
    Choice("o", "Overwrite", "put your text in its place"),
    Choice("r", "Reload", "take the file's text"),
    Choice("c", "Cancel", "go on writing"),
)
TIMES = ("as opened    2026-03-01 12:00:00", "on disk now  2026-03-01 12:00:05")


class Asker(Host):
    """Asks, and keeps the answer."""

    def __init__(self, *details: str) -> None:
        super().__init__(Input())
        self._details = details
        self.answers: list[str | None] = []

    def on_mount(self) -> None:
        self.ask(*self._details)

    def ask(self, *details: str) -> None:
        title = "The file has changed"
        question = ConfirmDialog(title, details, CHOICES, harmless="c")
        self.push_screen(question, self.answers.append)


async def test_letters_typed_as_a_dialog_opens_go_to_the_text(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(dialogs, "PAUSE", 3600.0)
    app = Asker(*TIMES)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("o", "r", "c")
        assert app.answers == []
        await pilot.press("escape")
        assert app.answers == ["c"]
        field = app.widget
        assert isinstance(field, Input) and field.value == "orc"


async def test_letter_marks_its_choice_until_another_follows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    app = Asker(*TIMES)
    async with app.run_test(size=(80, 24)) as pilot:
        monkeypatch.setattr(dialogs, "PAUSE", 3600.0)
        choices = app.screen.query_one(dialogs.ActionList)
        field = app.widget
        assert isinstance(field, Input)
        await pilot.press("up", "o")
        assert choices.highlighted == 0 and field.value == ""
        await pilot.press("l")
        assert choices.highlighted == 1 and field.value == "ol"
        await pilot.press("d")
        assert app.answers == [] and field.value == "old"
        await pilot.press("up", "down", "o", "enter")
        assert app.answers == ["o"] and field.value == "old"


async def test_what_is_on_its_way_as_a_dialog_closes_keeps_its_place() -> None:
    app = Asker(*TIMES)
    async with app.run_test(size=(80, 24)):
        field, dialog = app.widget, app.screen
        assert isinstance(field, Input) and isinstance(dialog, ConfirmDialog)
        gate = asyncio.Event()
        dialog.query_one(dialogs.ActionList).call_later(gate.wait)
        app.post_message(events.Paste("pasted"))
        app.call_later(dialog.call_later, dialog.action_answer, "c")
        for _ in range(50):  # all others go on as far as they can
            await asyncio.sleep(0)
        app.post_message(events.Key("a", "a"))
        for _ in range(50):
            await asyncio.sleep(0)
        gate.set()
        while not app.answers or len(field.value) < len("pasteda"):
            await asyncio.sleep(0.001)
        assert field.value == "pasteda"


@pytest.mark.parametrize("seed", range(6))
async def test_nothing_typed_around_a_dialog_is_lost(
    monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    pause = 0.02
    monkeypatch.setattr(dialogs, "PAUSE", pause)
    draw = random.Random(seed)
    app = Asker(*TIMES)
    async with app.run_test(size=(80, 24)) as pilot:
        field = app.widget
        assert isinstance(field, Input)
        typed = before = ""
        followed = set[int]()  # the letters that have another right after them
        for _ in range(40):
            slept = draw.random() < 0.4
            if slept:
                await asyncio.sleep(draw.choice((0.0, 0.5, 1.0, 1.5, 3.0)) * pause)
            key = draw.choice([*"aorcOx ", "paste", "up", "down", "enter", "escape"])
            if key in ("enter", "escape") and draw.random() < 0.8:
                continue
            words = "pasted" if key == "paste" else key if len(key) == 1 else ""
            if words and before and not slept:
                followed.add(len(typed) - 1)
            typed, before = typed + words, words
            app.post_message(
                events.Paste(words)
                if key == "paste"
                else events.Key(key, words or None)
            )
        app.post_message(events.Key("escape", None))
        while not app.answers or isinstance(app.screen, ConfirmDialog):
            await pilot.pause(0.001)
        await pilot.pause()
        [answer] = app.answers
        without = {
            typed[:place] + typed[place + 1 :]
            for place, letter in enumerate(typed)
            if letter == answer and place not in followed
        }
        assert field.value == typed or (answer != "c" and field.value in without)


@pytest.mark.parametrize(
    ("keys", "answer"),
    [
        ("o", "o"),
        ("r", "r"),
        ("escape", "c"),
        ("enter", "c"),
        ("up enter", "r"),
        ("up up enter", "o"),
        ("x S tab r", "r"),
        ("c up r", "r"),
    ],
)
async def test_confirm_dialog_is_answered_by_letter_or_list(
    keys: str, answer: str
) -> None:
    app = Asker(*TIMES)
    async with app.run_test(size=(80, 24)) as pilot:
        *before, last = keys.split()
        while not app.screen.accepts_keys:
            await pilot.pause(0.001)
        await pilot.press(*before)
        assert app.answers == []
        await pilot.press(last)
        while not app.answers:
            await pilot.pause(0.001)
        assert app.answers == [answer]
        field = app.widget
        assert isinstance(field, Input)
        assert field.value == "".join(key for key in before if len(key) == 1)


@pytest.mark.parametrize("size", [(80, 24), (40, 14)])
async def test_confirm_dialog_shows_its_details_and_every_choice(
    size: tuple[int, int],
) -> None:
    app = Asker("/home/a/note.md", *TIMES)
    async with app.run_test(size=size):
        labels = [choice.label for choice in CHOICES]
        for words in ("The file has changed", "/home/a/note.md", *TIMES, *labels):
            assert words in app.text()


async def test_confirm_dialog_wraps_choices_where_there_is_room() -> None:
    app = Asker(*TIMES)
    async with app.run_test(size=(36, 24)):
        assert "…" not in app.text()


async def test_confirm_dialog_draws_hostile_names_safely() -> None:
    app = Asker(*TIMES)
    async with app.run_test(size=(40, 16)) as pilot:
        for name, words in HOSTILE.items():
            await pilot.press("escape")
            app.ask(words)
            await until(pilot, lambda: "Reload" in app.text())
            assert safe(app.text()), name
        assert app.answers == ["c"] * len(HOSTILE)
