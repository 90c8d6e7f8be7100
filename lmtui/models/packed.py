"""From a model's files to packed weights, by way of the cache.

Owns which models are packed and how, and what is done the first time: read the
configuration and the tokenizer with transformers, bring the weights into layout, keep
all of it. Later starts import no transformers. Runs nothing.
"""

from __future__ import annotations

import json
import platform
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from lmtui import paths
from lmtui.errors import LmtuiError
from lmtui.models import disk, fit, gguf_cache, hardware, lean, packed_cache
from lmtui.models.adapters import Adapter
from lmtui.models.digests import model_digest
from lmtui.models.facts import facts_in
from lmtui.models.folder import ModelFolder, read_folder
from lmtui.models.folder_tensors import RoundedTensors
from lmtui.models.foreign import explained
from lmtui.models.gguf_alone import alone
from lmtui.models.gguf_header import GgufHeader, read_gguf_header
from lmtui.models.gguf_reading import read_once
from lmtui.models.gguf_tensors import GgufTensors
from lmtui.models.lean import LeanModel, LeanWeights, Reading
from lmtui.models.lean_adapter import Unusual, put_beside
from lmtui.models.lean_matrices import GroupSource, PackedMatrices
from lmtui.models.lean_names import Naming
from lmtui.models.light_tokenizer import LightTokenizer, same_as
from lmtui.models.loaded import How, Loaded
from lmtui.models.products import FORMATS
from lmtui.models.progress import OnProgress, Progress
from lmtui.models.quiet import offline, quiet
from lmtui.models.wanted import Quantize

MOST_BITS = {"auto": 8, "int8": 8, "int4": 4}
_SLOW = ("NO AVX", "DEFAULT") if platform.machine() in ("x86_64", "AMD64") else ()
"""What torch calls processors without AVX2."""
FLOATS = ("F32", "F16", "BF16", "F64")
DENSE_SHARE = 4  # of the free memory, at most a part for the weights in bfloat16
_PARAMETERS = "lmtui_parameters"  # in the configuration that is kept
_GENERATION = "generation_config.json"


class Unsuitable(Exception):
    """Why a model is not packed."""


class OtherShape(Unsuitable):
    """It is not shaped like Llama; its layers can be packed one by one."""


@dataclass(frozen=True, slots=True)
class Why:
    """Why a model is not run by the code for Llama's shape."""

    words: str
    layers: bool = False
    """Whether the library's layers can be packed instead."""
    dtype: str = "auto"
    """What the library's weights are best held in."""


def packed_or_why(name: str, place: Path, how: How) -> Loaded | Why:
    """The model in a folder or a `.gguf` file, with packed weights, which are made the
    first time, and kept; or why it has none.

    Raises:
        LmtuiError: it can't be read; or few bits were asked for and can't be had.
    """
    device = hardware.choose_device(how.device)
    try:
        if how.dtype != "auto":
            raise Unsuitable(f"its weights are to be {how.dtype}")
        if device.type == "cuda":
            from lmtui.models.packed_cuda import held_on

            return held_on(device, place, how)
        if device.type != "cpu":
            raise Unsuitable(f"it runs on {device}")
        if torch.backends.cpu.get_cpu_capability() in _SLOW:
            raise Unsuitable("this processor has no fast kernel for it")
        if how.quantize == "auto" and place.is_dir():
            looked = read_folder(place)
            if looked.dtype in FORMATS:
                from lmtui.models.stored import load_stored

                return load_stored(name, looked, how.on_progress)
        return _load(name, place, how.quantize, how.on_progress)
    except OtherShape as error:
        if how.layers:
            return Why(str(error), layers=True)
        return Why(_refused(name, str(error), how))
    except Unsuitable as error:
        return Why(_refused(name, str(error), how))


def with_packed_layers(exact: Loaded, quantize: Quantize) -> Loaded:
    """A model of the library with packed weights in its layers, which are changed."""
    if exact.device.type == "cuda":
        from lmtui.models.packed_cuda import with_few_bits

        return with_few_bits(exact)
    from lmtui.models.packed_layers import pack_layers

    dense = pays_dense(exact.facts.parameters)
    bits = pack_layers(exact.model, MOST_BITS[quantize], dense=dense)
    if not bits:
        return exact
    return replace(exact, precision="fast", layer_bits=bits)


