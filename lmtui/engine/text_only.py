"""Engine for a model on a server that is only talked with.

Text goes there and text comes back, with the most probable tokens at each position if
the server lists them. Tokens are known by their bytes: their ids are of this engine
alone. The size of the vocabulary is not known, so that an entropy is known from below
only. What is drawn from is computed with our own sampler, whose order of stages a
server may not share.
"""

from __future__ import annotations

import math
import secrets
import time
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import NoReturn

import torch

from lmtui import cancellation
from lmtui.engine.backend import NO_STATES
from lmtui.engine.rows import RowItem, RowRequest, one_after_another
from lmtui.engine.sampling.chain import SamplerChain
from lmtui.engine.sampling.listed_rows import filled
from lmtui.engine.sampling.logits_store import (
    LogitsView,
    StoredLogits,
    distribution,
    new_handle,
)
from lmtui.engine.sampling.vocabulary_search import VocabularyIndex, search
from lmtui.engine.servers.settings import (
    require_applied,
    switched_off,
    without_idle_stages,
)
from lmtui.engine.text.detokenizer import TextStream
from lmtui.engine.text.thinking import thinking_in
from lmtui.engine.types import (
    Capabilities,
    ChatTurn,
    Distribution,
    EngineInfo,
    FinishReason,
    GenerationResult,
    Prompt,
    SamplingSettings,
    Step,
    TokenMatches,
)
from lmtui.errors import Cancelled, LmtuiError
from lmtui.models.remote.load import TEXT_ONLY, text_only
from lmtui.models.remote.openai import ChatPart, ChatRequest, ChatToken, OpenAiModel
from lmtui.partial import EntropyRange, Rank, RankAbove
from lmtui.text import bytes_text

_NO_LOGPROBS = "It sends no probabilities."
_VOCABULARY = 1 << 18
"""Most different tokens: as many as the largest vocabularies in use have (Gemma's)."""
_POSITIONS = 1 << 14  # whose rows are kept: a kilobyte each
_TEXT_ONLY = 16  # events without numbers for each token that was asked for
_ENDS = {
    "stop": FinishReason.STOP,
    "eos": FinishReason.STOP,
    "length": FinishReason.LENGTH,
}
_REPLACED = "\N{REPLACEMENT CHARACTER}".encode()
"""What some servers send in place of bytes that are no text."""
_NO_NUMBERS = Distribution((), 0, 0, 1.0, 1.0, 0, 0.0, None, -1, top_logprobs=0)


@dataclass(frozen=True, slots=True)
class ChatPrompt(Prompt):
    """A conversation that the server lays out itself; its ids are not known."""

    messages: tuple[ChatTurn, ...] = ()


class TokenTable:
    """Ids for the tokens that a server names by their bytes."""

    def __init__(self) -> None:
        self._ids: dict[tuple[bytes, int], int] = {}
        self._spelled: list[bytes] = []

    def __len__(self) -> int:
        return len(self._spelled)

    def id(self, data: bytes, number: int = 0) -> int:
        """Return the id of the token with these bytes; `number` tells tokens with the
        same bytes apart.

        Raises:
            LmtuiError: there are more than any model has.
        """
        known = self._ids.setdefault((data, number), len(self._spelled))
        if known == len(self._spelled):
            if known >= _VOCABULARY:
                raise LmtuiError(
                    "the server's answer can't be used",
                    f"more than {_VOCABULARY:,} different tokens",
                )
            self._spelled.append(data)
        return known

    def bytes(self, token: int) -> bytes:
        return self._spelled[token]

    def text(self, token: int) -> str:
        return bytes_text(self._spelled[token])


@dataclass(frozen=True, slots=True)
class _Row:
    ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    handle: int


