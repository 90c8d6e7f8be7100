"""What became of a conversation since it was last kept. Knows no store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from lmtui.chat.node import Node


@dataclass(frozen=True, slots=True)
class Changes:
    """What became of a conversation since it was last asked."""

    nodes: tuple[Node, ...] = ()
    """The messages that are new or other than they were."""
    chosen: Mapping[int, int | None] = field(default_factory=dict)
    """Of each message whose branch goes on elsewhere, what follows it now."""

    def __bool__(self) -> bool:
        return bool(self.nodes or self.chosen)

    def then(self, later: Changes) -> Changes:
        """These, and what came after them."""
        nodes = {node.id: node for node in (*self.nodes, *later.nodes)}
        return Changes(tuple(nodes.values()), {**self.chosen, **later.chosen})
