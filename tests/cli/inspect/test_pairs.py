"""`lmtui score --pairs`: rows, accuracy, and files that hold no pairs."""

from __future__ import annotations

import csv
import io
import json
import math
from pathlib import Path

import pytest

from lmtui import notation
from lmtui.cli.inspect.pairs import read_pairs
from lmtui.files import read_file
from tests.cli.program import run
from tests.engine import tiny

PAIRS = [
    ("The cat sat on the mat.", "The cat sit on the mat."),
    ("the dog", "the dogs"),
    ("the naïve façade", "the naïf façade"),
    ('that "quoted" fox', "that 'quoted\" fox"),
]
FIELDS = ["line", "sentence_good", "sentence_bad", "logprob_good", "logprob_bad"]
FIELDS += ["difference", "first_difference", "token_good", "token_bad", "correct"]
SUMMARY = ["event", "file", "model", "precision", "dtype", "pairs", "compared"]
SUMMARY += ["correct", "accuracy"]


BAD_FILES = [
    (b"", "line 1"),
    (b"sentence_good\tsentence_bad\n", "line 1"),
    (b"a\tb\na\tb\tc\n", "line 2"),
    (b"a\tb\n\nab", "line 3"),
    (b"a\tb\na\t \n", "line 2"),
    (b"a\tb\na\t\xff\n", "line 2"),
    (b"a\tb\na\t" + b"long " * 2000, "line 2"),
    (b"[" * 10_000, "line 1"),
    (b'{"a":' * 10_000, "line 1"),
    (b'{"sentence_good": "a", "sentence_bad": "\\ud800"}', "line 1"),
    (b'{"sentence_good": "a", "sentence_bad": ""}', "line 1"),
    (b'{"sentence_good": "a"}', "line 1"),
    (b'{"sentence_good": 1, "sentence_bad": 2}', "line 1"),
    (b'{"sentence_good": ["a"], "sentence_bad": ["b"]}', "line 1"),
]
"""Files that hold no pairs, each with the line of the error."""


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "pairs.tsv"
    path.write_text("".join(f"{good}\t{bad}\n" for good, bad in PAIRS))
    return str(path)


@pytest.mark.parametrize("family", ["llama", "gemma3"])
@pytest.mark.parametrize("bos", ["no", "yes"])
def test_numbers_are_those_of_each_sentence_alone(
    file: str, family: str, bos: str
) -> None:
    engine = tiny.engine(family)
    done = run("score", "--pairs", file, "--json", "--bos", bos, engine=engine)
    *events, summary = done.events
    assert list(summary) == SUMMARY and summary["file"] == file
    for event, pair in zip(events, PAIRS, strict=True):
        assert list(event) == ["event", *FIELDS]
        encodings = [engine.encode(text, bos=bos) for text in pair]  # type: ignore
        good, bad = (
            math.fsum(
                token.logprob or 0.0
                for token in engine.score(encoding.ids, prefix=encoding.prefix)
            )
            for encoding in encodings
        )
        values = [event[name] for name in FIELDS[3:6]]
        assert values == pytest.approx([good, bad, good - bad], abs=1e-3)
        assert event["correct"] == (good > bad)
    compared = [event["correct"] for event in events]
    assert (summary["pairs"], summary["compared"]) == (len(PAIRS), len(compared))
    assert summary["correct"] == sum(compared)
    assert summary["accuracy"] == sum(compared) / len(compared)


def test_tsv_and_table_have_the_same_rows(file: str) -> None:
    *events, summary = run("score", "--pairs", file, "--json").events
    head, *rows = csv.reader(
        io.StringIO(run("score", "--pairs", file, "--tsv").out), delimiter="\t"
    )
    lines, numbers = run("score", "--pairs", file).out.split("\n\n")
    assert head == FIELDS
    for event, row, line in zip(events, rows, lines.split("\n")[1:], strict=True):
        assert row[1:3] == [event["sentence_good"], event["sentence_bad"]]
        expected = [event[name] for name in FIELDS[3:6]]
        assert [float(cell) for cell in row[3:6]] == pytest.approx(expected, abs=1e-5)
        assert row[9] == str(event["correct"])
        shown = [str(event["line"]), *map(notation.number, expected)]
        assert line.split()[:4] == shown
    assert f"accuracy {notation.percent(summary['accuracy'])}: " in numbers


