"""What is opened on a screen: a model, and what it goes on being compared with."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from lmtui.cli import engine
from lmtui.config.settings import Settings
from lmtui.errors import LmtuiError
from lmtui.models.progress import Progress
from lmtui.models.source import ModelRef


def opened(monkeypatch: pytest.MonkeyPatch, *missing: str) -> tuple[Any, list[str]]:
    """What comes of choosing `new` while `old` is compared with."""

    def open_wanted(_: Settings, wanted: ModelRef, *__: Any, **___: Any) -> Any:
        if wanted.model in missing:
            raise LmtuiError("there is no such model", str(wanted.model))
        info = SimpleNamespace(name=wanted.model, threads=torch.get_num_threads())
        return SimpleNamespace(info=info, close=lambda: None)

    told: list[Progress] = []
    monkeypatch.setattr(engine, "open_model", open_wanted)
    chosen, other = ModelRef("new"), ModelRef("old")
    result: Any = engine.open_for_screen(Settings(), chosen, other, told.append)
    assert all(progress.warning for progress in told)
    engines = result if isinstance(result, tuple) else (result,)
    return [each.info.name for each in engines], [each.what for each in told]


def test_chosen_and_compared_model_are_both_opened(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert opened(monkeypatch) == (["new", "old"], [])


def test_missing_compared_model_ends_the_comparison(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    result, (told,) = opened(monkeypatch, "old")
    assert result == ["new"]
    assert told.startswith("Nothing is compared any more: there is no such model")


def test_missing_chosen_model_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(LmtuiError, match="no such model"):
        opened(monkeypatch, "new")


@pytest.mark.parametrize("fails", [False, True])
def test_loaded_objects_are_exempt_from_collection_before_it_goes_on(
    monkeypatch: pytest.MonkeyPatch, fails: bool
) -> None:
    """The first collection after a load would scan them and stop the screen. A model
    that could not be opened is garbage."""
    calls: list[str] = []
    names = ("disable", "freeze", "enable")
    fake = SimpleNamespace(**{name: partial(calls.append, name) for name in names})
    monkeypatch.setattr(engine, "gc", fake)

    def open_wanted(*_: Any, **__: Any) -> str:
        calls.append("open")
        if fails:
            raise LmtuiError("there is no such model")
        return "engine"

    monkeypatch.setattr("lmtui.engine.engine.LocalEngine.open", open_wanted)
    with suppress(LmtuiError):
        engine.open_model(Settings(), ModelRef("a/model"), lambda _: None)
    loaded = ["disable", "open", "freeze", "enable"]
    assert calls == [call for call in loaded if call != "freeze" or not fails]


def test_adapter_belongs_to_the_server() -> None:
    ref = ModelRef("http://127.0.0.1:1/v1", "notes")
    with pytest.raises(LmtuiError, match="an adapter can't be added") as caught:
        engine.open_model(Settings(), ref, lambda _: None)
    assert "lmtui serve --adapter" in caught.value.hint
