"""Engine for a model on a server that is only talked with.

Text goes there and text comes back, with the most probable tokens at each position if
the server lists them. Tokens are known by their bytes: their ids are of this engine
alone. The size of the vocabulary is not known, so that an entropy is known from below
only; and neither is what is drawn from, since servers have their own order of stages.
"""

from __future__ import annotations

import math
import secrets
import time
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from typing import NoReturn

from lmtui import cancellation
from lmtui.engine.backend import NO_STATES
from lmtui.engine.rows import RowItem, RowRequest, one_after_another
from lmtui.engine.sampling.listed_rows import entropy_range
from lmtui.engine.sampling.logits_store import new_handle
from lmtui.engine.sampling_settings import SamplingSettings
from lmtui.engine.servers.settings import (
    require_applied,
    switched_off,
    without_idle_stages,
)
from lmtui.engine.text.detokenizer import TextStream
from lmtui.engine.text.thinking import thinking_in
from lmtui.engine.types import (
    Candidate,
    Capabilities,
    ChatTurn,
    Distribution,
    EngineInfo,
    FinishReason,
    GenerationResult,
    Prompt,
    RankedCandidate,
    Step,
    TokenMatches,
)
from lmtui.errors import Cancelled, LmtuiError
from lmtui.models.remote.dialects import DrawSettings
from lmtui.models.remote.load import TEXT_ONLY, text_only
from lmtui.models.remote.openai import ChatPart, ChatToken, Messages, OpenAiModel
from lmtui.partial import EntropyRange, RankAbove
from lmtui.text import bytes_text

_NO_LOGPROBS = "It sends no probabilities."
_POSITIONS = 1 << 12  # whose rows are kept: five kilobytes each
_TEXT_ONLY = 16  # events without numbers for each token that was asked for
_ENDS = {
    "stop": FinishReason.STOP,
    "eos": FinishReason.STOP,
    "length": FinishReason.LENGTH,
}
_NO_NUMBERS = Distribution((), 0, 0, 1.0, 1.0, 0, 0.0, None, -1, top_logprobs=0)


@dataclass(frozen=True, slots=True)
class ChatPrompt(Prompt):
    """A conversation that the server lays out itself; its ids are not known."""

    messages: tuple[ChatTurn, ...] = ()


