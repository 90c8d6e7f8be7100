"""All settings: type, default, range and the sentence that explains each.

Knows neither where a value comes from nor any command. Whether a device or a model
exists is checked where it is opened.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import Field, dataclass, field, fields, replace
from typing import Any, Literal, cast, get_args

from lmtui.engine.suggestion import SuggestionRules
from lmtui.engine.types import SamplingSettings
from lmtui.errors import LmtuiError
from lmtui.models.source import ModelRef, Quantize
from lmtui.train.settings import CHOICES, TrainSettings

PREFIX = "LMTUI_"

ValueType = type[str] | type[int] | type[float] | type[bool]

SAMPLING = "sampling"
_SAMPLING_DEFAULT = SamplingSettings()
CHAT = "chat"
WHEN_FULL = ("stop", "drop")
FOLLOWED = ("chat_when_full", "chat_thinking")
"""Settings whose change takes effect during a conversation."""
THINKING = {"auto": None, "on": True, "off": False}
"""The values of `chat.thinking`, and what the chat template gets for each."""
COMPLETE = "complete"
_RULES = SuggestionRules()
FINETUNE = "finetune"
_FINETUNE_DEFAULT = TrainSettings()
_BEFORE = f"{FINETUNE}_"
PRESETS = "presets"
SYSTEM = "system"
KEYS = (SYSTEM, *(item.name for item in fields(SamplingSettings)))
"""The keys of a preset."""
LONGEST_NAME = 40
_NEAREST: tuple[SettingOrigin, ...] = ("flag", "environment", "file", "default")


def setting(
    default: Any,
    meaning: str,
    *,
    kind: ValueType,
    section: str = "",
    flag: str | None = "",
    choices: tuple[str, ...] = (),
) -> Any:
    """Return the dataclass field of a setting. `flag` is its command-line flag, where
    that is not its name, or None for no flag. `choices` are all its values, where they
    form a fixed list."""
    about = {"meaning": meaning, "kind": kind, "section": section, "flag": flag}
    return field(default=default, metadata={**about, "choices": choices})


def key_of(item: Field[Any]) -> str:
    """Return the setting's key in `config.toml`: `model`, `sampling.top_k`."""
    section = item.metadata["section"]
    return f"{section}.{own_name(item)}" if section else item.name


def flag_of(item: Field[Any]) -> str | None:
    """Return the setting's command-line flag, if any."""
    flag: str | None = item.metadata["flag"]
    return "--" + own_name(item).replace("_", "-") if flag == "" else flag


def variable_of(item: Field[Any]) -> str:
    """Return the setting's environment variable."""
    return PREFIX + item.name.upper()


def own_name(item: Field[Any]) -> str:
    """Return the setting's name within its section."""
    return item.name.removeprefix(f"{item.metadata['section']}_")


def at_least_one(name: str, value: Any) -> None:
    """Refuse a number below 1.

    Raises:
        LmtuiError: it is below 1.
    """
    if isinstance(value, int) and value < 1:
        raise LmtuiError(f"{name} is out of range", f"{value}", "Give at least 1.")


def positive(name: str, value: Any) -> None:
    """Refuse a number that is negative or infinite.

    Raises:
        LmtuiError: it is.
    """
    _within(name, value, limit=float("inf"))


def share(name: str, value: Any) -> None:
    """Refuse a number that is not a fraction.

    Raises:
        LmtuiError: it is below 0 or above 1.
    """
    _within(name, value, limit=1)


def _within(name: str, value: Any, *, limit: float) -> None:
    if isinstance(value, int | float) and 0 <= value <= limit and value < float("inf"):
        return
    bounds = "at least 0" if limit > 1 else "from 0 to 1"
    raise LmtuiError(f"{name} is out of range", f"{value}", f"Give a value {bounds}.")


def _sampling(name: str, meaning: str, *, kind: ValueType) -> Any:
    default = getattr(_SAMPLING_DEFAULT, name)
    return setting(default, meaning, kind=kind, section=SAMPLING)


