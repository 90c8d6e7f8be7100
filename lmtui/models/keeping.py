"""What is kept of a model, so that later starts import no transformers.

Owns what is read with that library, once: the configuration and the tokenizer, which is
proven to be the same without it; and how both lie in a folder of the cache, beside what
somebody else writes there. Knows no weights. Runs nothing.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from lmtui import paths
from lmtui.errors import LmtuiError
from lmtui.models import disk, gguf_cache, lean, packed_cache
from lmtui.models.facts import facts_in
from lmtui.models.folder import ModelFolder
from lmtui.models.foreign import explained
from lmtui.models.gguf_alone import alone
from lmtui.models.gguf_header import GgufHeader
from lmtui.models.gguf_reading import read_once
from lmtui.models.lean import LeanModel, LeanWeights
from lmtui.models.light_tokenizer import LightTokenizer, same_as
from lmtui.models.loaded import Loaded
from lmtui.models.progress import OnProgress, Progress
from lmtui.models.quiet import offline, quiet

_PARAMETERS = "lmtui_parameters"  # in the configuration that is kept
_GENERATION = "generation_config.json"

Write = Callable[[Any, Path], None]
"""Writes what else is kept of a model: takes its configuration, and the folder."""


class Unsuitable(Exception):
    """Why a model is not run by the code for Llama's shape."""


class NotKept(Unsuitable):
    """The disk is full, or can't be written to; the user was told."""


class OtherShape(Unsuitable):
    """It is not shaped like Llama; its layers can be packed one by one."""


def kept_model(
    folder: Path, name: str, config: dict[str, Any], weights: LeanWeights
) -> Loaded:
    """The model of which a folder of the cache tells, with its weights.

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


class Keeping:
    """A model that is used for the first time."""

    def __init__(
        self,
        name: str,
        looked: ModelFolder | GgufHeader,
        on_progress: OnProgress,
        *,
        packs: bool,
    ) -> None:
        """`packs` says whether its weights are packed, too."""
        self._name = name
        self._looked = looked
        self._on_progress = on_progress
        self._packs = packs
        self._doing = "packing" if packs else "preparing"
        self._done = "packed" if packs else "prepared"

    def into(self, folder: Path, write: Write) -> None:
        """Keep it in a folder of the cache, with what `write` writes besides.

        Raises:
            NotKept: it can't be kept.
            Unsuitable: it has something that is not run this way.
            LmtuiError: it can't be read.
        """
        self._on_progress(Progress(f"{self._doing} {self._name}, once"))
        try:
            root = paths.ensure_folder(folder.parent)
        except LmtuiError as error:
            raise self._not_kept(error) from error
        try:
            with paths.scratch_folder(root) as scratch:
                config = self._describe(scratch)
                write(config, scratch)
                packed_cache.seal(scratch, folder, self._source)
        except (OSError, LmtuiError) as error:
            if packed_cache.is_complete(folder):
                return  # by another process, in the meantime
            if isinstance(error, LmtuiError) and not disk.is_disk_full(error):
                raise
            raise self._not_kept(error) from error

    def held(self, weights: Callable[[Any], LeanWeights]) -> Loaded:
        """The model, where it can't be kept: as long as this process has it. `weights`
        reads them, by its configuration.

        Raises:
            Unsuitable: it has something that is not run this way.
            LmtuiError: it can't be read.
        """
        try:
            with tempfile.TemporaryDirectory(prefix="lmtui-") as scratch:
                folder = Path(scratch)
                found = weights(self._describe(folder))
                config = packed_cache.config_in(folder)
                return kept_model(folder, self._name, config, found)
        except OSError as error:
            raise Unsuitable(f"it can't be {self._done}: {error}") from error

    def _not_kept(self, error: Exception) -> NotKept:
        full = disk.is_disk_full(error)
        why = f"it can't be kept: {'the disk is full' if full else error}"
        said = f"{self._name} is {self._done} anew at every start: {why}"
        self._on_progress(Progress(said, warning=True, unkept=True))
        return NotKept(why)

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
                why = lean.unsuitable(config.to_dict(), packed=self._packs)
                if why is None:
                    tokenizer = AutoTokenizer.from_pretrained(folder, **options)
                    tokenizer.save_pretrained(scratch)
            if (folder / _GENERATION).is_file():
                shutil.copy(folder / _GENERATION, scratch)
        if why is not None:
            raise OtherShape(why)
        with explained(str(place)):
            same = same_as(tokenizer, LightTokenizer(scratch))
        if not same:
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
