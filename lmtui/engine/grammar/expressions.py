"""Regular expressions: parts of a grammar's rules without recursion.

Sets of characters are sets of the bytes with which their UTF-8 begins, since llguidance
reads bytes: never too few of them, where several characters begin with the same byte.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from lmtui.engine.grammar.rules import (
    Alternatives,
    Characters,
    Part,
    Reference,
    Repetition,
    Rules,
    Sequence,
)

Bits = int
"""Set of small numbers."""
_ASCII: Bits = (1 << 128) - 1
_ALL_BYTES: Bits = (1 << 256) - 1
_SIGNS = {(0, None): "*", (1, None): "+", (0, 1): "?"}


def members(bits: Bits) -> Iterator[int]:
    """Iterate over a set, in ascending order."""
    while bits:
        lowest = bits & -bits
        yield lowest.bit_length() - 1
        bits ^= lowest


class BudgetSpent(Exception):
    """There are no steps left."""


@dataclass(slots=True)
class Budget:
    """Steps that a computation may still take."""

    left: int

    def spend(self, steps: int) -> None:
        """Count some steps.

        Raises:
            BudgetSpent: there are none left.
        """
        self.left -= steps
        if self.left < 0:
            raise BudgetSpent


class Ends(NamedTuple):
    """How a part begins and ends."""

    nullable: bool
    """Whether the empty text matches."""
    first: Bits
    """Places at which a match can begin."""
    last: Bits
    """Places at which a match can end."""


class Follow(list[Bits]):
    """For each place in a part, those that can come next (Glushkov 1961)."""

    def new(self, *, nullable: bool) -> Ends:
        """Add a place; return the ends of what is only this one."""
        self.append(0)
        return self.at(len(self) - 1, nullable=nullable)

    def at(self, position: int, *, nullable: bool) -> Ends:
        """Return the ends of what is only this place."""
        return Ends(nullable, 1 << position, 1 << position)

    def repetition(self, inner: Ends, least: int, most: int | None) -> Ends:
        if most != 1:
            self._join(inner.last, inner.first)
        return inner._replace(nullable=inner.nullable or least == 0)

    def alternatives(self, parts: Iterable[Ends]) -> Ends:
        nullable, first, last = False, 0, 0
        for part in parts:
            nullable |= part.nullable
            first |= part.first
            last |= part.last
        return Ends(nullable, first, last)

    def sequence(self, parts: Iterable[Ends]) -> Ends:
        nullable, first, last = True, 0, 0
        for part in parts:
            self._join(last, part.first)
            first |= part.first * nullable
            last = part.last | last * part.nullable
            nullable &= part.nullable
        return Ends(nullable, first, last)

    def _join(self, last: Bits, first: Bits) -> None:
        for position in members(last):
            self[position] |= first


@dataclass(frozen=True, slots=True)
class Expression:
    """Positions of a regular expression: the places in it where a character stands."""

    bytes_at: list[Bits]
    """For each position, the first bytes of its characters."""
    ends: Ends
    follow: Follow

    @property
    def nullable(self) -> bool:
        return self.ends.nullable

    @property
    def first_bytes(self) -> Bits:
        """Bytes with which a match can begin."""
        return self._bytes(self.ends.first)

    def next_bytes(self, other: Expression, budget: Budget) -> Bits:
        """Return the bytes that can follow a match within a longer match of another
        expression.

        Raises:
            BudgetSpent: this takes more steps than there are left.
        """
        if not any(other.follow):
            return 0  # it has no match longer than one character
        byte_set, seen = 0, set[tuple[int, int]]()
        waiting = [(self.ends.first, other.ends.first)]
        while waiting:
            own_places, their_places = waiting.pop()
            budget.spend(own_places.bit_count() * their_places.bit_count())
            for pair in self._alike(other, own_places, their_places):
                if pair in seen:
                    continue
                seen.add(pair)
                own, theirs = pair  # positions that the same text may reach
                if self.ends.last >> own & 1:
                    byte_set |= other._bytes(other.follow[theirs])
                waiting.append((self.follow[own], other.follow[theirs]))
        return byte_set

    def _alike(
        self, other: Expression, own: Bits, theirs: Bits
    ) -> Iterator[tuple[int, int]]:
        """Iterate over the positions of both that may stand for the same character."""
        second = [(member, other.bytes_at[member]) for member in members(theirs)]
        for one in members(own):
            possible = self.bytes_at[one]
            yield from ((one, at) for at, these in second if possible & these)

    def _bytes(self, positions: Bits) -> Bits:
        byte_set = 0
        for member in members(positions):
            byte_set |= self.bytes_at[member]
        return byte_set


def expression_of(part: Part, rules: Rules) -> Expression:
    """Return the positions of a part without recursion."""
    bytes_at, follow = list[Bits](), Follow()

    def ends_of(part: Part) -> Ends:
        match part:
            case Characters():
                bytes_at.append(_first_bytes(part))
                return follow.new(nullable=False)
            case Reference(name):
                return ends_of(rules[name])
            case Repetition(inner, least, most):
                return follow.repetition(ends_of(inner), least, most)
            case Alternatives(parts):
                return follow.alternatives(map(ends_of, parts))
            case Sequence(parts):
                return follow.sequence(map(ends_of, parts))

    return Expression(bytes_at, ends_of(part), follow)


def _first_bytes(characters: Characters) -> Bits:
    byte_set = 0
    for ends in characters.ranges:
        low, high = (end.encode("utf-8", "surrogatepass")[0] for end in ends)
        byte_set |= (1 << high + 1) - (1 << low)
    return _ALL_BYTES & ~(byte_set & _ASCII) if characters.negated else byte_set


def regex_of(part: Part, rules: Rules, *, nonempty: bool = False) -> str:
    """Return a part without recursion as a regular expression; with `nonempty`, one
    that does not match the empty text, although the part may."""
    match part:
        case Characters():
            return _class(part)
        case Reference(name):
            return regex_of(rules[name], rules, nonempty=nonempty)
        case Repetition(inner, least, most):
            nonempty_inner = nonempty and _is_nullable(inner, rules)
            least = 1 if nonempty_inner else max(least, int(nonempty))
            text = regex_of(inner, rules, nonempty=nonempty_inner)
            return f"(?:{text}){repetition_signs(least, most)}"
        case Alternatives(parts):
            some = [
                inner_part for inner_part in parts if _has_characters(inner_part, rules)
            ]
            sign = "?" if len(some) < len(parts) and not nonempty else ""
            texts = [
                regex_of(inner_part, rules, nonempty=nonempty) for inner_part in some
            ]
            return f"(?:{'|'.join(texts)}){sign}" if some else ""
        case Sequence(parts):
            parts = tuple(
                inner_part for inner_part in parts if _has_characters(inner_part, rules)
            )
            texts = [regex_of(inner_part, rules) for inner_part in parts]
            if not nonempty or not all(
                _is_nullable(inner_part, rules) for inner_part in parts
            ):
                return "".join(texts)
            begun = (regex_of(inner_part, rules, nonempty=True) for inner_part in parts)
            tails = ("".join(texts[start:]) for start in range(1, len(parts) + 1))
            return f"(?:{'|'.join(map(str.__add__, begun, tails))})"


def _is_nullable(part: Part, rules: Rules) -> bool:
    match part:
        case Characters():
            return False
        case Reference(name):
            return _is_nullable(rules[name], rules)
        case Repetition(inner, least):
            return least == 0 or _is_nullable(inner, rules)
        case Alternatives(parts):
            return any(_is_nullable(inner_part, rules) for inner_part in parts)
        case Sequence(parts):
            return all(_is_nullable(inner_part, rules) for inner_part in parts)


def _has_characters(part: Part, rules: Rules) -> bool:
    """Return whether a part matches anything but the empty text."""
    match part:
        case Characters():
            return True
        case Reference(name):
            return _has_characters(rules[name], rules)
        case Repetition(inner):
            return _has_characters(inner, rules)
        case Sequence(parts) | Alternatives(parts):
            return any(_has_characters(inner_part, rules) for inner_part in parts)


def _class(characters: Characters) -> str:
    ranges = (f"{_escaped(a)}-{_escaped(b)}" for a, b in characters.ranges)
    return f"[{'^' * characters.negated}{''.join(ranges)}]"


def _escaped(character: str) -> str:
    return rf"\x{{{ord(character):X}}}"


def repetition_signs(least: int, most: int | None) -> str:
    counted = f"{{{least},{'' if most is None else most}}}"
    return _SIGNS.get((least, most), counted)
