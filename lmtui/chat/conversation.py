"""A conversation: a tree of messages with one active branch.

Messages are never removed: another reply or wording is a sibling (a version), and a
deleted message is only marked. Messages are immutable values; the tree replaces them
and tracks changes for the store. Knows no engine, no store and no screen.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Literal

from lmtui.chat.message import ChatMessage, taken_back
from lmtui.engine.sampling_settings import SamplingSettings
from lmtui.engine.types import (
    Candidate,
    ChatTurn,
    GenerationResult,
    Prompt,
    ScoredToken,
    Step,
)

_SEEDS = 2**63


def new_uid() -> str:
    """Return the uid of a new conversation: 64 random bits, in hexadecimal."""
    return os.urandom(8).hex()


def unused(
    settings: SamplingSettings, model: str | None, answers: Iterable[ChatMessage]
) -> SamplingSettings:
    """Return the settings with the first seed that no given answer was drawn with.

    Only non-empty answers of the same model count, since only they would be repeated.
    """
    drawn = {
        node.settings for node in answers if node.model == model and not node.is_empty
    }
    while settings.seed is not None and settings in drawn:
        settings = replace(settings, seed=(settings.seed + 1) % _SEEDS)
    return settings


class Conversation:
    """Messages by id. The root is the system message, empty where there is none."""

    def __init__(self, system: str = "") -> None:
        root = ChatMessage(id=0, parent=None, role="system", content=system)
        self._nodes: dict[int, ChatMessage] = {}
        self._children: dict[int, list[int]] = {}
        self._chosen: dict[int, int] = {}  # parent → the child on its branch
        self._changed: set[int] = set()
        self._rechosen: set[int] = set()
        self._visited: set[int] = set()  # parents rechosen by `visit`, not to be saved
        self._elsewhere: set[int] = set()  # replies that another program writes
        self._lay(root)
        self._changed.add(0)

    @classmethod
    def restored(
        cls, nodes: Iterable[ChatMessage], chosen: Mapping[int, int]
    ) -> Conversation:
        """Build a conversation from stored messages.

        Raises:
            ValueError: the messages are not a tree.
        """
        conversation, ordered = cls(), sorted(nodes, key=lambda node: node.id)
        if not ordered or ordered[0].id != 0:
            raise ValueError("no root")
        for node in ordered:
            root = node.id == 0
            if root != (node.parent is None) or root != (node.role == "system"):
                raise ValueError("no first message, or more than one")
            if not root and (node.parent not in conversation._nodes
                             or node.id in conversation._nodes):  # fmt: skip
                raise ValueError("a message follows one that is missing")
            conversation._lay(node)
        for parent, child in chosen.items():
            if child not in conversation._children.get(parent, ()):
                raise ValueError("a message's selected reply is missing")
            if not conversation._nodes[child].gone:
                conversation._chosen[parent] = child
        conversation._changed.clear()
        conversation._elsewhere = {n.id for n in ordered if n.state == "growing"}
        return conversation

    def _lay(self, node: ChatMessage) -> None:
        self._nodes[node.id] = node
        self._children.setdefault(node.id, [])
        if node.parent is not None:
            self._children[node.parent].append(node.id)

    def take_changes(self) -> ConversationDelta:
        """Return the changes since the last call, and clear them."""
        nodes = tuple(self._nodes[id_] for id_ in sorted(self._changed))
        chosen = {id_: self._chosen.get(id_) for id_ in sorted(self._rechosen)}
        self._changed.clear()
        self._rechosen.clear()
        return ConversationDelta(nodes, chosen)

    def whole(self) -> ConversationDelta:
        """Return everything as changes, for a store that has none of it; what another
        program still writes is stopped."""
        self._stop_elsewhere()
        self.take_changes()
        return ConversationDelta(self.nodes, dict(self._chosen))

    def _stop_elsewhere(self) -> None:
        """Mark replies that another program writes as stopped: this conversation goes
        on without it, and they do not grow here."""
        for id_ in self._elsewhere:
            if self._nodes[id_].state == "growing":
                self.break_off(id_, "stopped")
        self._elsewhere.clear()

    @property
    def root(self) -> ChatMessage:
        """The system message."""
        return self._nodes[0]

    @property
    def nodes(self) -> tuple[ChatMessage, ...]:
        """All messages, deleted ones included, in order of creation."""
        return tuple(self._nodes.values())

    @property
    def path(self) -> tuple[ChatMessage, ...]:
        """The active branch, from the root to its leaf."""
        ids = [0]
        while (child := self._chosen.get(ids[-1])) is not None:
            ids.append(child)
        return tuple(self._nodes[id_] for id_ in ids)

    @property
    def chosen(self) -> Mapping[int, int]:
        """The child on the branch of each message that has one."""
        return dict(self._chosen)

    @property
    def leaf(self) -> ChatMessage:
        """The last message of the active branch, with unpacked tokens."""
        return self.node(self.path[-1].id)

    def node(self, id_: int) -> ChatMessage:
        """Return the message with this id, with unpacked tokens.

        Raises:
            KeyError: no message has this id.
        """
        node = self._nodes[id_] = self._nodes[id_].opened()
        return node

    def children(self, id_: int) -> tuple[ChatMessage, ...]:
        """Return the messages that follow one, in order of creation; not the deleted
        ones."""
        nodes = (self._nodes[child] for child in self._children[id_])
        return tuple(node for node in nodes if not node.gone)

    def siblings(self, id_: int) -> tuple[ChatMessage, ...]:
        """Return the versions of a message, itself included, in order of creation.

        Other versions that are empty are left out.
        """
        parent = self._nodes[id_].parent
        if parent is None:
            return (self._nodes[id_],)
        versions = self.children(parent)
        return tuple(n for n in versions if n.id == id_ or not n.is_empty)

    def is_answered(self, id_: int) -> bool:
        """Return whether the active branch continues after a message, or is about
        to."""
        child = self._chosen.get(id_)
        return child is not None and not self._nodes[child].is_empty

    @property
    def turns(self) -> tuple[ChatMessage, ...]:
        """The active branch without an unanswered user message or empty reply at its
        end.

        A new user message takes their place.
        """
        path = list(self.path)
        while len(path) > 1 and (path[-1].is_empty or path[-1].role == "user"):
            path.pop()
        return tuple(path)

    def trail(self, id_: int) -> tuple[ChatMessage, ...]:
        """Return the messages from the root to one, both included."""
        way = [self._nodes[id_]]
        while (parent := way[-1].parent) is not None:
            way.append(self._nodes[parent])
        return tuple(reversed(way))

    def messages(
        self, last_id: int | None = None, *, model: str | None = None
    ) -> tuple[ChatTurn, ...]:
        """Return the conversation as the engine reads it, without empty messages.

        It ends with the message `last_id`, or with the leaf. The last answer of `model`
        is given as it was read and generated.
        """
        trail = self.path if last_id is None else self.trail(last_id)
        nodes = [node for node in trail if node.content]
        turns = [node.message for node in nodes]
        for index in reversed(range(len(nodes))):
            if model and nodes[index].model == model:
                known = self.node(nodes[index].id).continuation
                turns[index] = replace(turns[index], known=known)
                break
        return tuple(turns)

    def choose(self, id_: int) -> ChatMessage:
        """Put a message on the active branch and return the leaf.

        After the message the branch continues as it last did.
        """
        self._stay()
        return self._go_to(id_)

    def visit(self, id_: int) -> ChatMessage:
        """Choose a message only for reading.

        The change is not reported to the store until the branch continues or another
        one is chosen.
        """
        kept, self._rechosen = self._rechosen, set()
        leaf = self._go_to(id_)
        self._visited |= self._rechosen - kept
        self._rechosen = kept
        return leaf

    def _stay(self) -> None:
        """Keep a visited branch as the active one."""
        self._rechosen |= self._visited
        self._visited.clear()

    def _go_to(self, id_: int) -> ChatMessage:
        for node in self.trail(id_)[1:]:
            assert node.parent is not None
            self._choose(node.parent, node.id)
        return self.leaf

    def end_at(self, id_: int) -> ChatMessage:
        """End the active branch at a message; later messages stay as other versions."""
        self.choose(id_)
        self._choose(id_, None)
        return self.leaf

    def _choose(self, parent: int, child: int | None) -> None:
        if self._chosen.get(parent) == child:
            return
        self._rechosen.add(parent)
        if child is None:
            del self._chosen[parent]
        else:
            self._chosen[parent] = child

    def move(self, id_: int, by: int) -> ChatMessage:
        """Choose the version `by` places further on, at most the first or last; return
        it."""
        versions = self.siblings(id_)
        index = [node.id for node in versions].index(id_) + by
        there = versions[min(max(index, 0), len(versions) - 1)]
        self.choose(there.id)
        return there

    def say(self, text: str) -> ChatMessage:
        """Append a user message to the active branch.

        User and assistant take turns: a user message without a reply becomes a sibling
        of the new one. If it has the same text, it is used again. A reply that another
        program still writes is stopped.
        """
        self._stop_elsewhere()
        before = self.turns[-1]
        for node in self.children(before.id):
            said_before = node.role == "user" and node.content == text
            if said_before and all(reply.is_empty for reply in self.children(node.id)):
                return self.end_at(node.id)
        return self._adopt(ChatMessage(0, before.id, "user", text))

    def edit(self, id_: int, text: str) -> ChatMessage:
        """Add a version of a message with other words. The branch ends with it; of a
        reply, it begins with the tokens that stay, see `ChatMessage.amended`."""
        node = self.node(id_)
        if node.role == "assistant":
            return self._adopt(node.amended(text))
        return self._adopt(ChatMessage(0, node.parent, "user", text))

    def reword(self, id_: int, text: str) -> ChatMessage:
        """Replace the text of a user message or the system message in place.

        The messages after it stay.
        """
        node = replace(self.node(id_), content=text, scored=(), scored_by=None)
        return self._put(node)

    def branch(self, id_: int, index: int, candidate: Candidate) -> ChatMessage:
        """Add a version of a reply that ends with another token; see
        `ChatMessage.branched`."""
        return self._adopt(self.node(id_).branched(index, candidate))

    def undo(self) -> ChatMessage | None:
        """End the branch before the last user message, and return that message."""
        turns = [node for node in self.path if node.role == "user"]
        if not turns:
            return None
        assert turns[-1].parent is not None
        self.end_at(turns[-1].parent)
        return turns[-1]

    def delete(self, id_: int) -> ChatMessage:
        """Mark a message as deleted, which hides what follows it as well.

        The branch continues with another version, or ends before the message.
        """
        node = self._nodes[id_]
        assert node.parent is not None
        beside = [other.id for other in self.siblings(id_) if other.id != id_]
        self._stay()
        if self._chosen.get(node.parent) == id_:
            self._choose(node.parent, beside[-1] if beside else None)
        return self._put(replace(node, gone=True))

    def restore(self, id_: int) -> ChatMessage:
        """Restore a deleted message with those that follow it."""
        node = self._put(replace(self._nodes[id_], gone=False))
        self.choose(id_)
        return node

    def fork(self, last_id: int) -> Conversation:
        """Return a new conversation with the messages from the root to one of this
        one."""
        self._stop_elsewhere()
        trail = self.trail(last_id)
        links = ((a.id, b.id) for a, b in pairwise(trail))
        fork = Conversation.restored(trail, dict(links))
        fork._changed = {node.id for node in trail}
        fork._rechosen = set(fork._chosen)
        return fork

    def reply(
        self, to: int, *, model: str, settings: SamplingSettings, prefill: str = ""
    ) -> ChatMessage:
        """Begin a reply to a message, as a further version if there is one already.

        With a seed set, it gets one that no other version was drawn with (`unused`).
        """
        others = (self._nodes[id_] for id_ in self._children[to])
        node = ChatMessage(0, to, "assistant", prefill, state="growing",
                    model=model, settings=unused(settings, model, others))  # fmt: skip
        return self._adopt(node)

    def resume(self, id_: int, *, settings: SamplingSettings) -> ChatMessage:
        """Continue a reply from the end of its text.

        Where messages follow it, a copy is continued as a sibling: the messages keep
        the text that they answer.
        """
        node = self.node(id_)
        assert node.parent is not None
        others = (self._nodes[i] for i in self._children[node.parent] if i != id_)
        settings = unused(settings, node.model, others)
        self._elsewhere.discard(id_)
        grows = replace(node.resumed(), settings=settings)
        if not self._children[id_]:
            self.choose(id_)
            return self._put(grows)
        return self._adopt(grows)

    def lay_out(self, id_: int, prompt: Prompt, *, left_out: int = 0) -> ChatMessage:
        """Set the prompt that a reply is generated after.

        The prompt of a continuation changes nothing, unless it has ids for text written
        by hand. One without ids, which a server has laid out, is of no use later.
        """
        node = self.node(id_)
        if not prompt.ids:
            return self._put(replace(node, left_out=left_out))
        if node.prompt is None:
            given = prompt.given if node.content else 0
            return self._put(
                replace(node, prompt=prompt, left_out=left_out, given=given)
            )
        if not node.rest:
            return node
        more = len(prompt.ids) - len(node.prompt.ids)
        return self._put(replace(node, prompt=prompt, given=node.given + more, rest=""))

    def grow(self, id_: int, steps: Iterable[Step]) -> ChatMessage:
        """Append generated tokens to a reply."""
        return self._put(self.node(id_).grown(steps))

    def finish(self, id_: int, finish: GenerationResult) -> ChatMessage:
        """End a reply with the result of its generation. What that took back stays as
        versions of the reply, which are not on the branch."""
        node = self._put(self.node(id_).finished(finish))
        for version in taken_back(node, finish):
            self._add(version)
        return node

    def break_off(self, id_: int, state: Literal["stopped", "failed"]) -> ChatMessage:
        """End a reply without a result: the user stopped it before the engine began, or
        it failed. Its text so far stays."""
        return self._put(replace(self.node(id_), state=state))

    def score(
        self, id_: int, tokens: Iterable[ScoredToken], *, by: str | None = None
    ) -> ChatMessage:
        """Store a model's scores of a message that it did not generate."""
        return self._put(replace(self.node(id_), scored=tuple(tokens), scored_by=by))

    def _add(self, node: ChatMessage) -> ChatMessage:
        """Add a message under a new id, and return it."""
        node = replace(node, id=max(self._nodes) + 1)
        self._lay(node)
        self._changed.add(node.id)
        return node

    def _adopt(self, node: ChatMessage) -> ChatMessage:
        """Add a message under a new id, and have the branch end with it."""
        node = self._add(node)
        self.choose(node.id)
        return node

    def _put(self, node: ChatMessage) -> ChatMessage:
        self._nodes[node.id] = node
        self._changed.add(node.id)
        return node


@dataclass(frozen=True, slots=True)
class ConversationDelta:
    """The changes of a conversation since the last call of `take_changes`."""

    nodes: tuple[ChatMessage, ...] = ()
    """New and changed messages."""
    chosen: Mapping[int, int | None] = field(default_factory=dict)
    """The new child, or None, of each message whose branch continues differently
    now."""
    thinking: str | None = None
    """The new setting for reasoning; None where it did not change."""

    def __bool__(self) -> bool:
        return bool(self.nodes or self.chosen or self.thinking)

    def then(self, later: ConversationDelta) -> ConversationDelta:
        """Return these changes followed by later ones."""
        nodes = {node.id: node for node in (*self.nodes, *later.nodes)}
        chosen = {**self.chosen, **later.chosen}
        return ConversationDelta(
            tuple(nodes.values()), chosen, later.thinking or self.thinking
        )


def model_of(conversation: Conversation) -> str | None:
    """Return the label of the model that wrote the last reply of the active branch.

    None where it is not known.
    """
    written = [node.model for node in conversation.path if node.model]
    return written[-1] if written else None
