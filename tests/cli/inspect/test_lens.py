"""`lmtui lens`: a line a token, a row a layer."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.program import run

FIELDS = ["event", "index", "start", "end", "id", "text", "bytes", "layers"]
ROW = ["layer", "logprob", "rank", "entropy"]
ROW += ["varentropy", "effective_choices", "typicality", "top"]
TEXT = "Naïve café\n\tBrücke 橋"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A small text with characters of several bytes."""
    path = tmp_path / "text.txt"
    path.write_bytes(TEXT.encode())
    return path


def test_lens_lines_have_the_numbers_of_the_token_lines(file: Path) -> None:
    *columns, whole = run("lens", str(file)).events
    *tokens, summary = run("inspect", str(file), "--json").events
    assert whole == summary
    assert len(columns) == len(tokens) == len(TEXT.encode())
    for column, token in zip(columns, tokens, strict=True):
        assert list(column) == FIELDS and column["event"] == "lens"
        assert {k: v for k, v in column.items() if k not in ("event", "layers")} == {
            name: token[name] for name in FIELDS[1:-1]
        }
    assert columns[0]["layers"] == []
    for column, token in zip(columns[1:], tokens[1:], strict=True):
        rows = column["layers"]
        assert [row["layer"] for row in rows] == [0, 1, 2, 3, 4]
        for row in rows:
            assert list(row) == ROW and len(row["top"]) == 1
            assert list(row["top"][0]) == ["id", "text", "logprob"]
            assert (row["rank"] == 1) == (row["top"][0]["id"] == column["id"])
        last = {name: rows[-1][name] for name in ROW[1:-1]}
        assert last == {name: token[name] for name in last}


def test_top_lists_more(file: Path) -> None:
    more = run("lens", str(file), "--top", "3", "--bos", "yes").events
    assert all(len(row["top"]) == 3 for row in more[0]["layers"])
    none = run("lens", str(file), "--top", "0").events
    assert none[1]["layers"][0]["top"] == []
