"""The shown branch of a conversation as a page for a browser.

Owns the page: one file without scripts, which loads nothing; every text escaped, and
its control characters made visible; what a model thought folded. Knows no store.
"""

from __future__ import annotations

from datetime import datetime
from html import escape

from lmtui.chat.node import Node
from lmtui.chat.thoughts import thought_of
from lmtui.chat.tree import Conversation
from lmtui.text import visible_flow

_WRITERS = {"system": "System", "user": "You", "assistant": "Assistant"}
_STYLE = """
:root { color-scheme: light dark; --line: #8884; --quiet: #777; --user: #2a7ab0; }
body { font: 16px/1.55 system-ui, sans-serif; max-width: 46rem; margin: 2rem auto;
  padding: 0 1rem; }
h1 { font-size: 1.4rem; overflow-wrap: anywhere; }
.quiet, h2 { color: var(--quiet); font-size: .85rem; font-weight: 600; margin: 0; }
article { border-left: 3px solid var(--line); margin: 1.2rem 0; padding: 0 1rem; }
article.user { border-color: var(--user); }
summary { color: var(--quiet); font-size: .85rem; cursor: pointer; }
details pre { color: var(--quiet); }
pre { font: inherit; margin: .2rem 0; overflow-wrap: anywhere; white-space: pre-wrap; }
"""


def to_html(conversation: Conversation, title: str, *, updated: float) -> str:
    """The page."""
    name = escape(visible_flow(title))
    day = datetime.fromtimestamp(updated).strftime("%Y-%m-%d %H:%M")
    body = "\n".join(_article(node) for node in conversation.path if node.content)
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy"
  content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{name}</title>
<style>{_STYLE}</style>
</head>
<body>
<h1>{name}</h1>
<p class="quiet">{day}</p>
{body}
</body>
</html>
"""


def _article(node: Node) -> str:
    writer = node.model or _WRITERS[node.role]
    text, folded, thought = node.content, "", thought_of(node)
    if thought is not None:
        words = text[thought.place.start : thought.place.stop].strip("\n")
        text = text[thought.place.end :]
        folded = f"<details><summary>{escape(thought.words)}</summary>\n"
        folded += f"<pre>{escape(visible_flow(words))}</pre></details>\n"
    return (
        f'<article class="{node.role}"><h2>{escape(visible_flow(writer))}</h2>\n'
        f"{folded}<pre>{escape(visible_flow(text))}</pre></article>"
    )
