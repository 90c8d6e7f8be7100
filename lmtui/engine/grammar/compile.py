"""Compilation of a grammar with llguidance, and its messages in plain words.

Knows no tokenizer of this program, and no torch.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

from lmtui.engine.grammar.gbnf import rules_of_gbnf
from lmtui.engine.grammar.rules import lark_of
from lmtui.engine.grammar.text import NAMES, Grammar, parsed_schema, refused
from lmtui.errors import LmtuiError, panics_as_errors

if TYPE_CHECKING:
    from llguidance import LLMatcher, LLTokenizer

WHITESPACE = r"\x20|\n[\x20\t]{0,20}"
"""White space between the parts of JSON, where the schema's `x-guidance` has none. A
small model that may write any amount of it can write nothing else."""

# Without it, a text that is forced would be allowed in one tokenisation only.
_ALL_TOKENS = '\n%llguidance {"no_forcing": true}\n'
_PLACE = re.compile(r"^(?:at )?(\d+)\((\d+)\): ")
_IN_LARK = re.compile(
    r"^(?:at \d+\(\d+\): )?(?:failed to compile JSON schema: |"
    r"invalid regex .*? \(in regex\): )?",
    re.DOTALL,
)
_SOURCE_LINES = re.compile(r"\n *\d+ \|.*|\n<.*", re.DOTALL)
_REGEX_ERROR = re.compile(
    r"regex parse error:\n {4}.*\n {4}( *)\^.*\nerror: (.*)", re.DOTALL
)
_STATES = 50_000  # of the lexer, of about 2 kB each
_CORRECT = "Correct it, or simplify it."
_NO_PLACES = "Remove look-around, word boundaries, and ^ and $ within the expression."
_UNIMPLEMENTED = re.compile(r"Unimplemented keys: \[(.*)\]")
_LONGEST = 500  # characters of a message
_TOO_MUCH = re.compile("too (many|big|large)|limit", re.IGNORECASE)
_STACK = 256 << 20  # bytes, for the longest chain of rules that fits a grammar's text
_STARTING = threading.Lock()

T = TypeVar("T")


class _Bytes:
    """Vocabulary of all bytes, under the names that llguidance looks up."""

    tokens = (*(bytes([byte]) for byte in range(256)), b"<end>")
    special_token_ids = (256,)
    eos_token_id = 256
    bos_token_id = None

    def __call__(self, data: bytes) -> list[int]:
        return list(data)


def check_grammar(grammar: Grammar) -> None:
    """Compile `grammar` before there is a model, for the 256 bytes.

    Raises:
        LmtuiError: llguidance refuses it, or it allows no text.
    """
    compiled(grammar, _byte_tokenizer())


@cache
def _byte_tokenizer() -> LLTokenizer:
    from llguidance import LLTokenizer, TokenizerWrapper

    return LLTokenizer(TokenizerWrapper(_Bytes()))


def compiled(grammar: Grammar, tokenizer: LLTokenizer) -> LLMatcher:
    """Return the matcher of `grammar` at its beginning.

    Raises:
        LmtuiError: llguidance refuses the grammar, or no token of
            `tokenizer` can begin a text of it.
    """
    return _with_large_stack(lambda: _compiled(grammar, tokenizer))


def _with_large_stack(call: Callable[[], T]) -> T:
    """Return what `call` returns on a thread of its own. llguidance follows rules that
    refer to rules by recursion, and an overflow would end the program."""
    with ThreadPoolExecutor(1) as thread:
        with _STARTING:  # the size counts for any thread that starts meanwhile
            before = threading.stack_size(_STACK)
            try:
                answer = thread.submit(call)
            finally:
                threading.stack_size(before)
        return answer.result()


def _compiled(grammar: Grammar, tokenizer: LLTokenizer) -> LLMatcher:
    from llguidance import LLMatcher, LLParserLimits

    limits = LLParserLimits(max_lexer_states=_STATES, verbose_errors=False)
    with panics_as_errors(f"the {NAMES[grammar.kind]} can't be used"):
        matcher = LLMatcher(tokenizer, _lark_of(grammar), log_level=0, limits=limits)
        if matcher.is_error():
            raise _refusal(grammar, matcher.get_error())
        begun = matcher.deep_copy()
        begun.compute_bitmask()
    if begun.is_error():
        why = reason(begun.get_error())
        raise LmtuiError(f"the {NAMES[grammar.kind]} allows no text", why, _CORRECT)
    return matcher


def reason(message: str) -> str:
    """Return why a matcher can't go on, from llguidance's message."""
    first = message.partition("\n")[0][:_LONGEST]
    if not first or first == "NoExtensionBias":
        return "no token of this model's vocabulary can follow"
    return "this takes too much work" if _TOO_MUCH.search(first) else first


def _lark_of(grammar: Grammar) -> str:
    match grammar.kind:
        case "schema":
            return f"start: %json {_schema_text(grammar.text)}{_ALL_TOKENS}"
        case "regex":
            return f"start: /{_regex_in_lark(grammar.text)}/{_ALL_TOKENS}"
        case "gbnf":
            return lark_of(rules_of_gbnf(grammar.text)) + _ALL_TOKENS
        case "lark":
            return grammar.text + _ALL_TOKENS


def _regex_in_lark(text: str) -> str:
    from llguidance import regex_to_lark

    if (len(text) - len(text.rstrip("\\"))) % 2:  # llguidance drops the last one
        detail = f"column {len(text)}: the backslash at the end escapes nothing"
        raise refused("regex", detail, "Remove it, or double it.")
    return regex_to_lark(text, "")


def _schema_text(text: str) -> str:
    """Return a schema as JSON, with the white space that it allows."""
    schema: Any = parsed_schema(text)
    if isinstance(schema, dict):
        options = schema.get("x-guidance", {})
        if isinstance(options, dict) and "whitespace_flexible" not in options:
            options = {"whitespace_pattern": WHITESPACE, **options}
        schema = {**schema, "x-guidance": options}
    try:
        return json.dumps(schema, allow_nan=False)
    except ValueError as error:
        raise refused("schema", "a number is too large") from error


def _refusal(grammar: Grammar, message: str) -> LmtuiError:
    kind = grammar.kind
    if kind == "schema" and (keywords := _UNIMPLEMENTED.search(message)):
        names = keywords[1].replace('"', "")
        return refused(
            kind,
            f"these keywords can't be enforced: {names}",
            'Remove them, or put "x-guidance": {"lenient": true} into the schema to '
            "leave them out.",
        )
    if kind == "schema" and "oneOf constraints are not supported" in message:
        return refused(
            kind,
            "the cases of a oneOf may overlap",
            "Use anyOf, or cases that differ in a const.",
        )
    hint = _NO_PLACES if "look" in message else _CORRECT
    return refused(kind, _plain(kind, message), hint)


def _plain(kind: str, message: str) -> str:
    """Return llguidance's message without its copy of the source, the place first."""
    location = _PLACE.match(message)
    text = _IN_LARK.sub("", _PLACE.sub("", message) if location else message, count=1)
    text = _SOURCE_LINES.sub("", text).strip()
    if parsed := _REGEX_ERROR.search(text):
        column = f"column {len(parsed[1]) + 1}: " if kind == "regex" else ""
        text = f"{column}{parsed[2]}"
    text = text[:_LONGEST]
    if location and kind == "lark":
        return f"line {location[1]}, column {location[2]}: {text}"
    return text
