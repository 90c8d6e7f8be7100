"""The editor over a scripted engine: what keys, files and late answers do."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import count
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from textual.events import Key
from textual.widgets import Input

from lmtui import state
from lmtui.editing import recovery
from lmtui.editing.text_file import FileChange, TextFile, changed_on_disk, save
from lmtui.engine.document.suggestion import SuggestionRules
from lmtui.engine.document.types import (
    CursorPrediction,
    Replacement,
    ScoredSpan,
)
from lmtui.engine.types import EngineInfo
from lmtui.errors import LmtuiError
from lmtui.models.source import ModelRef
from lmtui.tui.dialogs import ConfirmDialog, PageScreen
from lmtui.tui.editor import file as file_screen
from lmtui.tui.editor.file_dialogs import diff_words
from lmtui.tui.editor.pickers import ReplacementsScreen, SurprisesScreen
from lmtui.tui.editor.status import FileStatus, forms
from lmtui.tui.widgets.cells import fit_best
from lmtui.tui.widgets.find_bar import FindBar
from lmtui.tui.widgets.probability_panel import ProbabilityPanel
from lmtui.worker.requests import Slot
from tests.fake_writing import FakeWriter
from tests.tui.editor.writer import NEVER, TEXT, Writer, writing
from tests.tui.hosts import safe
from tests.tui.programs import assert_laid_out

pytestmark = pytest.mark.usefixtures("home")


# The panel and the numbers.


async def test_loading_an_adapter_scores_the_same_text_anew(tmp_path: Path) -> None:
    async with writing(tmp_path) as page:
        await page.type("so ")
        await page.expected()
        other = FakeWriter(name="default", adapter="notes")
        page.running.app.open_model = lambda wanted: lambda _: other
        page.running.app.load_model(ModelRef(adapter="notes"))
        await page.until(lambda: "default + notes · exact" in page.seen)
        await page.expected()
        assert page.editor.text == f"so {TEXT}"
        asked = dict(other.calls)
        assert asked["expect"] == (f"so {TEXT}", 3)
        assert "heat" in asked


async def test_the_panel_follows_every_key_and_every_move(tmp_path: Path) -> None:
    engine = FakeWriter()
    async with writing(tmp_path, engine) as writer:
        await writer.type("No ")
        await writer.until(lambda: writer.screen.predictions.prediction is not None)
        await writer.press("right")
        await writer.until(lambda: ("expect", ("No " + TEXT, 4)) in engine.calls)
        await writer.expected()
        assert "Next at the cursor" in writer.seen
        panel = writer.screen.query_one(ProbabilityPanel)
        assert panel.chosen == ord("h")


class HastyWriter(FakeWriter):
    """One whose search for the rest of a word ends early."""

    def predict_at(
        self, text: str, cursor: int, *, top_n: int = 20
    ) -> CursorPrediction:
        found = super().predict_at(text, cursor, top_n=top_n)
        return replace(found, typed="unfinishable", unexplored=0.125)


async def test_what_was_not_searched_is_shown_before_a_long_word(
    tmp_path: Path,
) -> None:
    async with writing(tmp_path, HastyWriter(), size=(80, 24)) as writer:
        await writer.type("No ")
        await writer.until(lambda: "Next (12.5% not searched)…" in writer.seen)


async def test_a_click_marks_a_row_of_the_panel_and_ctrl_z_undoes_there(
    tmp_path: Path,
) -> None:
    async with writing(tmp_path, cursor=7) as writer:
        await writer.type("x")
        await writer.expected()
        panel = writer.screen.query_one(ProbabilityPanel)
        await writer.running.pilot.click(panel, offset=(5, 3))
        assert writer.screen.focused is panel
        await writer.press("enter")
        assert writer.editor.text == f"{TEXT[:7]}x{TEXT[7:]}"
        await writer.press("ctrl+z")
        assert writer.editor.text == TEXT
        await writer.press("ctrl+z", "escape")  # nothing is left to undo
        assert writer.editor.text == TEXT and writer.editor.has_focus


async def test_editor_scores_the_whole_text_and_shows_its_sum(tmp_path: Path) -> None:
    go_on = Event()
    go_on.set()
    engine = FakeWriter(on_token=lambda _: go_on.wait(20))
    async with writing(tmp_path, engine) as writer:
        await writer.expected()
        await writer.until(lambda: "bits/ch" in writer.seen)
        total = writer.screen.editor.scored.sum()
        assert (total.tokens, total.scored) == (len(TEXT), len(TEXT) - 1)
        await writer.until(lambda: f"{total.logprob:,.1f}"[1:] in writer.seen)
        go_on.clear()
        await writer.type("x")
        await writer.until(lambda: "≈" in writer.seen)
        go_on.set()
        await writer.expected()
        await writer.until(lambda: "≈" not in writer.seen)


class FastWriter(FakeWriter):
    """One with rounded weights."""

    @property
    def info(self) -> EngineInfo:
        return replace(super().info, precision="fast")


async def test_sum_of_fast_weights_has_no_decimals(tmp_path: Path) -> None:
    async with writing(tmp_path, FastWriter()) as writer:
        await writer.expected()
        nats = writer.screen.editor.scored.sum().logprob
        await writer.until(lambda: f"≈−{-nats:,.0f} " in writer.seen)
        sums = next(line for line in writer.seen.splitlines() if "Σ log P" in line)
        assert "." not in sums.split("Σ log P")[1]
        assert writer.seen.count("≈") == 2  # of the document and of the paragraph


@pytest.mark.parametrize("tokens", [0, 1])
async def test_scored_text_is_not_scored_again(tmp_path: Path, tokens: int) -> None:
    class Sparse(FakeWriter):
        """Cuts a text into tokens that leave out most of it."""

        def score_span(self, *asked: Any, **how: Any) -> Iterator[ScoredSpan]:
            for stretch in super().score_span(*asked, **how):
                yield ScoredSpan(stretch.tokens[:tokens], stretch.spans[:tokens])

    engine = Sparse()
    async with writing(tmp_path, engine, text=TEXT * 15) as writer:
        await writer.expected()
        asked = [call for call in engine.calls if call[0] == "heat"]
        assert 0 < len(asked) <= 3
        await writer.type("x")
        await writer.expected()
        assert not writer.screen.editor.scored.stale()


async def test_surprises_are_visited_from_the_list(tmp_path: Path) -> None:
    async with writing(tmp_path) as writer:
        await writer.expected()
        await writer.press("ctrl+l")
        await writer.running.on(SurprisesScreen)
        await writer.press("enter")
        await writer.until(lambda: writer.running.app.screen is writer.screen)
        places = writer.screen.scores.surprising_words()
        worst = max(places, key=lambda place: place.bits)
        assert writer.editor.cursor_index == worst.start
        assert "surprisal" in writer.seen and "bits" in writer.seen


async def test_a_model_that_fails_leaves_the_text_alone(tmp_path: Path) -> None:
    error = LmtuiError("it does not fit", "9 tokens", "Shorten it.")
    async with writing(tmp_path, FakeWriter(error=error)) as writer:
        await writer.type("Well ")
        await writer.until(lambda: "it does not fit" in writer.seen)
        assert writer.editor.text == "Well " + TEXT


# The ghost.


async def test_ghost_appears_unasked_and_is_taken_in_parts(tmp_path: Path) -> None:
    engine = FakeWriter([" by the fire.", " Then"])
    async with writing(tmp_path, engine, cursor=22, delay=0.01) as writer:
        await writer.until(lambda: writer.editor.ghost == " by the fire.")
        assert "mat by the fire." in writer.seen
        await writer.expected()
        await writer.until(lambda: "ready" in writer.seen)  # nothing is said of it
        assert "ghost: " not in writer.seen.replace("F4 ghost: on", "")
        await writer.press("ctrl+right")
        assert writer.editor.text.startswith("the cat sat on the mat by\n")
        assert writer.editor.ghost == " the fire."
        await writer.press("tab")
        assert writer.editor.text.startswith("the cat sat on the mat by the fire.\n")
        await writer.press("ctrl+z")
        assert writer.editor.text.startswith("the cat sat on the mat by\n")
        await writer.press("ctrl+z")
        assert writer.editor.text == TEXT
        assert not writer.screen.file.unsaved


async def test_only_typing_against_the_ghost_requests_a_new_suggestion(
    tmp_path: Path,
) -> None:
    engine = FakeWriter([" by the fire.", " of wool.", " and more"])
    async with writing(tmp_path, engine, cursor=22, delay=0.01) as writer:
        await writer.until(lambda: writer.editor.ghost == " by the fire.")
        await writer.type(" by")
        assert writer.editor.ghost == " the fire."
        await writer.expected()
        assert [verb for verb, _ in engine.calls].count("go_on") == 1
        await writer.type("s")
        await writer.until(lambda: writer.editor.ghost == " of wool.")
        await writer.press("backspace")
        assert writer.editor.ghost == " the fire."
        await writer.press("escape")
        assert not writer.editor.ghost
        await writer.expected()
        assert [verb for verb, _ in engine.calls].count("go_on") == 2


async def test_ghost_text_comes_where_the_program_stalls_between_any_two_lines(
    tmp_path: Path,
) -> None:
    looks = count()
    engine = FakeWriter([" by the fire."])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("textual._time.get_time", lambda: next(looks) / 100)
        async with writing(tmp_path, engine, cursor=22, delay=0.011) as writer:
            await writer.until(lambda: writer.editor.ghost == " by the fire.")
            patch.undo()  # the timers end by the real clock


async def test_cursor_move_stops_the_suggestion_within_a_token(tmp_path: Path) -> None:
    reached, go_on = Event(), Event()

    def hold(index: int) -> None:
        if engine.calls[-1][0] == "generate" and index == 2 and not reached.is_set():
            reached.set()
            assert go_on.wait(20)

    engine = FakeWriter([" one two three four", " five"], on_token=hold)
    async with writing(tmp_path, engine, cursor=22, delay=0.01) as writer:
        await writer.until(reached.is_set)
        await writer.press("down")
        go_on.set()
        await writer.until(lambda: writer.editor.ghost)
        assert "three" not in writer.editor.ghost


async def test_alt_n_cycles_the_alternatives(tmp_path: Path) -> None:
    others = [" one", " two", " three"]
    engine = FakeWriter([" one"], others=others)
    async with writing(tmp_path, engine, cursor=22, delay=0.01) as writer:
        await writer.until(lambda: writer.editor.ghost == " one")
        await writer.press("alt+n")
        await writer.until(lambda: writer.editor.ghost == " two")
        await writer.press("alt+n")
        assert writer.editor.ghost == " three"
        assert "alternative 3 of 3" in writer.seen
        await writer.press("alt+n")
        assert writer.editor.ghost == " one"
        assert [verb for verb, _ in engine.calls].count("alternatives") == 1


async def test_ghost_can_be_requested_despite_the_rules_and_turned_off(
    tmp_path: Path,
) -> None:
    strict = SuggestionRules(seconds=None, min_prob=0.99)
    engine = FakeWriter([" one", " two"])
    async with writing(tmp_path, engine, cursor=22, delay=0.01, rules=strict) as writer:
        await writer.expected()
        await writer.until(lambda: "ready" in writer.seen)
        assert not writer.editor.ghost
        await writer.press("ctrl+@")
        await writer.until(lambda: writer.editor.ghost == " one")
        assert "F4 ghost: on" in writer.seen
        await writer.press("f4")
        assert "F4 ghost: off" in writer.seen
        await writer.type("x")
        await writer.expected()
        assert not writer.editor.ghost
        assert [verb for verb, _ in engine.calls].count("go_on") <= 3


@pytest.mark.parametrize(
    ("answers", "others", "ghost"),
    [
        (["\nThen"], [], "\nThen"),  # several lines
        ([], [" and on"], " and on"),
    ],
)
async def test_requested_ghost_is_shown_where_none_would_be(
    tmp_path: Path, answers: list[str], others: list[str], ghost: str
) -> None:
    engine = FakeWriter(answers, others=others)
    async with writing(tmp_path, engine, cursor=22) as writer:
        await writer.press("ctrl+@")
        await writer.until(lambda: writer.editor.ghost == ghost)


@pytest.mark.parametrize("key", ["ctrl+@", "x"])
async def test_ghost_ends_before_it_repeats_itself(tmp_path: Path, key: str) -> None:
    loop = " “I am God, I am God, I am God, I am God, I am"
    engine = FakeWriter([loop] * 2)
    async with writing(tmp_path, engine, cursor=22, delay=0.01) as writer:
        await writer.press(key)
        await writer.until(lambda: writer.editor.ghost == " “I am God,")
        await writer.expected()
        assert writer.editor.ghost == " “I am God,"


async def test_ghost_does_not_repeat_the_line_above(tmp_path: Path) -> None:
    engine = FakeWriter([" write to"] * 2)
    text = "- [ ] write to Anna\n- [ ]"
    async with writing(tmp_path, engine, text=text, cursor=len(text)) as writer:
        await writer.press("ctrl+@")
        await writer.until(lambda: "the model has none here" in writer.seen)
        assert not writer.editor.ghost


async def test_a_ghost_that_is_requested_again_is_twice_as_long(tmp_path: Path) -> None:
    rules = SuggestionRules(max_tokens=2, seconds=None, min_prob=None)
    engine = FakeWriter([" one two three\nfour five"])
    async with writing(tmp_path, engine, cursor=22, rules=rules) as writer:
        await writer.press("ctrl+@")
        await writer.until(lambda: writer.editor.ghost == " one")
        await writer.press("ctrl+@")
        await writer.until(lambda: writer.editor.ghost == " one two three")
        await writer.press("ctrl+@")
        await writer.until(lambda: writer.editor.ghost.endswith("\nfour five"))
        assert writer.editor.text == TEXT


async def test_ghost_is_written_at_once_but_not_shown_before_the_pause_ends(
    tmp_path: Path,
) -> None:
    engine = FakeWriter([" one", " two"])
    async with writing(tmp_path, engine, cursor=22, delay=NEVER) as writer:
        await writer.type("x")
        await writer.until(lambda: "go_on" in [verb for verb, _ in engine.calls])
        await writer.expected()  # scoring is less urgent than a suggestion
        assert not writer.editor.ghost
        await writer.press("ctrl+@")
        await writer.until(lambda: writer.editor.ghost)


# Finding and replacing.


def marked(writer: Writer) -> list[str]:
    """The stretches of the editor that are drawn as found."""
    editor = writer.editor
    look = editor.get_component_rich_style("text-area--match", partial=True)
    rows = [editor.render_line(y) for y in range(editor.size.height)]
    parts = [(part.text, part.style) for row in rows for part in row if part.style]
    return [t for t, s in parts if s.bgcolor == look.bgcolor and s.underline]


async def test_find_bar_replaces_all_and_undo_restores_the_text(tmp_path: Path) -> None:
    async with writing(tmp_path) as writer:
        await writer.press("ctrl+f", "alt+r")
        await writer.type(r"(\w)at\b")
        await writer.until(lambda: "1 of 3" in writer.seen)
        assert writer.editor.selected_text == "cat"
        assert marked(writer) == ["sat", "mat"]
        await writer.press("tab")
        await writer.type(r"\1og")
        await writer.press("alt+a")
        await writer.until(lambda: writer.editor.text.startswith("the cog sog on the"))
        await writer.press("escape")
        assert not writer.screen.query_one(FindBar).is_open
        assert marked(writer) == []
        await writer.press("ctrl+z")
        assert writer.editor.text == TEXT


async def test_ctrl_z_undoes_in_the_field_and_what_the_field_did_in_the_text(
    tmp_path: Path,
) -> None:
    async with writing(tmp_path) as writer:
        await writer.type("x")
        await writer.press("ctrl+f")
        await writer.type("at")
        words, by = (writer.screen.query_one(f"#{id}", Input) for id in ("words", "by"))
        await writer.press("ctrl+z")
        assert words.value == "a" and writer.editor.text == f"x{TEXT}"
        await writer.type("t")
        await writer.press("tab")
        await writer.type("og")
        await writer.press("alt+a")
        await writer.until(lambda: "the cog sog on the mog" in writer.editor.text)
        await writer.press("ctrl+z")
        await writer.until(lambda: writer.editor.text == f"x{TEXT}")
        assert (words.value, by.value) == ("at", "og")
        await writer.press("escape", "ctrl+g", "1", "2", "ctrl+z")
        assert writer.screen.query_one("#answer", Input).value == "1"
        await writer.press("escape", "ctrl+z")
        assert writer.editor.text == TEXT


async def test_keys_typed_at_once_go_to_the_field_that_each_is_meant_for(
    tmp_path: Path,
) -> None:
    characters = {"tab": "\t", "ctrl+f": "\x06", "ctrl+g": "\x07", "enter": "\r"}
    async with writing(tmp_path) as writer:

        def type_at_once(*keys: str) -> None:
            for key in keys:
                writer.running.app.post_message(Key(key, characters.get(key, key)))

        type_at_once("ctrl+f", *"the", "tab", *"a b")
        words, by = (writer.screen.query_one(f"#{id}", Input) for id in ("words", "by"))
        await writer.until(lambda: by.value == "a b")
        assert words.value == "the"
        await writer.press("escape")
        ends = ("2:5", 27), ("1:99", TEXT.index("\n")), ("999", len(TEXT))
        for place, offset in ends:
            type_at_once("ctrl+g", *place, "enter")
            await writer.until(lambda at=offset: writer.editor.cursor_index == at)
            await writer.until(lambda: writer.editor.has_focus)


async def test_lines_are_wrapped_numbered_and_copied_by_keys(tmp_path: Path) -> None:
    async with writing(tmp_path, text="word " * 40 + "end\n", size=(80, 24)) as writer:
        await writer.until(lambda: "word end" in writer.seen)
        assert " 1  word" in writer.seen
        await writer.press("alt+z")
        await writer.until(lambda: "end" not in writer.seen)
        await writer.press("alt+z")
        await writer.until(lambda: "word end" in writer.seen)
        await writer.press(*["shift+right"] * 4, "ctrl+c")
        assert writer.running.app.clipboard == "word"
        await writer.expected()  # while the text is scored, Ctrl+C stops that
        await writer.press("left", "ctrl+c")
        await writer.until(lambda: "Ctrl+Q quits." in writer.running.notices)


async def test_two_clicks_select_a_word_and_three_a_line(tmp_path: Path) -> None:
    async with writing(tmp_path) as writer:
        await writer.expected()
        selected = ["", "sat", TEXT.split("\n")[0]]
        for clicks, text in enumerate(selected, start=1):
            at = writer.editor.gutter_width + TEXT.index("sat") + 1
            await writer.running.pilot.click(
                writer.editor, offset=(at, 0), times=clicks
            )
            assert writer.editor.selected_text == text
        assert writer.editor.has_focus


async def test_replacing_a_word_is_one_undo_step(tmp_path: Path) -> None:
    go_on = Event()

    def hold(index: int) -> None:
        if engine.calls[-1][0] == "replacements" and index == 1:
            assert go_on.wait(20)

    words = [Replacement("dog", -1.0, " sat", -9.5), Replacement("cat", -2.0, "", -9.0)]
    engine = FakeWriter(words=words, on_token=hold)
    async with writing(tmp_path, engine, cursor=5) as writer:
        await writer.expected()
        await writer.press("f7")
        await writer.running.on(ReplacementsScreen)
        await writer.until(lambda: "Asking the model… 50.0%" in writer.seen)
        assert ("replacements", (TEXT, 4, 7)) in engine.calls
        go_on.set()
        await writer.until(lambda: "dog" in writer.seen and "Asking" not in writer.seen)
        await writer.press("enter")
        await writer.until(lambda: writer.editor.text.startswith("the dog sat"))
        await writer.press("ctrl+z")
        assert writer.editor.text == TEXT


# The file.


async def test_letters_answer_the_question_that_saving_has_asked(
    tmp_path: Path,
) -> None:
    other = tmp_path / "other.txt"
    other.write_text("keep me")
    async with writing(tmp_path) as writer:
        await writer.type("zz")
        writer.file.write_text("theirs")
        await writer.press("ctrl+s")
        await writer.asked("changed on disk")
        await writer.press("v")
        await writer.running.on(PageScreen)
        await writer.press("escape")
        await writer.asked("changed on disk")
        await writer.press("n")
        await writer.answer(str(other))
        await writer.asked("The file already exists")
        await writer.press("o")
        await writer.until(lambda: other.read_text() == "zz" + TEXT)
        assert writer.editor.text == "zz" + TEXT
    assert writer.file.read_text() == "theirs"


async def test_letters_that_are_typed_during_a_save_are_no_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = Event()

    def slow(file: TextFile) -> FileChange | None:
        assert go_on.wait(20)
        return changed_on_disk(file)

    async with writing(tmp_path) as writer:
        writer.file.write_text("theirs")
        monkeypatch.setattr(file_screen, "changed_on_disk", slow)
        await writer.type("z")
        await writer.press("ctrl+s")
        await writer.type("zo")
        go_on.set()
        await writer.asked("changed on disk")
        await writer.type("o")
        await writer.until(lambda: writer.editor.text == "zzoo" + TEXT)
        assert writer.file.read_text() == "theirs"


async def test_both_names_of_a_file_have_the_text_after_a_save(tmp_path: Path) -> None:
    async with writing(tmp_path) as writer:
        other = tmp_path / "other.txt"
        other.hardlink_to(writer.file)
        await writer.type("x")
        await writer.press("ctrl+s")
        await writer.until(lambda: "saved draft.txt" in writer.seen)
        assert other.read_text() == "x" + TEXT and other.samefile(writer.file)
        await writer.until(lambda: not recovery_copies())


async def test_failure_within_a_file_with_two_names_leaves_a_recovery_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fsync, kept = os.fsync, list[str]()

    def fail(handle: int) -> None:
        if os.fstat(handle).st_ino == writer.file.stat().st_ino:
            kept.extend(copy.read_text() for copy in recovery_copies())
            raise OSError(errno.EIO, "Input/output error")
        fsync(handle)

    async with writing(tmp_path) as writer:
        (tmp_path / "other.txt").hardlink_to(writer.file)
        await writer.type("x")
        monkeypatch.setattr(os, "fsync", fail)
        await writer.press("ctrl+s")
        await writer.until(lambda: "the file was not saved" in writer.running.notices)
        assert "all of it is in a recovery copy" in writer.running.notices
        assert [copy.partition("\n")[2] for copy in kept] == ["x" + TEXT]
        assert writer.screen.file.unsaved and len(recovery_copies()) == 1


async def test_a_new_file_is_made_when_it_is_saved(tmp_path: Path) -> None:
    async with writing(tmp_path, text="") as writer:
        assert not writer.file.exists()
        await writer.type("a")
        await writer.press("ctrl+s")
        await writer.until(writer.file.exists)
        assert writer.file.read_bytes() == b"a\n"
        await writer.until(lambda: not writer.screen.file.unsaved)
        await writer.type("b")
        assert writer.editor.text == "ab\n"
        await writer.press("ctrl+z", "ctrl+z")
        assert writer.editor.text == "a"
        await writer.press("ctrl+s")  # it is no new file any more
        await writer.until(lambda: writer.file.read_bytes() == b"a")


@pytest.mark.parametrize(
    ("before", "after"), [(b"", b"a\n"), (b"b", b"ab"), (b"b\n", b"ab\n")]
)
async def test_an_empty_file_gets_a_last_newline_and_others_keep_theirs(
    tmp_path: Path, before: bytes, after: bytes
) -> None:
    (tmp_path / "draft.txt").write_bytes(before)
    async with writing(tmp_path, text=b"") as writer:
        await writer.type("a")
        await writer.press("ctrl+s")
        await writer.until(lambda: writer.file.read_bytes() == after)


async def test_saving_asks_when_the_file_changed_on_disk(tmp_path: Path) -> None:
    async with writing(tmp_path) as writer:
        await writer.type("x")
        await writer.until(lambda: "● draft.txt" in writer.seen)
        writer.file.write_text("theirs")
        os.utime(writer.file, (1, 1))
        for answer, text in (("escape", "x" + TEXT), ("r", "theirs")):
            await writer.press("ctrl+s")
            await writer.asked("changed on disk")
            assert "1970" in writer.seen
            await writer.asked("", answer)
            await writer.until(lambda text=text: writer.editor.text == text)
            assert writer.file.read_text() == "theirs"
        await writer.press("ctrl+z")
        assert writer.editor.text == "x" + TEXT


async def test_diff_of_a_changed_file_is_shown_before_the_question_comes_back(
    tmp_path: Path,
) -> None:
    async with writing(tmp_path, size=(80, 24)) as writer:
        await writer.type("x")
        writer.file.write_text("\x1b[31mtheirs\n" + TEXT)
        await writer.press("ctrl+s")
        await writer.asked("View diff", "v")
        page = await writer.running.on(PageScreen)
        await writer.until(lambda: "- on disk, + your text" in writer.seen)
        for line in ("-␛[31mtheirs", "-the cat", "+xthe cat", " and looked"):
            assert line in writer.seen
        assert "@@ -1,4 +1,3 @@" in writer.seen and safe(writer.seen)
        assert_laid_out(page)
        await writer.press("escape")
        await writer.asked("changed on disk", "o")
        await writer.until(lambda: writer.file.read_text() == "x" + TEXT)


def test_diff_words_are_bounded_and_say_so() -> None:
    long = "漢" * 500 + "\n" + "\n".join(map(str, range(2500)))
    assert "only their endings" in diff_words("a\n", "a\n").plain
    shown = diff_words("", long).plain.splitlines()
    assert len(shown) < 2100 and shown[-1].startswith("… there are more")
    assert max(map(cell_len, shown)) <= 500


async def test_save_as_asks_before_it_overwrites_a_file(tmp_path: Path) -> None:
    other, third = tmp_path / "other.txt", tmp_path / "third.txt"
    other.write_text("keep me")
    async with writing(tmp_path) as writer:
        await writer.type("x")
        await writer.press("ctrl+o")
        await writer.answer(str(other))
        await writer.asked("The file already exists", "escape")
        assert other.read_text() == "keep me"
        await writer.press("ctrl+o")
        await writer.answer(str(third))
        await writer.until(lambda: third.exists() and not writer.screen.file.unsaved)
        assert third.read_text() == "x" + TEXT
        assert writer.file.read_text() == TEXT
        await writer.until(lambda: "third.txt" in writer.seen)


@pytest.mark.parametrize(("answer", "text"), [("s", "x" + TEXT), ("d", TEXT)])
async def test_leaving_with_unsaved_text_asks(
    tmp_path: Path, answer: str, text: str
) -> None:
    async with writing(tmp_path) as writer:
        await writer.type("x")
        for key in ("escape", answer):
            assert not writer.running.app._exit
            await writer.press("ctrl+q")
            await writer.asked("has unsaved changes", key)
        await writer.until(lambda: writer.running.app._exit)
    assert writer.file.read_text() == text
    assert recovery.find(writer.file) is None and not recovery_copies()


async def test_recovery_copy_is_offered_after_an_unclean_exit(tmp_path: Path) -> None:
    async with writing(tmp_path) as writer:
        await writer.type("x")
    # The program was ended without a question, as by a terminal that went away.
    async with writing(tmp_path, text="", size=(80, 24)) as writer:
        await writer.asked("There is unsaved text")
        assert f"{len(TEXT) + 1} characters" in writer.seen
        assert "…" not in writer.seen.split("Recover")[1].split("Later")[0]
        await writer.asked("", "v")
        await writer.until(lambda: "- on disk, + recovered" in writer.seen)
        assert "+xthe cat" in writer.seen
        await writer.press("escape")
        await writer.asked("There is unsaved text", "escape")
    async with writing(tmp_path, text="") as writer:
        await writer.asked("There is unsaved text", "r")
        await writer.until(lambda: writer.editor.text == "x" + TEXT)
        assert writer.screen.file.unsaved
        await writer.press("ctrl+s")
        await writer.until(lambda: writer.file.read_text() == "x" + TEXT)
    assert recovery.find(writer.file) is None


async def test_editor_goes_on_while_no_thread_can_be_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its timers are quiet, a save is an error, and all of it works again later."""
    refused: list[str] = []

    def no_thread(thread: Thread) -> None:
        refused.append(thread.name)
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(file_screen, "WATCH_EVERY", 0.05)
    async with writing(tmp_path) as writer:
        with monkeypatch.context() as patch:
            patch.setattr(Thread, "start", no_thread)
            await writer.type("x")
            await writer.until(lambda: len(refused) > 2)
            await writer.press("ctrl+s")
            await writer.until(lambda: "no thread or process" in writer.running.notices)
            assert "the file was not saved no thread" in writer.running.notices
            assert writer.screen.file.unsaved and writer.file.read_text() == TEXT
        await writer.press("escape")
        await writer.press("ctrl+s")
        await writer.until(lambda: writer.file.read_text() == "x" + TEXT)
        writer.file.write_text("theirs")
        await writer.until(lambda: writer.screen.file.known_change)


