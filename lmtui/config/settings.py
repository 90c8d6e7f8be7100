"""All settings of the program, from the places where each is declared.

A setting is a field of a dataclass that declares it; this module puts them together
under their names. Knows neither where a value comes from nor any command. Whether a
device or a model exists is checked where it is opened.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import Field, dataclass, field, fields, replace
from functools import cache
from typing import Any, Literal, cast, get_args

from lmtui import setting_field as declared
from lmtui.engine.document.suggestion import SuggestionRules
from lmtui.engine.sampling.recommended import NAMES, recommended
from lmtui.engine.sampling_settings import SamplingSettings
from lmtui.engine.types import EngineInfo
from lmtui.errors import LmtuiError
from lmtui.models.remote.address import (
    DIALECTS,
    KEY_VARIABLE,
    ServerOptions,
    is_address,
    parse,
)
from lmtui.models.source import ModelRef, Quantize
from lmtui.processes import usable_processors
from lmtui.setting_field import (
    MOST_TOKENS,
    Declaration,
    Kind,
    SettingValue,
    declaration_of,
    setting,
)
from lmtui.train.settings import TrainSettings

PREFIX = "LMTUI_"

SAMPLING = "sampling"
REMOTE = "remote"
THINKING = {"auto": None, "on": True, "off": False}
"""The values of `chat.thinking`, and what the chat template gets for each."""
PRESETS = "presets"
SERVERS = "servers"
SYSTEM = "system"
KEYS = (SYSTEM, *(item.name for item in fields(SamplingSettings)))
LONGEST_NAME = 40
_GIVEN: tuple[SettingOrigin, ...] = ("flag", "environment")
_NEAREST: tuple[SettingOrigin, ...] = (*_GIVEN, "file", "default")


@dataclass(frozen=True, slots=True)
class ChatSettings:
    """Settings of conversations: saving, a full context, thinking."""

    keep: bool = setting(
        True,
        "Whether conversations are saved, those of `chat --once` too; false saves "
        "nothing, and earlier conversations stay.",
        flag=None,
    )
    when_full: str = setting(
        "stop",
        "What happens when a conversation no longer fits the context: stop says so; "
        "drop leaves out the oldest turns, a quarter of the context at a time, and "
        "marks how many.",
        choices=("stop", "drop"),
        flag=None,
        at_once=True,
    )
    thinking: str = setting(
        "auto",
        "Whether a model that can think before it answers is told to: on or off; auto "
        "leaves it to its chat template. A choice made with /think or the flag is "
        "saved with the conversation and counts there.",
        choices=tuple(THINKING),
        flag="--think",
        at_once=True,
    )

    @property
    def drops_oldest(self) -> bool:
        return self.when_full == "drop"

    @property
    def thinking_switch(self) -> bool | None:
        """Whether the model is told to think; None to leave it to the template."""
        return THINKING[self.thinking]


@dataclass(frozen=True, slots=True)
class ServeSettings:
    """Where the server listens, and how many answers it makes in turns."""

    host: str = setting(
        "127.0.0.1",
        "The address that `lmtui serve` listens on. Any but one of loopback needs an "
        "API key.",
        metavar="ADDRESS",
    )
    port: int = setting(
        8080,
        "The port that `lmtui serve` listens on; 0 takes a free one.",
        low=0,
        high=65535,
        metavar="N",
    )
    parallel: int = setting(
        4,
        "How many answers `lmtui serve` makes in turns, each with a KV cache of its "
        "own; further requests wait.",
        low=1,
        high=64,
        metavar="N",
    )


@dataclass(frozen=True, slots=True)
class RemoteSettings:
    """How a model on a server is used, where its server's table does not say so."""

    dialect: str = setting(
        "auto",
        "How the server is spoken to: as an `lmtui serve` (lmtui), vLLM (vllm), "
        "llama.cpp's server (llama-server), or any with OpenAI's API, for chats alone "
        "(openai); auto asks the server what it is.",
        choices=DIALECTS,
        metavar="NAME",
    )
    tokenizer: str | None = setting(
        None,
        "The tokenizer of a model on a server that does not send it: a folder in "
        "Hugging Face format, a .gguf file or a Hub id; unset looks for one by the "
        "model's name.",
        metavar="MODEL",
    )


