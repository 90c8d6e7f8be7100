"""Texts of any length to measure on: the README, and then the package's docstrings."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lmtui.engine.engine import LocalEngine

_ROOT = Path(__file__).parent.parent


def prose() -> str:
    """The README and all docstrings, one after the other."""
    parts = [(_ROOT / "README.md").read_text(encoding="utf-8")]
    for path in sorted((_ROOT / "lmtui").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
                parts.append(ast.get_docstring(node) or "")
    return "\n\n".join(filter(None, parts))


def cut(engine: LocalEngine, text: str, tokens: int) -> str:
    """The beginning of a text, up to the last word that ends within so many tokens."""
    ids = engine.encode(text).ids[:tokens]
    data = b"".join(map(engine._vocabulary.bytes, ids))
    part = data.decode("utf-8", "ignore")
    return part[: part.rindex(" ")]
