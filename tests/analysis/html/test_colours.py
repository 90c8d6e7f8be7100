"""Colours of the pages: readable in light and dark, and never alone."""

from __future__ import annotations

import re

import pytest

from lmtui import html_page, surprisal_scale

SHADES = html_page.asset("lmtui.analysis.html", "shades.css")
PAGE = html_page.asset("lmtui.analysis.html", "page.css")
TEXT = [
    *(("ink", "paper"), ("ink", "card"), ("quiet", "paper"), ("quiet", "card")),
    *(("accent", "paper"), ("accent", "card"), ("s0", "paper"), ("s0", "card")),
    *(("ink", "s2"), ("ink", "s3"), ("on4", "s4"), ("on5", "s5")),
]


def colours(sheet: str, media: str = "") -> dict[str, str]:
    """The colours that a sheet gives, at first or in a medium."""
    parts = re.split(r"@media ([^{]*)\{", sheet)
    blocks = [parts[0], *(b for m, b in zip(parts[1::2], parts[2::2], strict=True)
                          if media and media in m)]  # fmt: skip
    return {
        name: value if len(value) == 7 else "#" + "".join(2 * c for c in value[1:])
        for block in blocks
        for name, value in re.findall(r"--([\w-]+): (#[0-9a-f]{3,6})\b", block)
    }


def luminance(colour: str) -> float:
    """Relative luminance (WCAG 2.2)."""
    parts = [int(colour[n : n + 2], 16) / 255 for n in (1, 3, 5)]
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4
        for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """Contrast ratio (WCAG 2.2)."""
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("media", ["light", "dark"])
def test_text_is_readable(media: str) -> None:
    known = {**colours(SHADES, media), **colours(PAGE, media)}
    for text, ground in TEXT:
        assert contrast(known[text], known[ground]) >= 4.5, (text, ground)


def test_every_step_has_a_form_without_colour() -> None:
    forms = []
    for step in range(surprisal_scale.STEPS):
        found = re.search(rf"^\.s{step} {{(.*)}}", SHADES, re.MULTILINE)
        rules = found[1] if found else ""
        forms.append(
            tuple(re.findall(r"(?:text-decoration|font-weight): [^;]+", rules))
        )
    assert forms[0] == forms[1] == ()  # expected ones need no mark
    assert len(set(forms[1:])) == surprisal_scale.STEPS - 1