@contextmanager
def slow_saving(monkeypatch: pytest.MonkeyPatch) -> Iterator[Event]:
    """Saving waits for the event, which is set at the end."""
    go_on = Event()

    def wait(*arguments: Any, **how: Any) -> Any:
        assert go_on.wait(20)
        return save(*arguments, **how)

    monkeypatch.setattr(file_screen, "save", wait)
    try:
        yield go_on
    finally:
        go_on.set()


async def test_text_typed_during_a_slow_save_is_in_a_recovery_copy_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def copied() -> str:
        found = recovery.find(writer.file)
        return found.text if found else ""

    with slow_saving(monkeypatch) as go_on:
        async with writing(tmp_path) as writer:
            await writer.type("x")
            await writer.press("ctrl+s")
            await writer.type("y")
            await writer.until(lambda: copied() == "xy" + TEXT)
            go_on.set()
            await writer.until(lambda: writer.file.read_text() == "x" + TEXT)
            await writer.until(lambda: "saved draft.txt" in writer.seen)
            await writer.until(lambda: copied() == "xy" + TEXT)
            assert writer.screen.file.unsaved


async def test_cancelled_leaving_does_not_leave_after_a_slow_save(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with slow_saving(monkeypatch) as go_on:
        async with writing(tmp_path) as writer:
            await writer.type("x")
            await writer.press("ctrl+s", "ctrl+q", "ctrl+q")
            await writer.asked("has unsaved changes", "escape")
            go_on.set()
            await writer.until(lambda: "saved draft.txt" in writer.seen)
            await writer.running.pilot.pause()
            assert not writer.running.app._exit


async def test_prediction_comes_whatever_another_screen_asks(
    tmp_path: Path,
) -> None:
    go_on = Event()
    engine = FakeWriter()
    predict_at = engine.predict_at

    def wait(*arguments: Any, **options: Any) -> Any:
        assert go_on.wait(20)
        return predict_at(*arguments, **options)

    async with writing(tmp_path, engine) as writer:
        await writer.expected()
        before = writer.screen.predictions.prediction
        engine.predict_at = wait  # type: ignore[method-assign]
        await writer.type("x")
        app = writer.running.app
        other = app.make_client(app.call_later)
        for _ in range(2):
            await writer.type("y")
            other.ask(Slot.LOOK, lambda *_: None, lambda _: None)
        go_on.set()
        await writer.until(lambda: writer.screen.predictions.prediction is not before)
        await writer.expected()


async def test_a_change_on_disk_is_noticed_and_reloaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_screen, "WATCH_EVERY", 0.01)
    async with writing(tmp_path, size=(120, 40), notices=True) as writer:
        await writer.until(lambda: "11 words" in writer.seen)
        assert "changed on disk" not in writer.seen
        writer.file.write_text("theirs")
        await writer.until(lambda: "draft.txt · changed on disk" in writer.seen)
        await writer.until(lambda: "Ctrl+S asks whether to reload it" in writer.seen)
        await writer.press("ctrl+s")
        await writer.asked("changed on disk", "r")
        await writer.until(lambda: writer.editor.text == "theirs")
        await writer.until(lambda: "changed on disk" not in place_of(writer))
        writer.file.unlink()
        await writer.until(lambda: "draft.txt was deleted" in writer.seen)
        await writer.until(lambda: "deleted" in place_of(writer))
        assert "changed" not in place_of(writer)
        await writer.press("ctrl+s")
        await writer.asked("The file was deleted")
        assert "changed by another" not in writer.seen
        assert "Overwrite" not in writer.seen
        assert "Write it again" in writer.seen
        await writer.asked("", "o")
        await writer.until(writer.file.exists)
        assert writer.file.read_text() == "theirs"


