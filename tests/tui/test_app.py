"""Several screens, one engine thread, one model."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from threading import Event
from typing import Any, Literal

import pytest
from textual._context import active_app
from textual.command import CommandPalette
from textual.widgets import Input

from lmtui.editing import text_file
from lmtui.engine.types import ChatTurn
from lmtui.errors import LmtuiError
from lmtui.models.progress import OnProgress, Progress
from lmtui.models.source import ModelRef
from lmtui.tui.chat.prompt import PromptField
from lmtui.tui.chat.screen import ChatScreen
from lmtui.tui.dialogs import ErrorScreen
from lmtui.tui.editor.options import Writing
from lmtui.tui.editor.screen import EditorScreen
from lmtui.tui.engine.client import EngineClient, ignore
from lmtui.tui.help import HelpScreen
from lmtui.tui.models import ModelsScreen
from lmtui.tui.start import StartScreen
from lmtui.tui.widgets.probability_panel import ProbabilityPanel
from lmtui.tui.widgets.sampler_controls import SamplerControls
from lmtui.tui.widgets.status import Status
from lmtui.tui.widgets.token_view import TokenView
from lmtui.worker.generation import run_generation
from lmtui.worker.requests import Slot
from tests.fakes import FakeEngine
from tests.tui.hosts import drawn
from tests.tui.programs import SETTINGS, Program, chatting, holding, program

DEFAULT_NAME = "smollm2-135m-instruct"
BROKEN = LmtuiError("it is damaged", "[bold]\x1b[31mx[/nope]", "Fetch it again.")


@pytest.mark.parametrize("first", ["start", "chat"])
async def test_model_is_loaded_after_the_first_frame(
    first: Literal["start", "chat"],
) -> None:
    seen: list[str] = []

    def open_model(name: str) -> Any:
        seen.append("\n".join(strip.text for strip in drawn(active_app.get().screen)))
        return lambda _: FakeEngine(name=name)

    async with program(open_model=open_model, first=first) as running:
        await running.ready("default")
    (frame,) = seen
    assert ("Three things to try" if first == "chat" else "Chat") in frame


async def test_warning_of_a_load_is_a_notice() -> None:
    go_on = Event()

    def open_model(_: str) -> Any:
        def load(on_progress: OnProgress) -> FakeEngine:
            on_progress(Progress("loading x"))
            on_progress(Progress("it is slow", warning=True))
            assert go_on.wait(20)
            return FakeEngine(name="default")

        return load

    async with program(open_model=open_model) as running:
        await running.until(lambda: "it is slow" in running.notices)
        assert running.app.model.words == "loading x"
        go_on.set()
        await running.ready()


async def test_the_conversation_stays_while_other_screens_are_shown() -> None:
    async with program() as running:
        await running.on(StartScreen)
        await running.ready()
        await running.press("c")
        await running.on(ChatScreen)
        await running.ask("hello")
        await running.until(lambda: len(running.views) == 2)
        await running.press("f9")
        await running.on(StartScreen)
        await running.until(lambda: running.last_text == "one two three")
        await running.press("c")
        await running.on(ChatScreen)
        assert [view.text for view in running.views] == ["hello", "one two three"]
        assert running.app.focused is not None
        await running.press("f9", "c", "f5")
        await running.on(ModelsScreen)
        await running.press("f9")
        await running.on(StartScreen)
        assert len(running.app.screen_stack) == 2


async def test_model_switch_stops_the_answer_and_keeps_it() -> None:
    old, go_on = holding("one two three four", at=2, name="default")
    engines = {"default": old, "second": FakeEngine([" five six"], name="second")}
    async with chatting(engines) as running:
        await running.ask("count")
        await running.until(lambda: len(running.views) == 2 and running.views[1].text)
        await running.press("f5")
        await running.on(ModelsScreen)
        await running.until(lambda: "second" in running.seen)
        await running.press("down", "enter")
        go_on.set()
        await running.ready("second")
        await running.on(ChatScreen)
        await running.until(lambda: running.views[1].note == "stopped")
        leaf = running.leaf
        assert (leaf.model, leaf.state) == ("default", "stopped")
        assert "one two three four".startswith(leaf.content)
        assert running.chat.query_one(Status).state == "ready"


async def test_switched_model_continues_after_the_words_not_the_ids() -> None:
    second = FakeEngine([" four five"], name="second")
    engines = {"default": FakeEngine(["one two"], name="default"), "second": second}
    async with chatting(engines) as running:
        await running.ask("count")
        await running.until(lambda: running.leaf.state == "whole")
        before = running.leaf
        running.app.load_model(ModelRef("second"))
        await running.ready("second")
        await running.press("ctrl+g")
        await running.until(
            lambda: (
                running.leaf.content == "one two four five"
                and running.leaf.state == "whole"
            )
        )
        node = running.leaf
        assert node.model == "second"
        assert running.chat.session.conversation.node(before.id) == before
        versions = running.chat.session.conversation.siblings(node.id)
        assert [version.id for version in versions] == [before.id, node.id]
        (asked,) = [question for verb, question in second.calls if verb == "prompt"]
        assert asked[1] == "one two"  # type: ignore[index]
        await running.until(lambda: running.last_text == "one two four five")


async def test_scores_of_a_replaced_model_are_not_mixed_with_new_ones() -> None:
    engines = {
        "default": FakeEngine(["one"], name="default"),
        "second": FakeEngine(name="second"),
    }
    async with chatting(engines) as running:
        await running.ask("hi")
        await running.until(lambda: running.leaf.state == "whole")
        running.views[0].focus()
        await running.press("f3")
        tokens = running.chat.query_one(TokenView)
        await running.until(lambda: len(tokens.tokens) == len("hi"))
        await running.press("f3")
        running.app.load_model(ModelRef("second"))
        await running.ready("second")
        # The user's words are scored anew; the model's keep what they were drawn with.
        running.views[0].focus()
        await running.press("f3")
        await running.until(lambda: "hi" in _traced(engines["second"]))
        await running.until(lambda: running.chat.has_class("-tokens"))
        await running.press("f3")
        running.views[1].focus()
        await running.press("f3")
        panel = running.chat.query_one(ProbabilityPanel)
        step = running.leaf.steps[0]
        assert panel.distribution == step.distribution
        running.chat.query_one(SamplerControls).focus()
        await running.press("left")
        status = running.chat.query_one(Status)
        await running.until(lambda: "can't be drawn again" in status.state)
        assert panel.distribution == step.distribution


def _traced(engine: FakeEngine) -> list[str]:
    return [question[1] for verb, question in engine.calls if verb == "trace"]  # type: ignore[index]


async def test_failed_load_offers_retry_other_models_and_going_back() -> None:
    engines: dict[str, FakeEngine | Exception] = {
        "default": FakeEngine(name="default"),
        "second": BROKEN,
    }
    async with program(engines) as running:
        await running.ready()
        running.app.load_model(ModelRef("second"))
        await running.on(ErrorScreen)
        await running.until(lambda: "Fetch it again." in running.seen)
        for words in ("it is damaged", "[bold]␛[31mx[/nope]", "second", DEFAULT_NAME):
            assert words in running.seen
        assert running.app.model.info is None
        await running.choose("models")
        await running.on(ModelsScreen)
        assert "it is damaged" in running.seen
        await running.until(lambda: "third" in running.seen)
        engines["second"] = FakeEngine(name="second")
        await running.press("down", "enter")
        await running.ready("second")
        await running.on(StartScreen)
        engines["second"] = BROKEN
        await running.press("m")
        await running.on(ModelsScreen)
        await running.until(lambda: "third" in running.seen)
        await running.press("down", "enter")
        await running.on(ErrorScreen)
        await running.press("escape")
        await running.on(ModelsScreen)
        engines["default"] = BROKEN
        running.app.load_model(ModelRef("default"))
        await running.on(ErrorScreen)
        engines["second"] = FakeEngine(name="second")
        await running.choose("before")
        await running.ready("second")


async def test_words_typed_into_the_error_screen_are_in_the_prompt() -> None:
    asked: list[str] = []

    def open_model(name: str) -> Any:
        def load(_: Any) -> FakeEngine:
            asked.append(name)
            raise BROKEN

        return load

    async with program(open_model=open_model, first="chat") as running:
        await running.on(ErrorScreen)
        await running.press("r", "m", "enter")
        await running.on(ChatScreen)
        assert asked == ["default"]
        assert running.chat.query_one(PromptField).text == "rm"
        running.app.load_model(ModelRef("default"))
        await running.until(lambda: len(asked) == 2)
        await running.on(ErrorScreen)
        await running.choose("again")
        await running.until(lambda: len(asked) == 3)


async def test_program_can_be_left_while_a_failed_load_is_told() -> None:
    async with program({"default": BROKEN}) as running:
        await running.on(ErrorScreen)
        await running.press("ctrl+q")
        await running.until(lambda: running.app._exit)


async def test_failed_first_load_offers_no_going_back() -> None:
    engines: dict[str, FakeEngine | Exception] = {"default": BROKEN}
    async with program(engines) as running:
        await running.on(ErrorScreen)
        await running.until(lambda: "Try again" in running.seen)
        assert "Go back" not in running.seen
        await running.press("b", "escape")
        await running.on(StartScreen)
        for words in ("it is damaged", "[bold]␛[31mx[/nope]", "Fetch it again."):
            assert words in running.seen
        running.app.load_model(ModelRef("default"))
        await running.on(ErrorScreen)
        engines["default"] = FakeEngine(name="default")
        await running.choose("again")
        await running.ready("default")
        await running.on(StartScreen)


def generate_unheard(client: EngineClient) -> None:
    """Ask for a generation of which nothing is shown."""
    turns = (ChatTurn("user", "x"),)
    client.ask(
        Slot.GENERATE,
        lambda engine, context: run_generation(engine, context, turns, SETTINGS),
        ignore,
    )


@asynccontextmanager
async def queued_reply(running: Program, engine: FakeEngine) -> AsyncIterator[None]:
    """While the engine is held by another client, have the chat ask for a reply; then
    stop it where it waits."""
    other = running.app.make_client(running.app.call_later)
    generate_unheard(other)
    await running.until(lambda: "generate" in dict(engine.calls))
    yield
    await running.until(lambda: running.chat.reply._client.is_pending(Slot.GENERATE))
    assert running.chat.session.is_answering
    await running.press("escape")
    await running.until(lambda: not running.chat.session.is_answering)


async def test_dropped_answer_is_ended_as_stopped() -> None:
    engine, go_on = holding("one two", at=0, name="default")
    async with chatting({"default": engine}) as running:
        async with queued_reply(running, engine):
            await running.ask("never answered")
            await running.until(lambda: len(running.views) == 2)
        await running.until(lambda: len(running.views) == 1)
        assert running.views[0].text == "never answered"
        assert "not answered" in running.views[0].render_line(0).text
        assert running.chat.query_one(Status).state.startswith("stopped")
        go_on.set()


async def test_dropped_continuation_keeps_the_answers_words() -> None:
    second, go_on = holding("never seen", at=0, name="second")
    engines = {"default": FakeEngine(["one"], name="default"), "second": second}
    async with chatting(engines) as running:
        await running.ask("count")
        await running.until(lambda: running.leaf.state == "whole")
        running.app.load_model(ModelRef("second"))
        await running.ready("second")
        async with queued_reply(running, second):
            await running.press("ctrl+g")
        await running.until(lambda: running.views[-1].note.endswith("stopped"))
        assert running.views[-1].text == "one"
        assert running.leaf.state == "stopped"
        go_on.set()


async def test_failed_load_returns_the_waiting_prompt() -> None:
    release = Event()

    def open_model(name: str) -> Any:
        def load(report: Any) -> FakeEngine:
            report(Progress("fetching", 1, 4))
            assert release.wait(20)
            raise BROKEN

        return load

    async with program(open_model=open_model, first="chat") as running:
        await running.ask("keep me")
        await running.until(lambda: "waits · keep me" in running.seen)
        release.set()
        await running.on(ErrorScreen)
        await running.press("escape")
        await running.on(ChatScreen)
        assert running.chat.query_one("#prompt").text == "keep me"  # type: ignore[attr-defined]
        assert running.chat.query_one(Status).state == "no model"


async def test_help_is_searched_by_keys_and_words() -> None:
    async with chatting({"default": FakeEngine(name="default")}) as p:
        await p.press("f1")
        await p.on(HelpScreen)
        await p.until(lambda: "Ctrl+J" in p.seen)
        await p.press("slash")
        field = p.app.screen.query_one(Input)
        assert field.has_focus
        field.value = "branch from"
        await p.until(lambda: "F8" in p.seen and "Ctrl+J" not in p.seen)
        field.value = "branch from xyzzy"
        await p.until(lambda: "F8" not in p.seen)
        await p.press("escape")
        await p.until(lambda: "Ctrl+J" in p.seen)
        await p.press("escape")
        await p.on(ChatScreen)


async def test_help_opens_and_closes_on_every_screen() -> None:
    engines: dict[str, FakeEngine | Exception] = {
        "default": FakeEngine(name="default"),
        "second": BROKEN,
    }

    async def helped() -> None:
        screen = running.app.screen
        await running.press("f1")
        await running.on(HelpScreen)
        titles = [str(title.render()) for title in running.app.screen.query(".title")]
        assert "Here" in titles
        await running.press("f1")
        await running.until(lambda: running.app.screen is screen)

    async with program(engines) as running:
        await running.ready()
        await helped()
        await running.press("m")
        await running.on(ModelsScreen)
        await helped()
        await running.press("escape", "c")
        await running.on(ChatScreen)
        await helped()
        running.app.load_model(ModelRef("second"))
        await running.on(ErrorScreen)
        await helped()


async def test_suspend_has_its_key_only_where_nothing_is_written(
    tmp_path: Path,
) -> None:
    file = tmp_path / "draft.txt"
    file.write_text("one", encoding="utf-8")
    options = {"writing": Writing(text_file.load(file))}

    async def suspends() -> bool:
        """Whether Ctrl+Z suspends here; the help says the same."""
        key = running.app.screen.active_bindings.get("ctrl+z")
        live = key is not None and key.binding.action == "suspend" and key.enabled
        await running.press("f1")
        await running.on(HelpScreen)
        running.app.screen.query_one(Input).value = "back to the shell"
        await running.until(lambda: "F1" not in running.seen)
        assert ("Suspend" in running.seen) == live
        await running.press("f1")
        return live

    async with program(**options) as running:
        await running.ready()
        assert await suspends()
        await running.press("c")
        await running.on(ChatScreen)
        assert not await suspends()
        await running.ask("go")
        await running.until(lambda: running.last_text == "one two three")
        await running.press("alt+up")  # from a message, too
        assert not await suspends()
        running.app.action_complete()
        await running.on(EditorScreen)
        assert not await suspends()
        await running.press("f5")
        await running.on(ModelsScreen)
        assert not await suspends()


async def test_palette_lists_screens_and_commands() -> None:
    async with program(first="chat") as running:
        titles = [
            command.title for command in running.app.get_system_commands(running.chat)
        ]
        listed = {"Chat", "Model  (F5)", "Start screen  (F9)", "Suspend"}
        assert listed <= set(titles)
        assert len(titles) == len(set(titles))
        assert titles.index("Model  (F5)") < titles.index("Theme")
        assert titles.index("Theme") < titles.index("/ban [TEXT|off]")
        await running.press("ctrl+p", "f1")
        await running.on(CommandPalette)
        assert isinstance(running.app.screen, CommandPalette)


async def test_screenshot_is_saved_here_or_among_the_downloads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_DOWNLOAD_DIR", raising=False)
    monkeypatch.chdir(tmp_path)
    async with program() as running:
        for folder in ("", "Downloads"):
            (tmp_path / folder).mkdir(exist_ok=True)
            await running.press("ctrl+p")
            await running.on(CommandPalette)
            await running.press(*"screenshot")
            await running.until(lambda: "Save a picture" in running.seen)
            await running.press("enter")
            await running.until(lambda: [*(tmp_path / folder).glob("*.svg")])  # noqa: B023
