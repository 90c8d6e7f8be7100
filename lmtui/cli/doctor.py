"""`lmtui doctor`: report devices, versions, folders and the compute path in use.

Torch is imported when the command runs.
"""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Iterator

import typer

from lmtui import __version__, cache_dir, paths
from lmtui.cli import options
from lmtui.cli.engine import resolved
from lmtui.cli.output import Output, table
from lmtui.config.settings import Settings, bits
from lmtui.errors import LmtuiError
from lmtui.models.remote.address import ServerOptions, is_address
from lmtui.text import visible_line

_PACKAGES = ("torch", "transformers", "tokenizers", "huggingface-hub", "gguf", "peft",
             "llguidance")  # fmt: skip

Line = tuple[str, str]
_MEASURED = ("avx2",)
"""The classes of instructions that this version's kernels were measured on."""


@options.with_settings(
    "model", "device", "dtype", "quantize", "threads", *options.SERVER
)
def doctor(
    context: typer.Context,
    *,
    json: options.Json = False,
) -> None:
    """Show the device, memory, disk, versions and folders in use.

    With --model, this also shows how that model would run and in how much memory.

    \b
    Examples:
      lmtui doctor
      lmtui doctor --model model.gguf
      lmtui doctor --device cpu --dtype bfloat16
    """
    settings = options.settings(context)
    lines = [*_versions(), *_folders(), *_model(), *_adapters()]
    lines += _machine(settings)
    if settings.model is not None:
        lines += _asked(settings.model, settings)
    output = Output()
    if json:
        output.event({"event": "doctor", **dict(lines)})
    else:
        output.text(table(("", ""), lines, terminal=output.is_terminal).lstrip("\n"))


def _versions() -> Iterator[Line]:
    yield "lmtui", __version__
    yield "python", f"{platform.python_version()} on {platform.platform()}"
    for name in _PACKAGES:
        try:
            yield name, importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            yield name, "not installed"


def _folders() -> Iterator[Line]:
    from lmtui.models.download import hub

    yield "settings", str(paths.config_file())
    for name, folder in (
        ("models", paths.models_folder()),
        ("cache", paths.cache_folder()),
        ("logs", paths.log_folder()),
        ("Hub cache", hub.download_folder()),
    ):
        free = cache_dir.free_bytes(folder)
        room = "no such disk" if free is None else f"{cache_dir.size(free)} free"
        yield name, f"{folder} ({room})"


def _model() -> Iterator[Line]:
    from lmtui.models import catalogue
    from lmtui.models.download import default_model

    name = catalogue.DEFAULT
    if default_model.is_fetched():
        yield "default model", f"{name}, here: {default_model.default_file()}"
    else:
        size = cache_dir.size(default_model.WHEEL_BYTES)
        yield "default model", f"{name}, fetched at first use ({size})"


def _adapters() -> Iterator[Line]:
    from lmtui.models.adapters import folders

    words = [
        f"{adapter.name} ({adapter.problem or adapter.base or 'of another program'})"
        for adapter in folders.listed()
    ]
    folder = paths.adapters_folder()
    yield "adapters", f"{', '.join(words) or 'none yet'}; in {folder}"


def _machine(settings: Settings) -> Iterator[Line]:
    from lmtui.models import accelerator, hardware

    chosen = hardware.choose_device(settings.device)
    computed = hardware.choose_dtype(settings.dtype, chosen, "F32")
    threads = settings.threads
    count = hardware.default_threads() if threads is None else threads
    cores = hardware.default_threads()
    yield "memory", f"{cache_dir.size(hardware.available_ram())} free"
    yield "devices", ", ".join(hardware.devices())
    free = cache_dir.size(hardware.available_memory(chosen))
    yield "device", visible_line(f"{accelerator.described(chosen)}, {free} free")
    crowded = "; more threads than cores wait for each other" if count > cores else ""
    yield "threads", f"{count} ({cores} physical cores for this process{crowded})"
    yield "path", _path(str(computed).removeprefix("torch."), chosen.type, settings)
    yield "instructions", _instructions()
    yield "compiled", _compiled()


