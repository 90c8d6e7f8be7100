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
    thinking: str | None = None
    """What a model is told of thinking from now on; None where that stays."""

    def __bool__(self) -> bool:
        return bool(self.nodes or self.chosen or self.thinking)

    def then(self, later: Changes) -> Changes:
        """These, and what came after them."""
        nodes = {node.id: node for node in (*self.nodes, *later.nodes)}
        chosen = {**self.chosen, **later.chosen}
        return Changes(tuple(nodes.values()), chosen, later.thinking or self.thinking)
