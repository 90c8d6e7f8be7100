"""Roads: whatever is taken, grown and removed, each way is what it should be."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from lmtui.analysis.branches import ROOT, BranchTree
from lmtui.engine.types import FinishReason, ScoredToken
from tests.examples import examples


def token(id_: int) -> ScoredToken:
    return ScoredToken(0, id_, chr(97 + id_ % 26), bytes([id_ % 256]), -1.0, 1, 1.0)


def ids(branches: BranchTree, branch: int) -> tuple[int, ...]:
    return tuple(t.id for t in branches.path(branch))


class Walks(RuleBasedStateMachine):
    """Against a plain list of ids for every branch."""

    def __init__(self) -> None:
        super().__init__()
        self.text = (1, 2, 3, 4)
        self.branches = BranchTree([token(i) for i in self.text])
        self.ways: dict[int, tuple[int, ...]] = {ROOT: self.text}

    def some(self, number: int) -> int:
        return sorted(self.ways)[number % len(self.ways)]

    @rule(number=st.integers(0, 50), index=st.integers(0, 9), new=st.integers(1, 6))
    def take(self, number: int, index: int, new: int) -> None:
        before = self.some(number)
        index = min(index, len(self.ways[before]))
        expected = (*self.ways[before][:index], new)
        known = {way[: len(expected)] for way in self.ways.values()}
        at = self.branches.take(before, index, token(new))
        assert ids(self.branches, at)[: len(expected)] == expected
        if expected in known and index < len(self.ways[before]):
            same = self.ways[before][: index + 1] == expected
            assert at in self.ways or not same
        self.ways[at] = ids(self.branches, at)

    @rule(number=st.integers(0, 50))
    def back(self, number: int) -> None:
        branch = self.some(number)
        at = self.branches.back(branch)
        if at is None:
            return
        if at == branch:
            self.ways[branch] = self.ways[branch][:-1]
        else:
            del self.ways[branch]

    @rule(number=st.integers(0, 50))
    def remove(self, number: int) -> None:
        branch = self.some(number)
        if branch == ROOT:
            return
        gone = self.branches.family(branch)
        at = self.branches.remove(branch)
        for each in gone:
            del self.ways[each]
        assert at in self.ways

    @rule(
        number=st.integers(0, 50), index=st.integers(0, 9), by=st.sampled_from([1, -1])
    )
    def move(self, number: int, index: int, by: int) -> None:
        branch = self.some(number)
        index = min(index, len(self.ways[branch]))
        there, fork = self.branches.move(branch, index, by)
        assert ids(self.branches, there)[:fork] == self.ways[branch][:fork]
        count = len(self.branches.siblings(branch, fork))
        at = branch
        for _ in range(count):
            at, again = self.branches.move(at, fork, by)
            if count > 1:
                assert again == fork
        if count > 1:
            assert ids(self.branches, at)[: fork + 1] == self.ways[branch][: fork + 1]

    @invariant()
    def every_way_is_what_was_taken(self) -> None:
        assert len(self.branches) == len(self.ways)
        for branch, way in self.ways.items():
            assert branch in self.branches
            assert ids(self.branches, branch) == way
            assert self.branches.branch(branch).length == len(way)
        assert self.ways[ROOT] == self.text

    @invariant()
    def every_branch_has_its_row_below_its_parent(self) -> None:
        rows = self.branches.rows()
        assert sorted(branch.id for branch, _ in rows) == sorted(self.ways)
        depth = {branch.id: deep for branch, deep in rows}
        for branch, deep in rows:
            assert branch.parent is None or depth[branch.parent] == deep - 1
            assert branch.id == ROOT or branch.tokens

    @invariant()
    def siblings_share_what_comes_before_and_differ_there(self) -> None:
        for branch, way in self.ways.items():
            for fork in self.branches.forks(branch):
                ways = [
                    ids(self.branches, each)
                    for each in self.branches.siblings(branch, fork)
                ]
                assert len(ways) > 1
                assert {each[:fork] for each in ways} == {way[:fork]}


TestWalks = Walks.TestCase
TestWalks.settings = settings(max_examples=examples(40, 150), stateful_step_count=30)


def test_taking_an_alternative_again_returns_its_branch() -> None:
    branches = BranchTree([token(1), token(2), token(3)])
    first = branches.take(ROOT, 1, token(9))
    assert branches.take(ROOT, 1, token(9)) == first
    assert branches.take(first, 1, token(9)) == first
    assert branches.take(first, 1, token(2)) == ROOT
    assert branches.siblings(first, 1) == (ROOT, first)
    assert ids(branches, branches.take(first, 2, token(8))) == (1, 9, 8)


def test_token_taken_at_the_end_of_the_text_starts_a_branch() -> None:
    branches = BranchTree([token(1)])
    on = branches.take(ROOT, 1, token(2))
    assert on != ROOT and branches.forks(on) == branches.forks(ROOT) == (1,)
    assert branches.take(on, 2, token(3)) == on
    other = branches.take(ROOT, 1, token(5))
    assert branches.siblings(on, 1) == (ROOT, on, other)
    assert branches.move(on, 3, 1) == (other, 1)
    assert branches.move(other, 1, 1) == (ROOT, 1)


def test_branch_has_logprob_and_end_reason() -> None:
    branches = BranchTree([token(1)])
    on = branches.take(ROOT, 0, token(2))
    assert branches.take(on, 1, token(3)) == on
    branches.finish(on, FinishReason.LENGTH)
    branch = branches.branch(on)
    assert (branch.logprob, branch.end) == (-2.0, "length")
    assert branches.take(on, 2, token(4)) == on
    assert branches.branch(on).end is None
    assert (branches.leaves(ROOT), branches.leaves(on)) == (1, 0)
    assert BranchTree().branch(ROOT).logprob is None
    with pytest.raises(ValueError, match="removed"):
        branches.remove(ROOT)