def place_of(writer: Writer) -> str:
    """The line about the file."""
    return next(line for line in writer.seen.splitlines() if "draft.txt · " in line)


async def test_words_typed_into_the_recovery_dialog_follow_the_recovered_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with writing(tmp_path) as writer:
        await writer.press("end")
        await writer.type(", writing")
    async with writing(tmp_path, text="") as writer:
        asked = await writer.running.on(ConfirmDialog)
        await writer.type(" and drawing")
        assert writer.running.app.screen is asked
        await writer.until(lambda: writer.editor.text == " and drawing" + TEXT)
        await writer.press("up", "up", "up", "enter")
        text = TEXT.replace("mat\n", "mat, writing and drawing\n")
        await writer.until(lambda: writer.editor.text == text)
        assert writer.editor.cursor_location == (0, text.index("\n"))
        await writer.press("ctrl+z")
        assert writer.editor.text == " and drawing" + TEXT


async def test_deleted_file_without_edits_is_left_without_a_question(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_screen, "WATCH_EVERY", 0.01)
    async with writing(tmp_path) as writer:
        await writer.type("x")
        writer.file.unlink()
        await writer.until(lambda: "deleted" in place_of(writer))
        await writer.press("ctrl+z", "ctrl+q")
        await writer.until(lambda: writer.running.app._exit)
    assert not writer.file.exists()


