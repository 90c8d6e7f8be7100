"""`lmtui score --words`: a row a word, in a table, as TSV and as JSON."""

from __future__ import annotations

import csv
import io
import math
from pathlib import Path

import pytest

from tests.cli.program import run

FIELDS = ["file", "word", "sentence", "start", "end", "tokens"]
FIELDS += ["surprisal", "logprob", "naive_logprob", "entropy"]
TEXT = 'Naïve "café".\n\tBrücke 橋 end\n'


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "text.txt"
    path.write_bytes(TEXT.encode())
    return path


def test_json_has_a_line_for_each_word_and_the_summary(file: Path) -> None:
    *words, summary = run("score", str(file), "--words", "--json").events
    assert all(list(word) == ["event", *FIELDS] for word in words)
    assert [word["word"] for word in words] == TEXT.split()
    assert [TEXT[word["start"] : word["end"]] for word in words] == TEXT.split()
    assert [word["sentence"] for word in words] == [1, 1, 2, 2, 2]
    # The fake's tokens are bytes; white space counts to the word behind it.
    assert [word["tokens"] for word in words] == [6, 9, 9, 4, 4]
    first, *others = words
    assert first["logprob"] is first["naive_logprob"] is first["entropy"] is None
    assert all(word["logprob"] < 0 < word["entropy"] for word in others)
    *tokens, alone = run("inspect", str(file), "--json").events
    assert summary == alone
    naive = math.fsum(word["naive_logprob"] for word in others)
    after = [t["logprob"] for t in tokens[6:-1]]
    assert naive == pytest.approx(math.fsum(after))


def test_tsv_has_the_fields_of_json_and_the_table_is_in_bits(file: Path) -> None:
    *events, _ = run("score", str(file), "--words", "--json").events
    done = run("score", str(file), str(file), "--words", "--tsv")
    head, *rows = csv.reader(io.StringIO(done.out), delimiter="\t")
    assert head == FIELDS and rows[: len(events)] == rows[len(events) :]
    table = run("score", str(file), "--words").out
    heads, *lines = table.partition("\n\n")[0].splitlines()
    assert heads.split() == [*FIELDS[2:6], "bits", "naive", "entropy", "word"]
    for event, row, line in zip(events, rows[: len(events)], lines, strict=True):
        counts = [str(event[name]) for name in FIELDS[2:6]]
        assert row[:6] == [str(file), event["word"], *counts]
        assert line.split()[:4] == counts and line.endswith(f"  {event['word']}")
        if event["logprob"] is None:
            assert row[6:] == [""] * 4 and line.split()[4:7] == ["–"] * 3
            continue
        numbers = [event[name] for name in FIELDS[6:]]
        assert [float(cell) for cell in row[6:]] == pytest.approx(numbers, abs=1e-6)
        bits = [abs(number) / math.log(2) for number in numbers[1:]]
        assert event["surprisal"] == pytest.approx(bits[0])
        assert line.split()[4:7] == [f"{value:.1f}" for value in bits]
    sums = [math.fsum(event[name] or 0.0 for event in events) for name in FIELDS[6:9]]
    total = table.partition("\n\n")[2]
    assert total == (
        f"5 words, 4 scored: surprisal {sums[0]:.1f} bits (naive "
        f"{-sums[2] / math.log(2):.1f}), {sums[0] / 4:.1f} bits a word\n"
        "fake (exact, float32), without BOS\n"
    )


def test_two_models_stand_side_by_side_where_both_have_a_word(file: Path) -> None:
    script = {"models": {"other": {"name": "other", "seed": 5}}}
    ask = ("score", str(file), "--words", "--against", "other")
    *words, own, other = run(*ask, "--json", script=script).events
    alone = run("score", str(file), "--words", "--json", script=script).events
    theirs = run(*ask[:3], "--model", "other", "--json", script=script).events
    assert (own, other) == (alone.pop(), theirs.pop())
    assert len(words) == len(alone) == len(theirs)
    named = ("surprisal", "logprob", "naive_logprob", "entropy")
    for word, mine, its in zip(words, alone, theirs, strict=True):
        assert list(word.items())[: len(mine)] == list(mine.items())
        assert [word[f"other_{name}"] for name in named] == [its[n] for n in named]
    assert words[1]["logprob"] != words[1]["other_logprob"]
    head, *rows = csv.reader(
        io.StringIO(run(*ask, "--tsv", script=script).out), delimiter="\t"
    )
    assert head == [*FIELDS, *(f"other_{name}" for name in named)]
    assert len(rows) == len(words)
    table = run(*ask, script=script).out
    heads, *lines = table.partition("\n\n")[0].splitlines()
    assert heads.split() == [*FIELDS[2:6], "bits", "naive", "entropy", "other", "word"]
    bits = [word["other_surprisal"] for word in words]
    assert [line.split()[7] for line in lines] == [
        "–" if number is None else f"{number:.1f}" for number in bits
    ]


def test_several_files_are_named_in_the_table(file: Path) -> None:
    done = run("score", str(file), "-", "--words", stdin="one two")
    assert done.out.startswith(f"{file}\n") and "\n\n-\n" in done.out


@pytest.mark.parametrize("text", ["", " \n", "word", "\x1b[2J\u202e", "橋"])
@pytest.mark.parametrize("form", ["--json", "--tsv", "--words"])
def test_any_text_has_its_words(text: str, form: str) -> None:
    done = run("score", "-", "--words", form, stdin=text)
    assert done.code == 0
    assert not {"nan", "inf", "None"} & set(done.out.split())


@pytest.mark.parametrize("form", ["--json", "--tsv"])
def test_ctrl_c_leaves_whole_rows(form: str) -> None:
    done = run("score", "-", "--words", form, stdin="a b c", script={"interrupt": 1})
    assert (done.code, done.err) == (130, "")
    assert done.out.endswith("\n") and "c" not in done.out.split("\n")[-2].split("\t")


@pytest.mark.parametrize(
    ("flags", "error"),
    [
        (["--words", "--pairs"], "--words and --pairs exclude each other"),
        (["--words", "--sort", "file"], "--words and --sort exclude each other"),
        (["--words", "--tsv", "--json"], "--json and --tsv exclude each other"),
        (["--words", "--against", "ngram:0"], "counting gives tokens alone: ngram:0"),
    ],
)
def test_flags_that_do_not_fit_are_refused(flags: list[str], error: str) -> None:
    done = run("score", "-", *flags, stdin="a b")
    assert (done.code, done.out) == (2, "")
    title, hint = done.err.splitlines()
    assert title == f"error: {error}" and hint.startswith("hint: ")
