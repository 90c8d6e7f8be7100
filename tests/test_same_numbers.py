"""One text and one answer, on every screen, in the shell and on the page: the same
numbers, each with the sign and the unit of its label."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from lmtui.cli.main import main
from lmtui.editing import recovery
from lmtui.editing.text_file import load
from lmtui.engine.document.suggestion import SuggestionRules
from lmtui.engine.engine import LocalEngine
from lmtui.tui.dialogs import PageScreen
from lmtui.tui.editor.options import Writing
from lmtui.tui.widgets.status import Status
from tests.engine.tiny import loaded
from tests.tui.inspecting import inspecting
from tests.tui.programs import SETTINGS, program

TEXT = "The quick brown fox jumps over the lazy dog.\nthe cat sat on the mat\n"
NARROW, WIDE = (80, 24), (160, 50)

LABELS = {
    "logprob": r"(?:Σ log P(?:, nats)?|Σ to here)",
    "surprisal": r"(?:surprisal(?:, bits)?|(?<=│ )bits)",
    "perplexity": r"(?:perplexity|ppl)(?! here)",
    "bits_per_byte": r"(?:bits/byte|bits/B)",
    "bits_per_character": r"(?:bits/character|bits/ch)",
}
"""What may stand before each number, where there is room and where there is little."""


@pytest.fixture
def engine(home: Path) -> LocalEngine:
    """A tiny random model, in a home of its own."""
    return LocalEngine(loaded())


@pytest.fixture
def shell(
    engine: LocalEngine, capsys: pytest.CaptureFixture[str]
) -> Callable[..., str]:
    """What a command writes to stdout."""

    def run(*arguments: str) -> str:
        assert main([*arguments], open_engine=lambda _: engine) == 0
        return capsys.readouterr().out

    return run


def numbers(seen: str) -> dict[str, set[str]]:
    """The numbers behind each label of what a person reads."""
    assert not re.search(r"(?<![\w.])-\d", seen), "a hyphen for a minus sign"
    assert not re.search(r"\d %|−0\.0+\b", seen), "a gap before %, or a negative zero"
    return {
        name: set(re.findall(rf"{label}\s+([−\d][\d.,]*(?:e\d+)?)", seen))
        for name, label in LABELS.items()
    }


def assert_same(
    seen: str, truth: Mapping[str, float], *, wanted: tuple[str, ...]
) -> None:
    """Each number that is seen is that of its label, and those `wanted` are seen."""
    found = numbers(re.sub(r".*\d/\d+ “.*", "", seen))  # a line about one token
    assert not [name for name in wanted if not found[name]], seen
    for name, written in found.items():
        for number in written:
            value = float(number.replace(",", "").replace("−", "-"))
            places = len(number.partition(".")[2])
            error = 0.51 * 10**-places
            assert value == pytest.approx(truth[name], abs=error), (name, number, seen)


def truth_of(event: Mapping[str, float]) -> dict[str, float]:
    """The numbers of the last JSON line, and the surprisal that belongs to them."""
    assert event["logprob"] < 0
    return {**event, "surprisal": -event["logprob"] / math.log(2)}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The text in a file."""
    file = tmp_path / "text.txt"
    file.write_text(TEXT)
    return file


@pytest.fixture
def truth(shell: Callable[..., str], file: Path) -> dict[str, float]:
    """The numbers of the text, as data."""
    return truth_of(json.loads(shell("inspect", str(file), "--json").splitlines()[-1]))


def test_shell_and_page_show_the_numbers_of_json(
    shell: Callable[..., str], file: Path, truth: dict[str, float]
) -> None:
    plain = shell("inspect", str(file))
    assert_same(plain, truth, wanted=("logprob", "perplexity", "bits_per_byte"))
    heads, row = shell("score", str(file)).splitlines()
    columns = dict(zip(heads.split(), row.split(), strict=True))
    names = {"logprob": "Σ log P", "perplexity": "ppl", "bits/byte": "bits/byte"}
    seen = "\n".join(f"{label} {columns[name]}" for name, label in names.items())
    assert_same(seen, truth, wanted=("logprob", "perplexity", "bits_per_byte"))
    page = file.with_suffix(".html")
    shell("inspect", str(file), "--html", str(page))
    found = re.search(r'id="data">(.*?)</script>', page.read_text())
    assert found
    data = json.loads(found[1])
    figures = data["text"]["own"]["figures"]
    seen = "\n".join(f"{name} {value}" for name, value in figures.items())
    assert_same(seen, truth, wanted=tuple(LABELS))


@pytest.mark.parametrize("size", [NARROW, WIDE])
async def test_editor_shows_the_numbers_of_json(
    engine: LocalEngine, file: Path, truth: dict[str, float], size: tuple[int, int]
) -> None:
    opened = Writing(load(file), cursor=0, recovered=recovery.find(file),
                     rules=SuggestionRules(delay=3600.0))  # fmt: skip
    async with program(
        first="complete",
        writing=opened,
        open_model=lambda _: lambda _: engine,
        size=size,
    ) as running:
        await running.until(lambda: numbers(running.seen)["logprob"])
        assert_same(running.seen, truth, wanted=("logprob", "perplexity"))


async def test_inspector_shows_the_numbers_of_json(
    engine: LocalEngine, truth: dict[str, float]
) -> None:
    async with inspecting(TEXT, engine, size=WIDE) as page:  # type: ignore[arg-type]
        running = page.running
        await page.press("ctrl+end")
        await running.until(lambda: numbers(running.seen)["logprob"])
        wanted = ("logprob", "surprisal", "perplexity", "bits_per_byte")
        assert_same(running.seen, truth, wanted=wanted)
        await page.press("o")
        await running.until(lambda: "Overview" in running.seen)
        assert_same(running.seen, truth, wanted=wanted)


async def test_chat_screens_show_the_numbers_of_json(
    engine: LocalEngine, shell: Callable[..., str]
) -> None:
    asked = ["chat", "--once", "the fox", "--json", "--temperature", "0"]
    out = shell(*asked, "--max-tokens", str(SETTINGS.max_tokens))
    *tokens, end = map(json.loads, out.splitlines())
    spoken = "".join(token["piece"] for token in tokens[1:]).encode()
    truth = truth_of(end)
    truth["bits_per_byte"] = truth["surprisal"] / len(spoken)
    async with program(
        first="chat", open_model=lambda _: lambda _: engine, size=NARROW
    ) as running:
        await running.ready()
        await running.ask("the fox")
        await running.until(lambda: len(running.views) == 2)
        status = running.chat.query_one(Status)
        await running.until(
            lambda: status.state == "ready" and not running.chat.session.is_busy
        )
        assert_same(running.seen, truth, wanted=("logprob", "perplexity"))
        await running.press("alt+up", "t")
        await running.on(PageScreen)
        wanted = ("logprob", "surprisal", "perplexity", "bits_per_byte")
        assert_same(running.seen, truth, wanted=wanted)
        await running.press("escape", "f3", "ctrl+end")
        await running.until(lambda: "Σ to here −" in running.seen)
        assert_same(running.seen, truth, wanted=("logprob",))
        await running.press("f3")
        await running.ask("/stats")
        await running.on(PageScreen)
        lines = [line.strip(" │") for line in running.seen.splitlines()]
        at = next(i for i, line in enumerate(lines) if line.startswith("answers"))
        heads, row = (re.split(r"\s{2,}", line) for line in lines[at : at + 2])
        seen = "\n".join(map(" ".join, zip(heads, row, strict=True)))
        assert_same(seen, truth, wanted=("logprob", "perplexity", "bits_per_byte"))
