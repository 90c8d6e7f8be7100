"""The tiny model of the instruments' tests."""

from __future__ import annotations

import pytest

from lmtui.engine.engine import LocalEngine
from tests.engine import tiny
from tests.learn.instruments import Naive


@pytest.fixture(scope="module")
def engine() -> LocalEngine:
    return tiny.engine()


@pytest.fixture(scope="module")
def naive() -> Naive:
    return Naive()
