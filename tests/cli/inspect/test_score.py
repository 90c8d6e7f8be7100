"""`lmtui score`: a row a text, in any order, whatever can't be read."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, normalizers

from lmtui.cli.inspect import score
from lmtui.cli.inspect.rows import Rows
from lmtui.cli.inspect.text_scores import Rules
from lmtui.engine.engine import LocalEngine
from lmtui.files import TextSource
from tests.cli.program import run, run_in_terminal
from tests.engine import tiny as small
from tests.models import tiny

TEXTS = {"b.txt": "one two three, four", "a.txt": "Brücke 橋\n", "c.txt": "x"}
OTHER = {"models": {"other": {"seed": 5, "name": "other"}}}


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    """Three texts, not in the order of their names."""
    for name, text in TEXTS.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    return [str(tmp_path / name) for name in TEXTS]


def names(out: str) -> list[str]:
    """The last word of each row."""
    return [Path(line.split()[-1]).name for line in out.splitlines()]


def cells(out: str, column: str) -> list[str]:
    """A column of the rows."""
    head, *rows = out.splitlines()
    return [row.split()[head.split().index(column)] for row in rows]


def test_summary_has_a_row_per_file_and_a_total(files: list[str]) -> None:
    done = run("score", *files)
    assert (done.code, done.err) == (0, "")
    assert names(done.out) == ["file", "b.txt", "a.txt", "c.txt", "3"]
    sizes = [len(text.encode()) for text in TEXTS.values()]
    assert cells(done.out, "tokens") == [str(n) for n in (*sizes, sum(sizes))]
    assert cells(done.out, "perplexity")[2] == "–"
    assert max(map(len, done.out.splitlines()[:1])) <= 80
    assert len(run("score", files[0]).out.splitlines()) == 2


def test_the_bar_is_erased_before_each_row(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal, both stand in the same line."""
    seen: list[str] = []

    class Bar:
        def __call__(self, done: int, whole: int) -> None:
            seen.append("bar")

        def clear(self) -> None:
            seen.append("clear")

    monkeypatch.setattr(score, "meter", lambda *_, **__: nullcontext(Bar()))
    monkeypatch.setattr(score, "_write", lambda *row, **_: seen.append(row[2]))
    texts = [TextSource(name, text) for name, text in TEXTS.items()]
    rows = Rows("text", score.ALONE, "file", "table")
    engine = small.engine()
    score.write_rows([engine], texts, Rules(), rows=rows, key=None, unread=0)
    assert "bar" in seen
    written = [each for name in TEXTS for each in ("clear", name)]
    assert [each for each in seen if each != "bar"] == [*written, "total of 3"]


def test_the_total_is_weighted_by_tokens(files: list[str]) -> None:
    *rows, total = run("score", "--json", *files).events
    assert [row["event"] for row in rows] == ["summary"] * 3
    assert (total["event"], total["files"], total["unread"]) == ("total", 3, 0)
    scored = sum(row["scored"] for row in rows)
    logprob = math.fsum(row["logprob"] or 0 for row in rows)
    assert total["scored"] == scored
    assert total["perplexity"] == pytest.approx(math.exp(-logprob / scored))
    size = sum(row["bytes"] for row in rows)
    assert total["bits_per_byte"] == pytest.approx(-logprob / math.log(2) / size)
    for name in ("ranks", "entropy_bits", "accuracy"):
        assert total[name] == merged(name, rows)


def merged(name: str, rows: list[dict[str, Any]]) -> Any:
    """A part of the total, from the rows."""
    values = [row[name] for row in rows]
    if name == "entropy_bits":
        return [sum(column) for column in zip(*values, strict=True)]
    if name == "ranks":
        return {key: sum(value[key] for value in values) for key in values[0]}
    scored = [row["scored"] for row in rows]
    parts = list(zip(values, scored, strict=True))
    return {
        key: pytest.approx(sum((v[key] or 0) * n for v, n in parts) / sum(scored))
        for key in values[0]
    }


def test_summary_numbers_equal_those_of_json_and_plain(files: list[str]) -> None:
    alone = run("inspect", "--json", files[0]).events[-1]
    row = run("score", "--json", *files).events[0]
    assert row == alone
    plain = run("inspect", files[0]).out
    assert f"bits/byte        {row['bits_per_byte']:.3f}\n" in plain


def test_tsv_has_the_numbers_of_json(files: list[str]) -> None:
    *rows, _ = run("score", "--json", *files).events
    told = io.StringIO(run("score", "--tsv", *files).out)
    *lines, total = csv.DictReader(told, delimiter="\t")
    assert total["file"] == "total of 3"
    for line, row in zip(lines, rows, strict=True):
        assert line["file"] == row["file"] and "ranks" not in line
        for name in ("logprob", "perplexity", "min_k", "bits_per_zlib_bit"):
            if row[name] is None:
                assert line[name] == ""
            else:
                assert float(line[name]) == pytest.approx(row[name], abs=1e-5)


def test_every_row_of_tsv_has_the_same_cells(tmp_path: Path) -> None:
    """JSON says of rewritten characters only where there are any."""
    folder = tiny.save_llama(tmp_path / "model")
    backend = Tokenizer.from_file(str(folder / "tokenizer.json"))
    backend.normalizer = normalizers.NFC()
    backend.save(str(folder / "tokenizer.json"))
    for name, text in (("a.txt", "plain text"), ("b.txt", "cafe\u0301 x")):
        (tmp_path / name).write_text(text, encoding="utf-8")
    names = [str(tmp_path / "a.txt"), str(tmp_path / "b.txt")]
    engine = LocalEngine.open(str(folder), device="cpu")
    *rows, _ = run("score", "--json", *names, engine=engine).events
    assert [row.get("rewritten") for row in rows] == [None, 2]
    told = io.StringIO(run("score", "--tsv", *names, engine=engine).out)
    for line, row in zip(csv.DictReader(told, delimiter="\t"), rows, strict=False):
        assert int(line["rewritten"]) == row.get("rewritten", 0)
        assert None not in line and None not in line.values()
        assert line["precision"] == row["precision"]
        assert int(line["bytes"]) == row["bytes"]


