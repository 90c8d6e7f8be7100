"""What is opened on a screen: a model, and what it goes on being compared with."""

from __future__ import annotations

from typing import Any

import pytest

from lmtui.cli import engine
from lmtui.config.settings import Settings
from lmtui.errors import LmtuiError
from lmtui.models.progress import Progress
from lmtui.models.source import ModelRef


def opened(monkeypatch: pytest.MonkeyPatch, *missing: str) -> tuple[Any, list[str]]:
    """What comes of choosing `new` while `old` is compared with."""

    def open_wanted(_: Settings, wanted: ModelRef, *__: Any, **___: Any) -> str:
        if wanted.model in missing:
            raise LmtuiError("there is no such model", str(wanted.model))
        return str(wanted.model)

    told: list[Progress] = []
    monkeypatch.setattr(engine, "open_model", open_wanted)
    chosen, other = ModelRef("new"), ModelRef("old")
    result = engine.open_for_comparison(Settings(), chosen, other, told.append)
    assert all(progress.warning for progress in told)
    return result, [progress.what for progress in told]


def test_chosen_and_compared_model_are_both_opened(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert opened(monkeypatch) == (("new", "old"), [])


def test_missing_compared_model_ends_the_comparison(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    result, (told,) = opened(monkeypatch, "old")
    assert result == "new"
    assert told.startswith("Nothing is compared any more: there is no such model")


def test_missing_chosen_model_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(LmtuiError, match="no such model"):
        opened(monkeypatch, "new")
