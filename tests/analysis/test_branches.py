"""Roads: whatever is taken, grown and removed, each way is what it should be."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from lmtui.analysis.branches import ROOT, BranchTree
from lmtui.engine.types import FinishReason, ScoredToken


def token(id_: int) -> ScoredToken:
    return ScoredToken(0, id_, chr(97 + id_ % 26), bytes([id_ % 256]), -1.0, 1, 1.0)


def ids(roads: BranchTree, road: int) -> tuple[int, ...]:
    return tuple(t.id for t in roads.path(road))


class Walks(RuleBasedStateMachine):
    """Against a plain list of ids for every road."""

    def __init__(self) -> None:
        super().__init__()
        self.text = (1, 2, 3, 4)
        self.roads = BranchTree([token(i) for i in self.text])
        self.ways: dict[int, tuple[int, ...]] = {ROOT: self.text}

    def some(self, number: int) -> int:
        return sorted(self.ways)[number % len(self.ways)]

    @rule(number=st.integers(0, 50), place=st.integers(0, 9), new=st.integers(1, 6))
    def take(self, number: int, place: int, new: int) -> None:
        before = self.some(number)
        place = min(place, len(self.ways[before]))
        expected = (*self.ways[before][:place], new)
        known = {way[: len(expected)] for way in self.ways.values()}
        at = self.roads.take(before, place, token(new))
        assert ids(self.roads, at)[: len(expected)] == expected
        if expected in known and place < len(self.ways[before]):
            same = self.ways[before][: place + 1] == expected
            assert at in self.ways or not same
        self.ways[at] = ids(self.roads, at)

    @rule(number=st.integers(0, 50))
    def back(self, number: int) -> None:
        road = self.some(number)
        at = self.roads.back(road)
        if at is None:
            return
        if at == road:
            self.ways[road] = self.ways[road][:-1]
        else:
            del self.ways[road]

    @rule(number=st.integers(0, 50))
    def remove(self, number: int) -> None:
        road = self.some(number)
        if road == ROOT:
            return
        gone = self.roads.family(road)
        at = self.roads.remove(road)
        for each in gone:
            del self.ways[each]
        assert at in self.ways

    @rule(
        number=st.integers(0, 50), place=st.integers(0, 9), by=st.sampled_from([1, -1])
    )
    def move(self, number: int, place: int, by: int) -> None:
        road = self.some(number)
        place = min(place, len(self.ways[road]))
        there, fork = self.roads.move(road, place, by)
        assert ids(self.roads, there)[:fork] == self.ways[road][:fork]
        count = len(self.roads.siblings(road, fork))
        at = road
        for _ in range(count):
            at, again = self.roads.move(at, fork, by)
            if count > 1:
                assert again == fork
        if count > 1:
            assert ids(self.roads, at)[: fork + 1] == self.ways[road][: fork + 1]

    @invariant()
    def every_way_is_what_was_taken(self) -> None:
        assert len(self.roads) == len(self.ways)
        for road, way in self.ways.items():
            assert road in self.roads
            assert ids(self.roads, road) == way
            assert self.roads.road(road).length == len(way)
        assert self.ways[ROOT] == self.text

    @invariant()
    def every_road_has_its_row_below_its_parent(self) -> None:
        rows = self.roads.rows()
        assert sorted(road.id for road, _ in rows) == sorted(self.ways)
        depth = {road.id: deep for road, deep in rows}
        for road, deep in rows:
            assert road.parent is None or depth[road.parent] == deep - 1
            assert road.id == ROOT or road.tokens

    @invariant()
    def siblings_share_what_comes_before_and_differ_there(self) -> None:
        for road, way in self.ways.items():
            for fork in self.roads.forks(road):
                ways = [
                    ids(self.roads, each) for each in self.roads.siblings(road, fork)
                ]
                assert len(ways) > 1
                assert {each[:fork] for each in ways} == {way[:fork]}


TestWalks = Walks.TestCase
TestWalks.settings = settings(max_examples=150, stateful_step_count=30)


def test_the_same_alternative_is_taken_once() -> None:
    roads = BranchTree([token(1), token(2), token(3)])
    first = roads.take(ROOT, 1, token(9))
    assert roads.take(ROOT, 1, token(9)) == first
    assert roads.take(first, 1, token(9)) == first
    assert roads.take(first, 1, token(2)) == ROOT
    assert roads.siblings(first, 1) == (ROOT, first)
    assert ids(roads, roads.take(first, 2, token(8))) == (1, 9, 8)


def test_going_on_from_the_end_of_the_text_is_a_road_too() -> None:
    roads = BranchTree([token(1)])
    on = roads.take(ROOT, 1, token(2))
    assert on != ROOT and roads.forks(on) == roads.forks(ROOT) == (1,)
    assert roads.take(on, 2, token(3)) == on
    other = roads.take(ROOT, 1, token(5))
    assert roads.siblings(on, 1) == (ROOT, on, other)
    assert roads.move(on, 3, 1) == (other, 1)
    assert roads.move(other, 1, 1) == (ROOT, 1)


def test_totals_names_and_ends() -> None:
    roads = BranchTree([token(1)])
    on = roads.take(ROOT, 0, token(2))
    assert roads.take(on, 1, token(3)) == on
    roads.finish(on, FinishReason.LENGTH)
    roads.rename(on, "the other")
    road = roads.road(on)
    assert (road.logprob, road.name, road.end) == (-2.0, "the other", "length")
    assert roads.take(on, 2, token(4)) == on
    assert roads.road(on).end is None
    assert (roads.leaves(ROOT), roads.leaves(on)) == (1, 0)
    assert BranchTree().road(ROOT).logprob is None
    with pytest.raises(ValueError, match="stays"):
        roads.remove(ROOT)
