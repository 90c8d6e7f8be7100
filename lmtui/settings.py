"""The settings: what can be set, what each means, which values it takes.

Owns the fields with their sentences and their ranges. Knows neither where a value
comes from nor any verb; whether a device or a model exists is for those to say who
open it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import Field, dataclass, field, fields
from typing import Any, Literal, cast, get_args

from lmtui.errors import LmtuiError
from lmtui.models.wanted import Quantize, Wanted
from lmtui.sections import chat, complete, finetune, ranges, sampling
from lmtui.sections.chat import ChatSection
from lmtui.sections.complete import CompleteSection
from lmtui.sections.finetune import FinetuneSection
from lmtui.sections.presets import Preset
from lmtui.sections.sampling import SamplingSection
from lmtui.sections.setting import flag_of, key_of, setting, variable_of

Source = Literal["flag", "environment", "file", "default"]
Value = str | int | float | None

_NEAREST: tuple[Source, ...] = ("flag", "environment", "file", "default")


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value came from."""

    source: Source = "default"
    place: str = "default"
    """The flag, the variable or the file, as the user writes it."""


@dataclass(frozen=True)
class Settings(FinetuneSection, CompleteSection, ChatSection, SamplingSection):
    """Every setting with its value; the sentence beside each is its manual."""

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
    """The table `[keys]` of the file: keys in place of the built-in ones, by what
    they do; which of them can be used is for the screens to say."""
    presets: Mapping[str, Preset] = field(default_factory=dict)
    """The tables `[presets.NAME]` of the file, in its order."""
    origins: Mapping[str, Origin] = field(default_factory=dict)
    """Where each value that is not a default came from."""

    def origin(self, name: str) -> Origin:
        """Where the value of `name` came from."""
        return self.origins.get(name, Origin())

    @property
    def wanted(self) -> Wanted:
        """The model and the adapter. One is made for the other: who names one of them
        does not mean it for the other that was set once and for all."""
        model = _NEAREST.index(self.origin("model").source)
        adapter = _NEAREST.index(self.origin("adapter").source)
        return Wanted(
            self.model if model <= adapter or self.adapter is None else None,
            self.adapter if adapter <= model or self.model is None else None,
        )


def bits(settings: Settings, *, exact: bool = False) -> Quantize:
    """The setting `quantize`; with `exact`, `auto` means none."""
    if exact and settings.quantize == "auto":
        return "none"
    return cast(Quantize, settings.quantize)


def names() -> tuple[str, ...]:
    """The names of all settings, in the order of the manual."""
    return tuple(item.name for item in items())


def meaning(name: str) -> str:
    """The sentence that explains a setting."""
    return str(item(name).metadata["meaning"])


def key(name: str) -> str:
    """The setting as `config.toml` calls it: `model`, `sampling.top_k`."""
    return key_of(item(name))


def choices(name: str) -> tuple[str, ...]:
    """All values of a setting, where they can be told beforehand."""
    found: tuple[str, ...] = item(name).metadata["choices"]
    return found


def flag(name: str) -> str | None:
    """The setting as the command line calls it, where some verb takes it."""
    return flag_of(item(name))


def variable(name: str) -> str:
    """The setting as the environment calls it."""
    return variable_of(item(name))


def items() -> Iterator[Field[Any]]:
    """The fields that are settings: those outside every section, then the sections in
    the order of the manual."""
    for section in _CHECKS:
        for item in fields(Settings):
            if item.metadata and item.metadata["section"] == section:
                yield item


def item(name: str) -> Field[Any]:
    """The field of a setting."""
    return next(item for item in items() if item.name == name)


def check(name: str, value: Value) -> None:
    """Refuse a value that can't be used.

    Raises:
        LmtuiError: it is out of its range.
    """
    _CHECKS[item(name).metadata["section"]](name, value)


def _check_own(name: str, value: Value) -> None:
    if name in ("threads", "context"):
        ranges.at_least_one(name, value)
    elif name == "quantize" and value not in get_args(Quantize):
        options = ", ".join(get_args(Quantize))
        raise LmtuiError("quantize is unknown", f"{value}", f"Give one of: {options}.")
    elif value == "":
        raise LmtuiError(f"{name} is empty", "", meaning(name))


_CHECKS: Mapping[str, Callable[[str, Value], None]] = {
    "": _check_own,
    sampling.SAMPLING: sampling.check,
    chat.CHAT: chat.check,
    complete.COMPLETE: complete.check,
    finetune.FINETUNE: finetune.check,
}
"""The sections in the order of the manual, and what each refuses."""
