"""What can be done on a screen, as a list to walk.

Owns how the list is drawn, and that taking a choice does what its key does: both are
the screen's own bindings, so that they can't differ. Knows no screen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from textual import on
from textual.content import Content
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from lmtui.text import visible_line
from lmtui.tui.keys import shown_actions

_NAME = 13  # cells for the name of a choice


@dataclass(frozen=True, slots=True)
class Choice:
    """Something to be done that has no key of its own."""

    label: str
    action: str


class Choices(OptionList):
    """The bindings of the screen it is on, and below them more under headings."""

    DEFAULT_CSS = """
    Choices {
        border: none;
        padding: 0;
        background: transparent;
        text-wrap: nowrap;
        text-overflow: ellipsis;
        scrollbar-size-vertical: 1;
        &:focus { border: none; background-tint: transparent; }
        & > .option-list--option { padding: 0 1; }
        & > .option-list--option-disabled { color: $quiet; }
        & > .option-list--option-highlighted,
        &:focus > .option-list--option-highlighted {
            color: $foreground;
            background: $panel;
            text-style: bold;
        }
    }
    """

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id, markup=False)

    def offer(
        self,
        *,
        details: Mapping[str, str] | None = None,
        more: Mapping[str, Sequence[Choice]] | None = None,
    ) -> None:
        """List what the screen's keys do, in their order, and more by its headings;
        `details` say more of an action than its tooltip does."""
        place = self.highlighted
        self.clear_options()
        said = details or {}
        for binding, key in shown_actions(self.screen):
            if not binding.show:
                continue
            words = said.get(binding.action, binding.tooltip)
            line = choice_line(key, binding.description, words)
            self.add_option(Option(line, id=binding.action))
        for heading, choices in (more or {}).items():
            if choices:
                title = Option(Content(f"      {heading}"), disabled=True)
                self.add_options([None, title])
            for choice in choices:
                label = Content(f"      {visible_line(choice.label)}")
                self.add_option(Option(label, id=choice.action))
        self.highlighted = min(place or 0, self.option_count - 1)

    @on(OptionList.OptionSelected)
    async def take(self, event: OptionList.OptionSelected) -> None:
        """Do what was chosen."""
        event.stop()
        if event.option_id:
            await self.screen.run_action(event.option_id)


def choice_line(key: str, name: str, words: str) -> Content:
    """A choice that has a key, as it is drawn."""
    apart = "· " if len(name) >= _NAME else ""
    return Content.assemble(
        (f"{key:>4}  ", "$accent"), f"{name:<{_NAME}} {apart}", (words, "$quiet")
    )