async def test_older_recovered_text_is_offered_when_the_newest_was_answered(
    tmp_path: Path,
) -> None:
    file = tmp_path / "draft.txt"
    file.write_text(TEXT)
    for number, text in enumerate(("first draft", "second")):
        recovery.write(file, None, text)
        found = recovery.find(file)
        assert found is not None
        found.copy.rename(found.copy.with_name(f"{recovery.key_of(file)}-{number}.txt"))
    async with writing(tmp_path, text="") as writer:
        await writer.asked("6 characters", "d")
        await writer.until(lambda: len(recovery_copies()) == 1)
        assert writer.editor.text == TEXT
    async with writing(tmp_path, text="") as writer:
        await writer.asked("11 characters", "r")
        await writer.until(lambda: writer.editor.text == "first draft")
        own = f"{recovery.key_of(file)}-{os.getpid()}-"
        await writer.until(
            lambda: [own in copy.name for copy in recovery_copies()] == [True]
        )


def recovery_copies() -> list[Path]:
    return list((Path(os.environ["LMTUI_HOME"]) / "state" / "recovery").glob("*.txt"))


async def test_read_only_file_is_named_so_before_the_first_key(tmp_path: Path) -> None:
    other = tmp_path / "other.txt"
    (tmp_path / "draft.txt").write_text(TEXT)
    (tmp_path / "draft.txt").chmod(0o444)
    async with writing(tmp_path, text="", notices=True) as writer:
        await writer.until(lambda: "draft.txt is read-only" in writer.seen)
        await writer.type("x")
        await writer.press("ctrl+q")
        await writer.asked("It is read-only.")
        assert "save the file" not in writer.seen
        await writer.asked("", "n")
        await writer.answer(str(other))
        await writer.until(lambda: writer.running.app._exit)
    assert other.read_text() == "x" + TEXT
    assert writer.file.read_text() == TEXT


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("\ufeffdas Öl\r\n".encode(), "CRLF · BOM"),
        ("\ufeffdas Öl\r\n".encode("utf-16-be"), "UTF-16 BE · CRLF"),
        ("das Öl\r\n".encode("latin-1"), "Latin-1 · CRLF"),
    ],
)
async def test_encoding_is_shown_and_stays(
    tmp_path: Path, text: bytes, name: str
) -> None:
    async with writing(tmp_path, text=text, size=(120, 40), notices=True) as writer:
        await writer.until(lambda: name in writer.seen)
        assert writer.editor.text == "das Öl\n"
        await writer.type("漢")
        await writer.press("ctrl+s")
        if "Latin-1" in name:
            await writer.until(lambda: "“漢”, U+6F22" in writer.seen)
            assert writer.file.read_bytes() == text
            assert writer.editor.text == "漢das Öl\n" and writer.screen.file.unsaved
        else:
            await writer.until(lambda: writer.file.read_bytes() != text)
        await writer.press("ctrl+z", "ctrl+s")
        await writer.until(lambda: writer.file.read_bytes() == text)
        await writer.until(lambda: not writer.screen.file.unsaved)


