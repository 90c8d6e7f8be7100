"""GBNF, the grammar format of llama.cpp (grammars/README.md there)."""

from __future__ import annotations

import re

from lmtui.engine.grammar.rules import (
    Alternatives,
    Characters,
    Part,
    Reference,
    Repetition,
    Rules,
    Sequence,
)
from lmtui.engine.grammar.text import refused
from lmtui.errors import LmtuiError

_DEEPEST = 100  # groups in groups
_MOST = 2000  # repetitions of a part, as in llama.cpp
_NAME = re.compile(r"[A-Za-z0-9_-]+")
_COUNT = re.compile(r"\{\s*(\d+)\s*(?:(,)\s*(\d*)\s*)?\}")
_SPACE = re.compile(r"(?:[ \t]|#[^\r\n]*)*")
_SPACE_AND_LINES = re.compile(r"(?:\s|#[^\r\n]*)*")
_NEXT_ALTERNATIVE = re.compile(r"(?:\s|#[^\r\n]*)*\|")
_ESCAPED = {"n": "\n", "r": "\r", "t": "\t"}
_HEX_DIGITS = {"x": 2, "u": 4, "U": 8}
_ANY = (("\0", "\U0010ffff"),)
_SIGNS: dict[str, tuple[int, int | None]] = {
    "*": (0, None),
    "+": (1, None),
    "?": (0, 1),
}


def rules_of_gbnf(text: str) -> Rules:
    """Return the rules of a GBNF grammar; all that are used are there.

    Raises:
        LmtuiError: the text is no GBNF; the detail names the line and column.
    """
    return _Parser(text).rules()