@dataclass(frozen=True)
class SamplingSection:
    """Sampling settings, named as in `SamplingSettings`."""

    temperature: float = _sampling(
        "temperature",
        "Divides the logits before drawing; 0 always takes the most probable token.",
        kind=float,
    )
    top_k: int = _sampling(
        "top_k", "Draw from the k most probable tokens; 0 keeps all.", kind=int
    )
    top_p: float = _sampling(
        "top_p",
        "Draw from the smallest set of tokens with this much probability; 1 keeps all.",
        kind=float,
    )
    min_p: float = _sampling(
        "min_p",
        "Never draw a token below this fraction of the top token's probability; 0 "
        "keeps all.",
        kind=float,
    )
    repetition_penalty: float = _sampling(
        "repetition_penalty",
        "Weakens tokens that are already in the context by this factor; 1 changes "
        "nothing.",
        kind=float,
    )
    seed: int | None = _sampling(
        "seed", "Random seed; unset takes a new one each time.", kind=int
    )
    max_tokens: int = _sampling(
        "max_tokens", "Stop an answer after this many tokens.", kind=int
    )

    @property
    def sampling(self) -> SamplingSettings:
        """The section in the form that the engine takes."""
        names = (item.name for item in fields(SamplingSection))
        return SamplingSettings(**{name: getattr(self, name) for name in names})


def check_sampling(name: str, value: Any) -> None:
    """Refuse a value that can't be sampled with.

    Raises:
        LmtuiError: it is out of its range.
    """
    SamplingSettings(**{name: value})


@dataclass(frozen=True)
class ChatSection:
    """Settings of saving and of the chat template."""

    chat_keep: bool = setting(
        True,
        "Whether conversations are saved, those of `chat --once` too; false saves "
        "nothing, and earlier conversations stay.",
        kind=bool,
        section=CHAT,
        flag=None,
    )

    chat_when_full: str = setting(
        "stop",
        "What happens when a conversation no longer fits the context: stop says so; "
        "drop leaves out the oldest turns, a quarter of the context at a time, and "
        "marks how many.",
        kind=str,
        section=CHAT,
        flag=None,
        choices=WHEN_FULL,
    )

    chat_thinking: str = setting(
        "auto",
        "Whether a model that can think before it answers is told to: on or off; auto "
        "leaves it to its chat template. What /think or the flag says is saved with "
        "the conversation and counts there.",
        kind=str,
        section=CHAT,
        flag="--think",
        choices=tuple(THINKING),
    )

    @property
    def thinking(self) -> bool | None:
        """Whether the model is told to think; None to leave it to the template."""
        return THINKING[self.chat_thinking]


def check_chat(name: str, value: Any) -> None:
    """Refuse an unknown value.

    Raises:
        LmtuiError: it is not in the list of values.
    """
    known = {"chat_when_full": WHEN_FULL, "chat_thinking": tuple(THINKING)}
    if name in known and value not in known[name]:
        key, options = name.removeprefix("chat_"), ", ".join(known[name])
        raise LmtuiError(
            f"chat.{key} is unknown", f"{value}", f"Give one of: {options}."
        )


def _complete(default: Any, meaning: str, *, kind: ValueType) -> Any:
    return setting(default, meaning, kind=kind, section=COMPLETE, flag=None)


@dataclass(frozen=True)
class CompleteSection:
    """Settings of the editor's suggestions and surprises."""

    ghost_delay: float = _complete(
        0.15,
        "Seconds after the last key at which the editor asks for a suggestion; 0 asks "
        "at every key.",
        kind=float,
    )
    ghost_tokens: int = _complete(
        _RULES.max_tokens,
        "Most tokens of a suggestion in the editor.",
        kind=int,
    )
    ghost_seconds: float = _complete(
        _RULES.seconds,
        "A suggestion ends with the first whole word after this many seconds.",
        kind=float,
    )
    ghost_mean_prob: float = _complete(
        _RULES.min_mean_prob,
        "A suggestion ends where the mean probability of its tokens falls below this.",
        kind=float,
    )
    ghost_prob: float = _complete(
        _RULES.min_prob,
        "A suggestion ends before a token that is less probable than this.",
        kind=float,
    )
    surprise_bits: float = _complete(
        10.0,
        "A word of yours counts as a surprise from this many bits on.",
        kind=float,
    )

    @property
    def ghost_rules(self) -> SuggestionRules:
        """The section in the form that suggestions take."""
        return SuggestionRules(
            max_tokens=self.ghost_tokens,
            seconds=self.ghost_seconds,
            min_mean_prob=self.ghost_mean_prob,
            min_prob=self.ghost_prob,
        )


