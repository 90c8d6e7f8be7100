"""Themes: readable, complete, and safe against whatever a file says."""

from __future__ import annotations

import math
import os
from itertools import combinations
from pathlib import Path

import pytest
from textual.app import App
from textual.color import Color
from textual.theme import Theme

from lmtui.tui import themes
from lmtui.tui.editor.text_area import TINT
from lmtui.tui.themes import SLOTS, load_themes, variable_defaults

GOOD = 'primary = "#112233"\nforeground = "white"\nbackground = "#000000"\n'
SHIPPED = load_themes()
TEXT = ("foreground", "primary", "secondary", "accent", "warning", "error", "success")


def luminance(colour: str) -> float:
    """Relative luminance: https://www.w3.org/TR/WCAG21/#dfn-relative-luminance"""
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4
              for c in channels]  # fmt: skip
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(first: str, second: str) -> float:
    """Contrast ratio: https://www.w3.org/TR/WCAG21/#dfn-contrast-ratio"""
    low, high = sorted((luminance(first), luminance(second)))
    return (high + 0.05) / (low + 0.05)


def test_shipped_themes_load_without_notices_and_default_first() -> None:
    names = [theme.name for theme in SHIPPED.themes]
    assert names[0] == themes.DEFAULT
    assert set(names) == {"dark", "light", "high-contrast", "colour-blind-safe"}
    assert {theme.dark for theme in SHIPPED.themes} == {True, False}
    assert SHIPPED.notices == ()
    assert all(theme.variables.keys() == SLOTS.keys() for theme in SHIPPED.themes)


@pytest.mark.parametrize("theme", SHIPPED.themes, ids=lambda theme: theme.name)
def test_theme_text_has_enough_contrast(theme: Theme) -> None:
    least = 7 if theme.name == "high-contrast" else 4.5
    colours = {name: getattr(theme, name) for name in TEXT} | theme.variables
    for ground in ("background", "surface", "panel"):
        for name, colour in colours.items():
            found = contrast(colour, getattr(theme, ground))
            assert found >= least, f"{name} on {ground}: {found:.2f}"


@pytest.mark.parametrize("theme", SHIPPED.themes, ids=lambda theme: theme.name)
def test_tint_of_surprise_is_seen_and_read_through(theme: Theme) -> None:
    assert theme.background is not None
    ground = Color.parse(theme.background)
    tint = ground.blend(Color.parse(theme.variables["surprise-4"]), TINT / 100)
    least = 7 if theme.name == "high-contrast" else 4.5
    for name in ("foreground", "primary", "secondary", "accent", "success", "warning"):
        found = contrast(getattr(theme, name), tint.hex)
        assert found >= least, f"{name}: {found:.2f}"
    assert contrast(ground.hex, tint.hex) > 1.3
    # Without colours, a background that differs so much is reverse video.
    assert abs(tint.brightness - ground.brightness) > 0.05


def oklab(colour: str) -> tuple[float, float, float]:
    """Lightness and two hues, evenly spaced to the eye:
    https://bottosson.github.io/posts/oklab/"""
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    r, g, b = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4
               for c in channels)  # fmt: skip
    l = (0.4122214708 * r + 0.5363325363 * g + 0.0514459929 * b) ** (1 / 3)  # noqa: E741
    m = (0.2119034982 * r + 0.6806995451 * g + 0.1073969566 * b) ** (1 / 3)
    s = (0.0883024619 * r + 0.2817188376 * g + 0.6299787005 * b) ** (1 / 3)
    return (
        0.2104542553 * l + 0.7936177850 * m - 0.0040720468 * s,
        1.9779984951 * l - 2.4285922050 * m + 0.4505937099 * s,
        0.0259040371 * l + 0.7827717662 * m - 0.8086757660 * s,
    )


def distance(first: str, second: str) -> float:
    """How different two colours look; about 0.02 can just be seen."""
    return math.dist(oklab(first), oklab(second))


@pytest.mark.parametrize("theme", SHIPPED.themes, ids=lambda theme: theme.name)
def test_surprise_ramp_and_probability_bars_have_distinct_colours(theme: Theme) -> None:
    ramp = [theme.variables[f"surprise-{step}"] for step in range(6)]
    bars = [theme.variables[f"prob-{which}"] for which in ("raw", "sampled", "chosen")]
    assert ramp[0] == theme.foreground
    for one, other in (*combinations(ramp, 2), *combinations(bars, 2)):
        assert distance(one, other) >= 0.05, f"{one} and {other}"


