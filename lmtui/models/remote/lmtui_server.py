"""What `lmtui serve` tells of its model: facts, tokenizer, logits and scores.

All of it is checked before it is used, since a server may send anything.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from lmtui.models.model_info import ModelInfo
from lmtui.models.remote import checks
from lmtui.models.remote.checks import checked
from lmtui.models.remote.dialects import LLAMA_SETTINGS, DrawSettings, llama_bias
from lmtui.models.remote.wire import DRAWN_BYTES, ID_BYTES, LOGIT_BYTES
from lmtui.models.tokenizer_check import check_file
from lmtui.models.tokenizer_json import CONFIG, TOKENIZER, TokenizersTokenizer

if TYPE_CHECKING:  # its library takes a tenth of a second to import
    from lmtui.models.remote.connection import Connection

_NOT_SENT = "logit_bias", "banned_phrases", "grammar"
_TOKENIZER_BYTES = 1 << 27
_ENTRY_BYTES = 1 << 12  # of one logprob in JSON, at the most


Score = tuple[float, int, float, float, tuple[tuple[int, float], ...]]
"""Log-probability, rank, entropy and varentropy of a token, and (id, logprob) of the
most probable tokens there, by (-logprob, id)."""


@dataclass(frozen=True)
class LmtuiServerModel:
    dialect: ClassVar[str] = "lmtui"
    takes: ClassVar[frozenset[str]] = LLAMA_SETTINGS

    connection: Connection
    name: str
    """As the server calls it; it refuses requests for another."""
    facts: ModelInfo
    number_format: str
    """As the server tells it: `float32`, `Q4_1`, …"""
    device: str
    """The device that it runs on there."""

    def tokenizer(self) -> TokenizersTokenizer:
        most = _TOKENIZER_BYTES
        text = self.connection.data("/tokenizer.json", most=most)
        config = self.connection.data("/tokenizer_info", most=most)
        with tempfile.TemporaryDirectory(prefix="lmtui-") as name:
            folder = Path(name)
            (folder / TOKENIZER).write_bytes(text)
            (folder / CONFIG).write_bytes(config)
            try:
                check_file(folder / TOKENIZER)
                return TokenizersTokenizer(folder)
            except (ValueError, KeyError) as error:
                raise self.connection.nonsense(f"its tokenizer: {error}") from error

    def logits(self, prompts: Sequence[Sequence[int]], *, keep: int) -> bytes:
        """Return the raw logits after each of the last `keep` tokens of each prompt,
        in order: rows of float32, little-endian."""
        rows = sum(min(keep, len(ids)) for ids in prompts)
        size = rows * self.facts.vocabulary * LOGIT_BYTES
        body = {
            "model": self.name,
            "prompts": list(map(list, prompts)),
            "last_tokens": keep,
        }
        data = self.connection.data("/logits", body, most=size)
        if len(data) != size:
            raise self.connection.nonsense(f"{len(data):,} bytes instead of {size:,}")
        return data

    def draw(
        self, prompt: Sequence[int], settings: DrawSettings
    ) -> Generator[tuple[int, bytes]]:
        """Yield the tokens of a continuation, each with the row of raw logits that it
        was drawn from; closing the iterator ends it."""
        row = self.facts.vocabulary * LOGIT_BYTES
        most = max(1, DRAWN_BYTES // row)
        ids, drawn = list(prompt), 0
        sent = {name: settings[name] for name in settings if name not in _NOT_SENT}
        while drawn < settings["max_tokens"]:
            count = min(most, settings["max_tokens"] - drawn)
            body = {
                **sent,
                "model": self.name,
                "prompt": ids,
                "drawn": drawn,
                "max_tokens": count,
                "logit_bias": llama_bias(settings["logit_bias"]),
            }
            records = self.connection.records("/draw", body, ID_BYTES + row)
            begun = drawn
            for record in records:
                token = int.from_bytes(record[:ID_BYTES], "little")
                if token >= self.facts.vocabulary or drawn == begun + count:
                    raise self.connection.nonsense(f"a token {token:,}")
                ids.append(token)
                drawn += 1
                yield token, record[ID_BYTES:]
            if drawn < begun + count:
                return

    def scores(self, ids: Sequence[int], *, top_n: int) -> Iterator[Score]:
        """Yield the score of each of `ids` but the first, given those before it."""
        body = {
            "model": self.name,
            "prompt": list(ids),
            "max_tokens": 0,
            "prompt_logprobs": top_n,
            "return_entropies": True,
            "return_tokens_as_token_ids": True,
        }
        answer = self.connection.json(
            "/v1/completions", body, most=_ENTRY_BYTES * (top_n + 2) * len(ids)
        )
        with checked(self.connection, "its scores"):
            choice = answer["choices"][0]
            rows, entropies = choice["prompt_logprobs"], choice["prompt_entropies"]
            varentropies = choice["prompt_varentropies"]
            if not len(rows) == len(entropies) == len(varentropies) == len(ids):
                raise ValueError(f"{len(rows)} scores of {len(ids)} tokens")
            columns = zip(ids, rows, entropies, varentropies, strict=True)
            for token, row, *moments in islice(columns, 1, None):
                yield self._score(token, row, moments, top_n)

    def _score(self, token: int, row: Any, moments: Sequence[Any], top_n: int) -> Score:
        logprobs = {int(i): checks.logprob(told["logprob"]) for i, told in row.items()}
        ranked = sorted(logprobs.items(), key=lambda pair: (-pair[1], pair[0]))
        rank = checks.count(row[str(token)]["rank"], self.facts.vocabulary)
        entropy, varentropy = map(float, moments)
        if not (0 <= entropy < math.inf and 0 <= varentropy < math.inf):
            raise ValueError(f"an entropy of {entropy}, a varentropy of {varentropy}")
        return logprobs[token], rank, entropy, varentropy, tuple(ranked[:top_n])


def open_model(connection: Connection, about: Mapping[str, Any]) -> LmtuiServerModel:
    """Return the model that `about`, an entry of `/v1/models`, is about."""
    with checked(connection, "its models"):
        meta = about["meta"]
        facts = ModelInfo(
            architecture=str(meta["architecture"]),
            parameters=checks.count(meta["n_params"], checks.MOST_PARAMETERS),
            vocabulary=checks.count(meta["n_vocab"], checks.MOST_VOCABULARY),
            context=checks.count(about["max_model_len"], checks.MOST_CONTEXT),
            end_ids=frozenset(map(int, meta["eos_token_ids"])),
            generation_defaults=tuple(
                (str(name), float(value))
                for name, value in meta["generation_defaults"].items()
            ),
        )
        told = (str(meta[name])[: checks.SHOWN] for name in ("dtype", "device"))
        return LmtuiServerModel(connection, str(about["id"]), facts, *told)