class TextOnlyEngine:
    """Engine for a model that is only talked with; see `protocol.Engine` for each
    method's contract. What needs ids or scores of a text raises an LmtuiError."""

    def __init__(self, model: OpenAiModel) -> None:
        self._model = model
        self._ids: dict[tuple[bytes, int], int] = {}
        """Ids of tokens by their bytes, and a number that tells those of the same bytes
        apart."""
        self._positions: OrderedDict[int, Distribution] = OrderedDict()
        """All that is known of recent positions, by handle."""
        self.longest_token = 0
        self.capabilities = Capabilities(
            edits=False,
            scores=False,
            top_logprobs=model.rows,
            why_no_lens=NO_STATES,
            batches=False,
            why_not=TEXT_ONLY if model.rows else f"{TEXT_ONLY} {_NO_LOGPROBS}",
        )
        self.info = EngineInfo(
            model=model.connection.address.label(model.name),
            architecture="unknown",
            parameters=0,
            vocabulary=0,
            context=model.context or 0,
            device=model.dialect,
            dtype="unknown",
            precision="remote",
            threads=1,
            has_template=True,
        )

    def close(self) -> None:
        self._model.connection.close()

    def prompt(
        self,
        messages: Sequence[ChatTurn],
        *,
        prefill: str = "",
        **_: object,
    ) -> ChatPrompt:
        if prefill:
            raise text_only()
        text = "\n".join(message.content for message in messages)
        return ChatPrompt((), text, messages=tuple(messages))

    def generate(
        self,
        prompt: Prompt,
        settings: SamplingSettings,
        *,
        top_n: int = 20,
        **_: object,
    ) -> Iterator[Step | GenerationResult]:
        if not isinstance(prompt, ChatPrompt):
            self._refuse()
        if settings.grammar is not None:
            raise LmtuiError(
                "a grammar can't be applied here",
                "the server draws the answer itself",
                "Switch the grammar off, or use a model on this machine.",
            )
        # It was said at the loading that the server draws without some.
        sent = switched_off(without_idle_stages(settings), self._model.ignores)
        require_applied(sent, self._model.takes)
        seed = secrets.randbits(32) if settings.seed is None else settings.seed
        messages = [
            (message.role, _without_thinking(message)) for message in prompt.messages
        ]
        return self._answer(messages, asdict(sent) | {"seed": seed}, top_n)

    def generate_rows(
        self,
        prompt: Prompt,
        rows: Sequence[RowRequest],
        *,
        top_n: int = 20,
        **_: object,
    ) -> Iterator[RowItem]:
        return one_after_another(
            self.generate(prompt, row.settings, top_n=top_n) for row in rows
        )

    def _answer(
        self, messages: Messages, settings: DrawSettings, top_n: int
    ) -> Iterator[Step | GenerationResult]:
        most = settings["max_tokens"] * (1 if self._model.rows else _TEXT_ONLY)
        reason: FinishReason | None = None
        logprobs, times = list[float | None](), [time.perf_counter()]
        told = prompt_tokens = texts = 0  # texts are steps that are no token
        with closing(self._model.draw(messages, settings)) as parts:
            try:
                for part in parts:
                    told = part.answer_tokens or told
                    prompt_tokens = part.prompt_tokens or prompt_tokens
                    cancellation.check()
                    if len(logprobs) >= most and (part.text or part.tokens):
                        reason = FinishReason.LENGTH
                        break
                    for token, piece in pieces_of(part):
                        step = self._step(len(logprobs), token, piece, top_n)
                        logprobs.append(step.logprob)
                        times.append(time.perf_counter())
                        texts += token is None
                        yield step
                    reason = self._end(part.reason) or reason
            except Cancelled:
                reason = FinishReason.CANCELLED
        started, *made = times
        first, last = (made[0], made[-1]) if made else (started, started)
        known = [logprob for logprob in logprobs if logprob is not None]
        yield GenerationResult(
            reason=reason or FinishReason.STOP,
            tokens=told if texts else len(logprobs),
            logprob=math.fsum(known) if len(known) == len(logprobs) else None,
            prompt_tokens=prompt_tokens,
            reused_tokens=0,
            prompt_seconds=first - started,
            seconds=last - first,
            seed=settings["seed"],
            first_token_seconds=first - started if made else None,
        )

    def _end(self, reason: str | None) -> FinishReason | None:
        if reason is None:
            return None
        if (known := _ENDS.get(reason)) is not None:
            return known
        raise LmtuiError("the server broke off the answer", reason)

    # Positions.

    def _step(
        self, index: int, token: ChatToken | None, piece: str, top_n: int
    ) -> Step:
        """Return the step of a token, or of a text without tokens."""
        data = piece.encode() if token is None else token.data
        text, logprob = bytes_text(data), token.logprob if token else None
        if token is None or not token.top_logprobs or logprob is None:
            none = _NO_NUMBERS
            return Step(index, 0, text, data, piece, logprob, None, None, None, none)
        listed = token.top_logprobs
        whole = self._remember(listed)
        at = _listed_index(token)
        above = sum(value > logprob for _, value in listed)
        return Step(
            index=index,
            id=self._id(data, len(listed)) if at is None else whole.candidates[at].id,
            text=text,
            bytes=data,
            piece=piece,
            logprob=logprob,
            rank=1 + above if above < len(listed) else RankAbove(above),
            entropy=whole.entropy,
            sampled_prob=None,
            distribution=_page(whole, 0, top_n),
        )

    def _id(self, data: bytes, number: int) -> int:
        return self._ids.setdefault((data, number), len(self._ids))

    def _remember(self, listed: Sequence[tuple[bytes, float]]) -> Distribution:
        """Return the distribution of a new position, with all that is listed of it."""
        names = [data for data, _ in listed]
        rows = tuple(
            Candidate(
                self._id(data, names[:at].count(data)), bytes_text(data), data, logprob
            )
            for at, (data, logprob) in enumerate(listed)
        )
        listed_prob = math.fsum(row.prob for row in rows)
        whole = Distribution(
            candidates=rows,
            start=0,
            vocabulary=len(rows),
            rest_prob=max(0.0, 1 - listed_prob),
            rest_sampled_prob=0.0,
            remaining=len(rows),
            remaining_prob=listed_prob,
            entropy=self._entropy([logprob for _, logprob in listed]),
            handle=new_handle(),
            top_logprobs=len(rows),
            is_certain=False,
        )
        self._positions[whole.handle] = whole
        if len(self._positions) > _POSITIONS:
            self._positions.popitem(last=False)
        return whole

    def _entropy(self, logprobs: Sequence[float]) -> EntropyRange:
        """Return the entropy of a position. Of a row that is shorter than others, the
        server has left out tokens, and they may be any: two with the same text are one
        for some servers."""
        if len(logprobs) < self._model.rows:
            return EntropyRange(entropy_range(logprobs, 0).least, math.inf)
        return entropy_range(logprobs, math.inf)

    def preview(
        self,
        handle: int,
        settings: SamplingSettings,
        *,
        start: int = 0,
        count: int = 20,
        **_: object,
    ) -> Distribution:
        """As `Engine.preview`, but whatever the settings are: what a server draws from
        is not known."""
        return _page(self._positions[handle], start, count)

    def search_vocabulary(
        self,
        handle: int,
        text: str,
        settings: SamplingSettings,
        *,
        count: int = 50,
    ) -> TokenMatches:
        known, wanted = self._positions[handle].candidates, text.casefold()
        found = [
            RankedCandidate(
                1 + sum(other.logprob > row.logprob for other in known), row
            )
            for row in known
            if wanted and wanted in row.text.casefold()
        ]
        return TokenMatches(tuple(found[:count]), len(found), len(known))

    # What needs ids, or scores of a text.

    def _refuse(self, *_: object, **__: object) -> NoReturn:
        """Raise the error for what the server does not offer."""
        raise text_only()

    encode = tokenizer_info = tokenizer_json = raw_logits = logits_at = _refuse
    next_distribution = score_draft = prefill = reusable = _refuse
    score_prompts = describe_tokens = score = logit_lens = _refuse
    target_logprob = _refuse
    document = property(_refuse)