def check_complete(name: str, value: Any) -> None:
    """Refuse a value that suggestions can't use.

    Raises:
        LmtuiError: it is out of its range.
    """
    _COMPLETE_CHECKS[name](name, value)


_COMPLETE_CHECKS: Mapping[str, Callable[[str, Any], None]] = {
    "ghost_delay": positive,
    "ghost_tokens": at_least_one,
    "ghost_seconds": positive,
    "ghost_mean_prob": share,
    "ghost_prob": share,
    "surprise_bits": positive,
}


def _train(name: str, meaning: str, *, kind: ValueType, flag: str = "") -> Any:
    return setting(
        getattr(_FINETUNE_DEFAULT, name),
        meaning,
        kind=kind,
        section=FINETUNE,
        flag=flag,
        choices=CHOICES.get(name, ()),
    )


@dataclass(frozen=True)
class FinetuneSection:
    """Training settings, named as in `TrainSettings`."""

    finetune_method: str = _train(
        "method",
        "What is trained: lora (an adapter; the model's weights stay frozen), full "
        "(all weights) or scratch (all weights, from random ones).",
        kind=str,
        flag="--full, --from-scratch",
    )
    finetune_epochs: float = _train(
        "epochs",
        "Most passes over the notes; the training stops earlier when the held-out loss "
        "no longer improves.",
        kind=float,
    )
    finetune_lr: float | None = _train(
        "lr",
        "Peak learning rate; unset is 0.0002 for an adapter, 0.00002 for all weights, "
        "0.001 from random ones.",
        kind=float,
    )
    finetune_rank: int = _train(
        "rank", "Rank of the adapter's matrices: its capacity.", kind=int
    )
    finetune_alpha: int = _train(
        "alpha", "The adapter's product is scaled by alpha / rank.", kind=int
    )
    finetune_block: int = _train("block", "Tokens of a training sequence.", kind=int)
    finetune_batch: int = _train(
        "batch", "Sequences per optimiser step, computed one by one.", kind=int
    )
    finetune_warmup: float = _train(
        "warmup", "Share of the steps in which the learning rate rises.", kind=float
    )
    finetune_clip: float = _train(
        "clip",
        "Largest gradient norm; a larger gradient is scaled down to it.",
        kind=float,
    )
    finetune_evaluations: int = _train(
        "evaluations", "Evaluations per epoch, each with a checkpoint.", kind=int
    )
    finetune_patience: int = _train(
        "patience",
        "Evaluations without improvement after which the training stops.",
        kind=int,
    )
    finetune_held_out: float = _train(
        "held_out",
        "Share of the documents that is held out of the training, to evaluate on.",
        kind=float,
    )
    finetune_max_file_mb: float = _train(
        "max_file_mb",
        "Larger files are skipped; in megabytes of 1,000,000 bytes.",
        kind=float,
    )
    finetune_front_matter: str = _train(
        "front_matter",
        "What happens to the YAML at the head of a note: keep or drop.",
        kind=str,
    )
    finetune_dtype: str = _train(
        "dtype",
        "Number format of the training: auto, float32 or bfloat16; auto is bfloat16 "
        "where the device is fast at it.",
        kind=str,
    )
    finetune_seed: int = _train(
        "seed",
        "Random seed of the order, of new weights and of what is held out.",
        kind=int,
    )
    finetune_strict: bool = _train(
        "strict",
        "Refuse files with broken rows; otherwise such rows are skipped.",
        kind=bool,
    )
    finetune_layers: int | None = _train(
        "layers",
        "Layers of a model from random weights; unset is as many as the base has.",
        kind=int,
    )
    finetune_width: int | None = _train(
        "width",
        "Hidden size of a model from random weights; unset is that of the base.",
        kind=int,
    )

    @property
    def training(self) -> TrainSettings:
        """The section in the form that training takes.

        Raises:
            LmtuiError: the values contradict each other.
        """
        given = {
            item.name: getattr(self, item.name) for item in fields(FinetuneSection)
        }
        return TrainSettings(
            **{name.removeprefix(_BEFORE): value for name, value in given.items()}
        )


