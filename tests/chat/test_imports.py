"""Conversations are values: they can be used without a model and without a screen."""

from __future__ import annotations

from tests.test_imports import loaded_by


def test_conversations_load_nothing_heavy() -> None:
    for module in ("conversation", "writer", "search"):
        assert loaded_by(f"lmtui.chat.{module}") == set()
