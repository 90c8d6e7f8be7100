"""The engine in this process: a transformers model behind the port.

Owns the one model, its KV cache and its positions; the only stateful class of the
engine. Everything it does is done by the modules it puts together.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from torch import Tensor

from lmtui.engine.branches import MOST, grow
from lmtui.engine.cache import PrefixCache
from lmtui.engine.decode import Decoder, StopRules
from lmtui.engine.detokenize import Vocabulary
from lmtui.engine.expecting import Expecting
from lmtui.engine.going_on import GoingOn, Model
from lmtui.engine.infill import Infill
from lmtui.engine.info import describe
from lmtui.engine.local_writing import LocalWriting
from lmtui.engine.lookup import Lexicon, found
from lmtui.engine.passes import forward_of
from lmtui.engine.places import Layout
from lmtui.engine.port import Progress, Stop
from lmtui.engine.positions import Context, Positions, distribution
from lmtui.engine.prompt import PromptWriter
from lmtui.engine.reader import Reader
from lmtui.engine.replacing import Replacing
from lmtui.engine.score import UNSCORED, Row, score_rows
from lmtui.engine.tokenize import TextTokenizer
from lmtui.engine.trace import Tracer
from lmtui.engine.types import (
    BosRule,
    Candidate,
    Capabilities,
    Distribution,
    Encoding,
    EngineInfo,
    Finish,
    Found,
    Message,
    Prompt,
    SamplingSettings,
    ScoredToken,
    Step,
    Trace,
)
from lmtui.engine.windows import Windows
from lmtui.errors import LmtuiError
from lmtui.models.load import load
from lmtui.models.loaded import Loaded
from lmtui.models.progress import OnProgress, ignore
from lmtui.models.wanted import Quantize


class LocalEngine(LocalWriting):
    """A model on this machine; see `port.Engine` for what each verb promises."""

    def __init__(
        self, loaded: Loaded, *, context: int | None = None, lasting: bool = False
    ) -> None:
        tokenizer = loaded.tokenizer
        self._forward = forward_of(loaded, lasting=lasting)
        self._cache = PrefixCache(self._forward)
        self._tracer = Tracer(self._cache)
        self._vocabulary = Vocabulary(tokenizer)
        self._writer = PromptWriter(tokenizer)
        self._end_ids = self._writer.text_end_ids(loaded.facts.end_ids)
        self._positions = Positions(self._logits_after)
        self._info = describe(
            loaded,
            context=context,
            has_template=self._writer.has_template,
            switches_thinking=self._writer.switch is not None,
        )
        self._lexicon = Lexicon(self._vocabulary, self._info.vocabulary)
        self._prepare_writing(tokenizer)

    def _prepare_writing(self, tokenizer: Any) -> None:
        prefix = self._writer.document("", "auto").prefix
        context, windows = self._info.context, self.windows(len(prefix))
        reader = Reader(
            self._forward,
            self._cache,
            TextTokenizer(tokenizer),
            prefix=prefix,
            windows=windows,
            context=context,
        )
        self._expecting = Expecting(
            self._forward, reader, self._vocabulary, size=self._info.vocabulary
        )
        infill = Infill.of(tokenizer, bos=prefix)
        layout = Layout(context, windows.window, windows.stride, infill)
        model = Model(
            self._forward, self._cache, self._positions, self._vocabulary, context
        )
        self._going_on = GoingOn(model, self._expecting, layout, self._end_ids)
        self._replacing = Replacing(model, self._expecting, layout, self._end_ids)
        self.capabilities = Capabilities(infill=infill is not None)

    @classmethod
    def open(
        cls,
        spec: str | None = None,
        *,
        adapter: str | None = None,
        device: str = "auto",
        dtype: str = "auto",
        quantize: Quantize = "none",
        threads: int | None = None,
        context: int | None = None,
        lasting: bool = False,
        on_progress: OnProgress = ignore,
    ) -> LocalEngine:
        """Load a model: the default one, or what `spec` names.

        `spec` is a catalogue name, a folder, a `.gguf` file or a Hub id; `adapter` the
        name or the folder of one that was made for it; `lasting` says that there will
        be many answers, so that time spent on making them faster pays.

        Raises:
            LmtuiError: it can't be found, fetched or loaded here.
        """
        loaded = load(
            spec,
            adapter=adapter,
            device=device,
            dtype=dtype,
            quantize=quantize,
            threads=threads,
            on_progress=on_progress,
        )
        return cls(loaded, context=context, lasting=lasting)

    @property
    def info(self) -> EngineInfo:
        """What is loaded."""
        return self._info

    def encode(self, text: str, *, bos: BosRule = "auto") -> Encoding:
        """Tokenise a document."""
        return self._writer.document(text, bos)

    def prompt(
        self,
        messages: Sequence[Message],
        *,
        prefill: str = "",
        thinking: bool | None = None,
    ) -> Prompt:
        """Lay out a conversation for the model."""
        return self._writer.write(messages, prefill, thinking=thinking)

    def look(
        self,
        ids: Sequence[int],
        settings: SamplingSettings,
        *,
        top: int = 20,
        stop: Stop = lambda: False,
    ) -> Distribution:
        """The distribution of the token after `ids`."""
        self._require_room(len(ids), spare=0)
        self._cache.read(ids, stop=stop)
        logits = self._cache.logits
        assert logits is not None
        position = self._positions.add(logits, Context(tuple(ids), len(ids)))
        look = position.look(settings, top)
        return distribution(position, look, self._vocabulary, count=top)

    def trace(
        self,
        messages: Sequence[Message],
        draft: str,
        settings: SamplingSettings,
        *,
        upto: int | None = None,
        thinking: bool | None = None,
        top: int = 20,
        stop: Stop = lambda: False,
    ) -> Trace:
        """What the model expects next in a message that is being written."""
        context, ids = self._writer.draft(messages, draft, thinking=thinking)
        self._require_room(len(context) + len(ids), spare=0)
        rows = self._tracer.rows(context, ids, stop=stop)
        tokens = tuple(self._scored(ids, rows))
        shown = self.look([*context, *ids[:upto]], settings, top=top, stop=stop)
        return Trace(shown, tokens, tuple(context))

    def preview(
        self,
        handle: int,
        settings: SamplingSettings,
        *,
        start: int = 0,
        count: int = 20,
    ) -> Distribution:
        """The distribution of an earlier position under other settings."""
        position = self._positions.get(handle)
        look = position.look(settings, start + count)
        return distribution(position, look, self._vocabulary, start=start, count=count)

    def find(
        self, handle: int, text: str, settings: SamplingSettings, *, count: int = 50
    ) -> Found:
        """The tokens with these characters at an earlier position."""
        position = self._positions.get(handle)
        return found(position, self._lexicon, text, settings, count=count)

    def look_ahead(
        self,
        ids: Sequence[int],
        starts: Sequence[int],
        *,
        more: int = 6,
        stop: Stop = lambda: False,
    ) -> list[tuple[ScoredToken, ...]]:
        """Several ways on after `ids`, side by side."""
        self._require_room(len(ids), spare=0)
        room = max(0, self._info.context - len(ids) - 1)
        ways: list[tuple[ScoredToken, ...]] = []
        for first in range(0, len(starts), MOST):
            self._cache.read(ids, stop=stop)
            grown = grow(
                self._forward,
                self._cache,
                [[start] for start in starts[first : first + MOST]],
                more=min(more, room),
                end_ids=self._ends_after(ids),
                stop=stop,
            )
            ways += (tuple(self._scored(way.ids, way.rows)) for way in grown)
        return ways

    def generate(
        self,
        prompt: Prompt,
        settings: SamplingSettings,
        *,
        top: int = 20,
        single_line: bool = False,
        stop: Stop = lambda: False,
        progress: Progress | None = None,
    ) -> Iterator[Step | Finish]:
        """Draw tokens one by one."""
        self._require_room(len(prompt.ids), spare=1)
        rules = StopRules(
            end_ids=self._ends_after(prompt.ids),
            max_tokens=settings.max_tokens,
            context=self._info.context,
            stop_texts=prompt.stop_texts,
            single_line=single_line,
        )
        decoder = Decoder(
            self._cache,
            self._positions,
            self._vocabulary,
            settings=settings,
            rules=rules,
            top=top,
        )
        return self._forward.answering(decoder.run(prompt.ids, stop, progress))

    def score(
        self,
        ids: Sequence[int],
        *,
        prefix: Sequence[int] = (),
        window: int | None = None,
        stride: int | None = None,
        since: int = 0,
        top: int = 0,
        stop: Stop = lambda: False,
    ) -> Iterator[ScoredToken]:
        """What the model thought of each of `ids`, in order, from `since` on."""
        rows = score_rows(
            self._forward,
            ids,
            prefix=prefix,
            windows=self.windows(len(prefix), window, stride),
            since=since,
            top=top,
            stop=stop,
        )
        return self._scored(ids[since:], rows, first=since)

    def windows(
        self, prefix: int = 0, window: int | None = None, stride: int | None = None
    ) -> Windows:
        """The windows that `score` reads a text in, after `prefix` tokens."""
        room = self._info.context - prefix
        return Windows.choose(window, stride, room=room, prefix=prefix)

    def spell(self, ids: Sequence[int]) -> tuple[ScoredToken, ...]:
        """The tokens as they are, without numbers."""
        return tuple(self._scored(ids, [UNSCORED] * len(ids)))

    def _scored(
        self, ids: Iterable[int], rows: Iterable[Row], *, first: int = 0
    ) -> Iterator[ScoredToken]:
        for index, (token, row) in enumerate(zip(ids, rows, strict=True), first):
            yield ScoredToken(
                index=index,
                id=token,
                text=self._vocabulary.text(token),
                bytes=self._vocabulary.bytes(token),
                logprob=row.logprob,
                rank=row.rank,
                entropy=row.entropy,
                top=tuple(self._expected(i, logprob) for i, logprob in row.top),
            )

    def _expected(self, token: int, logprob: float) -> Candidate:
        return Candidate(
            id=token,
            text=self._vocabulary.text(token),
            bytes=self._vocabulary.bytes(token),
            logprob=logprob,
        )

    def _ends_after(self, ids: Sequence[int]) -> frozenset[int]:
        """The tokens that end what comes after `ids`."""
        if not self._writer.is_conversation(ids):
            return self._end_ids
        return self._writer.end_ids(self._end_ids)

    def _logits_after(self, context: Context) -> Tensor:
        return self._forward.logits(context.ids[: context.length])[-1]

    def _require_room(self, tokens: int, *, spare: int) -> None:
        if tokens == 0:
            raise LmtuiError("there is nothing to continue", "the context is empty")
        room = self._info.context
        if tokens + spare > room:
            raise LmtuiError(
                "the prompt does not fit the context",
                f"{tokens:,} tokens, the context holds {room:,}",
                "Shorten the prompt, or raise --context where the model allows it.",
            )