def with_adapter(base: Loaded, adapter: Adapter, how: How) -> Loaded | str:
    """A packed model with an adapter beside its weights, or why it can't be there.

    Raises:
        LmtuiError: its configuration is damaged; or few bits were asked for.
    """
    try:
        weights = put_beside(base.model.weights, adapter)
    except Unusual as error:
        return _refused(adapter.name, str(error), how)
    model = LeanModel(weights, base.model.facts)
    return replace(base, model=model, adapter=adapter.name)


def _refused(name: str, why: str, how: How) -> str:
    if how.quantize == "auto":
        return why
    raise LmtuiError(
        f"this model can't be used in {how.quantize}",
        f"{name}: {why}",
        "Leave --quantize out, or use another model.",
    )


def _load(
    name: str, place: Path, quantize: Quantize, on_progress: OnProgress
) -> Loaded:
    folder = packed_cache.folder_of(model_digest(place, on_progress), quantize)
    if packed_cache.is_complete(folder):
        try:
            return _opened(folder, name)
        except (OSError, ValueError, KeyError, TypeError):
            pass  # damaged in some other way, and made again
    looked = read_gguf_header(place) if place.is_file() else read_folder(place)
    _require_suited(looked, quantize)
    bits = MOST_BITS[quantize]
    fit.require_memory(
        looked.parameters, f"int{bits}", hardware.available_ram(), where="cpu"
    )
    Packing(name, looked, bits, on_progress).into(folder)
    return _opened(folder, name)


def _opened(folder: Path, name: str) -> Loaded:
    config = packed_cache.config_in(folder)
    return loaded(folder, name, config, packed_cache.read(folder, config))


def loaded(
    folder: Path, name: str, config: dict[str, Any], weights: LeanWeights
) -> Loaded:
    """What a folder of the cache says of a model, with its weights.

    Raises:
        OSError, ValueError, KeyError: the folder is damaged.
    """
    facts = facts_in(folder, config, config[_PARAMETERS])
    return Loaded(
        model=LeanModel(weights, facts),
        tokenizer=LightTokenizer(folder),
        name=name,
        folder=folder,
        device=torch.device("cpu"),
        dtype=torch.float32,
        precision="fast",
        threads=torch.get_num_threads(),
    )


def _require_suited(looked: ModelFolder | GgufHeader, quantize: Quantize) -> None:
    """See at a glance whether it is worth reading more.

    Raises:
        Unsuitable: it is not.
    """
    if isinstance(looked, GgufHeader):
        kind, stored = looked.architecture, next(iter(looked.by_type), "F32")
    else:
        kind, stored = str(looked.config.get("model_type")), looked.dtype
    if quantize == "auto" and stored in FLOATS:
        raise Unsuitable("its weights are not quantised; --quantize int8 does it")
    if kind not in lean.FAMILIES:
        raise OtherShape(f"{kind} is not shaped like Llama")


def pays_dense(parameters: int) -> bool:
    """Whether there is room for all weights in bfloat16, too, and use for them."""
    room = 2 * parameters * DENSE_SHARE <= hardware.available_ram()
    return room and hardware.fast_at_bfloat16(torch.device("cpu"))


