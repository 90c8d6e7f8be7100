"""Conversations are values: they can be used without a model and without a screen."""

from __future__ import annotations

from tests.test_imports import loaded_by


def test_conversations_load_nothing_heavy() -> None:
    assert loaded_by("lmtui.chat.tree") == set()
