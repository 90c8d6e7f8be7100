"""Why a model does not run on the Llama backend, and what it runs with instead."""

from __future__ import annotations

from dataclasses import dataclass

DENSE_SHARE = 4  # the bfloat16 copy may take at most this part (1/4) of the free memory


@dataclass(frozen=True, slots=True)
class FallbackReason:
    """The reason why a model does not run on the Llama backend."""

    words: str
    layers: bool = False
    """Whether the linear layers of the transformers model can be packed instead."""
    dtype: str = "auto"
    """The dtype in which the weights of the transformers model are best held."""
