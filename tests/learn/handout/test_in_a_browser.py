"""The pages of a handout in a real browser, where there is one."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.browser import BROWSER, Browser
from tests.learn.handout.test_writer import MORE_HOSTILE, sources_of

pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium")

HEIGHT = 'document.querySelector("details.answer").getBoundingClientRect().height'


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    started = Browser(tmp_path_factory.mktemp("profile"))
    yield started
    started.close()


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The pages of a course, the index last."""
    folder = tmp_path_factory.mktemp("out")
    names = ["01-page-1.html", "02-page-2.html", "03-page-3.html", "index.html"]
    for name, source in zip(names, sources_of(MORE_HOSTILE), strict=True):
        (folder / name).write_text(source, "utf-8")
    return [folder / name for name in names]


def show(browser: Browser, page: Path, *, width: int = 1280, **media: str) -> None:
    """Open a page in a width, with the features of a medium."""
    features = [{"name": "prefers-color-scheme", "value": media.get("scheme", "light")}]
    browser.ask(
        "Emulation.setEmulatedMedia", features=features, media=media.get("media", "")
    )
    size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": False}
    browser.ask("Emulation.setDeviceMetricsOverride", **size)
    browser.open(page)


@pytest.mark.parametrize(("width", "scheme"), [(360, "light"), (1280, "dark")])
def test_pages_fit_and_break_no_policy(
    browser: Browser, pages: list[Path], width: int, scheme: str
) -> None:
    for page in pages:
        show(browser, page, width=width, scheme=scheme)
        told = [e for e in browser.events if e["method"] == "Log.entryAdded"]
        assert not told, told
        asked = [e["params"] for e in browser.events if "WillBeSent" in e["method"]]
        assert {one["request"]["url"][:5] for one in asked} == {"file:"}
        over = browser.value(
            "document.documentElement.scrollWidth - innerWidth",
        )
        assert over <= 0, page
        ground = browser.value("getComputedStyle(document.body).backgroundColor")
        assert (
            ground == {"light": "rgb(253, 253, 251)", "dark": "rgb(22, 24, 29)"}[scheme]
        )


def test_drawing_keeps_its_cells_and_fits_a_phone_and_paper(
    browser: Browser, pages: list[Path]
) -> None:
    for width, size, media in (
        (360, "narrow", ""),
        (900, "wide", ""),
        (650, "wide", "print"),
    ):
        show(browser, pages[0], width=width, media=media)
        figures: Any = browser.value(
            '[...document.querySelectorAll("pre.drawn")]'
            ".filter(p => p.offsetParent).map(p => [p.className, p.scrollWidth <= "
            "p.clientWidth, parseFloat(getComputedStyle(p).fontSize)].join()).join(';')"
        )
        for figure in figures.split(";"):
            name, fits, font = figure.split(",")
            assert (name, fits) == (f"drawn {size}", "true")
            assert float(font) >= 11
        ends: Any = browser.value(
            f'[...document.querySelectorAll("pre.{size} span.raw")]'
            ".map(s => s.getBoundingClientRect().right).join()"
        )
        assert len({round(float(end)) for end in ends.split(",")}) <= 8


def test_print_shows_the_answer_and_no_links(
    browser: Browser, pages: list[Path]
) -> None:
    show(browser, pages[0])
    folded = browser.value(HEIGHT)
    show(browser, pages[0], media="print", scheme="dark")
    assert browser.value(HEIGHT) > folded + 20
    assert browser.value('getComputedStyle(document.querySelector("nav")).display') == (
        "none"
    )
    ink = browser.value("getComputedStyle(document.body).color")
    assert ink == "rgb(0, 0, 0)"
    printed = browser.ask("Page.printToPDF")["data"]
    assert base64.b64decode(printed).startswith(b"%PDF")
