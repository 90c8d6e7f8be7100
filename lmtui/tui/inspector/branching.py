"""Roads from a text: going on otherwise, token by token or as far as the model wants.

Owns what is written where: every way on is a road of its own, the text before it kept
by its ids, and what stood there stays. Where a token leads can be seen before one goes
there. Knows no torch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import ClassVar

from textual import on
from textual.binding import Binding, BindingType

from lmtui.analysis.branches import ROOT
from lmtui.engine.types import (
    Candidate,
    Distribution,
    FinishReason,
    Prompt,
    SamplingSettings,
    ScoredToken,
)
from lmtui.tui.engine import inspecting_facts
from lmtui.tui.engine import messages as facts
from lmtui.tui.engine.batching import Post
from lmtui.tui.engine.inspecting_runner import InspectingRunner
from lmtui.tui.inspector.dialogs import AlternativesScreen
from lmtui.tui.inspector.places import PlacesScreen
from lmtui.tui.inspector.source import InspectSource
from lmtui.tui.inspector.token_finder import TokenFinder
from lmtui.tui.widgets.probability_panel import ProbabilityPanel

ALTERNATIVES = 8
AHEAD = 6
"""Greedy tokens that are shown behind each alternative."""

_SOON = "One moment: the model is looking at this place."
_ENDS = {
    FinishReason.STOP: "the model ended here",
    FinishReason.LENGTH: "reached max tokens; g goes on",
    FinishReason.CONTEXT: "the context is full; g goes on in a later window",
    FinishReason.NEWLINE: "ready",
    FinishReason.CANCELLED: "stopped; g goes on",
}


class BranchingScreen(PlacesScreen):
    """The roads, and the generation that lengthens one of them."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "alternatives", "Alternatives", id="inspect.alternatives",
                tooltip="What could stand here instead, and where each would lead."),
        Binding("g", "go_on", "Go on", id="inspect.go-on",
                tooltip="Let the model write on from here, as the sampler draws."),
        Binding("s", "step(False)", "Sample one", id="inspect.sample",
                tooltip="One token here, as the sampler draws it."),
        Binding("a", "step(True)", "Likeliest one", id="inspect.argmax", show=False,
                tooltip="One token here, the most probable."),
        Binding("u", "back", "One back", id="inspect.back", show=False,
                tooltip="Take back the last token of a branch, else one to the left."),
        Binding("left_square_bracket", "sibling(-1)", "Branch before",
                id="inspect.branch-before", show=False,
                tooltip="The branch before, where the text could go on otherwise."),
        Binding("right_square_bracket", "sibling(1)", "Branch after",
                id="inspect.branch-after",
                tooltip="The branch after, where the text could go on otherwise."),
    ]  # fmt: skip

    def __init__(
        self,
        make_runner: Callable[[Post], InspectingRunner],
        subject: InspectSource,
        *,
        sampling: SamplingSettings,
    ) -> None:
        super().__init__(make_runner, subject, sampling=sampling)
        self._writing = 0  # the job that goes on with the text, 0 for none
        self._tip = (ROOT, 0)  # the road it writes on, and the next place of it
        self._follows = False  # whether the cursor goes along
        self._ahead = 0
        self._list: AlternativesScreen | None = None
        self._offered: Distribution | None = None  # what the list was made of

    @property
    def is_writing(self) -> bool:
        """Whether the model goes on with the text now."""
        return bool(self._writing)

    def stop_work(self) -> bool:
        """Stop writing, or scoring."""
        if self._writing:
            self.runner.stop(self._writing)
            return True
        return super().stop_work()

    def go_to(self, road: int, place: int) -> None:
        """Show a way, with the cursor at a place of it."""
        self._reading.road = road
        self.draw_tokens(place)
        self._status.state = self._where()

    def _where(self) -> str:
        """Which branch is shown, if there are several."""
        roads, road = self._reading.roads, self._reading.road
        if len(roads) == 1:
            return f"ready · {self._shown_name}"
        number = [each.id for each, _ in roads.rows()].index(road)
        which = f"branch {number} of {len(roads) - 1}" if number else "the text itself"
        return f"{which} · {self._shown_name}"

    def _may_write(self) -> bool:
        """Whether something can be put where the cursor is; says why not."""
        if self._writing:
            self.notify("The model is writing; Esc stops it.")
        elif self.why_not:
            self.notify(self.why_not)
        elif not self.ids_before(self.view.index):
            self.notify("Nothing stands before this token that could be gone on with.")
        else:
            return True
        return False

    # Alternatives.

    def action_alternatives(self) -> None:
        """Show what could stand here, and ask where each would lead."""
        if not self._may_write():
            return
        index = self.view.index
        if self._place is None:
            self.notify(_SOON)
            return
        self._offered = self._place
        rows = self._offered.candidates[:ALTERNATIVES]
        path = self.path
        chosen = path[index].id if index < len(path) else None
        self._ahead = self.runner.number()
        self._list = AlternativesScreen(rows, chosen=chosen)
        self.app.push_screen(self._list, self._answer_alternative)
        starts = [row.id for row in rows]
        self.runner.continue_each(
            self._ahead, self.ids_before(index), starts, more=AHEAD
        )

    @on(inspecting_facts.WaysLookedAhead)
    def show_ways(self, event: inspecting_facts.WaysLookedAhead) -> None:
        """Where they lead is known."""
        if event.job == self._ahead and self._list is not None:
            self._list.show(event.ways)

    @on(inspecting_facts.LookAheadFailed)
    def show_ways_failed(self, event: inspecting_facts.LookAheadFailed) -> None:
        """The alternatives can be taken all the same."""
        if event.job == self._ahead and self._list is not None:
            self._list.show_error(event.error)

    def _answer_alternative(self, chosen: Candidate | None) -> None:
        self.runner.stop(self._ahead)
        self._ahead, self._list = 0, None
        shown, self._offered = self._offered, None
        if chosen is None or shown is None or not self._may_write():
            return
        if not self._put(shown, chosen, rank_in(shown, chosen)):
            self._write(self._reading.road, self.view.index, self._settings)

    # One token.

    @on(ProbabilityPanel.CandidatePicked)
    def take_row(self, event: ProbabilityPanel.CandidatePicked) -> None:
        """Put a row of the panel where the cursor is."""
        shown = self._panel.distribution
        mine = shown is not None and event.candidate in shown.candidates
        if shown is not None and mine and self._may_write():
            self._put(shown, event.candidate, rank_in(shown, event.candidate))

    @on(TokenFinder.Picked)
    def take_found(self, event: TokenFinder.Picked) -> None:
        """Put a token that was found where the cursor is."""
        if self._place is not None and self._may_write():
            self._put(self._place, event.ranked.candidate, event.ranked.rank)

    def _put(self, shown: Distribution, row: Candidate, rank: int) -> bool:
        """Put a token where the cursor is, which goes on behind it; whether the way
        was known beyond it already."""
        roads, place = self._reading.roads, self.view.index
        token = ScoredToken(
            index=place,
            id=row.id,
            text=row.text,
            bytes=row.bytes,
            logprob=row.logprob,
            rank=rank,
            entropy=shown.entropy,
            top=shown.candidates,
        )
        road = roads.take(self._reading.road, place, token)
        self.go_to(road, place + 1)
        return roads.road(road).length > place + 1

    def action_step(self, likeliest: bool) -> None:
        """Draw one token where the cursor is."""
        if self._may_write():
            settings = replace(self._settings, max_tokens=1)
            if likeliest:
                settings = replace(settings, temperature=0)
            self._write(self._reading.road, self.view.index, settings)

    def action_back(self) -> None:
        """Take back the token before the cursor, where a branch ends; else walk."""
        roads, road, place = self._reading.roads, self._reading.road, self.view.index
        if not self._writing and place == roads.road(road).length:
            before = roads.back(road)
            if before is not None:
                self.go_to(before, place - 1)
                return
        self.view.select(place - 1)

    def action_sibling(self, by: int) -> None:
        """To another branch, where it parts from this one."""
        roads, road = self._reading.roads, self._reading.road
        there, place = roads.move(road, self.view.index, by)
        if there == road:
            self.notify("There is no other branch yet; Enter shows alternatives.")
        else:
            self.go_to(there, place)

    # Writing on.

    def action_go_on(self) -> None:
        """Let the model write from where the cursor is."""
        if self._may_write():
            self._write(self._reading.road, self.view.index, self._settings)

    def _write(self, road: int, place: int, settings: SamplingSettings) -> None:
        self._writing = self.runner.number()
        self._tip, self._follows = (road, place), True
        prompt = Prompt(self.ids_before(place), "")
        self.runner.generate(self._writing, prompt, settings)
        self._status.state = "writing · Esc stops"

    @on(facts.PromptProgressed)
    def show_progress(self, event: facts.PromptProgressed) -> None:
        """The text before has to be read first."""
        if event.job == self._writing:
            done, total = event.done, event.total
            self._status.state = f"reading {done:,}/{total:,} tokens · Esc stops"

    @on(facts.StepsArrived)
    def add_steps(self, event: facts.StepsArrived) -> None:
        """Tokens were written."""
        if event.job != self._writing:
            return
        road, place = self._tip
        follows = self._follows and self._reading.road == road
        for step in event.steps:
            road = self._reading.roads.take(road, place, step)
            place += 1
        self._tip = road, place
        if follows:
            self._reading.road = road
            self.draw_sometimes(partial(self.draw_tokens, place - 1))
        elif self._reading.road == road:
            self.draw_sometimes(partial(self.draw_tokens, self.view.index))
        self._status.state = "writing · Esc stops"

    @on(facts.GenerationFinished)
    def end_writing(self, event: facts.GenerationFinished) -> None:
        """The model wrote what it wanted, or was stopped."""
        if event.job != self._writing:
            return
        road, place = self._tip
        reason = event.finish.reason
        if road != ROOT and self._reading.roads.road(road).length == place:
            self._reading.roads.finish(road, reason)
        self._end_writing()
        if event.finish.tokens != 1 or reason is not FinishReason.LENGTH:
            self._status.state = f"{_ENDS[reason]} · {self._where()}"

    @on(facts.GenerationFailed)
    def show_writing_failed(self, event: facts.GenerationFailed) -> None:
        """What was written before stays."""
        if event.job == self._writing:
            self._end_writing()
            self._show_error(event.error)

    @on(facts.JobDropped)
    def end_dropped_writing(self, event: facts.JobDropped) -> None:
        """It was stopped before it began, or another model came."""
        if event.job == self._writing:
            self._end_writing()

    def _end_writing(self) -> None:
        self._writing = 0
        road, place = self._tip
        if self._reading.road == road and self._follows:
            self.go_to(road, place)
        else:
            self.go_to(self._reading.road, self.view.index)

    def show_place(self, index: int) -> None:
        """The cursor goes along with what is written until the user moves it."""
        if self._writing and index != self._tip[1] - 1:
            self._follows = False
        super().show_place(index)


def rank_in(shown: Distribution, row: Candidate) -> int:
    """1 + the number of tokens before a row that are more probable."""
    above = sum(other.logprob > row.logprob for other in shown.candidates)
    return shown.start + above + 1
