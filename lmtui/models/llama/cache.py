"""Converted Llama-shaped models in the cache, so that later starts import no
transformers.

A folder holds the configuration, the tokenizer (checked to give the same tokens without
transformers) and, where these were rounded, the weights. Runs no model.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from lmtui import cache_dir, paths
from lmtui.errors import LmtuiError
from lmtui.models.checkpoint import ModelFolder
from lmtui.models.errors import offline, quiet, without_labels, wrap_load_errors
from lmtui.models.gguf.families import gguf_config
from lmtui.models.gguf.generation import generation_config
from lmtui.models.gguf.header import GgufHeader
from lmtui.models.gguf.tokenizer import (
    FIELDS_VERSION,
    read_tokenizer,
    save_tokenizer,
)
from lmtui.models.llama.families import FAMILIES
from lmtui.models.llama.weights import LlamaModel, LlamaWeights, unsupported_reason
from lmtui.models.loaded_model import LoadedModel
from lmtui.models.model_info import facts_in
from lmtui.models.tokenizer_json import TokenizersTokenizer, library_tokenizer, same_as

_LAYOUT = "1"  # of this module; another number gives another folder
_PARAMETERS = "lmtui_parameters"  # in the configuration that is kept
GENERATION = "generation_config.json"


def folder_of(digest: str, kind: str) -> Path:
    """Return the cache folder for the model with this digest, converted as `kind`."""
    return cache_dir.packed() / f"{digest}-{kind}"


def is_complete(folder: Path) -> bool:
    """Return whether a folder is complete and was made by this version on this
    processor."""
    return cache_dir.is_complete(folder, _provenance())


def _provenance() -> dict[str, str]:
    capability = torch.backends.cpu.get_cpu_capability()
    return {
        "torch": torch.__version__,
        "cpu": capability,
        "layout": _LAYOUT,
        "gguf": FIELDS_VERSION,
    }


def config_in(folder: Path) -> dict[str, Any]:
    """Read `config.json` in a folder.

    Raises:
        OSError, ValueError: there is none, or a damaged one.
    """
    config = json.loads((folder / "config.json").read_bytes())
    if not isinstance(config, dict):
        raise ValueError("config.json is not an object")
    return config


Write = Callable[[dict[str, Any], Path], None]
"""A function that writes more files about a model. It takes the model's configuration
and the folder."""


class NotSupported(Exception):
    """Raised with the reason why a model does not run on the Llama backend."""


def read_config(checkpoint: ModelFolder | GgufHeader) -> dict[str, Any]:
    """Return the configuration in a model's files, without the defaults that
    transformers has for what a folder's does not say.

    Raises:
        NotSupported: a GGUF file lacks a number that Llama's need.
        LmtuiError: it scales RoPE in a way that transformers does not know.
    """
    if isinstance(checkpoint, ModelFolder):
        return checkpoint.config
    try:
        return gguf_config(checkpoint)
    except KeyError as error:
        raise NotSupported(f"its header lacks {error}") from error


def require_supported(config: dict[str, Any], path: str) -> None:
    """Check that the Llama backend can run a model, by its configuration.

    Raises:
        NotSupported: it can't.
    """
    with wrap_load_errors(path):
        why = unsupported_reason(config)
    if why is not None:
        raise NotSupported(why)


def cached_model(
    folder: Path, name: str, config: dict[str, Any], weights: LlamaWeights
) -> LoadedModel:
    """Return the model that a cache folder describes, with the given weights.

    Raises:
        OSError, ValueError, KeyError: the folder is damaged.
    """
    runs = FAMILIES[config["model_type"]].model_class
    facts = facts_in(folder, config, runs, config[_PARAMETERS])
    return LoadedModel(
        model=LlamaModel(weights, facts),
        tokenizer=TokenizersTokenizer(folder),
        name=name,
        folder=folder,
        device=torch.device("cpu"),
        dtype=torch.float32,
        precision="fast",
        threads=torch.get_num_threads(),
    )


def convert(
    name: str,
    checkpoint: ModelFolder | GgufHeader,
    folder: Path,
    write: Write,
) -> None:
    """Write the configuration and the tokenizer of a model called `name` into a cache
    folder; `write` adds further files.

    Raises:
        NotSupported: the Llama backend can't run the model, or the cache can't be
            written.
        LmtuiError: the model can't be read.
    """
    try:
        root = paths.ensure_folder(folder.parent)
    except LmtuiError as error:
        raise _cannot_store(error) from error
    source = checkpoint.path.name if isinstance(checkpoint, GgufHeader) else name
    try:
        with paths.scratch_folder(root) as scratch:
            write(_describe(checkpoint, scratch), scratch)
            cache_dir.commit_dir(scratch, folder, source=source, made_by=_provenance())
    except (OSError, LmtuiError) as error:
        if is_complete(folder):
            return  # another process has made it meanwhile
        if isinstance(error, LmtuiError) and not cache_dir.is_disk_full(error):
            raise
        raise _cannot_store(error) from error


def _describe(checkpoint: ModelFolder | GgufHeader, scratch: Path) -> dict[str, Any]:
    """Write the configuration and the tokenizer into `scratch`; return the
    configuration."""
    path = str(checkpoint.path)
    config = _checkpoint_config(checkpoint)
    if isinstance(checkpoint, ModelFolder):  # what it leaves out is known only now
        require_supported(config, path)
    with wrap_load_errors(path):
        same = _write_tokenizer(checkpoint, scratch)
    if not same:
        raise NotSupported(
            "its tokenizer has settings that only its own code can apply"
        )
    facts = config | {_PARAMETERS: checkpoint.parameters}
    (scratch / "config.json").write_text(json.dumps(facts, indent=1, default=str))
    return config


def _checkpoint_config(checkpoint: ModelFolder | GgufHeader) -> dict[str, Any]:
    if isinstance(checkpoint, GgufHeader):
        return read_config(checkpoint)
    from transformers import AutoConfig

    path = checkpoint.path
    with wrap_load_errors(str(path)), quiet(), offline(), without_labels():
        config: dict[str, Any] = AutoConfig.from_pretrained(
            path, local_files_only=True, trust_remote_code=False
        ).to_dict()
    return config


def _write_tokenizer(checkpoint: ModelFolder | GgufHeader, scratch: Path) -> bool:
    """Write the tokenizer and the settings of generation into `scratch`; return
    whether the tokenizer needs no code of transformers there."""
    if isinstance(checkpoint, GgufHeader):
        stored = read_tokenizer(checkpoint)
        save_tokenizer(stored, scratch)
        generation = json.dumps(generation_config(checkpoint, stored), indent=1)
        (scratch / GENERATION).write_text(generation)
        return True
    folder = checkpoint.path
    if (folder / GENERATION).is_file():
        shutil.copy(folder / GENERATION, scratch)
    with quiet(), offline():
        tokenizer = library_tokenizer(folder)
        tokenizer.save_pretrained(scratch)
        return same_as(tokenizer, TokenizersTokenizer(scratch))


def _cannot_store(error: Exception) -> NotSupported:
    full = cache_dir.is_disk_full(error)
    return NotSupported(f"it can't be kept: {'the disk is full' if full else error}")
