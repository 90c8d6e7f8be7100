"""Parts that the controllers of the chat screen share."""

from __future__ import annotations

from dataclasses import dataclass

from lmtui.tui.chat.branch_view import BranchView
from lmtui.tui.chat.conversation_model import ConversationModelController
from lmtui.tui.chat.prompt import PromptField
from lmtui.tui.chat.session import ChatSession
from lmtui.tui.sampler import SamplingScreen
from lmtui.tui.widgets.likelihood_strip import LikelihoodStrip

BUSY = "An answer or a grammar is on its way; Esc stops it."
EMPTY = "The conversation is empty."


@dataclass(frozen=True, slots=True)
class ChatParts:
    """The screen, the conversation on it, and what all its controllers work with."""

    screen: SamplingScreen
    session: ChatSession
    prompt: PromptField
    """Where messages are written, and where those that failed go back to."""
    branch: BranchView
    strip: LikelihoodStrip
    chat_model: ConversationModelController