@pytest.mark.parametrize(
    ("flags", "error"),
    [
        (["--stride", "8"], "--pairs and --stride exclude each other"),
        (["--against-adapter", "x"], "--pairs and --against-adapter exclude"),
    ],
)
def test_flags_are_refused_by_their_own_names(flags: list[str], error: str) -> None:
    done = run("score", "-", "--pairs", *flags, stdin="a\tb")
    assert (done.code, done.out) == (2, "") and error in done.err


def test_columns_that_there_are_not_are_refused(files: list[str]) -> None:
    for column in ("size", "gain"):
        done = run("score", "--sort", column, *files)
        assert (done.code, done.out) == (2, "")
        assert f"no such column: {column}" in done.err


@pytest.mark.parametrize(("column", "first"), [("tokens", "b.txt"), ("file", "a.txt")])
def test_sort_orders_rows_by_a_column(
    files: list[str], column: str, first: str
) -> None:
    done = run("score", "--sort", column, *files)
    shown = names(done.out)[1:-1]
    if column == "file":
        assert shown == ["a.txt", "b.txt", "c.txt"]
        return
    assert first in shown[0]
    numbers = [cell.rstrip("%") for cell in cells(done.out, column)[:-1]]
    known = [float(cell) for cell in numbers if cell != "–"]
    assert known == sorted(known, reverse=True)
    assert numbers[len(known) :] == ["–"] * (len(numbers) - len(known))


def test_sorted_json_has_the_same_lines(files: list[str]) -> None:
    plain = run("score", "--json", *files).out.splitlines()
    ordered = run("score", "--json", "--sort", "tokens", *files)
    assert sorted(ordered.out.splitlines()) == sorted(plain)
    assert json.loads(ordered.out.splitlines()[-1])["event"] == "total"


def test_unreadable_file_does_not_stop_the_other_rows(
    files: list[str], tmp_path: Path
) -> None:
    missing = str(tmp_path / "missing")
    done = run("score", files[0], missing, str(tmp_path), files[1])
    assert done.code == 2
    assert done.err.count("error: ") == 2
    assert names(done.out) == ["file", "b.txt", "a.txt", "2"]
    events = run("score", "--json", files[0], missing).events
    assert (events[-1]["files"], events[-1]["unread"]) == (1, 1)


def test_no_model_is_loaded_if_every_file_is_unreadable(tmp_path: Path) -> None:
    names = [str(tmp_path / name) for name in ("x", "y")]
    script = {"missing": "it must not be asked for"}
    done = run("score", *names, script=script)
    assert (done.code, done.out) == (2, "")
    assert done.err.count("error: there is no such file") == 2


@pytest.mark.parametrize("arguments", [[], ["--sort", "tokens"], ["--json"]])
def test_ctrl_c_leaves_the_rows_of_whole_texts(
    files: list[str], arguments: list[str]
) -> None:
    """The third file is too short to be interrupted; it comes first here."""
    order = [files[2], *files[:2]]
    done = run("score", *arguments, *order, script={"interrupt": 1})
    assert (done.code, done.err) == (130, "")
    assert "c.txt" in done.out.splitlines()[-1]
    assert not {"total", "b.txt"} & set(names(done.out))
    assert arguments != ["--json"] or [e["event"] for e in done.events] == ["summary"]


def test_summary_shows_two_models_side_by_side(files: list[str]) -> None:
    ask = ("score", "--against", "other", *files)
    done = run(*ask, script=OTHER)
    head = done.out.splitlines()[0].split()
    assert head[1:] == [
        *("perplexity", "other-ppl", "bits/byte", "other-b/b", "gain", "file"),
    ]
    assert len(done.out.splitlines()[0]) <= 80
    own = run("score", *files)
    assert cells(done.out, "perplexity") == cells(own.out, "perplexity")
    gains = [
        float(g.replace(",", "").replace("−", "-"))
        for g in cells(done.out, "gain")
        if g != "–"
    ]
    assert gains[-1] == pytest.approx(sum(gains[:-1]), abs=0.2)
    assert run(*ask, "--sort", "gain", script=OTHER).code == 0
    events = run(*ask, "--json", script=OTHER).events
    first, second, compared = events[:3]
    assert [e["event"] for e in events[-3:]] == ["total", "total", "comparison"]
    assert (first["model"], second["model"]) == ("fake", "other")
    assert compared["logprob"] == first["logprob"]
    assert compared["other_logprob"] == second["logprob"]


def test_summary_on_a_terminal_has_every_row_in_80_columns(files: list[str]) -> None:
    code, written = run_in_terminal("score", "--sort", "file", *files)
    assert code == 0
    # Without progress that was drawn and erased.
    progress = re.compile(r"\x1b\[\?25l.*?\x1b\[1A\x1b\[2K", re.DOTALL)
    lines = progress.sub("", written.decode()).splitlines()
    assert max(map(len, lines)) <= 80
    assert {line[-5:] for line in lines[1:4]} == set(TEXTS)
    assert lines[-1].endswith("total of 3")
    assert all("…" in line for line in lines[1:4])
