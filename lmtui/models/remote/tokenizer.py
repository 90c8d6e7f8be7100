"""Tokenizer of a model whose server does not send it: from a file of this machine, or
from the Hub.

The text that a user types then never becomes a control token, whatever the server's own
tokenizer would make of it.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lmtui.errors import LmtuiError
from lmtui.models import describe, digests, source
from lmtui.models.checkpoint import has_tokenizer
from lmtui.models.download import hub
from lmtui.models.download.default_model import default_model
from lmtui.models.gguf.config_check import read_gguf_model
from lmtui.models.gguf.generation import end_ids
from lmtui.models.gguf.tokenizer import read_tokenizer, save_tokenizer
from lmtui.models.model_info import end_ids_in
from lmtui.models.progress import OnProgress
from lmtui.models.remote.dialects import Dialect
from lmtui.models.tokenizer_json import (
    TokenizersTokenizer,
    library_tokenizer,
    names_no_model,
)

if TYPE_CHECKING:  # its library takes a tenth of a second to import
    from lmtui.models.remote.connection import Connection


@dataclass(frozen=True, slots=True)
class ResolvedTokenizer:
    """A tokenizer, and the tokens that end an answer as far as its files tell."""

    tokenizer: Any
    end_ids: frozenset[int]

    @property
    def size(self) -> int:
        """1 + the greatest id."""
        return 1 + max(self.tokenizer.get_vocab().values(), default=-1)


def named_tokenizer(name: str, on_progress: OnProgress) -> ResolvedTokenizer:
    """Return the tokenizer of a folder, a `.gguf` file, or a model of the Hub, whose
    small files are fetched where they are not here."""
    wanted = source.resolve(name)
    path = describe.path_of(wanted)
    if path is None and isinstance(wanted, source.HubModel):
        path = hub.find_tokenizer(wanted.hub_id) or hub.fetch_tokenizer(
            wanted.hub_id, on_progress
        )
    path = path or default_model(on_progress)
    return _in_gguf(path) if path.is_file() else _in_folder(path)


def local_tokenizer(*names: str) -> ResolvedTokenizer | None:
    """Return the tokenizer of the first of these names that has one on this machine: a
    path, or a model of the Hub that is in a cache. Never uses the network."""
    for name in filter(None, names):
        try:
            path = Path(name)
            if path.is_file():
                return _in_gguf(path)
            if path.is_absolute() and has_tokenizer(path):
                return _in_folder(path)
            if source.is_hub_id(name) and (folder := hub.find_tokenizer(name)):
                return _in_folder(folder)
        except (LmtuiError, OSError, ValueError):  # a server may say anything
            continue
    return None


def _in_gguf(path: Path) -> ResolvedTokenizer:
    from lmtui.models.llama import cache

    # What was kept when the model was used has it, in half the time.
    kept = cache.folder_of(digests.recall(path) or "", "stored")
    if cache.is_complete(kept):
        return _in_folder(kept)
    header = read_gguf_model(path)
    read = read_tokenizer(header)
    with tempfile.TemporaryDirectory(prefix="lmtui-") as name:
        save_tokenizer(read, Path(name))
        return ResolvedTokenizer(
            TokenizersTokenizer(Path(name)), frozenset(end_ids(header, read))
        )


def _in_folder(folder: Path) -> ResolvedTokenizer:
    if not has_tokenizer(folder):
        raise LmtuiError("this folder has no tokenizer", str(folder))
    # transformers, which takes seconds to import, would use these files as they are.
    read = TokenizersTokenizer if names_no_model(folder) else library_tokenizer
    try:
        return ResolvedTokenizer(read(folder), end_ids_in(folder))
    except Exception as error:  # transformers raises anything for a damaged one
        raise LmtuiError(
            "this tokenizer can't be read", f"{folder}: {error}"
        ) from error


_PROBES = "Hello, naïve wörld 12345 → 日本", "  two  spaces\n\tand a tab <|im_end|>"


# The second holds what a server must not take for a control token.
def require_same(
    tokenizer: Any, connection: Connection, server: Dialect, model: str
) -> None:
    """Refuse a tokenizer that reads texts otherwise than the server, if that can be
    asked."""
    # Others read control tokens: they are asked about plain text.
    for text in _PROBES if server.plain_tokenize else _PROBES[:1]:
        body = {
            "model": model,
            **dict.fromkeys(("prompt", "content"), text),
            **dict.fromkeys(("add_special", "add_special_tokens"), False),
            "parse_special": False,
        }
        try:
            ids = connection.json("/tokenize", body)["tokens"]
        except (LmtuiError, KeyError, TypeError):  # it has no such route
            return
        own = tokenizer(text, add_special_tokens=False, split_special_tokens=True)
        if ids != list(own.input_ids):
            raise LmtuiError(
                "this is not the tokenizer of the server's model",
                f"{connection.address.host} reads “{text}” as other tokens",
                "Name the right one with --tokenizer.",
            )
