"""The models: what there is, what Enter does, and what becomes of it."""

from __future__ import annotations

from pathlib import Path
from threading import Event
from typing import Any

import pytest
from huggingface_hub import constants
from textual.widgets import Input, OptionList

from lmtui.errors import LmtuiError
from lmtui.models.adapters.card import Base, Card, Data, Metrics
from lmtui.models.adapters.folders import Adapter
from lmtui.models.list_rows import ListedModel, adapter_row, server_row
from lmtui.models.load import locate
from lmtui.models.progress import Progress
from lmtui.models.source import ModelRef, resolve
from lmtui.tui.app_messages import ModelChosen
from lmtui.tui.dialogs import ErrorScreen
from lmtui.tui.models import (
    ADAPTER,
    NOTHING,
    ModelsScreen,
    laid_out,
    same_model,
    what_enter_does,
    what_it_names,
)
from lmtui.tui.start import StartScreen
from tests.fakes import FakeEngine
from tests.models.download.fake_hub import serving
from tests.tui.programs import ROWS, Program, assert_laid_out, chatting, program


async def listed(running: Program) -> ModelsScreen:
    """The screen with its list."""
    await running.press("m")
    models = await running.on(ModelsScreen)
    await running.until(lambda: "second" in running.seen)
    return models


async def test_model_rows_say_what_enter_does() -> None:
    async with program() as running:
        await running.ready()
        await listed(running)
        await running.until(lambda: "Enter loads it" in running.seen)
        await running.press("down")
        await running.until(lambda: "Enter fetches ≈ 3.4 GB" in running.seen)
        assert running.app.model.model_ref == ModelRef()
        await running.press("down")
        await running.until(lambda: "does not fit" in running.seen)
        assert "[bold]too ␛[31m big[/nope]" in running.seen


async def test_models_screen_can_be_left_while_a_model_loads() -> None:
    release = Event()

    def open_model(name: str) -> Any:
        def load(report: Any) -> FakeEngine:
            if name == "second":
                report(Progress("fetching second", 1, 2))
                assert release.wait(20)
            return FakeEngine(name=name)

        return load

    async with program(open_model=open_model) as running:
        await running.ready("default")
        await listed(running)
        await running.press("down", "enter")
        await running.until(lambda: "fetching second 50%" in running.seen)
        await running.press("escape")
        await running.on(StartScreen)
        assert "fetching second 50%" in running.seen
        release.set()
        await running.ready("second")
        await running.until(lambda: "ready" in running.seen)


@pytest.mark.parametrize("key", ["escape", "ctrl+c"])
async def test_load_is_given_up_for_the_model_before(key: str) -> None:
    release, reports = Event(), 0

    def open_model(name: str) -> Any:
        def load(report: Any) -> FakeEngine:
            nonlocal reports
            while name == "/a/b/second.gguf":
                report(Progress("loading second", 1, 2))
                reports += 1
                assert not release.wait(0.01)
            return FakeEngine(["still here"], name=name)

        return load

    async with chatting(open_model=open_model) as running:
        await running.press(key)  # there is nothing to give up
        running.app.post_message(ModelChosen(ModelRef("/a/b/second.gguf")))
        back = "Esc goes back to smollm2-135m-instruct"
        await running.until(lambda: f"loading second 50%; {back}" in running.seen)
        await running.press(key)
        await running.ready("default")
        assert running.app.model.model_ref == ModelRef()
        await running.ask("hello")
        await running.until(lambda: running.last_text == "still here")
        loaded = reports
        await running.press(key)
        assert reports == loaded and "Esc goes back" not in running.seen


NOTES = Card(
    name="notes",
    kind="lora",
    created="2026-07-14T09:30:00+00:00",
    base=Base("default", "default", ("0" * 64,)),
    data=Data((), documents=9, held_out=1, tokens=1000),
    metrics=Metrics(before={"loss": 3.21}, after={"loss": 2.87}),
)
LEARNED = (*ROWS, adapter_row(Adapter("notes", Path("notes"), card=NOTES)))


def learned() -> dict[str, FakeEngine | Exception]:
    """A model, and the same with an adapter."""
    alone = FakeEngine(["one two"], name="default")
    more = FakeEngine(["three four"], name="default", adapter="notes")
    return {"default": alone, "default + notes": more}


async def choose(running: Program, words: str) -> None:
    """Walk to a row and take it."""
    await running.until(lambda: words in running.seen)
    place = running.app.screen.query_one(OptionList)
    await running.until(lambda: place.option_count)
    names = [str(option.prompt) for option in place.options]
    place.highlighted = next(n for n, name in enumerate(names) if words in name)
    await running.press("enter")


