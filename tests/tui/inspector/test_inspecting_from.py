"""Ctrl+T: the inspector over a message of the chat, and over a text in the editor."""

from __future__ import annotations

from pathlib import Path

from lmtui.analysis.branches import ROOT
from lmtui.editing.text_file import load
from lmtui.engine.document.suggestion import SuggestionRules
from lmtui.tui.chat.screen import ChatScreen
from lmtui.tui.chat.transcript import MessageView
from lmtui.tui.editor.options import Writing
from lmtui.tui.editor.screen import EditorScreen
from lmtui.tui.inspector.screen import InspectScreen
from tests.fake_writing import FakeWriter
from tests.fakes import FakeEngine
from tests.tui.inspecting import Inspecting
from tests.tui.programs import Program, chatting, program


async def opened(running: Program) -> Inspecting:
    page = Inspecting(running, await running.on(InspectScreen))
    await page.until(lambda: not page.screen.document.why_not and page.view.tokens)
    await page.idle()
    return page


async def test_inspector_opens_an_answer_by_its_ids() -> None:
    engine = FakeEngine(["one two", "three"], name="default")
    async with chatting({"default": engine}) as running:
        await running.press("ctrl+t")  # nothing has been said
        assert isinstance(running.app.screen, ChatScreen)
        await running.ask("hello")
        await running.until(lambda: running.views and running.views[-1].text)
        await running.until(lambda: not running.chat.session.is_answering)
        node = running.chat.session.conversation.leaf
        await running.press("ctrl+t")
        page = await opened(running)
        assert page.branches.path(ROOT) == node.steps
        assert node.prompt is not None
        assert page.screen.document.scored.before == node.prompt.ids
        looked = [question for verb, question in engine.calls if verb == "look"]
        assert looked[-1][0] == node.prompt.ids  # type: ignore[index]
        assert "score" not in [verb for verb, _ in engine.calls]
        await page.to(1)
        await page.press("g")
        await page.until(lambda: "three" in page.text)
        await page.idle()
        await page.press("escape")
        await page.answer("l")  # the branch goes, the answer stays
        await running.on(ChatScreen)
        assert running.chat.session.conversation.leaf == node


async def test_inspector_scores_a_user_message_in_its_context() -> None:
    engine = FakeEngine(["one", "two"], name="default")
    async with chatting({"default": engine}) as running:
        await running.ask("hello")
        await running.until(lambda: running.views and running.views[-1].text)
        await running.until(lambda: not running.chat.session.is_answering)
        running.views[0].focus()
        assert isinstance(running.views[0], MessageView)
        await running.press("ctrl+t")
        page = await opened(running)
        assert page.text == "hello"
        before = page.screen.document.scored.before
        assert bytes(before) == b"user: "
        scored = tuple(engine.score(b"hello", prefix=before, top_n=20))
        assert page.branches.path(ROOT) == scored


async def test_inspector_keeps_the_selection_of_the_editor(tmp_path: Path) -> None:
    file = tmp_path / "draft.txt"
    file.write_text("the cat sat\n")
    writing = Writing(
        load(file), cursor=0, recovered=None, rules=SuggestionRules(delay=99.0),
    )  # fmt: skip
    engines = {"default": FakeWriter(name="default")}
    async with program(engines, first="complete", writing=writing) as running:
        screen = await running.on(EditorScreen)
        await running.ready()
        await running.until(lambda: screen.file.is_open)
        screen.editor.go_to(4, 7)
        await running.press("ctrl+t")
        page = await opened(running)
        await page.until(lambda: page.view.selection == (4, 7))
        assert page.text == "the cat sat\n"
        await page.press("escape")
        await running.on(EditorScreen)
        assert screen.editor.selection_indexes == (4, 7)