def _asked(model: str, settings: Settings) -> Iterator[Line]:
    from lmtui.models import describe, run_plan, source

    spec, server = resolved(settings, model)
    if spec is not None and is_address(spec):
        yield from _served(spec, server)
        return
    path = describe.path_of(source.resolve(model))
    if path is None:
        yield "model", f"{visible_line(model)}, not here yet"
        return
    facts = describe.file_facts(path)
    stored = f"{cache_dir.size(int(facts['bytes'] or 0))}, {facts['dtype']}"
    yield "model", visible_line(f"{path} ({stored})")
    way, need = run_plan.plan_for(
        path,
        device=settings.device,
        dtype=settings.dtype,
        quantize=bits(settings),
    )
    yield "runs", visible_line(way)
    yield "needs", need


def _served(spec: str, server: ServerOptions) -> Iterator[Line]:
    """Describe the model of a server, or why there is none."""
    from lmtui.models.remote.address import parse
    from lmtui.models.remote.load import connection_to, described
    from lmtui.models.remote.openai import OpenAiModel

    address = parse(spec, key_variable=server.key_variable)
    connection = connection_to(address, server)
    try:
        model = described(connection, address.model, server)
    except LmtuiError as error:
        yield "model", visible_line(f"{error}. {error.hint}".strip())
        return
    finally:
        connection.close()
    where = f"{model.dialect} at {address.host}"
    yield "model", visible_line(f"{model.name} on {where}")
    if isinstance(model, OpenAiModel):
        numbers = f"{model.rows} tokens" if model.rows else "no tokens"
        yield "runs", f"there: for chats only, with {numbers} listed at each position"
        return
    runs = f"{model.number_format} on {model.device}, context {model.facts.context:,}"
    yield "runs", visible_line(f"there: {runs}")


def _compiled() -> str:
    from lmtui.kernels import build, compiler, prebuilt

    shipped = ""
    if prebuilt.library() is not None:
        widths = ", ".join(map(str, compiler.HEAD_DIMS))
        shipped = f"in the package, for head dimensions {widths}; for others "
    by = compiler.compiler_id()
    if by is None:
        why = f"there is no C++ compiler {compiler.name()} (CXX names another)"
        return f"{shipped}{why}" if shipped else f"nothing: {why}"
    if failed := build.failures(by):
        file, why = next(iter(failed.items()))
        return f"{shipped}not everything: {why} (tried again once {file} is gone)"
    count = build.count()
    sets = f"{count} set{'' if count == 1 else 's'} of kernels" if count else "nothing"
    return (
        f"{shipped}{sets} so far, in {build.root()}; when a model that needs them is "
        f"opened, by {compiler.name()}"
    )


def _instructions() -> str:
    from lmtui.kernels import cpu_features

    name = cpu_features.instruction_class()
    if not name:
        return "no AVX2, so that no kernels are compiled"
    why = "as LMTUI_ISA says"
    if cpu_features.forced() is None:
        why = "the most that this processor has"
    known = "" if name in _MEASURED else "; this version was measured on none such"
    return f"{name}, {why}{known}"


def _path(computed: str, device: str, settings: Settings) -> str:
    """Describe the compute path, exact or fast, and why it is used."""
    if device == "cpu" and settings.dtype == "auto" and settings.quantize != "none":
        return _fast_path(settings.quantize)
    if device != "cpu" and settings.dtype == "auto":
        return f"exact: the model's own number format on {device}"
    if computed == "float32" and device == "cpu":
        return f"exact: float32 on {device}, as it was asked for"
    if computed == "float32":
        return f"exact: float32 on {device}"
    return f"fast: {computed} on {device} rounds more than float32 does"


def _fast_path(quantize: str) -> str:
    from lmtui.models.llama.load import why_no_blocks

    why = why_no_blocks()
    if why and quantize != "auto":
        return f"none with --quantize {quantize}: {why}"
    if why:
        return f"exact, float32: {why}"
    if quantize != "auto":
        return f"fast: weights rounded to {quantize}, mapped"
    return (
        "fast for models shaped like Llama whose weights have 16 bits or fewer, mapped "
        "from their files; exact, float32, for all else and for inspect"
    )
