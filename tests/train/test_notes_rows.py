"""Rows of a `.jsonl` file: what they say, and what is wrong with each."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmtui.engine.types import ChatTurn
from lmtui.train.notes import Completion, ExampleRow, read_rows

NEITHER = (
    "neither messages, nor prompt and completion, nor conversations, nor instruction "
    "and output, nor text"
)
ANSWER = {"role": "assistant", "content": "b"}


def rows(*values: Any) -> list[ExampleRow]:
    """The rows of a file with these values, strings being lines as they are."""
    lines = (v if isinstance(v, str) else json.dumps(v) for v in values)
    return list(read_rows("\n".join(lines)))


def test_a_row_is_a_text_a_completion_or_a_conversation() -> None:
    assert rows({"text": " a\u2028b\n"}) == [ExampleRow(1, " a\u2028b\n")]
    pair = {"prompt": "", "completion": "b", "text": "c"}
    assert rows(pair) == [ExampleRow(1, Completion("", "b"))]
    turns = [
        {"role": "system", "content": ""},
        {"role": "user", "content": "a", "name": "Ann"},
        ANSWER,
    ]
    assert rows({"messages": turns, "text": "c", "id": 7}) == [
        ExampleRow(
            1,
            (ChatTurn("system", ""), ChatTurn("user", "a"), ChatTurn("assistant", "b")),
        )
    ]


def test_only_newlines_end_a_row_and_empty_lines_are_none() -> None:
    text = '{"text": "a\u2028b\x85c"}\n\n \t\n{"text":\t"d"}  \n'
    assert list(read_rows(text)) == [ExampleRow(1, "a\u2028b\x85c"), ExampleRow(4, "d")]
    assert list(read_rows("")) == []


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ('{"text": "a', "not JSON: Unterminated string starting at, column 10"),
        ('{"text": "a"} {', "not JSON: Extra data, column 15"),
        ("[" * 100_000, "not JSON that can be read: maximum recursion depth exceeded"),
        ("9" * 5000, "not JSON that can be read: Exceeds the limit (4300 digits)"),
        ([1], "not a JSON object"),
        ("null", "not a JSON object"),
        ({}, NEITHER),
        ({"prompt": "a"}, NEITHER),
        ({"text": None}, "text is not a text"),
        ({"text": " \n"}, "text is empty"),
        ({"text": "a\ud800"}, "text has an unpaired UTF-16 surrogate"),
        ({"prompt": 1, "completion": "b"}, "prompt is not a text"),
        ({"prompt": "a", "completion": ""}, "completion is empty"),
        ({"messages": "a"}, "messages is not a list"),
        ({"messages": []}, "no assistant message to learn from"),
        (
            {"messages": [{"role": "user", "content": "a"}]},
            "no assistant message to learn from",
        ),
        (
            {"messages": [ANSWER | {"content": " "}]},
            "no assistant message to learn from",
        ),
        ({"messages": [ANSWER, 1]}, "message 2 is not a JSON object"),
        ({"messages": [{"content": "a"}]}, "message 1 has no role"),
        ({"messages": [{"role": ["a"]}]}, "message 1 has no role"),
        (
            {"messages": [ANSWER, {"role": "tool", "content": "a"}]},
            'message 2 has the unknown role "tool"',
        ),
        (
            {"messages": [{"role": "\ud800" + "x" * 99, "content": "a"}]},
            'message 1 has the unknown role "\\ud800' + "x" * 39 + '"',
        ),
        (
            {"messages": [ANSWER, ANSWER | {"content": None}]},
            "the content of message 2 is not a text",
        ),
        ({"conversations": {}}, "conversations is not a list"),
        (
            {"conversations": [{"from": "observation", "value": "x"}]},
            'message 1 has the unknown role "observation"',
        ),
        (
            {"conversations": [{"from": "gpt"}]},
            "the content of message 1 is not a text",
        ),
        ({"instruction": "a", "output": ""}, "output is empty"),
        ({"instruction": "a", "output": 3}, "output is not a text"),
        (
            {"instruction": "a", "output": "b", "history": [["c", "d"]]},
            "history is not read; give such rows as messages",
        ),
    ],
)
def test_a_row_that_cannot_be_used_says_why(value: Any, problem: str) -> None:
    (row,) = rows(value)
    assert row.content is None
    assert row.problem.startswith(problem)


def test_rows_of_one_file_may_be_of_different_kinds() -> None:
    read = rows({"a": 1}, {"text": "x"}, {"messages": [ANSWER]}, {"text": "y"}, "{")
    assert [row.line for row in read] == [1, 2, 3, 4, 5]
    answer = (ChatTurn(**ANSWER),)
    assert [row.content for row in read] == [None, "x", answer, "y", None]
    assert rows({"prompt": "a", "completion": "b"}, {"text": "x"})[1].content == "x"
    (half,) = rows({"prompt": "a"})
    assert half.problem == NEITHER


@given(st.text())
def test_any_text_gives_rows_or_problems(text: str) -> None:
    for row in read_rows(text):
        assert (row.content is None) == bool(row.problem)


@given(st.lists(st.text().filter(str.strip), max_size=5), st.booleans())
def test_written_rows_are_read_back(texts: list[str], ascii_only: bool) -> None:
    lines = (json.dumps({"text": text}, ensure_ascii=ascii_only) for text in texts)
    assert [row.content for row in read_rows("\n".join(lines))] == texts


def test_rows_of_sharegpt_and_alpaca_are_conversations() -> None:
    turns = [
        {"from": "system", "value": "s"},
        {"from": "human", "value": "a"},
        {"from": "gpt", "value": "b"},
        {"from": "user", "value": "c"},
        {"from": "assistant", "value": "d"},
    ]
    roles = ("system", "user", "assistant", "user", "assistant")
    wanted = tuple(
        ChatTurn(role, text) for role, text in zip(roles, "sabcd", strict=True)
    )
    assert rows({"conversations": turns, "id": 1}) == [ExampleRow(1, wanted)]
    asked = ChatTurn("user", "a\nc"), ChatTurn("assistant", "b")
    row = {"instruction": "a", "input": "c", "output": "b", "text": "all of it"}
    assert rows(row) == [ExampleRow(1, asked)]
    short = {"instruction": "a", "output": "b", "input": None}
    assert rows(short) == [ExampleRow(1, (ChatTurn("user", "a"), asked[1]))]
    both = (ChatTurn("system", "s"), *asked)
    assert rows(row | {"system": "s", "history": []}) == [ExampleRow(1, both)]