async def test_carriage_return_is_a_character_where_endings_are_mixed(
    tmp_path: Path,
) -> None:
    async with writing(tmp_path, text=b"one\r\ntwo\n", size=(120, 40)) as writer:
        await writer.until(lambda: "mixed line endings" in writer.seen)
        assert "one␍" in writer.seen
        await writer.press("end", "left", "x", "enter", "ctrl+s")
        await writer.until(lambda: writer.file.read_bytes() == b"onex\n\r\ntwo\n")


# Another file.


async def test_another_file_is_opened_and_scored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "other.py").write_bytes(b"\tone = 1\r\n")
    monkeypatch.chdir(tmp_path)
    async with writing(tmp_path, size=(120, 40)) as writer:
        await writer.expected()
        await writer.press("alt+o")
        await writer.type("oth")
        await writer.press("tab", "enter")
        await writer.until(lambda: writer.editor.text == "\tone = 1\n")
        assert writer.editor.language == "python"
        await writer.until(lambda: "other.py · line 1, column 1" in writer.seen)
        await writer.until(lambda: "CRLF" in writer.seen)
        await writer.expected()
        assert writer.screen.editor.scored.sum().tokens == len("\tone = 1\n")
        await writer.press("ctrl+z")
        assert writer.editor.text == "\tone = 1\n"
        assert not writer.screen.file.unsaved
    assert state.recent_files() == (tmp_path / "other.py",)


