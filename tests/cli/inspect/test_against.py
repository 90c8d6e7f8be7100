"""`lmtui inspect --against`: two models on one text, token by token or part by part."""

from __future__ import annotations

import io
import math
import re
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from lmtui import notation
from lmtui.cli.inspect.html_output import HtmlPage
from lmtui.cli.inspect.json_output import write_tokens
from lmtui.cli.inspect.plain import write_plain
from lmtui.cli.inspect.text_scores import Rules, WriteScores, score_each
from lmtui.cli.output import Output
from lmtui.engine.types import BosRule, Encoding
from lmtui.files import TextSource
from lmtui.models.source import short_labels
from tests.cli.program import SGR, Result, run, run_in_terminal
from tests.fakes import FakeEngine

TEXT = "Naïve café, and some words\n\tBrücke 橋 end"
OTHER = {"models": {"other": {"seed": 5, "name": "other"}}}


class Words(FakeEngine):
    """Another model, whose tokens are words."""

    def encode(self, text: str, *, bos: BosRule = "auto") -> Encoding:
        """A token a word, with the white space before it."""
        spans = tuple(found.span() for found in re.finditer(r"\s*\S+", text))
        ids = tuple(self._ids.get(text[a:b].encode(), ord("?")) for a, b in spans)
        return Encoding(ids, spans, (257,))


@pytest.fixture
def file(tmp_path: Path) -> str:
    """A small text."""
    path = tmp_path / "text.txt"
    path.write_text(TEXT, encoding="utf-8")
    return str(path)


def against(file: str, *arguments: str) -> Result:
    """What the program says of two models."""
    ask = ("inspect", file, "--against", "other", *arguments)
    return run(*ask, script=OTHER)


def test_json_tokens_have_the_numbers_of_both_models(file: str) -> None:
    *tokens, own, other, compared = against(file, "--json", "--top", "2").events
    alone = run("inspect", file, "--json", "--top", "2").events
    seed = {"engine": {"seed": 5}}
    second = run("inspect", file, "--json", "--top", "2", script=seed).events
    for both, one, two in zip(tokens, alone, second, strict=False):
        assert both.items() >= one.items()
        for name in ("logprob", "rank", "entropy", "top"):
            assert both.get(f"other_{name}") == two.get(name)
    assert own == alone[-1]
    assert other == second[-1] | {"model": "other"}
    known = [t for t in tokens if t["logprob"] is not None]
    gains = [(t["other_logprob"] - t["logprob"]) / math.log(2) for t in known]
    assert compared["bits"] == pytest.approx(math.fsum(gains))
    assert compared["more"] == sum(gain >= 1 for gain in gains)
    assert compared["less"] == sum(gain <= -1 for gain in gains)
    assert (compared["unit"], compared["compared"]) == ("token", len(gains))


def scored(
    write: WriteScores, own: FakeEngine, other: FakeEngine, text: str = TEXT
) -> None:
    """Let both score a text."""
    score_each([own, other], [TextSource("-", text)], Rules(), write)


def page_of(file: Path, own: FakeEngine, other: FakeEngine) -> str:
    """The page of what both score."""
    page = HtmlPage(TextSource("-", TEXT), file, top_n=0)
    scored(page.add, own, other)
    page.write()
    return file.read_text("utf-8")


def events(
    own: FakeEngine, other: FakeEngine, text: str = TEXT
) -> list[dict[str, Any]]:
    """The JSON lines of two models."""
    out = io.StringIO()
    scored(partial(write_tokens, Output(out), 0), own, other, text)
    return Result(0, out.getvalue(), "").events


def test_differing_tokens_are_compared_by_spans() -> None:
    told = events(FakeEngine(), Words([TEXT], name="words"))
    spans = [e for e in told if e["event"] == "span"]
    tokens = [e for e in told if e["event"] == "token"]
    assert "".join(TEXT[e["start"] : e["end"]] for e in spans) == TEXT
    assert sum(e["tokens"] for e in spans) == len(tokens)
    *_, other, compared = told
    assert sum(e["other_tokens"] for e in spans) == other["tokens"]
    assert not any("other_logprob" in token for token in tokens)
    # The first part begins with a token that one of the two could not score.
    assert spans[0]["logprob"] is None
    both = [e for e in spans if None not in (e["logprob"], e["other_logprob"])]
    assert compared["unit"] == "span"
    assert compared["compared"] == len(both) == len(spans) - 1
    assert compared["logprob"] == pytest.approx(math.fsum(e["logprob"] for e in both))