@dataclass(frozen=True, slots=True)
class Server:
    name: str
    address: str
    """Perhaps with `#MODEL`."""
    key_variable: str = KEY_VARIABLE
    values: Mapping[str, Any] = field(default_factory=dict)
    """What its table sets of `RemoteSettings`, by the names of their fields."""


@dataclass(frozen=True, slots=True)
class Preset:
    """A named system prompt with sampling settings, to begin a conversation with."""

    name: str
    system: str | None = None
    """The system prompt; None leaves the current one."""
    sampling: Mapping[str, Any] = field(default_factory=dict)
    """The fields of `SamplingSettings` that it sets, by name."""

    def applied(self, settings: SamplingSettings) -> SamplingSettings:
        return replace(settings, **self.sampling)


def check_name(name: str) -> None:
    """Refuse a name that could not be typed to select the preset."""
    if not name.strip():
        title, hint = "a preset needs a name", "Give it a name, such as pirate."
    elif len(name) > LONGEST_NAME:
        title = "the name of the preset is too long"
        hint = f"Use at most {LONGEST_NAME} characters."
    elif name != name.strip() or not name.isprintable():
        title = "the name of the preset can't be typed"
        hint = "Use visible characters, without spaces at its ends."
    else:
        return
    raise LmtuiError(title, repr(name), hint)


SettingOrigin = Literal["flag", "environment", "file", "model", "default"]


@dataclass(frozen=True, slots=True)
class Origin:
    source: SettingOrigin = "default"
    where: str = "default"
    """The flag, the variable or the file, as the user writes it."""


