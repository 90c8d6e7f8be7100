"""`lmtui inspect --why`: what each part of a text does to the token at a place."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.program import run

TEXT = "The cat was hungry. It sat\non the mat and ate"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "text.txt"
    path.write_text(TEXT, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("by", "parts"),
    [
        ("word", ["The", " cat", " was", " hungry.", " It", " sat", "\non", " the"]),
        ("sentence", ["The cat was hungry. ", "It sat\non the "]),
        ("line", ["The cat was hungry. It sat\n", "on the "]),
        ("token", list(TEXT[: TEXT.index("mat")])),
    ],
)
def test_json_has_each_part_and_then_the_target(
    by: str, parts: list[str], file: Path
) -> None:
    asked = run("inspect", str(file), "--why", "2:8-2:10", "--by", by, "--json")
    *units, summary = asked.events
    assert [unit["text"] for unit in units] == parts[::-1]
    assert [TEXT[u["start"] : u["end"]] for u in units] == parts[::-1]
    assert (summary["text"], summary["by"]) == ("mat", by)
    for unit in units:
        if unit["logprob_without"] is not None:
            nats = summary["logprob"] - unit["logprob_without"]
            assert unit["bits"] == pytest.approx(nats / 0.6931471805599453)
    tsv = run("inspect", str(file), "--why", "2:8-2:10", "--by", by, "--tsv").out
    assert tsv.splitlines()[0].split("\t") == list(units[0])[1:]
    assert tsv.count("\n") >= len(units) + 1


def test_table_has_the_strongest_parts_with_their_places(file: Path) -> None:
    *units, _ = run("inspect", str(file), "--why", "2:18", "--json").events
    rows, _, about = run("inspect", str(file), "--why", "2:18").out.partition("\n\n")
    heads, *lines = rows.splitlines()
    assert heads.split() == ["bits", "line:col", "word"]
    strongest = sorted(units, key=lambda unit: -abs(unit["bits"] or 0))[:10]
    shown = [line.split()[2].lstrip("·⏎") for line in lines]
    assert shown == [unit["text"].strip() for unit in strongest]
    places = {line.split()[2].lstrip("·⏎"): line.split()[1] for line in lines}
    assert places["cat"] == "1:5" and places["on"] == "2:1"
    assert about.startswith("“e”: ") and "the strongest of 11 are shown" in about


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (["--why", "x"], "this is not a LINE:COL: x"),
        (["--why", "3:1"], "there is no such line: line 3; the text has 2 lines"),
        (
            ["--why", "1:99"],
            "there is no such column: column 99; line 1 has 26",
        ),
        (["--why", "2:3-1:1"], "--why ends before it begins"),
        (["--why", "1:1"], "there is nothing before the target"),
        (["--by", "line"], "--by names the parts that --why leaves out"),
        (["--why", "1:5", "--lens"], "--why and --lens exclude each other"),
    ],
)
def test_bad_place_is_an_error_with_a_hint(
    asked: list[str], said: str, file: Path
) -> None:
    done = run("inspect", str(file), *asked)
    assert done.code == 2 and not done.out
    assert said in done.err and "hint: " in done.err