@pytest.mark.parametrize(("answer", "on_disk"), [("s", "x" + TEXT), ("d", TEXT)])
async def test_unsaved_text_is_asked_about_before_another_file_is_opened(
    tmp_path: Path, answer: str, on_disk: str
) -> None:
    other = tmp_path / "other.txt"
    other.write_text("other")
    async with writing(tmp_path) as writer:
        await writer.type("x")
        for key, text in (("escape", "x" + TEXT), (answer, "other")):
            await writer.open(other)
            await writer.asked("has unsaved changes", key)
            await writer.until(lambda: writer.running.app.screen is writer.screen)
            await writer.until(lambda text=text: writer.editor.text == text)
        assert writer.file.read_text() == on_disk
        await writer.type("y")
        await writer.until(lambda: writer.screen.file.unsaved)
        await writer.press("ctrl+q")
        await writer.asked("has unsaved changes", "d")
    assert recovery.find(writer.file) is recovery.find(other) is None


async def test_file_that_is_no_text_leaves_the_editor_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"a\0b")
    async with writing(tmp_path, notices=True) as writer:
        await writer.open(tmp_path / "binary")
        await writer.until(lambda: "this is a binary file" in writer.seen)
        assert writer.editor.text == TEXT
        assert writer.screen.file.current.path == writer.file