class TextOnlyEngine:
    """Engine for a model that is only talked with; see `protocol.Engine` for each
    method's contract. What needs ids or scores of a text raises an LmtuiError."""

    def __init__(self, model: OpenAiModel, label: str) -> None:
        self._model = model
        self._tokens = TokenTable()
        self._rows: OrderedDict[int, _Row] = OrderedDict()
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
            model=label,
            architecture="unknown",
            parameters=0,
            vocabulary=0,
            context=model.context or 0,
            device=model.device,
            dtype=model.number_format,
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
        sent = self._sent_settings(settings)
        require_applied(sent, self._model.takes)
        seed = secrets.randbits(32) if settings.seed is None else settings.seed
        request = ChatRequest(
            messages=[
                (message.role, _without_thinking(message))
                for message in prompt.messages
            ],
            temperature=sent.temperature,
            top_k=sent.top_k,
            top_p=sent.top_p,
            min_p=sent.min_p,
            repetition_penalty=sent.repetition_penalty,
            presence_penalty=sent.presence_penalty,
            frequency_penalty=sent.frequency_penalty,
            seed=seed,
            max_tokens=settings.max_tokens,
        )
        return self._answer(request, sent, top_n)

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
        self, request: ChatRequest, settings: SamplingSettings, top_n: int
    ) -> Iterator[Step | GenerationResult]:
        most = request.max_tokens * (1 if self._model.rows else _TEXT_ONLY)
        reason: FinishReason | None = None
        logprobs, times = list[float | None](), [time.perf_counter()]
        told = prompt_tokens = texts = 0  # texts are steps that are no token
        with closing(self._model.draw(request)) as parts:
            try:
                for part in parts:
                    told = part.answer_tokens or told
                    prompt_tokens = part.prompt_tokens or prompt_tokens
                    cancellation.check()
                    if len(logprobs) >= most and (part.text or part.tokens):
                        reason = FinishReason.LENGTH
                        break
                    for token, piece in pieces_of(part):
                        step = self._step(token, piece, settings, top_n)
                        step = replace(step, index=len(logprobs))
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
            seed=request.seed,
            first_token_seconds=first - started if made else None,
        )

    def _sent_settings(self, settings: SamplingSettings) -> SamplingSettings:
        """Return the settings that the server draws with: it was said at the loading
        that it draws without some."""
        settings = without_idle_stages(settings)
        return switched_off(settings, self._model.ignores)

    def _end(self, reason: str | None) -> FinishReason | None:
        if reason is None:
            return None
        if (known := _ENDS.get(reason)) is not None:
            return known
        raise LmtuiError("the server broke off the answer", reason)

    # Positions.

    def _step(
        self,
        token: ChatToken | None,
        piece: str,
        settings: SamplingSettings,
        top_n: int,
    ) -> Step:
        """Return the step of a token, or of a text without tokens."""
        data = piece.encode() if token is None else token.data
        text, logprob = bytes_text(data), token.logprob if token else None
        if token is None or not token.top_logprobs or logprob is None:
            return Step(0, 0, text, data, piece, logprob, None, None, None, _NO_NUMBERS)
        row = self._row(token.top_logprobs)
        self._rows[row.handle] = row
        if len(self._rows) > _POSITIONS:
            self._rows.popitem(last=False)
        position, look = self._view(row, settings, top_n)
        shown = self._distribution(row, position, look, count=top_n)
        at = _listed_index(token)
        # Not the id of a listed token with the same bytes, if it is none of them.
        number = sum(data_of == token.data for data_of, _ in token.top_logprobs)
        id_ = self._tokens.id(token.data, number) if at is None else row.ids[at]
        above = sum(value > logprob for value in row.logprobs)
        rank: Rank | None = 1 + above
        if at is None:  # it may be a listed one that is as probable
            rank = RankAbove(above) if above == len(row.ids) else None
        drawn = float(look.sampled.prob(torch.tensor([id_])))
        if not drawn:  # the server applies the stages in another order
            look = replace(look, is_certain=False)
            shown = self._distribution(row, position, look, count=top_n)
        return Step(
            index=0,
            id=id_,
            text=text,
            bytes=data,
            piece=piece,
            logprob=logprob,
            rank=rank,
            entropy=shown.entropy,
            sampled_prob=drawn if shown.is_certain else None,
            distribution=shown,
        )

    def _row(self, listed: Sequence[tuple[bytes, float]]) -> _Row:
        seen: dict[bytes, int] = {}
        ids = []
        for data, _ in listed:
            ids.append(self._tokens.id(data, seen.get(data, 0)))
            seen[data] = seen.get(data, 0) + 1
        return _Row(tuple(ids), tuple(value for _, value in listed), new_handle())

    def _position(self, row: _Row) -> StoredLogits:
        return StoredLogits(
            filled(row.ids, row.logprobs, _VOCABULARY),
            handle=row.handle,
            top_logprobs=len(row.ids),
            size=math.inf,
            order="unknown",
        )

    def _view(
        self, row: _Row, settings: SamplingSettings, count: int
    ) -> tuple[StoredLogits, LogitsView]:
        position = self._position(row)
        chain = SamplerChain(settings, self._index())
        return position, position.view(chain, count)

    def _distribution(
        self,
        row: _Row,
        position: StoredLogits,
        look: LogitsView,
        *,
        start: int = 0,
        count: int,
    ) -> Distribution:
        """Return the distribution of a position. Of a row that is shorter than others,
        the server has left out tokens, and they may be any: two with the same text are
        one for some servers."""
        if len(row.ids) < self._model.rows:
            least = math.fsum(-math.exp(logprob) * logprob for logprob in row.logprobs)
            spread = EntropyRange(max(0.0, least), math.inf)
            look = replace(look, is_certain=False, entropy=spread)
        return distribution(position, look, self._tokens, start=start, count=count)

    def preview(
        self,
        handle: int,
        settings: SamplingSettings,
        *,
        start: int = 0,
        count: int = 20,
        **_: object,
    ) -> Distribution:
        """As `Engine.preview`, but nothing is known of the single stages, since a
        server's order is not."""
        sent = self._sent_settings(settings)
        row = self._rows[handle]
        position, look = self._view(row, sent, start + count)
        return self._distribution(row, position, look, start=start, count=count)

    def search_vocabulary(
        self, handle: int, text: str, settings: SamplingSettings, *, count: int = 50
    ) -> TokenMatches:
        position, index = self._position(self._rows[handle]), self._index()
        chain = SamplerChain(settings, index)
        return search(position, index, text, chain, count=count)

    def _index(self) -> VocabularyIndex:
        return VocabularyIndex(self._tokens, len(self._tokens))

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


def _listed_index(token: ChatToken) -> int | None:
    """Return the place of a token among those that are listed with it; None where that
    is not certain. llama-server names the last token of a character by all bytes of
    that: then the number tells, if only one token has it."""
    pairs = list(enumerate(token.top_logprobs))
    same = [at for at, (data, _) in pairs if data == token.data]
    equal = [at for at, (_, value) in pairs if value == token.logprob]
    both = [at for at in same if at in equal]
    if both or len(same) == 1:
        return (both or same)[0]
    if (
        not same
        and len(equal) == 1
        and _is_part(token.top_logprobs[equal[0]][0], token.data)
    ):
        return equal[0]
    return None


def _is_part(data: bytes, whole: bytes) -> bool:
    """Return whether bytes may be the last ones of a whole character: they are no text
    by themselves."""
    if data == _REPLACED:
        return not whole.isascii()
    return bytes_text(data) != data.decode(errors="ignore") and whole.endswith(data)


def _without_thinking(message: ChatTurn) -> str:
    """Return the text of a message without its thinking, which no server wants back."""
    thought = thinking_in(message.content) if message.role == "assistant" else None
    return message.content[thought.end if thought else 0 :]
