"""Rules of a context-free grammar over characters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, eq=False, slots=True)
class Characters:
    """One character of some ranges, or of all others."""

    ranges: tuple[tuple[str, str], ...]
    """First and last character of each."""
    negated: bool = False


@dataclass(frozen=True, eq=False, slots=True)
class Sequence:
    """Parts that follow each other; without parts, the empty text."""

    parts: tuple[Part, ...]


@dataclass(frozen=True, eq=False, slots=True)
class Alternatives:
    """One of some parts."""

    parts: tuple[Part, ...]


@dataclass(frozen=True, eq=False, slots=True)
class Repetition:
    """A part several times."""

    part: Part
    least: int
    most: int | None
    """None for any number."""


@dataclass(frozen=True, eq=False, slots=True)
class Reference:
    """What the rule of this name says."""

    name: str


Part = Characters | Sequence | Alternatives | Repetition | Reference
"""Part of a rule. Two parts are never equal: each stands at one point of a grammar."""
Rules = Mapping[str, Part]
"""The rules by name; a text of the grammar follows the one named root."""