def test_totals_of_what_both_scored_come_first(tmp_path: Path) -> None:
    """The other model has a context for the first word, and scores it."""
    other = Words([TEXT], name="words")
    told = events(FakeEngine(), other)
    *_, other_all, compared = told
    spans = [e for e in told if e["event"] == "span"]
    first = TEXT[: spans[0]["end"]]
    size = len(TEXT.encode()) - len(first.encode())
    assert compared["bytes"] == size < other_all["bytes"]
    for name in ("", "other_"):
        bits = -compared[f"{name}logprob"] / math.log(2)
        rate = compared[f"{name}bits_per_byte"]
        assert rate == pytest.approx(bits / size)
    wanted = [
        notation.surprisal(compared["logprob"]),
        notation.surprisal(compared["other_logprob"]),
    ]
    told = plain(FakeEngine(), other)
    assert f"surprisal, bits  {' · '.join(wanted)}\n" in told
    assert "parts of the text that both cut alike" in told
    assert notation.surprisal(other_all["logprob"]) not in told
    written = page_of(tmp_path / "page.html", FakeEngine(), other)
    for value in wanted:
        assert f'"figures":{{"bits, both scored":"{value}"' in written


def test_models_are_named_without_their_paths_but_told_apart(tmp_path: Path) -> None:
    """What is shared says nothing of folders; JSON names what was asked for."""
    names = [f"{tmp_path}/{folder}/model.gguf" for folder in ("base", "tuned")]
    own, other = (FakeEngine(seed=seed, name=name) for seed, name in enumerate(names))
    compared = events(own, other)[-1]
    assert [compared["model"], compared["other_model"]] == names
    page = page_of(tmp_path / "page.html", own, other)
    for written in (plain(own, other), page):
        assert "base/model" in written and "tuned/model" in written
        assert str(tmp_path) not in written


@pytest.mark.parametrize(
    ("one", "other", "labels"),
    [
        ("/a/model.gguf", "/b/model.gguf", ("a/model", "b/model")),
        ("/a/x/model.gguf", "/b/x/model.gguf", ("a/x/model", "b/x/model")),
        ("/a/model + me", "/b/model + me", ("a/model + me", "b/model + me")),
        ("/a/model", "/a/model + me", ("model", "model + me")),
        ("/a/model", "/a/model", ("model", "model")),
        ("/a/one", "/a/other", ("one", "other")),
        ("smollm2", "/a/smollm2", ("smollm2", "a/smollm2")),
    ],
)
def test_short_labels_have_as_many_folders_as_tell_them_apart(
    one: str, other: str, labels: tuple[str, str]
) -> None:
    assert short_labels(one, other) == labels


def test_json_compares_tokens_only_if_they_are_identical() -> None:
    told = events(FakeEngine(), Words(["ab c"], name="words"), "ab c")
    (last,) = [e for e in told if "other_rank" in e] or [None]
    assert last is None
    told = events(Words(["ab c"]), Words(["ab c"], seed=3), "ab c")
    assert all("other_logprob" in e for e in told if e["event"] == "token")


def plain(own: FakeEngine, other: FakeEngine, text: str = TEXT) -> str:
    """What a pipe gets."""
    out = io.StringIO()
    console = Console(file=out, width=80, markup=False, highlight=False)
    scored(partial(write_plain, console), own, other, text)
    return out.getvalue()


def test_plain_has_the_totals_side_by_side() -> None:
    told = plain(FakeEngine(), FakeEngine(seed=5, name="other"))
    assert told.startswith("Naïve café, and some words\n")
    assert told.splitlines()[-1] == f"{'models':<17}fake · other"
    assert "tokens\n" in told.split("compared")[1]
    assert max(map(len, told.splitlines())) <= 80


def test_a_model_against_itself_is_the_same() -> None:
    told = plain(FakeEngine(), FakeEngine())
    assert "0.0 bits: the same" in told


def test_terminal_shows_difference_signs_even_without_colour(file: str) -> None:
    ask = ("inspect", file, "--plain", "--against", "other", "--no-color")
    code, raw = run_in_terminal(*ask, script=OTHER, size=(40, 120))
    written = raw.decode()
    assert code == 0
    assert "⁺" in written and "⁻" in written and "difference  " in written
    codes = {c for found in SGR.findall(written) for c in found[2:-1].split(";")}
    assert {"1", "2", "3", "4", "7"} <= codes
    assert not {code for code in codes if code[:1] in {"3", "4", "9"} and code[1:]}