def write(folder: Path, name: str, text: str | bytes) -> Path:
    path = folder / f"{name}.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_missing_slots_take_a_base_colour(tmp_path: Path) -> None:
    write(tmp_path, "mine", GOOD)
    theme = load_themes(tmp_path).get("mine")
    assert theme is not None
    assert theme.variables["prob-sampled"] == "#112233"
    assert theme.variables["ghost"] == "#ffffff"
    assert theme.variables.keys() == SLOTS.keys()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("primary = ", "Invalid"),
        (b"\xff\xfe", "not UTF-8"),
        (b"a = " + b"[" * 60_000, "nested too deeply"),
        ('primary = "#123456"', "foreground is missing"),
        (GOOD + "dark = 3", "dark must be"),
        (GOOD + 'name = ""', "name must be"),
        (GOOD + "name = 3", "name must be"),
        (GOOD + 'acent = "red"', "unknown key 'acent'"),
        (GOOD + "accent = 3", "accent must be a colour"),
        (GOOD + 'accent = "}* {display: none"', "accent is no colour"),
        (GOOD + 'accent = "#11223344"', "accent must be a colour like"),
        (GOOD + 'accent = "auto"', "accent"),
        (GOOD + 'accent = "ansi_red"', "accent"),
        (GOOD + "variables = 3", "variables must be a table"),
        (GOOD + '[variables]\n"x}" = "red"', "unknown variable"),
        (GOOD + '[variables]\nghost = "$foreground"', "ghost is no colour"),
        (GOOD + "#" * 70_000, "larger than"),
    ],
)
def test_broken_theme_file_is_one_notice(
    tmp_path: Path, text: str | bytes, reason: str
) -> None:
    path = write(tmp_path, "bad", text)
    found = load_themes(tmp_path)
    assert found.themes == SHIPPED.themes
    (notice,) = found.notices
    assert notice.path == path
    assert reason in notice.reason


def test_hostile_theme_names_and_reasons_are_made_visible(tmp_path: Path) -> None:
    write(tmp_path, "one", GOOD + 'name = "\\u001b[2J[bold]\\u202e' + "x" * 100 + '"')
    write(tmp_path, "two", GOOD + '"\\u001b]52;c" = 1')
    found = load_themes(tmp_path)
    name = found.themes[-1].name
    assert name.startswith("␛[2J[bold]⟨U+202E⟩")
    assert len(name) <= 40
    assert "\x1b" not in found.notices[0].reason


def test_unreadable_theme_files_are_one_notice_each(tmp_path: Path) -> None:
    (tmp_path / "folder.toml").mkdir()
    (tmp_path / "gone.toml").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "pipe.toml")  # who reads it waits for ever
    assert len(load_themes(tmp_path).notices) == 3
    assert load_themes(tmp_path / "missing").notices == ()


def test_a_user_theme_replaces_a_shipped_one(tmp_path: Path) -> None:
    write(tmp_path, "mine", GOOD + 'name = "dark"')
    found = load_themes(tmp_path)
    assert len(found.themes) == len(SHIPPED.themes)
    theme = found.get("dark")
    assert theme is not None and theme.primary == "#112233"
    assert found.paths["dark"] == tmp_path / "mine.toml"


def test_unknown_theme_name_is_told_with_close_ones() -> None:
    error = SHIPPED.unknown("higher-contrast\x1b")
    assert error.title == "unknown theme"
    assert error.detail == "higher-contrast␛"
    assert error.hint.startswith("Did you mean high-contrast? There are dark, ")
    assert SHIPPED.unknown("xyzzy").hint.startswith("There are dark, ")
    assert error.hint.endswith(f" and {SHIPPED.themes[-1].name}.")


def test_shipped_folder_prefers_the_packed_themes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(themes, "__file__", str(tmp_path / "lmtui/tui/themes.py"))
    assert themes.shipped_folder() == tmp_path / "themes"
    (tmp_path / "lmtui/_themes").mkdir(parents=True)
    assert themes.shipped_folder() == tmp_path / "lmtui/_themes"


class Host(App[None]):
    """An app whose sheet uses every slot."""

    CSS = "\n".join(f".{slot} {{ color: ${slot}; }}" for slot in SLOTS)

    def get_theme_variable_defaults(self) -> dict[str, str]:
        return variable_defaults(SHIPPED)


async def test_textual_accepts_every_shipped_theme() -> None:
    app = Host()
    async with app.run_test() as pilot:
        for theme in SHIPPED.themes:
            app.register_theme(theme)
            app.theme = theme.name
            await pilot.pause()
            assert app.theme_variables["ghost"] == theme.variables["ghost"]
