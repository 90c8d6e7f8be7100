"""Protocol of an engine: what every screen, command and fake relies on.

Imports value types only, so that it can be used without torch. An engine is not
thread-safe: one thread owns it and makes every call, and runs each iterator to its end
(or closes it) before the next call. Whatever takes long can be cancelled (see
`cancellation`): a generation then ends with a result that says so, all else raises
`Cancelled`. What was read until then, and yielded, stays usable.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol

from lmtui.engine.lens import LensColumn
from lmtui.engine.rows import RowItem, RowRequest
from lmtui.engine.sampling_settings import SamplingSettings
from lmtui.engine.types import (
    BosRule,
    Capabilities,
    ChatTurn,
    Distribution,
    DraftScores,
    Encoding,
    EngineInfo,
    GenerationResult,
    Prompt,
    ScoredPrompt,
    ScoredToken,
    Step,
    TokenMatches,
)

if TYPE_CHECKING:  # it needs torch
    from lmtui.engine.document.edited import EditedDocument

ReportCount = Callable[[int, int], None]
"""Called with (tokens done, tokens in all) during prefill; where a method says so, with
counts of something else than tokens."""


class Engine(Protocol):
    """Language model: from the text so far to the probability of every next token."""

    @property
    def info(self) -> EngineInfo:
        """Facts about the loaded model."""

    @property
    def capabilities(self) -> Capabilities:
        """Features that this engine supports."""

    @property
    def longest_token(self) -> int:
        """Most bytes of a text that one token stands for; 0 where that is not known."""

    @property
    def document(self) -> EditedDocument:
        """The text that is being edited.

        Raises:
            LmtuiError: `capabilities.edits` says no.
        """

    def close(self) -> None:
        """Close the connection to the model's server, if it is on one; the engine is
        not used again."""

    def encode(self, text: str, *, bos: BosRule = "auto") -> Encoding:
        """Tokenise a document; special-token strings in it stay ordinary text.

        Raises:
            LmtuiError: `bos` is "yes" and the tokenizer has no BOS token.
        """

    def prompt(
        self,
        messages: Sequence[ChatTurn],
        *,
        prefill: str = "",
        thinking: bool | None = None,
    ) -> Prompt:
        """Lay out a conversation for the model, up to where its answer begins.

        `prefill` is the beginning of that answer. `thinking` makes the model think
        first, or not, where its template supports it (`info.switches_thinking`).
        Message text never becomes a control token, except the marks around the thinking
        at the beginning of the model's own answers: the template reads them.
        """

    def tokenizer_info(self) -> Mapping[str, Any]:
        """Return the special tokens and the chat template, by the names that they have
        in `tokenizer_config.json`."""

    def tokenizer_json(self) -> str:
        """Return the tokenizer as `tokenizer.json` has it."""

    def raw_logits(
        self, ids: Sequence[int], *, keep: int = 1, slot: int = 0
    ) -> Iterator[bytes]:
        """Yield the raw logits after each of the last `keep` of `ids`, in blocks of
        rows [V], float32, little-endian; an empty block after a part of a long prompt
        whose rows are not wanted. The prompt is in the KV cache of the slot then.

        Raises:
            LmtuiError: `ids` is empty or does not fit the context.
        """

    def logits_at(self, handle: int) -> bytes:
        """Return the raw logits of an earlier position, in the form of `raw_logits`.

        Raises:
            KeyError: the handle is unknown or too old.
        """

    def next_distribution(
        self, ids: Sequence[int], settings: SamplingSettings, *, top_n: int = 20
    ) -> Distribution:
        """Return the distribution of the token after `ids`.

        Raises:
            LmtuiError: `ids` is empty or does not fit the context.
        """

    def score_draft(
        self,
        messages: Sequence[ChatTurn],
        draft: str,
        settings: SamplingSettings,
        *,
        prefix_len: int | None = None,
        thinking: bool | None = None,
        top_n: int = 20,
    ) -> DraftScores:
        """Score a message that the user is writing, and return the distribution of the
        token after it. Runs only what changed since the last call.

        The distribution is that after the whole draft, or after its first `prefix_len`
        tokens; `thinking` is that of `prompt`.

        Raises:
            LmtuiError: the conversation does not fit the context.
        """

    def preview(
        self,
        handle: int,
        settings: SamplingSettings,
        *,
        start: int = 0,
        count: int = 20,
        until: str | None = None,
        with_chain: bool = False,
    ) -> Distribution:
        """Return the distribution of an earlier position under other settings.

        Exactly what the sampler would have drawn from, without running the model (a
        position older than the last 64 costs one forward pass). `start` and `count`
        page through the ranking of the whole vocabulary. With `until`, the sampler's
        chain ends after that stage; `with_chain` adds what each stage of the whole
        chain did.

        Raises:
            KeyError: the handle is unknown or too old.
        """

    def search_vocabulary(
        self, handle: int, text: str, settings: SamplingSettings, *, count: int = 50
    ) -> TokenMatches:
        """Return the tokens of an earlier position whose text contains `text`, wherever
        they are in the ranking, without running the model.

        Raises:
            KeyError: the handle is unknown or too old.
        """

    def generate(
        self,
        prompt: Prompt,
        settings: SamplingSettings,
        *,
        top_n: int = 20,
        logit_bias: Mapping[int, float] = MappingProxyType({}),
        slot: int = 0,
        after: int | None = None,
        drawn: int = 0,
        progress: ReportCount | None = None,
    ) -> Iterator[Step | GenerationResult]:
        """Draw tokens one by one and yield each; the last item is the
        `GenerationResult`.

        `logit_bias` is added to the logits of some tokens before they are sampled from;
        the numbers reported are without it. `slot` is the KV cache that is used: one
        iterator for each of the `info.slots` may be unfinished at the same time.
        `after` is the handle of a distribution of the token after the prompt, if there
        is one: the prompt is then read only for the second token. `drawn` is how many
        tokens at the end of the prompt were drawn with the same seed: the answer goes
        on as if it had not been interrupted.

        Raises:
            LmtuiError: the prompt is empty or leaves no room in the context.
            KeyError: `after` is unknown or too old.
        """

    def generate_rows(
        self,
        prompt: Prompt,
        rows: Sequence[RowRequest],
        *,
        top_n: int = 20,
        progress: ReportCount | None = None,
    ) -> Iterator[RowItem]:
        """Generate several answers to a prompt, and yield their items: of each answer,
        what `generate` yields with its settings, or the error that it broke off with.
        One that fails ends no other. With a `top_n` of 0, their positions are not
        stored.

        They are decoded in one batch where `capabilities.batches` says so. Of an answer
        that had not begun when all were cancelled, there may be no item.

        Raises:
            LmtuiError: as in `generate`, or the prompt can't be read.
        """

    def prefill(self, ids: Sequence[int], *, slot: int = 0) -> Iterator[int]:
        """Read a prompt into the KV cache of a slot, as `generate` does first; before
        each part, yield how many of its tokens are there.
        """

    def reusable(self, ids: Sequence[int], slot: int) -> int:
        """Return how many of the first tokens of a prompt the KV cache of a slot
        holds."""

    def score_prompts(
        self,
        prompts: Sequence[Sequence[int]],
        settings: SamplingSettings,
        *,
        top_n: int = 0,
        slot: int = 0,
    ) -> Iterator[ScoredPrompt | None]:
        """Score every token of some prompts, each given all before it, with the
        distribution of the token after it, as `settings` draw from that. Yields each,
        and None after parts of long ones.

        The numbers are those of `score` in a window that holds all of a prompt. A
        single prompt is in the KV cache of the slot then. On the exact path, several
        share one forward pass where the model allows it, which rounds otherwise.

        Raises:
            LmtuiError: a prompt is empty or does not fit the context.
        """

    def describe_tokens(self, ids: Sequence[int]) -> tuple[ScoredToken, ...]:
        """Return the tokens with these ids, without scores."""

    def score(
        self,
        ids: Sequence[int],
        *,
        prefix: Sequence[int] = (),
        window: int | None = None,
        stride: int | None = None,
        start: int = 0,
        top_n: int = 0,
        word_ends: bool = False,
    ) -> Iterator[ScoredToken]:
        """Yield the score of each of `ids`, in order, from `start` on: the first token
        that is scored in a window.

        `prefix` (BOS, or a prompt) is context for every window and is not scored.
        Windows start at multiples of `stride`; a token is scored once, in the first
        window that gives it at least `window - stride` tokens of context. With
        `word_ends`, each has its `word_end`.

        Raises:
            LmtuiError: window or stride can't be used, or the ends of words are not
                known: a server lists some tokens only, or none holds white space.
        """

    def target_logprob(self, context: Sequence[int], target: Sequence[int]) -> float:
        """Return log P(target | context), in nats, for a context of a token or more.

        What the context has at its beginning in common with the one before is not run
        again: of contexts that lack a part each, ask first for that without the last.

        Raises:
            LmtuiError: context and target do not fit the model's context.
        """

    def logit_lens(
        self,
        ids: Sequence[int],
        positions: Sequence[int],
        *,
        prefix: Sequence[int] = (),
        window: int | None = None,
        stride: int | None = None,
        top_n: int = 1,
    ) -> Iterator[LensColumn]:
        """Yield, for each of `positions`, what every layer predicts there from the
        tokens before it: position i is that of `ids[i]`, and `len(ids)` the end of the
        text. Positions ascend.

        A position is read in the window of `score` with the same arguments: the last
        layer has the numbers of that token there. Works in blocks, so that memory does
        not grow with positions × layers × vocabulary.

        Raises:
            LmtuiError: window or stride can't be used, or the model's layers can't be
                looked into: `capabilities.why_no_lens` says so of a server, others are
                found out by the first call.
        """
