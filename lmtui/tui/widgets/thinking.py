"""What a model thought before its answer: one line, until the reader wants it all.

Owns the blocks that are drawn for it. A thinking that is folded is not drawn, however
long it is. Knows no widget, no engine and no conversation.
"""

from __future__ import annotations

from dataclasses import replace

from lmtui.chat.thoughts import Thought
from lmtui.text import visible
from lmtui.tui.widgets.cells import tame_heaps
from lmtui.tui.widgets.markdown_lines import Block, blocks_of

FOLD, THOUGHT = "fold", "thought"
"""The kinds of the line and of what is folded behind it."""
UNFOLDED = "-thoughts"
"""The class of a screen that shows all of them unfolded."""


def blocks_for(thought: Thought, text: str, *, folded: bool) -> list[Block]:
    """The line, and the thinking below it; `text` is that of the whole message."""
    line = Block(f"{'▸' if folded else '▾'} {thought.words}", FOLD, joined=True)
    if folded:
        return [line]
    words = text[thought.place.start : thought.place.stop].strip("\n")
    blocks = blocks_of(tame_heaps(visible(words)), joined=True)
    return [line, *(replace(block, kind=THOUGHT) for block in blocks)]