def check_finetune(name: str, value: Any) -> None:
    """Refuse a value that can't be trained with.

    Raises:
        LmtuiError: it is out of its range.
    """
    TrainSettings(**{name.removeprefix(_BEFORE): value})


@dataclass(frozen=True, slots=True)
class Preset:
    """A named system prompt with sampling settings, to begin a conversation with."""

    name: str
    system: str | None = None
    """The system prompt; None leaves the current one."""
    sampling: Mapping[str, Any] = field(default_factory=dict)
    """The fields of `SamplingSettings` that it sets, by name."""

    def applied(self, settings: SamplingSettings) -> SamplingSettings:
        """Return `settings` with the preset's values."""
        return replace(settings, **self.sampling)


def check_name(name: str) -> None:
    """Refuse a name that could not be typed to select the preset.

    Raises:
        LmtuiError: it is empty, too long, or can't be typed as it is shown.
    """
    if not name.strip():
        raise LmtuiError("a preset needs a name", "", "Give it a name, such as pirate.")
    if len(name) > LONGEST_NAME:
        hint = f"Use at most {LONGEST_NAME} characters."
        raise LmtuiError("the name of the preset is too long", name, hint)
    if name != name.strip() or not name.isprintable():
        hint = "Use visible characters, without spaces at its ends."
        raise LmtuiError("the name of the preset can't be typed", repr(name), hint)


SettingOrigin = Literal["flag", "environment", "file", "default"]
SettingValue = str | int | float | None


@dataclass(frozen=True, slots=True)
class Origin:
    """The place where a value was set."""

    source: SettingOrigin = "default"
    where: str = "default"
    """The flag, the variable or the file, as the user writes it."""


