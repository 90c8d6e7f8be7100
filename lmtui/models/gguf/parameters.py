"""Where the parameters of a model of transformers lie in a GGUF file, and how.

Names are those of the `gguf` package, which knows both; the differences in values and
in the order of rows are facts of llama.cpp's `conversion` folder. Reads no weights.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lmtui.models.gguf.families import GgufFamily, family_of
from lmtui.models.gguf.header import GgufHeader

_LAYER = re.compile(r".*?\.(\d+)\.(.*)")
_HALVES = ("gate", "up")
_OFFSET = re.compile(r"(?<!linear_attn\.)norm\.weight$")
_NAMES = {
    "linear_attn.dt_bias": "ssm_dt.bias",
    "block_sparse_moe.router.weight": "ffn_gate_inp.weight",
    "block_sparse_moe.experts.down_proj": "ffn_down_exps.weight",
}
"""transformers' names in a layer that the `gguf` package does not know, and those of
files."""
_ENDS = (".weight", ".bias")


@dataclass(frozen=True, slots=True)
class Stored:
    """A parameter in a file."""

    tensor: str
    second: str = ""
    """A tensor whose rows come behind those of each expert of the first."""
    rows: Tensor | None = None
    """int64 [N]: the file's row of each row; None for the file's order."""
    columns: Tensor | None = None
    """int64 [K]: the file's column of each column; None for the file's order."""
    change: Callable[[Tensor], Tensor] | None = None
    """What makes its values of the file's; None for the file's values."""


def stored_parameters(
    names: Iterable[str], config: Any, header: GgufHeader
) -> dict[str, Stored]:
    """Return where parameters lie, by transformers' names, of which those that the file
    lacks are left out. `config` is the model's configuration of transformers."""
    family, stored = family_of(header), {}
    text = config.get_text_config()
    known = tensor_names(header, text.num_hidden_layers)
    orders = list(_orders(text, family))
    for name in names:
        if name.endswith(".experts.gate_up_proj") and (place := _LAYER.fullmatch(name)):
            gate, up = (f"blk.{place[1]}.ffn_{each}_exps.weight" for each in _HALVES)
            if gate in header.shapes:
                stored[name] = Stored(gate, up)
            continue
        found = [each for each in known(name) if each in header.shapes]
        if not found:
            continue
        found_orders = ((r, c) for at, r, c in orders if re.search(at, name))
        rows, columns = next(found_orders, (None, None))
        stored[name] = Stored(found[0], "", rows, columns, _change(name, family))
    return stored


def tensor_names(header: GgufHeader, layers: int) -> Callable[[str], Iterator[str]]:
    """Return a function from a parameter's name to those that its tensor may have."""
    import gguf

    kinds = {name: kind for kind, name in gguf.MODEL_ARCH_NAMES.items()}
    table = gguf.get_tensor_name_map(kinds[header.architecture], layers)

    def names(name: str) -> Iterator[str]:
        place = _LAYER.fullmatch(name)
        if place and (other := _NAMES.get(place[2])):
            yield f"blk.{place[1]}.{other}"
        end = next((end for end in _ENDS if name.endswith(end)), "")
        found = table.get_name(name.removesuffix(end))
        if found is not None:
            yield from (found + end, found + ".weight")

    return names


def _change(name: str, family: GgufFamily) -> Callable[[Tensor], Tensor] | None:
    if family.offset_norms and _OFFSET.search(name):
        return lambda values: values - 1
    if name.endswith(".A_log"):
        return lambda values: values.neg().log()
    return None


def _orders(
    config: Any, family: GgufFamily
) -> Iterator[tuple[str, Tensor | None, Tensor | None]]:
    """Yield the parameters whose rows or columns lie in another order, as a regular
    expression of their names, with the order of each."""
    if family.interleaved:
        heads = config.num_attention_heads
        width = getattr(config, "head_dim", None) or config.hidden_size // heads
        for name, count in (("q", heads), ("k", config.num_key_value_heads)):
            rows = torch.arange(count * width).view(count, width // 2, 2)
            yield rf"\.{name}_proj\.", rows.transpose(1, 2).flatten(), None
    values = getattr(config, "linear_num_value_heads", 0)
    keys = getattr(config, "linear_num_key_heads", 0)
    if not values or values == keys:
        return
    # Files go through the value heads of one key head after another's first.
    width = config.linear_value_head_dim
    before = 2 * keys * config.linear_key_head_dim  # rows of q and k

    def grouped(width: int) -> Tensor:
        tiled = torch.arange(values * width).view(values // keys, keys, width)
        return tiled.transpose(0, 1).flatten()

    whole = grouped(width)
    mixed = torch.cat([torch.arange(before), before + whole])
    yield r"\.(A_log|dt_bias|in_proj_[ab]\.weight)$", grouped(1), None
    yield r"\.in_proj_z\.weight$", whole, None
    yield r"\.(in_proj_qkv|conv1d)\.weight$", mixed, None
    yield r"linear_attn\.out_proj\.weight$", None, whole
