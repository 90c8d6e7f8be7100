"""Self-contained HTML pages: their frame and policy, and foreign text that can't act.

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


def page(title: str, body: str, *, style: str, script: str | None = None) -> str:
    """Return a page with a title of foreign text, and a body of markup.

    It runs only this script, and works without network.
    """
    rules = _policy(style=style, script=script)
    end = "" if script is None else f"<script>{script}</script>\n"
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{rules}">
<meta name="color-scheme" content="light dark">
<meta name="generator" content="lmtui">
<title>{shown(title)}</title>
<style>{style}</style>
</head>
<body>
{body}{end}</body>
</html>
"""


def _policy(*, style: str, script: str | None = None) -> str:
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