@dataclass(frozen=True)
class Settings:
    """All settings with their values; the sentence beside each is its manual."""

    model: str | None = setting(
        None,
        "The model: a catalogue name, a folder in Hugging Face format, a .gguf file, "
        "a Hub id (owner/name, or owner/name:Q4_K_M for one GGUF file), the http "
        "address of a server, or NAME of a table [servers.NAME] in config.toml, which "
        "comes before a model of that name; unset is the default model.",
        metavar="MODEL",
    )
    adapter: str | None = setting(
        None,
        "An adapter trained on your notes: a name from `lmtui adapters list`, or an "
        "adapter's folder. Without a model, the model it was made for is used. Of a "
        "model and an adapter that are set in different places, the nearer one counts: "
        "a flag, then the environment, then the file.",
        metavar="NAME",
    )
    device: str = setting(
        "auto",
        "Where the model runs: auto, cpu, cuda, cuda:N or mps; auto takes the first "
        "of CUDA, MPS and CPU that is available.",
        metavar="DEVICE",
    )
    dtype: str = setting(
        "auto",
        "The number format of the weights: auto, float32, bfloat16 or float16; auto "
        "is float32 on a CPU and the model's own on a GPU.",
        choices=("auto", "float32", "bfloat16", "float16"),
        metavar="DTYPE",
    )
    quantize: str = setting(
        "auto",
        "Precision of the weights on a CPU: auto computes with weights of 16 bits or "
        "fewer as they are stored; int8 and int4 round the weights of "
        "a model shaped like Llama; none is exact. "
        "`lmtui inspect` is exact unless int8 or int4 is given.",
        choices=get_args(Quantize),
        metavar="BITS",
    )
    threads: int | None = setting(
        None,
        "Threads for the arithmetic, at most twice the processors that the program may "
        "use; unset is the number of physical cores.",
        low=1,
        high=2 * usable_processors(),
        metavar="N",
    )
    context: int | None = setting(
        None,
        "Maximum number of tokens of prompt and answer together; unset is the model's "
        "own limit.",
        low=1,
        high=MOST_TOKENS,
        metavar="N",
    )
    theme: str = setting(
        "dark",
        "The colours of the screens: a name from `lmtui themes`.",
        metavar="NAME",
        at_once=True,
    )
    mouse: bool = setting(
        True,
        "Whether the screens follow the mouse; false leaves it to the terminal, which "
        "selects and copies text with it.",
        flag=None,
    )
    sampling: SamplingSettings = field(default_factory=SamplingSettings)
    chat: ChatSettings = field(default_factory=ChatSettings)
    suggestions: SuggestionRules = field(default_factory=SuggestionRules)
    training: TrainSettings = field(default_factory=TrainSettings)
    serving: ServeSettings = field(default_factory=ServeSettings)
    remote: RemoteSettings = field(default_factory=RemoteSettings)
    keys: Mapping[str, str] = field(default_factory=dict)
    """The table `[keys]` of the file: key bindings in place of the built-in ones, by
    action id. The screens check which can be used."""
    presets: Mapping[str, Preset] = field(default_factory=dict)
    """The tables `[presets.NAME]` of the file, in its order."""
    servers: Mapping[str, Server] = field(default_factory=dict)
    """The tables `[servers.NAME]` of the file, in its order."""
    origins: Mapping[str, Origin] = field(default_factory=dict)
    """The origin of each value that is not a default."""
    warnings: tuple[str, ...] = ()
    """A sentence for each name in the file or the environment that is no setting."""

    def value(self, name: str) -> SettingValue:
        setting = item(name)
        holder = getattr(self, setting.part.holder) if setting.part.holder else self
        value: SettingValue = getattr(holder, setting.field.name)
        return value

    def changed(self, values: Mapping[str, Any]) -> Settings:
        """Return the settings with other values, by the names of the settings.

        Raises:
            LmtuiError: one is out of its range.
        """
        by_holder: dict[str, dict[str, Any]] = {}
        for name, value in values.items():
            setting = item(name)
            by_holder.setdefault(setting.part.holder, {})[setting.field.name] = value
        own = by_holder.pop("", {})
        others = {
            holder: replace(getattr(self, holder), **given)
            for holder, given in by_holder.items()
        }
        return replace(self, **own, **others)

    def under_flags(self, values: Mapping[str, Any], origin: Origin) -> Settings:
        """Return the settings with other values, but for what a flag sets."""
        values = {
            name: value
            for name, value in values.items()
            if self.origin(name).source != "flag"
        }
        origins = {**self.origins, **dict.fromkeys(values, origin)}
        return replace(self.changed(values), origins=origins)

    def origin(self, name: str) -> Origin:
        return self.origins.get(name, Origin())

    def with_recommended(
        self, numbers: Iterable[tuple[str, float]], where: str
    ) -> Settings:
        """Return the settings with a model's own sampling as the values that nothing
        else sets; `where` says whose it is."""
        numbers = [number for number in numbers if number[0] not in self.origins]
        sampling = recommended(self.sampling, numbers)
        origin = Origin("model", where)
        origins = {name: origin for name, _ in numbers if name in NAMES}
        return replace(self, sampling=sampling, origins={**origins, **self.origins})

    def sampling_for(self, info: EngineInfo) -> SamplingSettings:
        """Return the sampling settings for a model: its own are the default."""
        return recommended(
            self.sampling, info.generation_defaults, given=self.origins.keys()
        )

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

    def server_of(self, spec: str | None) -> tuple[str | None, ServerOptions]:
        """Return a value of `--model` with the name of a server replaced by its
        address, and how that server is used: as its table says, or else the section
        `remote`; a flag or a variable overrides both.

        Raises:
            LmtuiError: it is an address that can't be used.
        """
        spec = spec.strip() if spec else spec
        server = self.servers.get(spec or "")
        if server is not None:
            spec = server.address
        elif spec and is_address(spec):
            server = self._server_at(spec)
        own = {} if server is None else server.values
        values: dict[str, Any] = {}
        for name in names(REMOTE):
            key, is_given = item(name).own_name, self.origin(name).source in _GIVEN
            values[key] = own[key] if key in own and not is_given else self.value(name)
        variable = KEY_VARIABLE if server is None else server.key_variable
        return spec, ServerOptions(variable, **values)

    def _server_at(self, address: str) -> Server | None:
        """Return the declared server at an address: the one for its model, or else the
        first."""
        wanted = parse(address)
        at = {name: parse(server.address) for name, server in self.servers.items()}
        there = [name for name in at if at[name].url == wanted.url]
        there.sort(key=lambda name: at[name] != wanted)
        return self.servers[there[0]] if there else None