class Packing:
    """A model that is packed for the first time."""

    verb, done = "packing", "packed"
    packed = True
    """Whether its weights are."""

    def __init__(
        self,
        name: str,
        looked: ModelFolder | GgufHeader,
        bits: int,
        on_progress: OnProgress,
    ) -> None:
        self._name = name
        self._looked = looked
        self._bits = bits
        self._on_progress = on_progress

    def into(self, folder: Path) -> None:
        """Pack it into a folder of the cache.

        Raises:
            Unsuitable: it has something that is not run this way, or can't be kept.
            LmtuiError: it can't be read.
        """
        self._on_progress(Progress(f"{self.verb} {self._name}, once"))
        try:
            root = paths.ensure_folder(folder.parent)
            with paths.scratch_folder(root) as scratch:
                config = self._describe(scratch)
                self.write(config, scratch)
                packed_cache.seal(scratch, folder, self._source)
        except (OSError, LmtuiError) as error:
            if packed_cache.is_complete(folder):
                return  # by another process, in the meantime
            if isinstance(error, LmtuiError) and error.title != "the disk is full":
                raise
            raise self._not_kept(error) from error

    def write(self, config: Any, scratch: Path) -> None:
        """Write the weights of a model with a configuration.

        Raises:
            Unsuitable, LmtuiError, OSError: as in `into`.
        """
        disk.require_space(scratch, 4 * self._looked.parameters)
        packed_cache.write(self._weights(config), scratch)

    def _not_kept(self, error: Exception) -> Unsuitable:
        full = disk.is_disk_full(error) or isinstance(error, LmtuiError)
        why = f"it can't be kept: {'the disk is full' if full else error}"
        self._on_progress(
            Progress(f"{self._name} is not {self.done}: {why}", warning=True)
        )
        return Unsuitable(why)

    @property
    def _source(self) -> str:
        gguf = isinstance(self._looked, GgufHeader)
        return self._looked.path.name if gguf else self._name

    def _describe(self, scratch: Path) -> Any:
        """Write configuration and tokenizer; the configuration."""
        from transformers import AutoConfig, AutoTokenizer

        place = self._looked.path
        with self._readable() as (folder, options), explained(str(place)):
            with quiet(), offline():
                config = AutoConfig.from_pretrained(folder, **options)
                why = lean.unsuitable(config.to_dict(), packed=self.packed)
                if why is None:
                    tokenizer = AutoTokenizer.from_pretrained(folder, **options)
                    tokenizer.save_pretrained(scratch)
            if (folder / _GENERATION).is_file():
                shutil.copy(folder / _GENERATION, scratch)
        if why is not None:
            raise OtherShape(why)
        if not same_as(tokenizer, LightTokenizer(scratch)):
            raise OtherShape("its tokenizer has something of its own")
        facts = config.to_dict() | {
            "architectures": [lean.FAMILIES[config.model_type]],
            _PARAMETERS: self._looked.parameters,
        }
        (scratch / "config.json").write_text(json.dumps(facts, indent=1, default=str))
        return config

    @contextmanager
    def _readable(self) -> Iterator[tuple[Path, dict[str, Any]]]:
        """Where transformers reads, and what it has to be told."""
        options: dict[str, Any] = {
            "local_files_only": True,
            "trust_remote_code": False,
        }
        place = self._looked.path
        if not isinstance(self._looked, GgufHeader):
            yield place, options
        elif copy := gguf_cache.cached_folder(place, "float32", self._on_progress):
            yield copy, options
        else:
            with alone(place) as folder, read_once(self._looked):
                yield folder, options | {"gguf_file": place.name}

    def _weights(self, config: Any) -> lean.LeanWeights:
        shape = lean.shape_of(config.to_dict())
        frequencies = lean.frequencies_of(config)
        looked, naming = self._looked, Naming.library()
        source: GroupSource
        if isinstance(looked, GgufHeader):
            source = GgufTensors(looked)
            naming = Naming.gguf(looked.architecture)
            # Llama 3's are nowhere else in the file, and not in the configuration.
            plain = config.rope_parameters.get("rope_type", "default") == "default"
            if plain and "rope_freqs.weight" in source:
                frequencies = frequencies / source.floats("rope_freqs.weight")
        else:
            source = RoundedTensors(looked, self._bits)
        if lean.has_more(shape, source, naming):
            raise OtherShape("its layers have something of their own")
        dense = pays_dense(looked.parameters)
        what = f"packing {self._name}, once"

        def on_layer(index: int) -> None:
            self._on_progress(Progress(what, index, shape.layers, unit="layers"))

        matrices = PackedMatrices(source, self._bits, dense)
        reading = Reading(
            source, naming, config.vocab_size, frequencies, matrices, on_layer
        )
        with explained(str(looked.path)):
            return lean.read_weights(shape, reading)
