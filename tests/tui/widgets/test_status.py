"""The status line: what is cut first where there is little room, and what never is."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from lmtui.editing.text_file import load
from lmtui.engine.document.suggestion import SuggestionRules
from lmtui.models.source import short_label
from lmtui.tui.editor.options import Writing
from lmtui.tui.widgets.cells import clip_middle, limit_combining
from lmtui.tui.widgets.status import fitted
from tests.fake_writing import FakeWriter
from tests.fakes import FakeEngine
from tests.tui.programs import chatting, program

SAID = "it does not fit: time limit · alternative 2 · as it was said before"
PATH = ("fast bfloat16 · cpu", "fast")


@given(
    st.lists(st.text("abc 漢", min_size=1, max_size=30), min_size=1, max_size=4),
    st.text("xyz漢-", min_size=1, max_size=60),
    st.sampled_from(["exact", "fast"]),
    st.sampled_from(["", "thinking on"]),
    st.integers(12, 200),
)
def test_status_line_never_cuts_the_precision(
    said: list[str], model: str, precision: str, told: str, width: int
) -> None:
    path = (f"{precision} float32 · cpu", precision)
    line = fitted(" · ".join(said), model, path, told, width=width)
    assert cell_len(line) <= width
    assert precision in line


def test_status_line_cuts_the_least_important_words_first() -> None:
    name = "smollm2-135m-instruct"
    lines = [fitted(SAID, name, PATH, "", width=width) for width in range(110, 30, -1)]
    cut = [
        next(place for place, line in enumerate(lines) if words not in line)
        for words in ("as it was said before", "alternative 2", "bfloat16", name)
    ]
    assert cut == sorted(cut)
    assert any("smol…uct · fast" in line for line in lines)


@given(st.text("ab漢é\u0301", max_size=30), st.integers(1, 20))
def test_clip_middle_cuts_a_name_in_its_middle(name: str, width: int) -> None:
    cut = clip_middle(name, width)
    assert cell_len(cut) <= width
    if "…" in cut:
        head, _, tail = cut.partition("…")
        assert limit_combining(name).startswith(head) and limit_combining(
            name
        ).endswith(tail)


@pytest.mark.parametrize(
    ("label", "short"),
    [
        ("/a/b/gemma-3-270m.gguf", "gemma-3-270m"),
        ("gemma.Q4_0.GGUF", "gemma.Q4_0"),
        ("~/models/tiny/", "tiny"),
        ("./tiny", "tiny"),
        ("models/of/mine", "mine"),
        ("org/name", "org/name"),
        ("smollm2-135m-instruct", "smollm2-135m-instruct"),
        ("/a/b/gemma.gguf + notes", "gemma + notes"),
        ("/", "/"),
    ],
)
def test_a_model_by_path_is_shown_by_its_stem(label: str, short: str) -> None:
    assert short_label(label) == short


@pytest.mark.parametrize("size", [(80, 24), (50, 15)])
async def test_editor_status_shows_precision_and_model_at_every_width(
    tmp_path: Path, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LMTUI_HOME", str(tmp_path / "home"))
    file = tmp_path / "draft.txt"
    file.write_text("the cat sat on the mat\n")
    engine = FakeWriter([" one"], name="/a/long/way/to/gemma-3-270m-instruct.gguf")
    writing = Writing(load(file), cursor=22, rules=SuggestionRules(delay=0.001))
    options = {"first": "complete", "writing": writing, "size": size}
    async with program({"default": engine}, **options) as running:
        await running.until(lambda: "mat one" in running.seen)
        await running.until(lambda: "exact" in running.seen)
        status = next(line for line in running.seen.splitlines() if "exact" in line)
        assert "gem" in status and "/a/long" not in running.seen
        assert ("Tab take all" in running.seen) == (size[0] >= 60)
        await running.press("escape")
        await running.until(lambda: "dismissed" in running.seen)
        assert ("F1 help" in running.seen) == (size[0] >= 60)


async def test_message_headings_show_the_stem_of_a_model_path() -> None:
    engine = FakeEngine(["one"], name="/a/long/way/to/gemma.gguf")
    async with chatting({"default": engine}) as running:
        await running.ask("hello")
        await running.until(lambda: "█ gemma" in running.seen)
        assert "/a/long" not in running.seen
        await running.ask("/stats")
        await running.until(lambda: "In numbers" in running.seen)
        assert "gemma" in running.seen and "/a/long" not in running.seen
