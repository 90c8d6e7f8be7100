"""`--schema`, `--regex` and `--grammar`: what they do, and what they refuse."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from jsonschema import validate

from lmtui.engine.grammar.text import LONGEST
from lmtui.engine.sampling_settings import SamplingSettings
from tests.cli.program import run
from tests.cli.test_complete import run as complete

PARIS = {"engine": {"answers": ["It is Paris."]}}
SCHEMA = {
    "type": "object",
    "properties": {"n": {"type": "integer", "minimum": 0, "maximum": 99}},
    "required": ["n"],
    "additionalProperties": False,
}
GBNF = 'root ::= "a"{1,3} ("b" | "c")\n'


@pytest.fixture
def schema(tmp_path: Path) -> Path:
    """A file with a schema."""
    path = tmp_path / "schema.json"
    path.write_text(json.dumps(SCHEMA), encoding="utf-8")
    return path


@pytest.mark.parametrize("begun", ["The cat", "As JSON: "])
def test_a_completion_is_json_that_the_schema_allows(schema: Path, begun: str) -> None:
    done = complete(
        "complete", "-", "--print", "--schema", str(schema), stdin=begun.encode()
    )
    assert (done.code, done.err) == (0, "")
    validate(json.loads(done.out), SCHEMA)


def test_each_token_tells_what_the_grammar_allows() -> None:
    done = complete(
        "complete", "-", "--json", "--regex", "The (cat|dog)!", stdin=b"the "
    )
    start, *tokens, end = done.events
    assert start["sampling"]["grammar"] == "/The (cat|dog)!/"
    assert start["typed"] == ""
    for token in tokens:
        assert 1 <= token["allowed"] < 400 and 0 <= token["allowed_prob"] <= 1
        assert isinstance(token["forced"], bool)
        assert all(row["cut"] in (None, "s", "g") for row in token["top"])
    said = "".join(each["piece"] for each in (*tokens, end))
    assert re.fullmatch("The (cat|dog)!", said)
    assert end["finish"] == "stop"


def test_a_grammar_from_a_file_is_followed(tmp_path: Path) -> None:
    file = tmp_path / "rules.gbnf"
    file.write_text(GBNF, encoding="utf-8")
    done = complete("complete", "-", "--print", "--grammar", str(file), stdin=b"a")
    assert re.fullmatch("a{1,3}[bc]\n", done.out)


@pytest.mark.parametrize("flags", [["--regex", "[0-9]{4}"], ["--single-line"]])
def test_what_only_print_has_is_refused_in_the_editor(flags: list[str]) -> None:
    done = complete("complete", "-", *flags, stdin=b"a")
    assert (done.code, done.out) == (2, "")
    assert "a grammar and --single-line need --print" in done.err


def test_a_chat_is_given_the_whole_text_of_its_grammar(schema: Path) -> None:
    done = run("chat", "--once", "a", "--json", "--schema", str(schema), script=PARIS)
    assert done.code == 0
    grammar = done.events[0]["sampling"]["grammar"]
    assert json.loads(grammar) == SCHEMA
    assert SamplingSettings(grammar=grammar).grammar == grammar


def test_a_preset_has_a_grammar(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(
        '[presets.year]\ngrammar = "/[0-9]{4}/"\n', encoding="utf-8"
    )
    home = {"LMTUI_HOME": str(tmp_path)}
    asked = ["chat", "--once", "a", "--json", "--preset", "year"]
    done = run(*asked, script=PARIS, env=home)
    assert done.events[0]["sampling"]["grammar"] == "/[0-9]{4}/"
    other = run(*asked, "--regex", "yes|no", script=PARIS, env=home)
    assert other.events[0]["sampling"]["grammar"] == "/yes|no/"


@pytest.mark.parametrize(
    ("flag", "text", "words"),
    [
        ("--schema", "{", "line 1, column 2"),
        ("--schema", '{"not": {}}', "not"),
        ("--grammar", "start: (", "line 1"),
        ("--grammar", 'root ::= "a" b\n', "no rule is named b"),
        ("--grammar", "x" * (LONGEST + 1), "too long"),
        ("--regex", "(?<=a)b", "look-around"),
    ],
    ids=lambda value: value[:12],
)
def test_what_is_no_grammar_is_refused_with_its_place_before_a_model_loads(
    flag: str, text: str, words: str, tmp_path: Path
) -> None:
    value = text
    if flag != "--regex":
        file = tmp_path / "file"
        file.write_text(text, encoding="utf-8")
        value = str(file)
    done = run("chat", "--once", "a", flag, value, script={"missing": "x"})
    assert (done.code, done.out) == (2, "")
    assert words in done.err
    both = run("chat", "--once", "a", flag, value, "--regex", "a", "--schema", value)
    assert both.code == 2 and "one grammar only" in both.err