async def test_recent_files_are_offered_and_unsaved_text_of_them_too(
    tmp_path: Path,
) -> None:
    paths = [tmp_path / "one.txt", tmp_path / "two.txt"]
    for path in paths:
        path.write_text(path.stem)
    state.remember(map(str, paths))
    recovery.write(paths[0], None, "recovered")
    async with writing(tmp_path) as writer:
        await writer.press("alt+o")
        field = writer.screen.query_one("#answer", Input)
        await writer.until(lambda: "↑ recent files" in writer.seen)
        await writer.press("up")
        assert field.value == str(paths[1])
        await writer.press("up")
        assert field.value == str(paths[0])
        await writer.press("enter")
        await writer.asked("There is unsaved text")
        assert writer.editor.text == "one"
        await writer.asked("", "r")
        await writer.until(lambda: writer.editor.text == "recovered")


# How it looks.


async def test_heat_is_switched_and_says_what_it_marks(tmp_path: Path) -> None:
    async with writing(tmp_path) as writer:
        await writer.press("f3")
        await writer.until(lambda: "heat: underlined from 3 bits" in writer.seen)
        assert writer.editor.heat
        assert_laid_out(writer.screen)
        await writer.press("f3")
        assert "heat: off" in writer.seen and not writer.editor.heat