async def test_adapter_is_loaded_and_unloaded_from_the_models_screen() -> None:
    async with program(learned(), rows=LEARNED) as running:
        await running.ready("default")
        await listed(running)
        for words in ("+ notes", "on default", "2026-07-14", "3.210 → 2.870"):
            assert words in running.seen
        assert "no adapter" not in running.seen
        await choose(running, "+ notes")
        await running.on(StartScreen)
        await listed(running)
        await running.until(lambda: "● + notes" in running.seen)
        assert "● default" not in running.seen
        assert "default + notes" in running.seen
        assert running.app.model.model_ref == ModelRef(adapter="notes")
        await choose(running, "no adapter")
        await running.on(StartScreen)
        await listed(running)
        await running.until(lambda: "● default" in running.seen)
        assert "no adapter" not in running.seen
        assert running.app.model.model_ref == ModelRef("default")
        assert running.app.model.before == ModelRef(adapter="notes")


async def test_model_is_loaded_by_a_typed_name(tmp_path: Path) -> None:
    engines = {"default": FakeEngine(name="default")}
    folder = str(tmp_path)
    engines[folder] = FakeEngine(name="mine")
    async with program(engines) as running:
        await running.ready()
        models = await listed(running)
        field = models.query_one(Input)
        assert field.has_focus
        field.value = "no/such/thing"
        await running.press("enter")
        await running.until(lambda: "there is no such model" in running.seen)
        assert running.app.model.info
        field.value = folder
        await running.until(lambda: "A folder on this machine" in running.seen)
        await running.press("enter")
        await running.ready("mine")
        await running.on(StartScreen)


async def test_typing_filters_the_models_and_a_name_of_several_stays_possible() -> None:
    engines = {name: FakeEngine(name=name) for name in ("default", "second", "sec")}
    async with program(engines) as running:
        await running.ready()
        models = await listed(running)
        await running.press(*"sec")
        rows = models.query_one(OptionList)
        await running.until(lambda: rows.option_count == 2)
        assert "third" not in running.seen and "default  " not in running.seen
        await running.until(lambda: "Enter fetches ≈ 3.4 GB" in running.seen)
        await running.press("down")  # the name itself, which is none
        await running.until(lambda: "there is no such model" in running.seen)
        await running.press("escape")  # the whole list again
        await running.until(lambda: rows.option_count == 3 and "third" in running.seen)
        await running.press(*"SECOND", "enter")
        await running.ready("second")
        await running.on(StartScreen)


async def test_list_of_models_stays_while_a_load_and_what_follows_it_fail() -> None:
    engines: dict[str, Any] = {"default": FakeEngine(name="default")}
    engines["second"] = LmtuiError("it is damaged", "", "Fetch it again.")
    async with program(engines) as running:
        await running.ready()
        await listed(running)
        await running.press("down", "enter")
        await running.on(ErrorScreen)
        await running.press("escape")
        await running.on(ModelsScreen)
        assert "it is damaged" in running.seen
        engines["second"] = FakeEngine(name="second")
        await running.press("enter")
        await running.ready("second")
        await running.on(StartScreen)


async def test_models_are_listed_in_the_background() -> None:
    release, asked = Event(), Event()

    def slowly() -> tuple[ListedModel, ...]:
        asked.set()
        assert release.wait(20)
        return ()

    async with program(list_models=slowly) as running:
        await running.press("m")
        await running.on(ModelsScreen)
        await running.until(asked.is_set)
        assert "Listing the models on this machine." in running.seen
        release.set()
        await running.until(lambda: NOTHING in running.seen)


async def test_models_screen_is_laid_out_at_every_size() -> None:
    async with program() as running:
        await running.ready()
        models = await listed(running)
        for size in ((80, 24), (120, 40), (200, 60), (40, 12)):
            await running.pilot.resize_terminal(*size)
            await running.until(lambda size=size: models.outer_size == size)
            await running.pilot.pause()
            assert_laid_out(models)
            assert models.query_one(Input).region.height == 3


def test_model_columns_are_as_wide_as_they_need() -> None:
    heading, lines = laid_out(ROWS, ModelRef("second"))
    assert heading.index("NOTE") == lines[0].index("the default")
    assert lines[1].startswith("● second")
    assert heading.index("WEIGHTS") + len("WEIGHTS") == lines[0].index("135M") + 4
    assert "\x1b" not in "".join(lines)
    assert laid_out((), None)[1] == []


def test_same_model_recognizes_two_names_of_one_model() -> None:
    assert same_model("qwen3.5-2b", "unsloth/Qwen3.5-2B-GGUF")
    assert not same_model("qwen3.5-2b", "qwen3.5-4b")
    assert same_model("./mine", "./mine")
    assert not same_model("./mine", "./yours")


