"""Rows of F1: wherever a row stands, its key reaches its action, and what the action
does is seen."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from textual.app import App
from textual.dom import DOMNode
from textual.screen import Screen
from textual.widget import Widget

from lmtui import state
from lmtui.config.load import load
from lmtui.config.settings_file import SettingsFile
from lmtui.editing import text_file
from lmtui.engine.document.suggestion import SuggestionRules
from lmtui.engine.document.types import Correction, ProofreadPart
from lmtui.learn.course import read_course
from lmtui.learn.instruments.catalogue import INSTRUMENTS
from lmtui.learn.lesson import Lesson
from lmtui.notation import LN2
from lmtui.train.events import Event
from lmtui.tui.editor.options import Writing
from lmtui.tui.finetune import screen as finetune_screen
from lmtui.tui.finetune.run import Finetuning, TrainingRun
from lmtui.tui.help import _is_shown, sections
from lmtui.tui.inspect_source import InspectSource
from lmtui.tui.keys import Bound
from lmtui.tui.preferences import Preferences
from tests.fake_training import FakeTraining, before_it, ended, steps
from tests.fake_writing import FakeWriter
from tests.tui import hosts
from tests.tui.programs import Program, program

ANSWER = "<think>\nso so\n</think>\n\n```py\n1\n```\n" + "\none two three\n" * 30
TEXT = "the cat sat on the mat and the dog sat on the log\n" * 6
PARTS = (
    ProofreadPart(9, (Correction(0, 3, "a", "misspelt", 18.2 * LN2, True),)),
    ProofreadPart(28, (Correction(4, 7, "dog", "misspelt", 14 * LN2, True),)),
)


@dataclass(frozen=True)
class Scene:
    """A place in the program: the first screen, and the ways from there, keys and the
    words that stand there afterwards."""

    first: str
    ways: tuple[tuple[str, str], ...] = ()
    size: tuple[int, int] = (120, 40)
    events: tuple[Event, ...] = ()
    """What a training tells then."""


DONE = (*steps(30), ended())
ANSWERED = ("h i enter", "one two three")
WARM = ("slash t e m p space 1 enter", "")
SCENES = {
    "StartScreen": Scene("start", (("", "ready"),)),
    "ModelsScreen": Scene("start", (("", "ready"), ("m", "second"))),
    "SettingsScreen": Scene("start", (("", "ready"), ("s", "temperature"))),
    "ChatScreen": Scene("chat", (ANSWERED,)),
    "MessageView": Scene("chat", (ANSWERED, ("alt+up", ""))),
    "TokenText": Scene("inspect", (("down down right right", "rank"),)),
    "TreeScreen": Scene("chat", (ANSWERED, ("f8", "Every branch"))),
    "HistoryScreen": Scene("chat", (ANSWERED, ("ctrl+o", "2 messages"))),
    "EditorScreen": Scene("complete", (("", "the cat"),)),
    "FindBar": Scene("complete", (("ctrl+f s a t", "12"),)),
    "LinePrompt": Scene("complete", (("alt+o", "Open"),)),
    "SurprisesScreen": Scene("complete", (("ctrl+l", "bits"),)),
    "CorrectionsScreen": Scene("complete", (("alt+k", "2 corrections"),)),
    "InspectScreen": Scene("inspect", (("right right", "rank"),)),
    "LensScreen": Scene("inspect", (("right", "Σ to"), ("L", "move · c")), (60, 24)),
    "OverviewScreen": Scene("inspect", (("o", "perplexity"),)),
    "AlternativesScreen": Scene(
        "inspect", (("right", "rank"), ("enter", "could stand"))
    ),
    "WhyScreen": Scene("inspect", (("right right", "rank"), ("w", "Why"))),
    "CodeScreen": Scene("chat", (ANSWERED, ("slash c o d e enter", "Esc"))),
    "VersionsView": Scene(
        "chat", (WARM, ("slash n space 2 space h i enter", "Enter")), (50, 12)
    ),
    "PageScreen": Scene("chat", (ANSWERED, ("slash s t a t s enter", "Esc"))),
    "BranchesScreen": Scene("inspect", (("right", "rank"), ("a", "a"), ("b", "Esc"))),
    "TokenFinder": Scene(
        "inspect", (("right", "rank"), ("f4", "top-k"), ("f", "Find a token"))
    ),
    "Picker": Scene(
        "start", (("", "ready"), ("s", "tempe"), ("d i a l e c t enter", "takes it"))
    ),
    "ReplacementsScreen": Scene("complete", (("", "the cat"), ("f7", "Esc"))),
    "RewriteScreen": Scene("complete", (("alt+r x enter", "Enter"),)),
    "FinetuneScreen": Scene("finetune", (("", "Enter"),)),
    "a training": Scene(
        "finetune", (("", "Enter"), ("enter", "")), events=tuple(steps(9))
    ),
    "its end": Scene("finetune", (("", "Enter"), ("enter", "")), events=DONE),
    "LearnScreen": Scene("learn", (("", "F8"),), (80, 18)),
    "PagesScreen": Scene("learn", (("", "F8"), ("ctrl+g", "page"))),
    "HelpScreen": Scene("start", (("f1", "searches"),)),
}


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, home: Path) -> None:
    monkeypatch.setattr(finetune_screen, "EVERY", 0.01)
    monkeypatch.chdir(tmp_path)


@asynccontextmanager
async def shown(scene: Scene, folder: Path) -> AsyncIterator[Program]:
    """The program at a scene."""
    file = folder / "draft.txt"
    file.write_text(TEXT)
    state.remember([str(file)])
    engine = FakeWriter([ANSWER] * 9, parts=PARTS, name="default")
    rules = SuggestionRules(delay=3600.0, seconds=None, min_prob=None)
    course = read_course(INSTRUMENTS)
    training = FakeTraining()
    toml = folder / "config.toml"
    read = load(environment={}, file=toml)
    settings = SettingsFile(read, environment={}, file=toml)
    finetuning = Finetuning(training, TrainingRun(()), "walks", folder)
    async with program(
        first=scene.first,  # type: ignore[arg-type]
        writing=Writing(text_file.load(file), 0, None, rules),
        source=InspectSource("draft.txt", read=lambda: TEXT),
        open_lesson=lambda: Lesson(course, INSTRUMENTS, start=0),
        finetuning=finetuning if scene.first == "finetune" else None,
        preferences=Preferences(settings_file=settings, first_time=lambda _: True),
        chats_file=folder / "chats.db",
        open_model=lambda name: lambda _: engine,
        size=scene.size,
    ) as running:
        training.feed(*before_it())
        if scene.first != "finetune":
            await running.ready()
        for keys, words in scene.ways:
            await running.press(*keys.split())
            await running.until(lambda words=words: words in running.seen)
            await still(running)
        training.feed(*scene.events)
        await still(running)
        for field in running.app.screen.query("Input, TextArea"):
            field.cursor_blink = False  # type: ignore[attr-defined]
        running.app.action_suspend_process = lambda: running.app.notify("suspended")  # type: ignore[method-assign]
        yield running


async def still(running: Program) -> list[object]:
    """Wait until nothing changes any more, and return what can be seen."""
    before: list[object] = []
    while before != (now := seen_state(running)):
        before = now
        await running.pilot.pause()
        await hosts.rest(0.02)
    return now


def seen_state(running: Program) -> list[object]:
    """What a person can see of the program, and what it has copied."""
    app = running.app
    if app._exit or not app._running:
        return ["left"]
    screens = [id(screen) for screen in app.screen_stack]
    picture = [list(strip) for strip in hosts.drawn(app.screen)]
    return [screens, id(app.focused), picture, running.notices, app.clipboard]


def rows(running: Program) -> list[Bound]:
    """The rows of F1 on the screen that is shown, those of its widgets first."""
    found = [row for section in sections(running.app.screen) for row in section.bound]
    return sorted(found, key=lambda row: issubclass(row.owner, App | Screen))


def places(running: Program, row: Bound) -> list[Widget | None]:
    """Where the focus may be for the row's key: on a widget that it belongs to; for a
    screen's, where it is, or anywhere else."""
    screen = running.app.screen
    shown = [widget for widget in screen.focus_chain if isinstance(widget, Widget)]
    if issubclass(row.owner, App | Screen):
        return [screen.focused, *shown]
    return [
        widget
        for widget in shown
        if any(isinstance(node, row.owner) for node in widget.ancestors_with_self)
    ]


