"""Hold the package to its sizes: short functions, short files, documented modules.

A file or function that has a reason to be longer says so on its first line with
`size: REASON`.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

LINES_OF_A_FILE = 600
LINES_OF_A_FUNCTION = 60


def breaches(path: Path) -> Iterator[str]:
    """What is too long or undocumented in one file."""
    source = path.read_text(encoding="utf-8")
    lines = source.splitlines()
    tree = ast.parse(source)
    if tree.body and not ast.get_docstring(tree):
        yield f"{path}: no module docstring"
    if len(lines) > LINES_OF_A_FILE and "size:" not in lines[0]:
        yield f"{path}: {len(lines)} lines"
    for node in ast.walk(tree):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        length = (node.end_lineno or node.lineno) - node.lineno + 1
        if length > LINES_OF_A_FUNCTION and "size:" not in lines[node.lineno - 1]:
            yield f"{path}:{node.lineno} {node.name}: {length} lines"


def main() -> None:
    """Print every breach; exit 1 if there is one."""
    found = [b for path in sorted(Path("lmtui").rglob("*.py")) for b in breaches(path)]
    print(*found, sep="\n", end="\n" if found else "")
    sys.exit(bool(found))


main()
