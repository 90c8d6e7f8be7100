"""Text of a grammar: a JSON schema, a regular expression, or rules as Lark or GBNF.

Reads the text and what can be checked without a tokenizer. Knows no model and no
library for grammars.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from lmtui.errors import LmtuiError

Kind = Literal["schema", "regex", "lark", "gbnf"]

LONGEST = 1 << 18
"""Bytes of a grammar's text in UTF-8."""
NAMES: dict[Kind, str] = {
    "schema": "JSON schema",
    "regex": "regular expression",
    "lark": "Lark grammar",
    "gbnf": "GBNF grammar",
}
"""What each kind is called."""

_GBNF_RULE = re.compile(r"^[ \t]*[\w-]+[ \t]*::=", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Grammar:
    """Grammar of an answer's whole text. Its text fits the limits, and a schema is
    JSON; whether it can be used is known once it is compiled."""

    kind: Kind
    text: str

    def __post_init__(self) -> None:
        """Check the text.

        Raises:
            LmtuiError: it is too long, holds no Unicode text, or is no JSON schema.
        """
        try:
            size = len(self.text.encode())
        except UnicodeEncodeError as error:
            raise refused(self.kind, "it has a lone surrogate") from error
        if size > LONGEST:
            detail = f"it has {size:,} bytes, the most is {LONGEST:,}"
            raise refused(self.kind, detail, "Use a shorter one.")
        if self.kind == "schema":
            parsed_schema(self.text)

    @classmethod
    def of_schema(cls, schema: object) -> Grammar:
        """Return the grammar of a schema that is parsed already.

        Raises:
            LmtuiError: it is no JSON schema.
        """
        return cls("schema", json.dumps(schema, ensure_ascii=False))

    @property
    def setting(self) -> str:
        """The text from which `grammar_of` makes it again."""
        if self.kind != "regex":
            return self.text
        text = self.text or "(?:)"
        # Two slashes begin a comment of Lark.
        return f"/[/]{text[1:]}/" if text.startswith("/") else f"/{text}/"


@lru_cache(16)
def grammar_of(setting: str) -> Grammar:
    """Return the grammar that the text of a setting holds: a JSON schema, a regular
    expression between slashes, or rules as Lark or GBNF.

    Raises:
        LmtuiError: it can't be one of these.
    """
    text = setting.strip()
    if text.startswith("/") and not text.startswith("//"):
        if len(text) < 2 or not text.endswith("/"):
            hint = "Write it between slashes: /[0-9]+/."
            raise refused("regex", "it has no slash at its end", hint)
        return Grammar("regex", text[1:-1])
    if text in ("true", "false"):
        return Grammar("schema", text)
    return Grammar(_kind_of(Path(), setting), setting)


def rules_of(text: str) -> Grammar:
    """Return the grammar of some rules: GBNF where there is a `::=` behind a name, else
    Lark.

    Raises:
        LmtuiError: they are too long.
    """
    return Grammar("gbnf" if _GBNF_RULE.search(text) else "lark", text)


def refused(kind: Kind, detail: str, hint: str = "") -> LmtuiError:
    """Return the error for a grammar that can't be used."""
    return LmtuiError(f"the {NAMES[kind]} can't be used", detail, hint)


def parsed_schema(text: str) -> dict[str, Any] | bool:
    """Return a JSON schema as an object or a boolean.

    Raises:
        LmtuiError: the text is neither.
    """
    try:
        schema = json.loads(text, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        detail = f"line {error.lineno}, column {error.colno}: {error.msg}"
        raise refused("schema", detail, "Correct the JSON.") from error
    except RecursionError as error:
        raise refused("schema", "it is nested too deeply") from error
    except ValueError as error:
        raise refused("schema", str(error), "Correct the JSON.") from error
    if not isinstance(schema, dict | bool):
        raise refused("schema", "a schema is an object, or true or false")
    return schema


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON number")


def read_schema(path: Path) -> Grammar:
    """Return the JSON schema in a file.

    Raises:
        LmtuiError: the file can't be read, or holds no JSON schema.
    """
    return Grammar("schema", _text_of(path))


def read_grammar(path: Path) -> Grammar:
    """Return the grammar in a file: a JSON schema, or rules as Lark or GBNF, told apart
    by the name's ending, else by the text.

    Raises:
        LmtuiError: the file can't be read, or its text can't be a grammar.
    """
    text = _text_of(path)
    return Grammar(_kind_of(path, text), text)


def _kind_of(path: Path, text: str) -> Kind:
    match path.suffix.lower():
        case ".json":
            return "schema"
        case ".lark":
            return "lark"
        case ".gbnf":
            return "gbnf"
    if text.lstrip().startswith("{"):
        return "schema"
    return rules_of(text).kind


def _text_of(path: Path) -> str:
    """Return the text of a file; no more of it is read than a grammar may have."""
    try:
        with path.open("rb") as file:
            data = file.read(LONGEST + 1)
        if len(data) > LONGEST:
            detail = f"{path} has more than {LONGEST:,} bytes"
            raise LmtuiError("the file is too long for a grammar", detail)
        return data.decode("utf-8-sig")
    except OSError as error:
        detail = f"{path}: {error.strerror or error}"
        raise LmtuiError("the grammar can't be read", detail) from error
    except UnicodeDecodeError as error:
        detail = f"{path} is no UTF-8 text"
        raise LmtuiError("the grammar can't be read", detail) from error