class Reached:
    """Whether a key reaches the action of a row, which is not done then."""

    def __init__(self, app: App[Any]) -> None:
        self.app, self.run, self.found = app, app.run_action, False
        self.row: Bound

    async def run_action(
        self, action: str, default_namespace: DOMNode, *rest: Any
    ) -> bool:
        wanted = action.removeprefix("app.") == self.row.action
        if not wanted or not isinstance(default_namespace, self.row.owner):
            return await self.run(action, default_namespace, *rest)
        target, name, parameters = self.app._parse_action(action, default_namespace)
        self.found = bool(target.check_action(name, parameters))
        return self.found


@pytest.mark.parametrize("name", SCENES)
async def test_each_key_of_f1_reaches_its_action(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with shown(SCENES[name], tmp_path) as running:
        reached = Reached(running.app)
        monkeypatch.setattr(running.app, "run_action", reached.run_action)
        false = []
        for row in rows(running):
            for key in row.keys:
                if not await reaches(running, reached, row, key):
                    false.append(f"{row.owner.__name__} {row.id} {key}")
        monkeypatch.undo()
        assert not false


async def reaches(running: Program, reached: Reached, row: Bound, key: str) -> bool:
    """Whether the key reaches the row's action from a place where one may press it."""
    reached.row, reached.found = row, False
    for place in places(running, row):
        running.app.screen.set_focus(place)
        await running.pilot.press(key)
        if reached.found:
            return True
    return False


HOMES = {
    "SearchField": "SettingsScreen",
    "LmtuiApp": "InspectScreen",
    "LensPane": "LensScreen",
    "InstrumentPane": "LearnScreen",
    "GhostEditor": "EditorScreen",
}
"""The scenes of widgets that have none of their own nor stand in the chat."""
READY = {
    "ask-line.complete": "d r",
    "ask-line.later": "up",
    "complete.undo": "a",
    "editor.take-line": "ctrl+@",
    "editor.text-start": "ctrl+end",
    "find.earlier": "enter x",
    "history.find": "h",
    "lens.up": "down",
    "panel.pick": "down",
    "panel.up": "down",
    "instrument.page-up": "pagedown",
    "instrument.up": "down",
    "sampler.earlier": "down " * 7,
    "sampler.later": "down " * 7,
    "search.page-up": "pagedown",
    "tokens.page-up": "ctrl+end",
    "versions.before": "right",
    "versions.page-up": "pagedown",
    "tokens.previous-surprise": "ctrl+end",
}
"""What is pressed before a key that has nothing to do where its scene begins."""


@pytest.mark.parametrize("name", SCENES)
async def test_what_a_key_of_f1_does_is_seen(name: str, tmp_path: Path) -> None:
    untried = await listed(name, tmp_path)
    unseen = []
    while untried:
        async with shown(SCENES[name], tmp_path) as running:
            screen, used = running.app.screen, False
            while untried and running.app.screen is screen:
                row = untried[0]
                if await acts(running, row):
                    del untried[0]
                elif used:
                    break  # tried again alone
                else:
                    unseen.append(f"{row.owner.__name__} {row.id}")
                    del untried[0]
                used = True
    assert not unseen


async def listed(name: str, folder: Path) -> list[Bound]:
    """The rows that are tried at a scene."""

    def scene(row: Bound) -> str:
        owner = row.owner.__name__
        return owner if owner in SCENES else HOMES.get(owner, "ChatScreen")

    phases = "a training", "its end"  # of a screen that has a scene
    async with shown(SCENES[name], folder) as running:
        return [row for row in rows(running) if scene(row) == name or name in phases]


async def acts(running: Program, row: Bound) -> bool:
    """Whether something changes when the row's key is pressed."""
    for place in places(running, row):
        running.app.screen.set_focus(place)
        await running.press(*READY.get(row.id, "").split())
        before = await still(running)
        await running.press(row.keys[0])
        changed = await still(running) != before
        if changed and not (row.name == "Close" and is_open(running, row)):
            return True
    return False


def is_open(running: Program, row: Bound) -> bool:
    """Whether what the row belongs to is still shown."""
    nodes = running.app.screen.walk_children()
    return any(isinstance(node, row.owner) and _is_shown(node) for node in nodes)