def bits(settings: Settings, *, exact: bool = False) -> Quantize:
    """Return the setting `quantize`; with `exact`, `auto` means none."""
    if exact and settings.quantize == "auto":
        return "none"
    return cast(Quantize, settings.quantize)


# The settings by name.


@dataclass(frozen=True, slots=True)
class Section:
    """A table of the settings file, and which of its settings a value holds."""

    name: str
    """Its name in the file; empty for what is outside every table."""
    holder: str
    """The attribute of `Settings` that holds them; empty for `Settings` itself."""
    kind: type
    prefix: str = ""
    """What the names of its settings begin with, before the name in the file."""


_SECTIONS = (
    Section("", "", Settings),
    Section(SAMPLING, "sampling", SamplingSettings),
    Section("chat", "chat", ChatSettings, "chat_"),
    Section("complete", "suggestions", SuggestionRules),
    Section("finetune", "training", TrainSettings, "finetune_"),
    Section("serve", "serving", ServeSettings, "serve_"),
    Section(REMOTE, "remote", RemoteSettings, "remote_"),
)
"""In the order of the manual."""


@dataclass(frozen=True, slots=True)
class SettingItem:
    """A setting: its names, its type and what is declared of it."""

    own_name: str
    """The name within its table of the settings file."""
    part: Section
    field: Field[Any]
    kind: Kind
    declaration: Declaration

    @property
    def name(self) -> str:
        """The name that flags and variables are made from."""
        return f"{self.part.prefix}{self.own_name}"

    @property
    def section(self) -> str:
        """Its table in the settings file; empty for none."""
        return self.part.name

    @property
    def key(self) -> str:
        """The key in `config.toml`: `model`, `sampling.top_k`."""
        return f"{self.section}.{self.own_name}" if self.section else self.own_name

    @property
    def flag(self) -> str | None:
        flag = self.declaration.flag
        return "--" + self.own_name.replace("_", "-") if flag == "" else flag

    @property
    def variable(self) -> str:
        return PREFIX + self.name.upper()

    def check(self, value: SettingValue, *, shown: str = "") -> None:
        """Refuse a value that the setting can't have; `shown` is its name in the
        error."""
        if value == "":
            title = f"{shown or self.key} is empty"
            raise LmtuiError(title, "", self.declaration.meaning)
        named_by_flag = self.declaration.flag == ""
        own = self.own_name.replace("_", "-") if named_by_flag else self.key
        declared.check(shown or own, self.declaration, value)


@cache
def _items() -> Mapping[str, SettingItem]:
    found = {}
    for part in _SECTIONS:
        kinds = declared.kinds_of(part.kind)
        for each in fields(part.kind):
            if (declaration := declaration_of(each)) is not None:
                own_name, kind = declaration.key or each.name, kinds[each.name]
                setting = SettingItem(own_name, part, each, kind, declaration)
                found[setting.name] = setting
    return found


def items() -> Iterator[SettingItem]:
    """Yield all settings, in the order of the manual."""
    yield from _items().values()


def item(name: str) -> SettingItem:
    return _items()[name]


def names(section: str | None = None) -> tuple[str, ...]:
    """Return the names of all settings, or of those of a section, in the order of the
    manual."""
    return tuple(each.name for each in items() if section in (None, each.section))
