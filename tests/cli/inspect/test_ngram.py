"""`lmtui inspect --against ngram:N`: a model beside one that only counts."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from lmtui.cancellation import cancelled_when
from lmtui.cli.ngram import (
    HIGHEST_ORDER,
    CountedTexts,
    counted_texts,
    ngram_scores,
)
from lmtui.engine.ngram_model import NgramModel
from lmtui.engine.open import open_served
from lmtui.errors import Cancelled
from lmtui.files import TextSource
from tests.cli import program
from tests.cli.program import SGR, Result
from tests.engine import tiny
from tests.serve.serving import serving

TEXT = "the cat sat on the log, naïve façade"
COUNTED = "the cat sat on the mat and the dog sat on the log\n" * 4


@pytest.fixture
def file(tmp_path: Path) -> str:
    """A small text."""
    path = tmp_path / "text.txt"
    path.write_text(TEXT, encoding="utf-8")
    return str(path)


@pytest.fixture
def counted(tmp_path: Path) -> str:
    """The text that is counted."""
    path = tmp_path / "counted.txt"
    path.write_text(COUNTED, encoding="utf-8")
    return str(path)


def run(*arguments: str, stdin: bytes = b"") -> Result:
    """Run the verb with a tiny random model."""
    return program.run("inspect", *arguments, stdin=stdin, engine=tiny.engine())


@pytest.mark.parametrize("order", [0, 1, HIGHEST_ORDER])
def test_json_has_the_numbers_of_the_ngrams(
    file: str, counted: str, order: int
) -> None:
    ask = (file, "--json", "--against", f"ngram:{order}", "--ngram-text", counted)
    done = run(*ask)
    assert (done.code, done.err) == (0, "")
    *tokens, own, other, compared = done.events
    encode, size = tiny.engine().encode, tiny.engine().info.vocabulary
    model = NgramModel.count([encode(COUNTED).ids], order=order, vocabulary=size)
    expected = model.score(encode(TEXT).ids).tolist()
    assert tokens[0]["other_logprob"] is None
    found = [token["other_logprob"] for token in tokens[1:]]
    assert found == pytest.approx(expected[1:], abs=1e-9)
    assert (own["model"], other["model"]) == ("tiny-llama", f"ngram:{order}")
    assert other["precision"] == "exact"
    assert other["logprob"] == pytest.approx(sum(expected[1:]), abs=1e-3)
    assert (other["window"], other["stride"]) == (own["window"], own["stride"])
    assert compared["unit"] == "token"


def test_summary_plain_and_page_name_the_ngrams(
    file: str, counted: str, tmp_path: Path
) -> None:
    ask = (file, "--against", "ngram:3", "--ngram-text", counted)
    plain = run(*ask, "--plain").out
    assert plain.splitlines()[-1].endswith("ngram:3")
    score = partial(program.run, "score", *ask, engine=tiny.engine())
    (_, row) = score().out.splitlines()[:2]
    assert file in row
    own, other, *_ = score("--json").events
    assert (own["model"], other["model"]) == ("tiny-llama", "ngram:3")
    page = tmp_path / "page.html"
    assert run(*ask, "--html", str(page)).code == 0
    assert "ngram:3" in page.read_text("utf-8")


def test_texts_are_counted_together_but_not_across(
    file: str, counted: str, tmp_path: Path
) -> None:
    more = tmp_path / "more.txt"
    more.write_text(TEXT[:20])
    ask = (file, "--json", "--against", "ngram:2", "--ngram-text", counted)
    one = run(*ask).events[-2]
    two = run(*ask, "--ngram-text", str(more)).events[-2]
    encode, size = tiny.engine().encode, tiny.engine().info.vocabulary
    texts = [encode(COUNTED).ids, encode(TEXT[:20]).ids]
    model = NgramModel.count(texts, order=2, vocabulary=size)
    expected = float(model.score(encode(TEXT).ids)[1:].sum())
    assert two["logprob"] == pytest.approx(expected, abs=1e-3)
    assert two["logprob"] != one["logprob"]


def test_counted_text_may_come_from_stdin(file: str, counted: str) -> None:
    ask = (file, "--json", "--against", "ngram:2", "--ngram-text")
    assert run(*ask, "-", stdin=COUNTED.encode()).out == run(*ask, counted).out
    done = run("-", *ask[1:], "-", stdin=COUNTED.encode())
    assert (done.code, done.out) == (2, "")
    assert "stdin can be read only once" in done.err


def test_user_is_warned_of_a_text_that_was_counted_itself(
    file: str, counted: str
) -> None:
    ask = ("--json", "--against", "ngram:3", "--ngram-text", counted)
    warned = run(counted, *ask, "--ngram-text", file)
    assert warned.code == 0
    (line,) = warned.err.splitlines()
    assert line.startswith(f"note: ngram:3 has counted {counted} itself")
    assert "knows it by heart" in line
    assert run(file, *ask).err == ""
    # A uniform model learns nothing of what it is given.
    uniform = run(counted, "--json", "--against", "ngram:0", *ask[3:])
    assert (uniform.code, uniform.err) == (0, "")


@pytest.mark.parametrize("spec", ["ngram:", "ngram:6", "ngram:03"])
def test_orders_that_do_not_exist_are_refused(
    file: str, counted: str, spec: str
) -> None:
    done = run(file, "--against", spec, "--ngram-text", counted)
    assert (done.code, done.out) == (2, "")
    assert f"error: there is no such n-gram model: {spec}\n" in done.err
    assert "ngram:1" in done.err and f"ngram:{HIGHEST_ORDER}" in done.err


def test_flags_that_need_each_other_are_refused_alone(file: str, counted: str) -> None:
    done = run(file, "--against", "ngram:3")
    assert (done.code, done.out) == (2, "")
    assert "error: ngram:3 needs a text to count\n" in done.err
    assert "Add --ngram-text FILE" in done.err
    for more in ((), ("--against", "other"), ("--against-adapter", "notes")):
        done = run(file, "--ngram-text", counted, *more)
        assert (done.code, done.out) == (2, "")
        assert "error: --ngram-text needs an n-gram model" in done.err
        assert "Add --against ngram:3." in done.err
    both = ("--against", "ngram:3", "--against-adapter", "notes")
    done = run(file, "--ngram-text", counted, *both)
    assert "exclude each other" in done.err


def test_files_that_cannot_be_counted_are_refused(file: str, tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    messages = {"empty": "there is nothing to count", ".": "this is a folder"}
    for name, message in messages.items():
        counted = str(tmp_path / name)
        done = run(file, "--against", "ngram:2", "--ngram-text", counted)
        assert (done.code, done.out) == (2, "")
        assert message in done.err and counted in done.err


@pytest.mark.parametrize("order", [0, 1, 2, 3, 5])
def test_scores_are_those_of_the_distributions(order: int) -> None:
    engine = tiny.engine()
    encoding = engine.encode(TEXT)
    counted = CountedTexts(order, (TextSource("counted", COUNTED),))
    ngrams = counted.count(engine)
    scored = list(ngram_scores(ngrams, engine, encoding, 3))
    assert scored[0] == engine.describe_tokens(encoding.ids)[0]
    assert [token.id for token in scored] == list(encoding.ids)
    for index, token in enumerate(scored[1:], 1):
        row = ngrams.logprobs(encoding.ids[:index])
        assert token.logprob == pytest.approx(float(row[token.id]), abs=1e-12)
        assert token.rank == 1 + int((row > row[token.id]).sum())
        entropy = float(-(row.exp() * row).sum())
        assert token.entropy == pytest.approx(entropy, abs=1e-12)
        varentropy = float((row.exp() * (row + entropy).square()).sum())
        assert token.varentropy == pytest.approx(varentropy, abs=1e-12)
        best = row.sort(descending=True, stable=True)
        assert [c.id for c in token.top] == best.indices[:3].tolist()
        assert [c.logprob for c in token.top] == pytest.approx(
            best.values[:3].tolist(), abs=1e-12
        )


def test_prefix_is_context_that_is_not_scored() -> None:
    engine = tiny.engine()
    encoding = engine.encode("the cat sat")
    after = replace(encoding, prefix=engine.encode("on the log ").ids)
    ngrams = CountedTexts(3, (TextSource("counted", COUNTED),)).count(engine)
    scored = list(ngram_scores(ngrams, engine, after, 0))
    expected = ngrams.score([*after.prefix, *after.ids])[len(after.prefix) :]
    assert [token.logprob for token in scored] == expected.tolist()
    assert [token.index for token in scored] == list(range(len(encoding.ids)))


def test_a_stop_is_heeded() -> None:
    engine = tiny.engine()
    ngrams = CountedTexts(3, (TextSource("counted", COUNTED),)).count(engine)
    with pytest.raises(Cancelled), cancelled_when(lambda: True):
        list(ngram_scores(ngrams, engine, engine.encode(TEXT), 0))


def test_tokens_of_a_model_on_a_server_are_counted(
    file: str, counted: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask = (file, "--json", "--against", "ngram:2", "--ngram-text", counted)
    expected = run(*ask).events[-2]
    monkeypatch.setenv("LMTUI_HOME", str(tmp_path / "home"))
    with serving(tiny.engine()) as served:
        own = open_served(f"http://127.0.0.1:{served.port}/v1")
        assert own.info.precision == "remote"
        *_, found, _ = program.run("inspect", *ask, engine=own).events
    assert (found["model"], found["precision"]) == ("ngram:2", "exact")
    assert found["logprob"] == expected["logprob"]


def test_terminal_shows_the_comparison_and_opens_no_screen(
    file: str, counted: str
) -> None:
    ask = (file, "--against", "ngram:2", "--ngram-text", counted)
    code, written = program.run_in_terminal("inspect", *ask)
    assert code == 0
    assert "ngram:2" in SGR.sub("", written.decode())


def test_other_models_are_left_to_their_names() -> None:
    for spec in (None, "ngram", "./ngram:3", "org/ngram"):
        assert counted_texts(spec, []) is None
