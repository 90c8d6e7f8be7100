"""A conversation: a tree of messages, and the branch that is being read.

Owns what follows what, and which of several versions is the active one. Nothing is
ever taken out: another reply or another wording is a sibling. Messages are values
(`Node`); the tree is where new ones take the place of old ones. Knows no engine, no
store and no screen.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from lmtui.chat.node import Node
from lmtui.engine.types import (
    Finish,
    Message,
    Prompt,
    SamplingSettings,
    ScoredToken,
    Step,
)


class Conversation:
    """Messages by id. The root is the system message, empty where there is none."""

    def __init__(self, system: str = "") -> None:
        root = Node(id=0, parent=None, role="system", content=system)
        self._nodes: dict[int, Node] = {0: root}
        self._children: dict[int, list[int]] = {0: []}
        self._chosen: dict[int, int] = {}  # of each parent, the child on its branch

    @property
    def root(self) -> Node:
        """The system message."""
        return self._nodes[0]

    @property
    def nodes(self) -> tuple[Node, ...]:
        """Every message there ever was, as it is now, in order of creation."""
        return tuple(self._nodes.values())

    @property
    def path(self) -> tuple[Node, ...]:
        """The active branch, from the root to its leaf."""
        ids = [0]
        while (child := self._chosen.get(ids[-1])) is not None:
            ids.append(child)
        return tuple(self._nodes[id_] for id_ in ids)

    @property
    def leaf(self) -> Node:
        """The last message of the active branch."""
        return self.path[-1]

    def node(self, id_: int) -> Node:
        """The message with this id, as it is now.

        Raises:
            KeyError: there is none.
        """
        return self._nodes[id_]

    def children(self, id_: int) -> tuple[Node, ...]:
        """What follows a message, in order of creation."""
        return tuple(self._nodes[child] for child in self._children[id_])

    def siblings(self, id_: int) -> tuple[Node, ...]:
        """The versions of a message, itself among them, in order of creation."""
        parent = self._nodes[id_].parent
        return (self._nodes[id_],) if parent is None else self.children(parent)

    def trail(self, id_: int) -> tuple[Node, ...]:
        """The way from the root to a message, both included."""
        way = [self._nodes[id_]]
        while (parent := way[-1].parent) is not None:
            way.append(self._nodes[parent])
        return tuple(reversed(way))

    def messages(self, upto: int | None = None) -> tuple[Message, ...]:
        """The conversation as the engine reads it, up to a message (included), or
        to the leaf; without messages that have no words."""
        trail = self.path if upto is None else self.trail(upto)
        return tuple(node.message for node in trail if node.content)

    def choose(self, id_: int) -> Node:
        """Make a message part of the active branch, which goes on after it as it
        last did; returns the leaf."""
        for node in self.trail(id_)[1:]:
            assert node.parent is not None
            self._chosen[node.parent] = node.id
        return self.leaf

    def move(self, id_: int, by: int) -> Node:
        """Choose the sibling `by` places further on, at most the first or last one;
        returns it."""
        versions = self.siblings(id_)
        place = [node.id for node in versions].index(id_) + by
        there = versions[min(max(place, 0), len(versions) - 1)]
        self.choose(there.id)
        return there

    def say(self, text: str) -> Node:
        """Append a message of the user to the active branch.

        One that got no words in reply is left beside it, as a sibling: user and
        assistant take turns.
        """
        before = self.leaf
        while before.parent is not None and (before.is_empty or before.role == "user"):
            before = self._nodes[before.parent]
        return self._adopt(Node(self._new_id, before.id, "user", text))

    def edit(self, id_: int, text: str) -> Node:
        """Another wording of a message of the user, as a sibling; the branch ends
        with it."""
        parent = self._nodes[id_].parent
        if self._nodes[id_].role != "user" or parent is None:
            raise ValueError("only what the user said can be said in other words")
        return self._adopt(Node(self._new_id, parent, "user", text))

    def reply(
        self, to: int, *, model: str, settings: SamplingSettings, prefill: str = ""
    ) -> Node:
        """Begin a reply to a message; a further one is a sibling."""
        return self._adopt(
            Node(
                self._new_id,
                to,
                "assistant",
                prefill,
                state="growing",
                model=model,
                settings=settings,
            )
        )

    def regenerate(self, id_: int, *, model: str, settings: SamplingSettings) -> Node:
        """Begin another reply in place of one."""
        parent = self._require_reply(id_).parent
        assert parent is not None
        return self.reply(parent, model=model, settings=settings)

    def resume(self, id_: int, *, settings: SamplingSettings) -> Node:
        """Let a reply grow on from where its text ends.

        Where something was said after it, a copy grows beside it: what was answered
        to stays as it was.
        """
        node = self._require_reply(id_)
        grows = replace(node.resumed(), settings=settings)
        if not self._children[id_]:
            self.choose(id_)
            return self._put(grows)
        assert node.parent is not None
        return self._adopt(replace(grows, id=self._new_id))

    def lay_out(self, id_: int, prompt: Prompt) -> Node:
        """Keep the prompt a reply is generated after; a continuation's changes
        nothing."""
        node = self._require_reply(id_)
        return self._put(node if node.prompt else replace(node, prompt=prompt))

    def grow(self, id_: int, steps: Iterable[Step]) -> Node:
        """Add generated tokens to a reply."""
        return self._put(self._require_reply(id_).grown(steps))

    def finish(self, id_: int, finish: Finish) -> Node:
        """End a reply."""
        return self._put(self._require_reply(id_).finished(finish))

    def stop(self, id_: int) -> Node:
        """End a reply that the user gave up before the engine began with it."""
        return self._put(replace(self._require_reply(id_), state="stopped"))

    def fail(self, id_: int) -> Node:
        """Mark a reply as broken off by an error; what came before it stays."""
        return self._put(replace(self._require_reply(id_), state="failed"))

    def score(self, id_: int, tokens: Iterable[ScoredToken]) -> Node:
        """Keep what the model thought of a message that it did not generate."""
        return self._put(replace(self._nodes[id_], scored=tuple(tokens)))

    def _require_reply(self, id_: int) -> Node:
        node = self._nodes[id_]
        if node.role != "assistant":
            raise ValueError("only a reply is generated")
        return node

    @property
    def _new_id(self) -> int:
        return len(self._nodes)  # nothing is ever taken out

    def _adopt(self, node: Node) -> Node:
        assert node.parent is not None
        self._children[node.parent].append(node.id)
        self._children[node.id] = []
        self._put(node)
        self.choose(node.id)
        return node

    def _put(self, node: Node) -> Node:
        self._nodes[node.id] = node
        return node