async def test_totals_come_with_their_first_number_and_go_with_f2(
    tmp_path: Path,
) -> None:
    async with writing(tmp_path, text="x") as writer:  # of one token, none is scored
        await writer.until(lambda: "nothing is scored yet" in writer.seen)
        assert "Σ log P  " not in writer.seen and "document" not in writer.seen
        await writer.type("so")
        await writer.expected()
        await writer.until(lambda: "document" in writer.seen)
        narrow = writer.editor.region.width
        assert_laid_out(writer.screen)
        await writer.press("f2")
        await writer.until(lambda: writer.editor.region.width == 100)
        await writer.press("f2")
        await writer.until(lambda: writer.editor.region.width == narrow)


async def test_totals_show_no_paragraph_on_a_blank_line(tmp_path: Path) -> None:
    async with writing(tmp_path, text="one\n\ntwo\n") as writer:
        await writer.expected()
        await writer.until(lambda: "paragraph" in writer.seen)
        await writer.press("down")
        await writer.until(lambda: "paragraph" not in writer.seen)
        assert "document" in writer.seen


async def test_editor_screen_is_laid_out_at_every_size(tmp_path: Path) -> None:
    async with writing(tmp_path) as writer:
        await writer.expected()
        for size in ((120, 40), (80, 24), (60, 12), (200, 50)):
            await writer.running.pilot.resize_terminal(*size)
            await writer.until(lambda size=size: writer.screen.size == size)
            assert_laid_out(writer.screen)
            for keys in (["ctrl+f"], ["escape", "ctrl+g"], ["escape"]):
                await writer.press(*keys)
                assert_laid_out(writer.screen)


def test_file_status_has_forms_from_full_to_short() -> None:
    place = FileStatus(name="a\x1b[31m.txt", modified=True, words=1, characters=2)
    longest = " · ".join(forms(place)[0])
    assert "\x1b" not in longest
    assert longest.startswith("● a") and "1 word ·" in longest
    assert len(" · ".join(forms(place)[-1])) < 40


@given(
    st.builds(
        FileStatus,
        name=st.text("abc", min_size=1, max_size=60),
        modified=st.booleans(),
        read_only=st.booleans(),
        line=st.integers(1, 99_999),
        words=st.integers(0, 99_999),
        characters=st.integers(0, 999_999),
        selected=st.integers(0, 9999),
    ),
    st.integers(40, 160),
)
def test_file_format_never_displaces_the_cursor(plain: FileStatus, width: int) -> None:
    odd = replace(plain, endings="CRLF", bom=True)
    shown, before = (fit_best(forms(each), width)[0] for each in (odd, plain))
    usual = fit_best([parts for parts in forms(plain) if "LF" not in parts], width)[0]
    cursor = f"line {plain.line:,}, column 1", f" {plain.line}:1"
    if any(part in usual for part in cursor):
        assert any(part in shown for part in cursor)
        assert any(part in before for part in cursor)
    assert ("CRLF · BOM" in shown) == ("CRLF" in shown)


def test_file_format_is_shown_where_it_is_odd_or_width_allows() -> None:
    plain = FileStatus(name="draft.txt", words=11, characters=46)
    assert "LF" not in fit_best(forms(plain), 55)[0]
    assert fit_best(forms(plain), 118)[0].endswith("characters · LF")
    odd = replace(plain, endings="mixed")
    shown = fit_best(forms(odd), 55)[0]
    assert shown == "draft.txt · 1:1 · 11 words · mixed line endings"
