"""A small transformer over bytes with random weights: its loss, next bytes and samples.

The same kind of function as a large language model: token ids [batch, n] to logits
[batch, n, V]. A token is a byte, so V = 256 and no tokenizer is needed. Knows no
training.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from transformers import LlamaConfig

from lmtui.engine.softmax import log_softmax
from lmtui.engine.windows import Windows
from lmtui.learn.pretrain.request import PretrainRequest
from lmtui.train.model import random_model
from lmtui.train.settings import TrainSettings

VOCABULARY = 256
TEMPERATURE = 0.8
"""The temperature of samples: below 1, since a small model spreads much probability
over bytes that make no word."""

_HEAD_SCALE = 0.5  # of the usual initial weights of the head
_WINDOWS = 64  # scored in one pass


class ByteModel:
    """A decoder of Llama's architecture over bytes."""

    def __init__(self, request: PretrainRequest) -> None:
        config = LlamaConfig(
            vocab_size=VOCABULARY,
            hidden_size=request.width,
            intermediate_size=3 * request.width,
            num_hidden_layers=request.layers,
            num_attention_heads=request.heads,
            max_position_embeddings=request.context,
            use_cache=False,
            bos_token_id=None,
            eos_token_id=None,
        )
        self.context = request.context
        self.model: Any = random_model(config, TrainSettings(seed=request.seed))
        with torch.no_grad():  # so that the loss begins close to ln V
            self.model.get_output_embeddings().weight.mul_(_HEAD_SCALE)

    @property
    def parameters(self) -> int:
        return sum(weight.numel() for weight in self.model.parameters())

    def logits(self, ids: Tensor) -> Tensor:
        """Return the logits [batch, n, V] of ids [batch, n]."""
        logits: Tensor = self.model(input_ids=ids, use_cache=False).logits
        return logits

    def losses(self, sequences: Tensor) -> Tensor:
        """Return -log P of each byte but the first in sequences [batch, n]: [batch,
        n-1], in nats."""
        logits = self.logits(sequences[:, :-1])
        return functional.cross_entropy(
            logits.transpose(1, 2), sequences[:, 1:], reduction="none"
        )

    @torch.inference_mode()
    def held_out_loss(self, data: bytes) -> float:
        """Return the mean loss of all bytes of a text but the first.

        The text is scored in windows of the model's context; each byte once, with at
        least half a context before it, as far as the text has that.
        """
        ids = torch.tensor(list(data))
        stride = max(1, self.context // 2)
        # All windows but the last are equally long.
        *full, last = Windows(self.context, stride).over(len(ids))
        groups = [full[i : i + _WINDOWS] for i in range(0, len(full), _WINDOWS)]
        total = 0.0
        for group in (*groups, [last]):
            losses = self.losses(torch.stack([ids[a:b] for a, b, _ in group]))
            for row, (start, _, first) in zip(losses, group, strict=True):
                total += float(
                    row[max(0, first - 1 - start) :].sum(dtype=torch.float64)
                )
        return total / (len(ids) - 1)

    @torch.inference_mode()
    def logprobs(self, prompt: bytes) -> Tensor:
        """Return the log-probabilities [V] of the byte after a prompt, of which the
        last bytes are seen, at most a context."""
        ids = torch.tensor([list(prompt[-self.context :])])
        return log_softmax(self.logits(ids)[0, -1].float())

    def sample(self, prompt: bytes, *, size: int, seed: int) -> bytes:
        """Draw `size` bytes after a prompt at `TEMPERATURE`; the same seed gives the
        same random numbers."""
        generator = torch.Generator().manual_seed(seed)
        drawn = bytearray()
        while len(drawn) < size:
            probs = (self.logprobs(prompt + drawn) / TEMPERATURE).softmax(-1)
            drawn += bytes([int(torch.multinomial(probs, 1, generator=generator))])
        return bytes(drawn)
