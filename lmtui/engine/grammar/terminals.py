"""Grammars written as Lark, with terminals as large as the language allows.

llguidance reads a terminal up to its longest match, and never less; the rules of GBNF
know no such thing. Terminals of one character each would always mean the same, but for
JSON they take 4 ms a mask of 49,152 tokens instead of 0.03. So a part without recursion
becomes a terminal where the longest match is the only one that the text can go on from:
no character that can follow a match can go on with it, in this terminal or in another
one that is possible at the same point. A part for which this can't be shown is divided,
if need be into its characters.
"""

from __future__ import annotations

from collections import deque

from lmtui.engine.grammar.conflicts import Terminals
from lmtui.engine.grammar.expressions import (
    Budget,
    BudgetSpent,
    Expression,
    expression_of,
    regex_of,
    repetition_signs,
)
from lmtui.engine.grammar.rules import (
    Alternatives,
    Characters,
    Part,
    Reference,
    Repetition,
    Rules,
    Sequence,
)

_LARGEST = 2000  # parts of a terminal, those of the rules it refers to among them
_MOST_PARTS = 200  # of a sequence, whose square a terminal may need if all are optional
_DEEPEST = 200  # parts within parts, over all rules of a terminal
_MOST_STEPS = 300_000  # of the comparison of terminals: a second
_EMPTY = '""'


def lark_of(rules: Rules) -> str:
    """Return the Lark grammar with the same language as some rules. Each rule that is
    referred to must be there."""
    grammar = _Grammar(rules)
    budget = Budget(_MOST_STEPS)
    while True:
        try:
            terminals = Terminals(rules, grammar.divided, grammar.expression, budget)
            conflicts = terminals.conflicts()
        except BudgetSpent:
            break
        if not conflicts:
            return grammar.lark()
        for part, longer in conflicts:
            grammar.divide(longer, at_front=part is not longer)
    grammar.divide_all()
    return grammar.lark()


class _Grammar:
    """Rules, with the parts that are terminals."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self._finite = _without_recursion(rules)
        self._divided: dict[Part, Part] = {}
        self._cut: set[Part] = set()
        """Halves of sequences that were divided."""
        self._expressions: dict[Part, Expression] = {}
        self._sizes: dict[Part, int] = {}
        self._by_character = False

    def divided(self, part: Part) -> Part | None:
        """Return `part` with its own parts, which are looked at one by one; None if it
        is a terminal."""
        if isinstance(part, Characters):
            return None
        if part not in self._divided:
            if self._by_character:
                return part
            if self._size(part) <= _LARGEST:
                return None
            self._divided[part] = self._grouped(part)
        return self._divided[part]

    def divide(self, part: Part, *, at_front: bool) -> None:
        """Divide a terminal: a sequence into its first or last part and the others, and
        these into all of their parts if need be."""
        self._divided[part] = part
        if isinstance(part, Sequence) and part not in self._cut:
            at = 1 if at_front else len(part.parts) - 1
            halves = _joined(Sequence, part.parts[:at], part.parts[at:])
            self._divided[part] = halves
            self._cut.update(halves.parts)

    def divide_all(self) -> None:
        """Leave terminals of one character only."""
        self._by_character = True

    def expression(self, part: Part) -> Expression:
        if part not in self._expressions:
            self._expressions[part] = expression_of(part, self.rules)
        return self._expressions[part]

    def _size(self, part: Part) -> int:
        """Return the number of parts that a terminal of this part would have; more than
        `_LARGEST` where it can't be one."""
        if part not in self._sizes:
            match part:
                case Characters():
                    size = 1
                case Repetition(inner):
                    size = 1 + self._size(inner)
                case Reference(name) if name not in self._finite:
                    size = _LARGEST + 1
                case Reference(name):
                    size = 1 + self._size(self.rules[name])
                case Sequence(parts) | Alternatives(parts):
                    size = 1 + sum(map(self._size, parts))
                    if len(parts) > _MOST_PARTS and isinstance(part, Sequence):
                        size = _LARGEST + 1
            self._sizes[part] = min(size, _LARGEST + 1)
        return self._sizes[part]

    def _grouped(self, part: Part) -> Part:
        """Return a part that is too large for a terminal, with smaller ones put
        together as far as they can be."""
        if not isinstance(part, Sequence | Alternatives):
            return part
        groups: list[tuple[Part, ...]] = []
        last = 1
        for inner in part.parts:
            size = self._size(inner)
            fits = last + size <= _LARGEST
            if groups and fits and len(groups[-1]) < _MOST_PARTS:
                groups[-1] += (inner,)
                last += size
            else:
                groups.append((inner,))
                last = 1 + size
        return _joined(type(part), *groups)

    def lark(self) -> str:
        numbers = {"root": 0}
        lines, waiting = ["start: r0"], deque(["root"])

        def written(part: Part) -> str:
            match self.divided(part):
                case None:
                    return self._terminal(part)
                case Sequence(parts):
                    return " ".join(map(written, parts)) or _EMPTY
                case Alternatives(parts):
                    return f"({' | '.join(map(written, parts))})"
                case Repetition(inner, least, most):
                    return f"({written(inner)}){repetition_signs(least, most)}"
                case Reference(name):
                    if name not in numbers:
                        numbers[name] = len(numbers)
                        waiting.append(name)
                    return f"r{numbers[name]}"
            raise AssertionError(part)

        while waiting:
            name = waiting.popleft()
            lines.append(f"r{numbers[name]}: {written(self.rules[name])}")
        return "\n".join(lines) + "\n"

    def _terminal(self, part: Part) -> str:
        expression = self.expression(part)
        if not expression.follow:
            return _EMPTY
        written = f"/{regex_of(part, self.rules, nonempty=True)}/"
        return f"({written})?" if expression.nullable else written


def _joined(
    kind: type[Sequence | Alternatives], *groups: tuple[Part, ...]
) -> Sequence | Alternatives:
    """Return a sequence of sequences, or alternatives of alternatives."""
    return kind(tuple(g[0] if len(g) == 1 else kind(g) for g in groups))


def _without_recursion(rules: Rules) -> set[str]:
    """Return the rules that don't refer to themselves, in whatever way, and are not too
    deep for a terminal."""
    depths: dict[str, int] = {}
    waiting = list(rules)
    before = -1
    while len(depths) != before:
        before = len(depths)
        for name in waiting:
            depth = _depth(rules[name], depths)
            if depth <= _DEEPEST:
                depths[name] = depth
        waiting = [name for name in waiting if name not in depths]
    return set(depths)


def _depth(part: Part, depths: dict[str, int]) -> int:
    """Return how many parts stand in each other; too many for a part that refers to a
    rule without a depth."""
    match part:
        case Characters():
            return 1
        case Repetition(inner):
            return 1 + _depth(inner, depths)
        case Reference(name):
            return 1 + depths.get(name, _DEEPEST)
        case Sequence(parts) | Alternatives(parts):
            return 1 + max((_depth(each, depths) for each in parts), default=0)
