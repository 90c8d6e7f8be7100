"""The engine in this process: a transformers model behind the port.

Owns the one model, its KV cache and its positions; the only stateful class of the
engine. Everything it does is done by the modules it puts together.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from torch import Tensor

from lmtui.engine.cache import PrefixCache
from lmtui.engine.decode import Decoder, StopRules
from lmtui.engine.detokenize import Vocabulary
from lmtui.engine.forward import Forward
from lmtui.engine.port import Progress, Stop
from lmtui.engine.positions import Context, Positions, distribution
from lmtui.engine.prompt import PromptWriter
from lmtui.engine.score import Row, score_rows
from lmtui.engine.trace import Tracer
from lmtui.engine.types import (
    BosRule,
    Candidate,
    Capabilities,
    Distribution,
    Encoding,
    EngineInfo,
    Finish,
    Message,
    Prompt,
    SamplingSettings,
    ScoredToken,
    Step,
    Trace,
)
from lmtui.engine.windows import Windows
from lmtui.errors import LmtuiError
from lmtui.models.load import Loaded, load
from lmtui.models.progress import OnProgress, ignore

_SAMPLING_DEFAULTS = ("temperature", "top_k", "top_p", "min_p", "repetition_penalty")


class LocalEngine:
    """A model on this machine; see `port.Engine` for what each verb promises."""

    capabilities = Capabilities()

    def __init__(self, loaded: Loaded, *, context: int | None = None) -> None:
        model, tokenizer = loaded.model, loaded.tokenizer
        self._forward = Forward(model)
        self._cache = PrefixCache(self._forward)
        self._tracer = Tracer(self._cache)
        self._vocabulary = Vocabulary(tokenizer)
        self._writer = PromptWriter(tokenizer)
        self._end_ids = self._writer.end_ids(model)
        self._positions = Positions(self._logits_after)
        self._info = _describe(
            loaded, context=context, has_template=self._writer.has_template
        )

    @classmethod
    def open(
        cls,
        spec: str | None = None,
        *,
        device: str = "auto",
        dtype: str = "auto",
        threads: int | None = None,
        context: int | None = None,
        on_progress: OnProgress = ignore,
    ) -> LocalEngine:
        """Load a model: the default one, or what `spec` names.

        `spec` is a catalogue name, a folder, a `.gguf` file or a Hub id.

        Raises:
            LmtuiError: it can't be found, fetched or loaded here.
        """
        loaded = load(
            spec, device=device, dtype=dtype, threads=threads, on_progress=on_progress
        )
        return cls(loaded, context=context)

    @property
    def info(self) -> EngineInfo:
        """What is loaded."""
        return self._info

    def encode(self, text: str, *, bos: BosRule = "auto") -> Encoding:
        """Tokenise a document."""
        return self._writer.document(text, bos)

    def prompt(self, messages: Sequence[Message], *, prefill: str = "") -> Prompt:
        """Lay out a conversation for the model."""
        return self._writer.write(messages, prefill)

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
        kept = position.kept(settings)
        return distribution(position, kept, self._vocabulary, count=top)

    def trace(
        self,
        messages: Sequence[Message],
        draft: str,
        settings: SamplingSettings,
        *,
        upto: int | None = None,
        top: int = 20,
        stop: Stop = lambda: False,
    ) -> Trace:
        """What the model expects next in a message that is being written."""
        context, ids = self._writer.draft(messages, draft)
        self._require_room(len(context) + len(ids), spare=0)
        rows = self._tracer.rows(context, ids, stop=stop)
        pairs = enumerate(zip(ids, rows, strict=True))
        tokens = tuple(self._scored(index, token, row) for index, (token, row) in pairs)
        shown = self.look([*context, *ids[:upto]], settings, top=top, stop=stop)
        return Trace(shown, tokens, len(context))

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
        kept = position.kept(settings)
        return distribution(position, kept, self._vocabulary, start=start, count=count)

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
            end_ids=self._end_ids,
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
        return decoder.run(prompt.ids, stop, progress)

    def score(
        self,
        ids: Sequence[int],
        *,
        prefix: Sequence[int] = (),
        window: int | None = None,
        stride: int | None = None,
        top: int = 0,
        stop: Stop = lambda: False,
    ) -> Iterator[ScoredToken]:
        """What the model thought of each of `ids`, in order."""
        windows = self.windows(len(prefix), window, stride)
        rows = score_rows(
            self._forward, ids, prefix=prefix, windows=windows, top=top, stop=stop
        )
        pairs = enumerate(zip(ids, rows, strict=True))
        return (self._scored(index, token, row) for index, (token, row) in pairs)

    def windows(
        self, prefix: int = 0, window: int | None = None, stride: int | None = None
    ) -> Windows:
        """The windows that `score` reads a text in, after `prefix` tokens."""
        return Windows.choose(window, stride, room=self._info.context - prefix)

    def _scored(self, index: int, token: int, row: Row) -> ScoredToken:
        return ScoredToken(
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


def _describe(loaded: Loaded, *, context: int | None, has_template: bool) -> EngineInfo:
    model = loaded.model
    config = model.config.get_text_config()
    most = getattr(config, "max_position_embeddings", None) or 2048
    if context is not None and not 2 <= context <= most:
        raise LmtuiError(
            "the context can't be used",
            f"{context} tokens",
            f"Give a --context from 2 to {most}, what this model was made for.",
        )
    defaults = {
        name: getattr(model.generation_config, name, None)
        for name in _SAMPLING_DEFAULTS
    }
    return EngineInfo(
        model=loaded.name,
        architecture=type(model).__name__,
        parameters=model.num_parameters(),
        vocabulary=config.vocab_size,
        context=context or most,
        device=str(loaded.device),
        dtype=str(loaded.dtype).removeprefix("torch."),
        precision=loaded.precision,
        threads=loaded.threads,
        has_template=has_template,
        generation_defaults=tuple(
            (name, float(value))
            for name, value in defaults.items()
            if value is not None
        ),
    )
