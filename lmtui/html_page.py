"""Parts of every self-contained HTML page: its policy, its assets, and foreign text
that can't act.

Knows no page.
"""

from __future__ import annotations

import base64
import hashlib
import html
from importlib.resources import files

from lmtui.text import visible_flow


def shown(text: str) -> str:
    """Return foreign text for an element or an attribute in quotes: invisible
    characters are made visible, and nothing in it is markup."""
    return html.escape(visible_flow(text))


def policy(*, style: str, script: str | None = None) -> str:
    """Return a policy that allows only this style and this script, and no address."""
    rules = {
        "default-src": "'none'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "style-src": _digest(style),
    }
    if script is not None:
        rules["script-src"] = _digest(script)
    return "; ".join(f"{name} {value}" for name, value in rules.items())


def _digest(part: str) -> str:
    digest = hashlib.sha256(part.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def asset(package: str, name: str) -> str:
    return (files(package) / name).read_text(encoding="utf-8")
