"""Numbers of scored texts are values: no model and no screen is needed for them."""

from __future__ import annotations

from tests.test_imports import loaded_by


def test_summaries_load_nothing_heavy() -> None:
    assert loaded_by("lmtui.analysis.summary") == set()