class _Parser:
    """Recursive descent through a GBNF text."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._used: dict[str, int] = {}
        """Names in use, with the offset of the first use."""

    def rules(self) -> Rules:
        rules: dict[str, Part] = {}
        self._skip(_SPACE_AND_LINES)
        while self._at < len(self._text):
            start = self._at
            name = self._name()
            if name in rules:
                raise self._error(f"the rule {name} stands twice", start)
            self._skip(_SPACE)
            if not self._accept("::="):
                raise self._error("::= is expected")
            self._skip(_SPACE_AND_LINES)
            rules[name] = self._alternatives(0)
            self._require_end_of_line()
            self._skip(_SPACE_AND_LINES)
        if "root" not in rules:
            raise self._error("it has no rule named root", 0)
        for name, offset in self._used.items():
            if name not in rules:
                raise self._error(f"no rule is named {name}", offset)
        return rules

    def _alternatives(self, depth: int) -> Part:
        parts = [self._sequence(depth)]
        while self._next_alternative(depth):
            self._skip(_SPACE_AND_LINES)
            parts.append(self._sequence(depth))
        return parts[0] if len(parts) == 1 else Alternatives(tuple(parts))

    def _next_alternative(self, depth: int) -> bool:
        """Go behind the next `|`, which may stand on a new line."""
        match = _NEXT_ALTERNATIVE.match(self._text, self._at)
        if match:
            self._at = match.end()
        elif depth:
            self._skip(_SPACE_AND_LINES)
        return match is not None

    def _sequence(self, depth: int) -> Part:
        parts = []
        space = _SPACE_AND_LINES if depth else _SPACE
        while (part := self._item(depth)) is not None:
            parts.append(self._repeated(part))
            self._skip(space)
        return parts[0] if len(parts) == 1 else Sequence(tuple(parts))

    def _item(self, depth: int) -> Part | None:
        """Return the next part of a sequence; None where none follows."""
        match self._text[self._at : self._at + 1]:
            case '"':
                return self._literal()
            case "[":
                return self._character_class()
            case "(":
                return self._group(depth + 1)
            case ".":
                self._at += 1
                return Characters(_ANY)
            case "<" | "!":
                raise self._error("tokens are not supported")
        if not _NAME.match(self._text, self._at):
            return None
        start = self._at
        name = self._name()
        self._used.setdefault(name, start)
        return Reference(name)

    def _group(self, depth: int) -> Part:
        if depth > _DEEPEST:
            raise self._error(f"more than {_DEEPEST} groups stand in each other")
        self._at += 1
        self._skip(_SPACE_AND_LINES)
        inner = self._alternatives(depth)
        if not self._accept(")"):
            raise self._error(") is expected")
        return inner

    def _repeated(self, part: Part) -> Part:
        for _ in range(_DEEPEST):
            sign = self._text[self._at : self._at + 1]
            if sign in _SIGNS:
                self._at += 1
                part = Repetition(part, *_SIGNS[sign])
            elif sign == "{":
                part = Repetition(part, *self._counts())
            else:
                return part
        raise self._error(f"more than {_DEEPEST} repetitions stand in each other")

    def _counts(self) -> tuple[int, int | None]:
        match = _COUNT.match(self._text, self._at)
        if not match:
            raise self._error("{m}, {m,} or {m,n} is expected")
        least, most = int(match[1]), int(match[3] or match[1])
        if most < least or most > _MOST:
            raise self._error(f"the numbers must rise to {_MOST} at most")
        self._at = match.end()
        return least, None if match[2] and not match[3] else most

    def _literal(self) -> Part:
        start = self._at
        self._at += 1
        parts = []
        while not self._accept('"'):
            character = self._character(start)
            parts.append(Characters(((character, character),)))
        return parts[0] if len(parts) == 1 else Sequence(tuple(parts))

    def _character_class(self) -> Part:
        start = self._at
        self._at += 1
        negated = self._accept("^")
        ranges = []
        while not self._accept("]"):
            first = last = self._character(start)
            if self._text.startswith("-", self._at) and not self._text.startswith(
                "-]", self._at
            ):
                self._at += 1
                last = self._character(start)
            if last < first:
                raise self._error("the range falls")
            ranges.append((first, last))
        if not ranges and not negated:
            raise self._error("the brackets hold no character", start)
        return Characters(tuple(ranges), negated) if ranges else Characters(_ANY)

    def _character(self, start: int) -> str:
        """Return the next character of what begins at `start`, whose escape is read."""
        text, at = self._text, self._at
        if at >= len(text) or text[at : at + 2] == "\\":
            raise self._error("what begins here has no end", start)
        if text[at] != "\\":
            self._at += 1
            return text[at]
        sign = text[at + 1]
        self._at += 2
        if digits := _HEX_DIGITS.get(sign):
            number = text[self._at : self._at + digits]
            self._at += len(number)
            return self._code_point(number, digits, at)
        if sign not in _ESCAPED and sign not in '"\\[]-^':
            raise self._error(f"\\{sign} is no escape sequence", at)
        return _ESCAPED.get(sign, sign)

    def _code_point(self, number: str, digits: int, at: int) -> str:
        if not re.fullmatch(rf"[0-9A-Fa-f]{{{digits}}}", number):
            raise self._error(f"{digits} hexadecimal digits are expected", at)
        value = int(number, 16)
        if value > 0x10FFFF or 0xD800 <= value <= 0xDFFF:
            raise self._error("no character has this number", at)
        return chr(value)

    def _name(self) -> str:
        match = _NAME.match(self._text, self._at)
        if not match:
            raise self._error("a rule's name is expected")
        self._at = match.end()
        return match[0]

    def _require_end_of_line(self) -> None:
        self._skip(_SPACE)
        if self._text[self._at : self._at + 1] not in ("", "\r", "\n"):
            raise self._error("the end of the rule is expected")

    def _skip(self, space: re.Pattern[str]) -> None:
        match = space.match(self._text, self._at)
        self._at = match.end() if match else self._at

    def _accept(self, sign: str) -> bool:
        matches = self._text.startswith(sign, self._at)
        self._at += len(sign) * matches
        return matches

    def _error(self, message: str, at: int | None = None) -> LmtuiError:
        before = self._text[: self._at if at is None else at]
        line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
        detail = f"line {line}, column {column}: {message}"
        return refused("gbnf", detail, "Correct it.")
