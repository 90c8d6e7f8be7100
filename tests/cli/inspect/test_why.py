"""`lmtui why`: what each part of a text does to the token at a place."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from lmtui.cli.main import main
from lmtui.engine.types import BosRule, Encoding
from tests.cli.program import run
from tests.fake_writing import FakeWriter

TEXT = "The cat was hungry. It sat\non the mat and ate"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "text.txt"
    path.write_text(TEXT, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("by", "parts"),
    [
        ("word", ["The ", " cat", " was", " hungry.", " It", " sat", "\non", " the"]),
        ("sentence", ["The cat was hungry. ", " It sat\non the"]),
        ("line", ["The cat was hungry. It sat\n", "\non the"]),
        ("token", list(TEXT[: TEXT.index("mat")])),
    ],
)
def test_json_has_each_part_and_then_the_target(
    by: str, parts: list[str], file: Path
) -> None:
    asked = run("why", str(file), "2:8-2:10", "--by", by, "--json")
    *units, summary = asked.events
    assert [unit["text"] for unit in units] == parts[::-1]
    assert [TEXT[u["start"] : u["end"]] for u in units] == parts[::-1]
    assert (summary["text"], summary["by"]) == ("mat", by)
    for unit in units:
        if unit["logprob_without"] is not None:
            nats = summary["logprob"] - unit["logprob_without"]
            assert unit["bits"] == pytest.approx(nats / 0.6931471805599453)
    tsv = run("why", str(file), "2:8-2:10", "--by", by, "--tsv").out
    assert tsv.splitlines()[0].split("\t") == list(units[0])[1:]
    assert tsv.count("\n") >= len(units) + 1


def test_table_has_the_strongest_parts_with_their_places(file: Path) -> None:
    *units, _ = run("why", str(file), "2:18", "--json").events
    rows, _, about = run("why", str(file), "2:18").out.partition("\n\n")
    heads, *lines = rows.splitlines()
    assert heads.split() == ["bits", "line:col", "word"]
    strongest = sorted(units, key=lambda unit: -abs(unit["bits"] or 0))[:10]
    assert [line.split()[2] for line in lines] == [u["text"].strip() for u in strongest]
    places = {line.split()[2]: line.split()[1] for line in lines}
    assert places["cat"] == "1:5" and places["on"] == "2:1"
    assert (
        about.startswith("“e” by fake: ")
        and "was left out by itself; 1 more of up" in about
    )


def test_same_words_have_one_effect_in_every_granularity(file: Path) -> None:
    """In bits of the text without them and the space before them."""
    file.write_text("Well.\n\nThey are\n\noften", encoding="utf-8")
    found = []
    for by in ("sentence", "line"):
        *units, summary = run(
            "why", str(file), "5:1", "--by", by, "--bos", "yes", "--json"
        ).events
        found += [u for u in units if u["text"].strip() == "They are"]
    assert [unit["text"] for unit in found] == ["\n\nThey are"] * 2
    assert found[0]["bits"] == found[1]["bits"]
    left = run("inspect", "-", "--bos", "yes", "--json", stdin="Well.\n\noften").events[
        7
    ]
    assert left["text"] == "o" == summary["text"]
    assert found[0]["logprob_without"] == pytest.approx(left["logprob"], abs=1e-4)


def test_two_places_may_come_in_any_order(file: Path) -> None:
    ask = ("why", str(file), "--json")
    assert run(*ask, "2:10-2:8").out == run(*ask, "2:8-2:10").out


def test_white_space_before_the_target_is_no_part(file: Path) -> None:
    file.write_text("\n\nword", encoding="utf-8")
    [summary] = run("why", str(file), "3:1", "--json").events
    assert summary["text"] == "w"
    done = run("why", str(file), "3:1")
    assert done.code == 0 and "each word was left out by itself\n" in done.out


OTHER = {"models": {"other": {"name": "other", "seed": 5}}}


@pytest.mark.parametrize("by", ["word", "sentence", "line", "token"])
def test_other_model_has_its_effects_beside_the_own(by: str, file: Path) -> None:
    ask = ("why", str(file), "2:18", "--by", by)
    both = run(*ask, "--against", "other", "--json", script=OTHER).events
    alone = run(*ask, "--json", script=OTHER).events
    theirs = run(*ask, "--model", "other", "--json", script=OTHER).events
    assert len(both) == len(alone) == len(theirs) > 1
    for unit, mine, its in zip(both[:-1], alone, theirs, strict=False):
        assert list(unit.items())[: len(mine)] == list(mine.items())
        assert (unit["start"], unit["end"]) == (its["start"], its["end"])
        for name in ("bits", "logprob_without"):
            assert unit[f"other_{name}"] == its[name]
    assert both[-1].items() >= alone[-1].items()
    assert both[-1]["other_model"] == "other"
    assert both[-1]["other_logprob"] == theirs[-1]["logprob"]
    table = run(*ask, "--against", "other", script=OTHER).out
    heads, first, *_ = table.splitlines()
    assert heads.split() == ["bits", "other", "line:col", by]
    greatest = max(
        abs(unit[name] or 0) for unit in both[:-1] for name in ("bits", "other_bits")
    )
    shown = [cell.replace("−", "-") for cell in first.split()[:2]]
    assert max(abs(float(cell)) for cell in shown) == pytest.approx(greatest, abs=0.051)
    assert "“e” by fake: " in table and "“e” by other: " in table


class Wordy(FakeWriter):
    """A model whose tokens are words, with the space before each."""

    def encode(self, text: str, *, bos: BosRule = "auto") -> Encoding:
        ids, spans = list[int](), list[tuple[int, int]]()
        for match in re.finditer(r"\s*\S+|\s+", text):
            start, end = match.span()
            if known := self._ids.get(match[0].encode()):
                ids.append(known)
                spans.append((start, end))
            else:  # a token a byte
                ids += match[0].encode()
                spans += [(at, at + 1) for at in range(start, end)]
        return Encoding(tuple(ids), tuple(spans), ())


def test_two_models_are_asked_about_the_smallest_text_that_both_cut(
    file: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Parts that the other one does not read as such have a dash."""
    file.write_text("So the cat sat", encoding="utf-8")
    engines = {
        "own": FakeWriter(name="own"),
        "other": Wordy([["So", " the", " cat", " sat"]], name="other"),
    }

    def asked(by: str) -> list[dict[str, Any]]:
        given = ("why", str(file), "1:9", "--by", by, "--json")
        models = ("--model", "own", "--against", "other")
        code = main([*given, *models], open_engine=lambda s: engines[s.model or ""])
        assert code == 0
        return [json.loads(line) for line in capfd.readouterr().out.splitlines()]

    *words, summary = asked("word")
    assert (summary["start"], summary["end"], summary["text"]) == (6, 10, " cat")
    other = engines["other"]
    for word in words:
        left = "So the"[: word["start"]] + "So the"[word["end"] :]
        alone = other.target_logprob(other.encode(left).ids, other.encode(" cat").ids)
        assert word["other_logprob_without"] == pytest.approx(alone, abs=1e-4)
    *tokens, _ = asked("token")
    assert len(tokens) == len("So the")
    assert {token["other_bits"] for token in tokens} == {None}


@pytest.mark.parametrize(
    ("asked", "error"),
    [
        (["x"], "this is not a LINE:COL: x"),
        (["3:1"], "there is no such line: line 3; the text has 2 lines"),
        (["1:99"], "there is no such column"),
        (["1:1"], "there is nothing before the target"),
        ([], "one text and one place are needed"),
        (["1:5", "--chat", "1"], "one text and one place are needed"),
        (["1:5", "--by", "turn"], "only a conversation has turns"),
        (["1:5", "--tsv", "--json"], "--json and --tsv exclude each other"),
        (["1:5", "--against", "ngram:0"], "counting gives tokens alone"),
        (
            ["1:5", "--html", "x.html", "--against", "other"],
            "--html and --against exclude each other",
        ),
    ],
)
def test_bad_questions_are_refused(file: Path, asked: list[str], error: str) -> None:
    done = run("why", str(file), *asked)
    assert done.code == 2 and not done.out
    assert error in done.err and "hint: " in done.err
