"""Versions of a part of the text by instruction."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from textual.widgets import Static

from lmtui.editing.diff import word_diff
from lmtui.engine.document.types import ScoredSpan
from lmtui.engine.types import (
    ScoredToken,
)
from lmtui.tui.editor.rewrite import (
    RewriteScreen,
    VersionBits,
    cost_table,
    version_bits,
    version_of,
)
from tests.fake_writing import FakeWriter
from tests.tui.editor.writer import TEXT, writing
from tests.tui.texts import texts

pytestmark = pytest.mark.usefixtures("home")


async def test_version_is_shown_with_its_cost_and_taken(tmp_path: Path) -> None:
    engine = FakeWriter(["", ["<think>", "a cat?", "</think>", "\n\n", "a dog"], ""])
    async with writing(tmp_path, engine, cursor=4) as writer:
        await writer.expected()
        writer.editor.go_to(4, 11)
        await writer.press("alt+r")
        await writer.answer("about dogs")
        dialog = await writer.running.on(RewriteScreen)
        await writer.until(lambda: "surprisal, bits" in writer.seen)
        asked = [given for verb, given in engine.calls if verb == "generate"]
        assert "about dogs" in str(asked[-1][0])
        assert "cat sat" in str(asked[-1][0])
        assert dialog is writer.running.app.screen
        await writer.press("enter")
        assert writer.editor.text == f"{TEXT[:4]}a dog{TEXT[11:]}"
        await writer.press("ctrl+z")
        assert writer.editor.text == TEXT


@pytest.mark.parametrize(("line", "size"), [(0, (80, 24)), (59, (120, 40))])
async def test_text_stays_in_sight_beside_its_version(
    tmp_path: Path, line: int, size: tuple[int, int]
) -> None:
    lines = [f"line {number} of the text\n\n" for number in range(60)]
    engine = FakeWriter(["another\n" * 60] * 3)
    cursor = len("".join(lines[:line]))
    text = "".join(lines)
    async with writing(tmp_path, engine, text=text, cursor=cursor, size=size) as writer:
        await writer.expected()
        await writer.press("alt+r")
        await writer.answer("shorter")
        await writer.running.on(RewriteScreen)
        await writer.until(lambda: "rewritten" in writer.seen)
        await writer.press("v")  # without what it replaces
        await writer.until(lambda: "v with marks" in writer.seen)
        await writer.until(lambda: f"line {line} of the text" in writer.seen)


async def test_preamble_is_no_part_of_a_version(tmp_path: Path) -> None:
    answer = "The revised text is as follows:\nThe new text is as follows:\na dog"
    async with writing(tmp_path, FakeWriter(["", answer, ""]), cursor=4) as writer:
        await writer.expected()
        writer.editor.go_to(4, 11)
        await writer.press("alt+r")
        await writer.answer("about dogs")
        await writer.until(lambda: "r writes another" in writer.seen)
        assert "as follows" not in writer.seen
        await writer.press("enter")
        assert writer.editor.text == f"{TEXT[:4]}a dog{TEXT[11:]}"


async def test_another_version_differs_from_those_before_or_there_is_none(
    tmp_path: Path,
) -> None:
    engine = FakeWriter(["", "one", "one", "one", "two", *["one", "two"] * 2])
    async with writing(tmp_path, engine, cursor=4) as writer:
        await writer.expected()
        await writer.press("alt+r")
        await writer.answer("shorter")
        dialog = await writer.running.on(RewriteScreen)
        words = dialog.query_one("#words", Static)
        for version in ("one", "two"):
            await writer.until(lambda: "rewritten" in writer.seen)
            await writer.until(lambda version=version: version in str(words.content))
            assert "writes no other" not in writer.seen
            await writer.press("r")
        await writer.until(lambda: "The model writes no other." in writer.seen)
        asked = [given for verb, given in engine.calls if verb == "generate"]
        drawn = [settings.temperature for _, settings in asked[-4:]]
        assert drawn == sorted(set(drawn))


async def test_table_of_bits_has_the_columns_with_numbers(tmp_path: Path) -> None:
    text = "one two. three four.\n\nfive six.\n"
    for end, has_more in ((8, True), (20, False)):
        engine = FakeWriter(["other"] * 3)
        async with writing(tmp_path, engine, text=text) as writer:
            await writer.expected()
            writer.editor.go_to(0, end)
            await writer.press("alt+r")
            await writer.answer("shorter")
            await writer.until(lambda: "rewritten" in writer.seen)
            for head in ("what follows", "sum"):
                assert (head in writer.seen) == has_more


async def test_version_that_is_left_changes_nothing(tmp_path: Path) -> None:
    engine = FakeWriter(["", "other", "another", ""])
    async with writing(tmp_path, engine, cursor=4) as writer:
        await writer.expected()
        await writer.press("alt+r")
        await writer.answer("shorter")
        await writer.running.on(RewriteScreen)
        await writer.until(lambda: "surprisal, bits" in writer.seen)
        written = [verb for verb, _ in engine.calls].count("generate")
        await writer.press("r")
        await writer.until(
            lambda: [verb for verb, _ in engine.calls].count("generate") > written
        )
        await writer.press("escape")
        await writer.until(lambda: writer.running.app.screen is writer.screen)
        assert writer.editor.text == TEXT


async def test_model_without_a_template_takes_no_instruction(tmp_path: Path) -> None:
    engine = FakeWriter(has_template=False)
    async with writing(tmp_path, engine, cursor=4) as writer:
        await writer.press("alt+r")
        await writer.until(lambda: "does not chat" in writer.running.notices)


@given(texts(12), texts(12))
def test_parts_of_a_difference_are_both_versions(old: str, new: str) -> None:
    parts = list(word_diff(old, new))
    assert "".join(part.text for part in parts if part.kind != "added") == old
    assert "".join(part.text for part in parts if part.kind != "removed") == new


@pytest.mark.parametrize(
    ("present", "written", "version"),
    [
        ("the cat", " a dog\n", "a dog"),
        (" the cat\n", "a dog", " a dog\n"),
        ("x", " \n", ""),
        (
            "the cat",
            "The text is as follows:\n\nIt is this: \na dog: here",
            "a dog: here",
        ),
        ("the cat", "Here it is:", ""),
        ("Food:\n- fish", "To eat:\n- fish\n", "To eat:\n- fish"),
    ],
)
def test_version_has_the_outer_space_of_the_present_text_and_no_preamble(
    present: str, written: str, version: str
) -> None:
    assert version_of(present, written) == version


def test_bits_of_a_version_are_split_where_it_ends() -> None:
    def token(index: int, logprob: float | None) -> ScoredToken:
        return ScoredToken(index, 0, "", b"", logprob, 1, 0.0)

    logprobs = (-9.0, -1.0, -2.0, -4.0)
    span = ScoredSpan(
        tuple(token(i, logprob) for i, logprob in enumerate(logprobs)),
        ((0, 2), (2, 3), (3, 5), (5, 6)),
    )
    found = version_bits([span], 2, 5)
    assert found.own == pytest.approx(3 / 0.6931471805599453)
    assert found.following == pytest.approx(4 / 0.6931471805599453)
    assert version_bits([span], 2, 6).following is None
    unscored = ScoredSpan((token(1, None),), ((0, 1),))
    assert version_bits([unscored], 0, 1) == VersionBits(None, None)
    begin = ScoredSpan((token(0, None), token(1, -2.0)), ((0, 1), (1, 2)))
    assert version_bits([begin], 0, 2).own == pytest.approx(2 / 0.6931471805599453)
    table = cost_table(found, VersionBits(None, None)).splitlines()
    assert table[1].split() == ["now", "4.3", "5.8", "10.1"]
    assert table[2].split() == ["rewritten", "–", "–", "–"]
    alone = cost_table(VersionBits(4.25, None), VersionBits(3.5, None), rough=True)
    assert [line.split()[-1] for line in alone.splitlines()] == ["text", "≈4", "≈4"]
