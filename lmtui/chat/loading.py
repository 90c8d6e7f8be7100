"""From the rows of a store to a conversation, whatever became of them.

Owns what is done about holes: a file can have been broken. Knows no SQL.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import replace

from lmtui.chat import rows
from lmtui.chat.node import Node
from lmtui.chat.tree import Conversation


def conversation_of(found: list[sqlite3.Row]) -> Conversation:
    """The tree that these rows make. What was salvaged of a broken file may have holes:
    a message whose predecessor is lost follows the one kept before it, and a message
    that led to a lost one leads to its last."""
    nodes: dict[int, Node] = {}
    chosen: dict[int, int] = {}
    holes = {0}  # after which it is not known how the conversation goes on
    for node, row in _readable(found):
        if node.id == 0 and node.role == "system":
            nodes[0] = node
            holes.clear()
        elif node.id > 0 and node.role != "system":
            nodes.setdefault(0, Node(0, None, "system", ""))
            if node.parent not in nodes:
                node = replace(node, parent=max(nodes))
                holes.add(max(nodes))
            nodes[node.id] = node
        if row["chosen"] is not None:
            chosen[node.id] = row["chosen"]
    nodes.setdefault(0, Node(0, None, "system", ""))
    links = {a: b for a, b in chosen.items() if b in nodes and nodes[b].parent == a}
    holes = (holes | chosen.keys()) - links.keys()
    for node in nodes.values():
        if node.parent in holes and not node.gone:
            links[node.parent] = node.id
    return Conversation.restored(nodes.values(), links)


def _readable(found: list[sqlite3.Row]) -> Iterator[tuple[Node, sqlite3.Row]]:
    for row in found:
        try:
            yield rows.node_of(dict(row)), row
        except (ValueError, TypeError):
            continue