def test_model_row_note_names_download_size_and_fit() -> None:
    row = ListedModel("a", "1B", "2.0 GB", "no", "", "")
    assert what_enter_does(row) == (
        "Enter fetches 2.0 GB and loads it. It does not fit into the memory."
    )


def test_typed_name_is_recognized_as_folder_file_hub_or_default(tmp_path: Path) -> None:
    file = tmp_path / "m.gguf"
    file.write_bytes(b"GGUF")
    for text, words in [
        (str(tmp_path), "A folder"),
        (str(file), "A GGUF file"),
        ("owner/name", "owner/name on the Hub"),
        ("owner/name:Q8_0", "owner/name:Q8_0 on the Hub"),
        ("default", "The default model"),
        ("http://127.0.0.1:8080/v1", "A server, 127.0.0.1:8080"),
    ]:
        said, named = what_it_names(f" {text} ", {})
        assert named == ModelRef(text)
        assert said.startswith(words)
    assert what_it_names("qwen3.5-2", {})[1] is None
    assert what_it_names("http://", {})[1] is None
    assert "Did you mean" in what_it_names("qwen3.5-2", {})[0]
    assert what_it_names("  ", {}) == ("", None)


def test_typed_adapter_name_is_recognized_as_an_adapter(
    tmp_path: Path, home: Path
) -> None:
    folder = tmp_path / "elsewhere"
    inside = home / "adapters" / "notes"
    for place in (folder, inside):
        place.mkdir(parents=True)
        (place / "adapter_config.json").write_text("{}")
    for text in (str(folder), "notes"):
        assert what_it_names(text, {}) == (ADAPTER, ModelRef(adapter=text))


GPU = "https://gpu.example:8000/v1"


async def test_named_server_is_a_row_and_a_name_in_the_field() -> None:
    label = f"{GPU}#tiny"
    engines = {"default": FakeEngine(name="default"), "gpu": FakeEngine(name=label)}
    rows = (*ROWS, server_row("gpu", GPU))
    async with program(engines, rows=rows, servers={"gpu": GPU}) as running:
        await running.ready()
        await listed(running)
        assert "a model on the server gpu.example:8000" in running.seen
        await running.press("pagedown")
        await running.until(lambda: "Enter asks the server" in running.seen)
        await running.press(*GPU)
        words = "A server, gpu.example:8000: Enter asks it."
        await running.until(lambda: words in running.seen)
        await running.press("escape", *"gpu", "enter")
        await running.on(StartScreen)
        await listed(running)
        await running.until(lambda: "● gpu" in running.seen)
        assert running.app.model.model_ref == ModelRef("gpu")


def test_row_of_a_server_is_marked_where_its_model_is_in_use() -> None:
    for address, model, is_marked in (
        (GPU, f"{GPU}#tiny", True),
        (f"{GPU}#tiny", f"{GPU}#tiny", True),
        (f"{GPU}#other", f"{GPU}#tiny", False),
        ("https://elsewhere", f"{GPU}#tiny", False),
        (GPU, "gpu", False),
    ):
        (line,) = laid_out((server_row("gpu", address),), ModelRef(model))[1]
        assert line.startswith("● gpu" if is_marked else "  gpu")


def test_typed_server_name_counts_before_a_model_or_an_adapter(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gpu").mkdir()
    folder = home / "adapters" / "gpu"
    folder.mkdir(parents=True)
    (folder / "adapter_config.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    said, named = what_it_names("gpu", {"gpu": GPU})
    assert said.startswith("A server") and named == ModelRef("gpu")
    assert what_it_names("gpu", {}) == (ADAPTER, ModelRef(adapter="gpu"))
    assert "Did you mean gpu" in what_it_names("gpuu", {"gpu": GPU})[0]


async def test_escape_ends_a_download_and_the_model_in_use_stays(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = b"GGUF" + bytes(1_500_000)
    with serving({"a/b": {"x-Q4_K_M.gguf": data}}) as hub:
        hub.pause = Event()
        urls = f"{hub.url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr(constants, "ENDPOINT", hub.url)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", urls)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")

        def open_model(name: str) -> Any:
            def load_it(report: Any) -> FakeEngine:
                if name == "a/b":
                    locate(resolve(name), report)
                return FakeEngine(["still here"], name=name)

            return load_it

        async with chatting(open_model=open_model) as running:
            running.app.post_message(ModelChosen(ModelRef("a/b")))
            await running.until(lambda: "fetching x-Q4_K_M.gguf" in running.seen)
            await running.press("escape")
            hub.pause.set()
            await running.ready("default")
            await running.ask("hello")
            await running.until(lambda: running.last_text == "still here")
    (part,) = (home / "models").rglob("*.incomplete")
    assert 0 < part.stat().st_size < len(data)
