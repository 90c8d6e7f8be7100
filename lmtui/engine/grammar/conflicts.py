"""Terminals of a grammar whose longest match may not be the only one.

FIRST and FOLLOW sets are those of compilers (Aho, Sethi and Ullman 1986, section 4.4),
of terminals instead of characters.
"""

from __future__ import annotations

from collections.abc import Callable

from lmtui.engine.grammar.expressions import (
    Bits,
    Budget,
    Ends,
    Expression,
    Follow,
    members,
)
from lmtui.engine.grammar.rules import (
    Alternatives,
    Part,
    Reference,
    Repetition,
    Rules,
    Sequence,
)

_NOTHING = Ends(nullable=False, first=0, last=0)


class Terminals:
    """Terminals of a grammar, and which can follow which."""

    def __init__(
        self,
        rules: Rules,
        divided: Callable[[Part], Part | None],
        expression: Callable[[Part], Expression],
        budget: Budget,
    ) -> None:
        """`divided` returns a part with its own parts, or None for a terminal, whose
        regular expression `expression` returns.

        Raises:
            BudgetSpent: this takes more steps than there are left.
        """
        self._rules, self._divided, self._budget = rules, divided, budget
        self._expression = expression
        self._numbers: dict[Part, int] = {}
        self._ends = {"root": _NOTHING}
        """For each rule, the terminals that begin and end it."""
        self._follow = Follow()
        self._find()
        self._parts = list(self._numbers)
        expressions = [expression(part) for part in self._parts]
        self._first = [one.first_bytes for one in expressions]
        self._bytes_after = [self._first_bytes(follow) for follow in self._follow]
        self._expressions = expressions
        self._next: dict[tuple[int, int], Bits] = {}

    def _find(self) -> None:
        """Find all terminals and what follows them: again, as long as there is more."""
        before: object = None
        while before != (before := (dict(self._ends), list(self._follow))):
            for name in reversed(tuple(self._ends)):  # what was found last is inside
                self._ends[name] = self._ends_of(self._rules[name])

    def _ends_of(self, part: Part) -> Ends:
        self._budget.spend(1)
        match self._divided(part):
            case None:
                return self._terminal(part)
            case Reference(name):
                return self._ends.setdefault(name, _NOTHING)
            case Repetition(inner, least, most):
                return self._follow.repetition(self._ends_of(inner), least, most)
            case Alternatives(parts):
                return self._follow.alternatives(map(self._ends_of, parts))
            case Sequence(parts):
                self._budget.spend(len(parts))
                return self._follow.sequence(map(self._ends_of, parts))
        raise AssertionError(part)

    def _terminal(self, part: Part) -> Ends:
        expression = self._expression(part)
        if not expression.follow:
            return Ends(nullable=True, first=0, last=0)
        if part in self._numbers:
            number = self._numbers[part]
            return self._follow.at(number, nullable=expression.nullable)
        self._numbers[part] = len(self._numbers)
        return self._follow.new(nullable=expression.nullable)

    def conflicts(self) -> list[tuple[Part, Part]]:
        """Return pairs of terminals that are possible at the same point, or a terminal
        and itself: where the first one ends, the second one may go on with a character
        that can also follow the first.

        Raises:
            BudgetSpent: this takes more steps than there are left.
        """
        pairs: dict[tuple[int, int], None] = {}
        waiting = [self._ends["root"].first]
        seen = set(waiting)
        while waiting:
            group = waiting.pop()
            self._budget.spend(group.bit_count())
            several = self._shared_bytes(group)
            for number in members(group):
                alike = 1 << number
                if self._first[number] & several:
                    self._budget.spend(group.bit_count())
                    alike = self._alike(number, group)
                after = 0
                for other in members(alike):
                    after |= self._follow[other]
                    if self._in_conflict(number, other):
                        pairs[number, other] = None
                if after not in seen:
                    seen.add(after)
                    waiting.append(after)
        return [(self._parts[one], self._parts[other]) for one, other in pairs]

    def _in_conflict(self, number: int, other: int) -> bool:
        """Return whether a terminal may go on where another one ends."""
        if not self._bytes_after[number]:
            return False
        pair = number, other
        if pair not in self._next:
            own, theirs = self._expressions[number], self._expressions[other]
            self._next[pair] = own.next_bytes(theirs, self._budget)
        return bool(self._next[pair] & self._bytes_after[number])

    def _alike(self, number: int, group: Bits) -> Bits:
        """Return the terminals of a group that may begin like one of them."""
        own, others = self._first[number], 0
        for other in members(group):
            if own & self._first[other]:
                others |= 1 << other
        return others

    def _shared_bytes(self, group: Bits) -> Bits:
        """Return the bytes with which several terminals of a group begin."""
        once = several = 0
        for number in members(group):
            several |= once & self._first[number]
            once |= self._first[number]
        return several

    def _first_bytes(self, terminals: Bits) -> Bits:
        self._budget.spend(terminals.bit_count())
        bits = 0
        for number in members(terminals):
            bits |= self._first[number]
        return bits
