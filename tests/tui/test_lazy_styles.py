"""Styles of component classes are Textual's own, whenever they are computed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import pytest
from textual.app import App, ComposeResult
from textual.css import parse as css_parse
from textual.css import stylesheet
from textual.css.model import RuleSet
from textual.css.stylesheet import Stylesheet
from textual.widget import Widget
from textual.widgets import Static

from lmtui.tui.lazy_styles import LazyStylesheet
from lmtui.tui.preferences import Preferences, PreferencesApp

NAMES = ("part--one", "part--two", "part--three")


class Parts(Static):
    COMPONENT_CLASSES: ClassVar[set[str]] = set(NAMES)
    DEFAULT_CSS = """
    Parts > .part--one { color: $error; text-style: bold; }
    Parts > .part--two { color: $success; }
    Parts.-other > .part--one { color: $warning; }
    Parts:focus > .part--two { background: $panel; }
    """
    can_focus = True

    def __init__(self) -> None:
        super().__init__("text")
        self.drawn = 0

    def refresh(self, *regions: object, **options: bool) -> Widget:
        self.drawn += 1
        return super().refresh(*regions, **options)  # type: ignore[arg-type]


class Small(App[None]):
    def __init__(self, *, lazy: bool) -> None:
        super().__init__()
        if lazy:
            self.stylesheet: Stylesheet = LazyStylesheet(
                variables=self.get_css_variables()
            )

    def compose(self) -> ComposeResult:
        yield Parts()


async def styles(*, lazy: bool) -> list[str]:
    """The styles of all classes in each state of a widget."""
    found: list[str] = []
    app = Small(lazy=lazy)
    async with app.run_test() as pilot:
        parts = app.query_one(Parts)

        def note() -> None:
            found.extend(str(parts.get_component_rich_style(name)) for name in NAMES)

        app.set_focus(None)
        await pilot.pause()
        note()
        parts.add_class("-other")
        await pilot.pause()
        note()
        parts.focus()
        await pilot.pause()
        note()
        app.theme = "textual-light"
        await pilot.pause()
        note()
    return found


async def test_styles_are_those_of_textual() -> None:
    expected = await styles(lazy=False)
    assert len(set(expected)) > len(NAMES)
    assert await styles(lazy=True) == expected


async def test_only_what_is_used_is_computed() -> None:
    app = Small(lazy=True)
    async with app.run_test() as pilot:
        parts = app.query_one(Parts)
        assert list(parts._component_styles) == []
        parts.get_component_styles("part--one")
        assert list(parts._component_styles) == ["part--one"]
        parts.add_class("-other")
        await pilot.pause()
        assert list(parts._component_styles) == ["part--one"]


async def test_widget_is_drawn_again_where_a_style_in_use_changes() -> None:
    app = Small(lazy=True)
    async with app.run_test() as pilot:
        app.set_focus(None)
        parts = app.query_one(Parts)
        parts.get_component_styles("part--one")
        await pilot.pause()
        before = parts.drawn
        app.stylesheet._process_component_classes(parts)
        assert parts.drawn == before
        parts._classes = frozenset({"-other"})
        app.stylesheet._process_component_classes(parts)
        assert parts.drawn == before + 1


@pytest.fixture
def parsed(
    monkeypatch: pytest.MonkeyPatch, unshared_rules: Callable[..., list[RuleSet]]
) -> list[str]:
    """What is parsed from here on."""
    found: list[str] = []

    def parse(scope: str, css: str, *about: Any, **options: Any) -> Any:
        found.append(css)
        return css_parse.parse(scope, css, *about, **options)

    monkeypatch.setattr(Stylesheet, "_parse_rules", unshared_rules)
    monkeypatch.setattr(stylesheet, "parse", parse)
    return found


async def test_only_new_sources_are_parsed_for_a_new_screen(parsed: list[str]) -> None:
    app = Small(lazy=True)
    async with app.run_test():
        parsed.clear()
        new = "Parts { color: $success; }"
        app.stylesheet.add_source(new)
        app.stylesheet.reparse()
        assert parsed == [new]
        textuals = app.stylesheet.copy()
        textuals.parse()
        assert rules_of(app.stylesheet) == rules_of(textuals)


async def test_sources_are_parsed_again_for_other_variables_only(
    parsed: list[str],
) -> None:
    app = Small(lazy=True)
    async with app.run_test():
        parsed.clear()
        variables = app.get_css_variables()
        app.stylesheet.set_variables(variables)
        app.stylesheet.reparse()
        assert parsed == []
        app.stylesheet.set_variables({**variables, "success": "#010203"})
        app.stylesheet.reparse()
        assert parsed == [each.content for each in app.stylesheet.source.values()]


async def test_app_starts_with_the_variables_of_its_theme(parsed: list[str]) -> None:
    app = PreferencesApp(Preferences("light"))
    async with app.run_test():
        assert parsed
        assert len(parsed) == len(set(parsed))


def rules_of(sheet: Stylesheet) -> list[object]:
    """What a stylesheet says, in its order."""
    return [(rule.selector_names, str(rule.styles.get_rules())) for rule in sheet.rules]
