"""Rules of a context-free grammar over characters, and the same as Lark.

llguidance reads a terminal up to its longest match, and never less; the rules of GBNF
know no such thing. So each terminal is one character.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Characters:
    """One character of some ranges, or of all others."""

    ranges: tuple[tuple[str, str], ...]
    """First and last character of each."""
    negated: bool = False


@dataclass(frozen=True, slots=True)
class Sequence:
    """Parts that follow each other; without parts, the empty text."""

    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Alternatives:
    """One of some parts."""

    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Repetition:
    """A part several times."""

    part: Part
    least: int
    most: int | None
    """None for any number."""


@dataclass(frozen=True, slots=True)
class Reference:
    """What the rule of this name says."""

    name: str


Part = Characters | Sequence | Alternatives | Repetition | Reference
"""Part of a rule."""
Rules = Mapping[str, Part]
"""The rules by name; a text of the grammar follows the one named root."""


_SIGNS = {(0, None): "*", (1, None): "+", (0, 1): "?"}


def lark_of(rules: Rules) -> str:
    """Return the Lark grammar with the same language as some rules. Each rule that is
    referred to must be there."""
    numbers = {name: number for number, name in enumerate(rules)}

    def written(part: Part) -> str:
        match part:
            case Characters(ranges, negated):
                shown = (f"{_escaped(a)}-{_escaped(b)}" for a, b in ranges)
                return f"/[{'^' * negated}{''.join(shown)}]/"
            case Sequence(parts):
                return " ".join(map(written, parts)) or '""'
            case Alternatives(parts):
                return f"({' | '.join(map(written, parts))})"
            case Repetition(inner, least, most):
                counted = f"{{{least},{'' if most is None else most}}}"
                return f"({written(inner)}){_SIGNS.get((least, most), counted)}"
            case Reference(name):
                return f"r{numbers[name]}"

    lines = [f"r{numbers[name]}: {written(part)}\n" for name, part in rules.items()]
    return f"start: r{numbers['root']}\n{''.join(lines)}"


def _escaped(character: str) -> str:
    return rf"\x{{{ord(character):X}}}"