def test_first_difference_is_the_token_that_it_comes_from() -> None:
    text = "abc\tabxc\nab\tab\nab\tabc\n"
    *rows, summary = run("score", "--pairs", "-", "--json", stdin=text).events
    shown = [[row[name] for name in FIELDS[6:9]] for row in rows]
    assert shown == [[2, "c", "x"], [2, "", ""], [2, "", "c"]]
    same, shorter = rows[1:]
    assert (same["difference"], same["correct"]) == (0, False)
    assert shorter["difference"] > 0 and shorter["correct"]
    assert summary["compared"] == 3


@pytest.mark.parametrize(
    "text",
    [
        'The cat is.\tThe "cat" are.\n\nça\t橋',
        '\ufeffThe cat is.\tThe "cat" are.\r\n\r\nça\t橋\r\n',
        '{"sentence_good": "The cat is.", "sentence_bad": "The \\"cat\\" are."}\n\n'
        '{"UID": 1, "sentence_bad": "橋", "sentence_good": "ça"}\n',
    ],
)
def test_both_formats_are_read(text: str, tmp_path: Path) -> None:
    (tmp_path / "pairs").write_bytes(text.encode())
    read = read_pairs(read_file(str(tmp_path / "pairs")))
    assert read == [(1, "The cat is.", 'The "cat" are.'), (3, "ça", "橋")]


def test_pairs_come_from_stdin_and_first_tokens_need_a_bos() -> None:
    row = json.dumps({"sentence_good": "abc", "sentence_bad": "xbc"})
    done = run("score", "--pairs", "-", "--json", stdin=f"{row}\n")
    pair, summary = done.events
    assert pair["difference"] is pair["correct"] is summary["accuracy"] is None
    assert "1 pair not compared" in done.err and "--bos yes" in done.err
    text = "abc\txbc\nabc\tabd\n"
    _, apart, together = run("score", "--pairs", "-", stdin=text).out.split("\n")[:3]
    assert apart.split()[:4] == ["1", *[notation.NONE] * 3]
    assert notation.NONE not in together.split()
    flags = ["--json", "--bos", "yes"]
    done = run("score", "--pairs", "-", *flags, stdin=f"{row}\n")
    assert done.err == "" and done.events[0]["difference"] is not None


@pytest.mark.parametrize("form", ["--json", "--tsv", "--bos=yes"])
@pytest.mark.parametrize(
    ("data", "line"),
    BAD_FILES,
    ids=range(len(BAD_FILES)),
)
def test_bad_file_is_one_error_with_its_line(
    tmp_path: Path, form: str, data: bytes, line: str
) -> None:
    (tmp_path / "bad").write_bytes(data)
    done = run("score", "--pairs", str(tmp_path / "bad"), form)
    assert (done.code, done.out) == (2, "")
    error, hint = done.err.splitlines()
    assert error.startswith("error: ") and line in error and hint.startswith("hint: ")


@pytest.mark.parametrize(
    "flags", [["--window", "64"], ["--against", "ngram:0"], ["--sort", "file"]]
)
def test_flags_that_pairs_would_not_use_are_refused(
    file: str, flags: list[str]
) -> None:
    done = run("score", *flags, "--pairs", file)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith(f"error: --pairs and {flags[0]} exclude each other")


def test_ctrl_c_leaves_whole_rows(file: str) -> None:
    done = run("score", "--pairs", file, "--json", script={"interrupt": 1})
    assert (done.code, done.err) == (130, "")
    assert len(done.events) < len(PAIRS)