@dataclass(frozen=True)
class Settings(FinetuneSection, CompleteSection, ChatSection, SamplingSection):
    """All settings with their values; the sentence beside each is its manual."""

    model: str | None = setting(
        None,
        "The model: a catalogue name, a folder in Hugging Face format, a .gguf file "
        "or a Hub id; unset is the default model.",
        kind=str,
    )
    adapter: str | None = setting(
        None,
        "An adapter trained on your notes: a name from `lmtui adapters list`, or an "
        "adapter's folder. Without a model, the model it was made for is used. Of a "
        "model and an adapter that are set in different places, the nearer one counts: "
        "a flag, then the environment, then the file.",
        kind=str,
    )
    device: str = setting(
        "auto",
        "Where the model runs: auto, cpu, cuda, cuda:N or mps; auto takes the first "
        "of CUDA, MPS and CPU that is available.",
        kind=str,
    )
    dtype: str = setting(
        "auto",
        "The number format of the weights: auto, float32, bfloat16 or float16; auto "
        "is float32 on a CPU and the model's own on a GPU.",
        kind=str,
        choices=("auto", "float32", "bfloat16", "float16"),
    )
    quantize: str = setting(
        "auto",
        "Precision of the weights on a CPU: auto computes with quantised GGUF weights, "
        "or 16-bit safetensors, as they are stored; int8 and int4 round the weights of "
        "any model; none is exact. "
        "`lmtui inspect` is exact unless int8 or int4 is given.",
        kind=str,
        choices=get_args(Quantize),
    )
    threads: int | None = setting(
        None,
        "Threads for the arithmetic; unset is the number of physical cores.",
        kind=int,
    )
    context: int | None = setting(
        None,
        "Most tokens of prompt and answer together; unset is the model's own limit.",
        kind=int,
    )
    theme: str = setting(
        "dark",
        "The colours of the screens: a name from `lmtui themes`.",
        kind=str,
    )
    mouse: bool = setting(
        True,
        "Whether the screens follow the mouse; false leaves it to the terminal, which "
        "selects and copies text with it.",
        kind=bool,
        flag=None,
    )
    keys: Mapping[str, str] = field(default_factory=dict)
    """The table `[keys]` of the file: key bindings in place of the built-in ones, by
    action id. The screens check which can be used."""
    presets: Mapping[str, Preset] = field(default_factory=dict)
    """The tables `[presets.NAME]` of the file, in its order."""
    origins: Mapping[str, Origin] = field(default_factory=dict)
    """The origin of each value that is not a default."""

    def origin(self, name: str) -> Origin:
        """Return where the value of `name` was set."""
        return self.origins.get(name, Origin())

    @property
    def model_ref(self) -> ModelRef:
        """The model and the adapter. An adapter fits one model only: a model or an
        adapter that is named by a nearer source, such as a flag, drops the other if
        that was set by a farther one, such as the file."""
        model = _NEAREST.index(self.origin("model").source)
        adapter = _NEAREST.index(self.origin("adapter").source)
        return ModelRef(
            self.model if model <= adapter or self.adapter is None else None,
            self.adapter if adapter <= model or self.model is None else None,
        )


def bits(settings: Settings, *, exact: bool = False) -> Quantize:
    """Return the setting `quantize`; with `exact`, `auto` means none."""
    if exact and settings.quantize == "auto":
        return "none"
    return cast(Quantize, settings.quantize)


def names() -> tuple[str, ...]:
    """Return the names of all settings, in the order of the manual."""
    return tuple(item.name for item in items())


def meaning(name: str) -> str:
    """Return the sentence that explains a setting."""
    return str(item(name).metadata["meaning"])


def key(name: str) -> str:
    """Return the setting's key in `config.toml`: `model`, `sampling.top_k`."""
    return key_of(item(name))


def choices(name: str) -> tuple[str, ...]:
    """Return all values of a setting, where they form a fixed list."""
    found: tuple[str, ...] = item(name).metadata["choices"]
    return found


def flag(name: str) -> str | None:
    """Return the setting's command-line flag, if any."""
    return flag_of(item(name))


def variable(name: str) -> str:
    """Return the setting's environment variable."""
    return variable_of(item(name))


def items() -> Iterator[Field[Any]]:
    """Yield the fields that are settings: those outside every section, then the
    sections in the order of the manual."""
    for section in _CHECKS:
        for item in fields(Settings):
            if item.metadata and item.metadata["section"] == section:
                yield item


def item(name: str) -> Field[Any]:
    """Return the field of a setting."""
    return next(item for item in items() if item.name == name)


def check(name: str, value: SettingValue) -> None:
    """Refuse a value that can't be used.

    Raises:
        LmtuiError: it is out of its range.
    """
    _CHECKS[item(name).metadata["section"]](name, value)


def _check_own(name: str, value: SettingValue) -> None:
    if name in ("threads", "context"):
        at_least_one(name, value)
    elif name == "quantize" and value not in get_args(Quantize):
        options = ", ".join(get_args(Quantize))
        raise LmtuiError("quantize is unknown", f"{value}", f"Give one of: {options}.")
    elif value == "":
        raise LmtuiError(f"{name} is empty", "", meaning(name))


_CHECKS: Mapping[str, Callable[[str, SettingValue], None]] = {
    "": _check_own,
    SAMPLING: check_sampling,
    CHAT: check_chat,
    COMPLETE: check_complete,
    FINETUNE: check_finetune,
}
"""The sections in the order of the manual, with the check of each."""