def pieces_of(part: ChatPart) -> list[tuple[ChatToken | None, str]]:
    """Return the tokens of a part, each with the text that it adds. The server's text
    counts: bytes of a token may not be told exactly."""
    if not part.tokens:
        return [(None, part.text)] if part.text else []
    stream = TextStream()
    pieces = [stream.feed(token.data) for token in part.tokens]
    if "".join(pieces) != part.text:
        pieces = [""] * (len(pieces) - 1) + [part.text]
    return list(zip(part.tokens, pieces, strict=True))


def _page(whole: Distribution, start: int, count: int) -> Distribution:
    """Return some rows of a position, and what all other tokens have together."""
    rows = whole.candidates[start : start + count]
    rest = max(0.0, 1 - math.fsum(row.prob for row in rows))
    return replace(whole, candidates=rows, start=start, rest_prob=rest)


def _listed_index(token: ChatToken) -> int | None:
    """Return the place of a token among those that are listed with it, by its number
    and its bytes; None where it is none of them. llama-server names the last token of a
    character by all bytes of that."""
    same = [
        (len(data), -at)
        for at, (data, value) in enumerate(token.top_logprobs)
        if value == token.logprob and data and token.data.endswith(data)
    ]
    return -max(same)[1] if same else None


def _without_thinking(message: ChatTurn) -> str:
    """Return the text of a message without its thinking, which no server wants back."""
    thought = thinking_in(message.content) if message.role == "assistant" else None
    return message.content[thought.end if thought else 0 :]
