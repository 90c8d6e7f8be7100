"""Weights of a Llama-shaped model, in the layout that the Llama backend runs.

What a layer computes of its inputs before it mixes tokens is one matrix (q, k and v,
then the gates of outputs, if there are any), gate and up another; the two numbers of a
RoPE pair lie side by side, as in GGUF files of Llama. Value heads of Gated DeltaNet lie
as in GGUF files, one of each key head after the other. Runs no model. D is the model's
width, H and KV the query and key heads of a layer, d the width of a head.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lmtui.kernels.gguf_matmul import UNLIMITED, Heads, Recurrent
from lmtui.models.config_check import layers_in
from lmtui.models.llama.families import FAMILIES, Family, Naming
from lmtui.models.llama.linear import (
    BlockHead,
    BlockLinear,
    BlockMatrices,
    BlockRows,
    MatrixRows,
    of_shape,
)
from lmtui.models.model_info import ModelInfo
from lmtui.models.rope import SCALINGS, attention_factor, frequencies, turned_share

_ATTENTION = ("full_attention", "sliding_attention")
DELTA = "linear_attention"
CONVOLUTION = "conv"

_UNKNOWN = (
    *("mlp_bias", "conv_bias", "use_bidirectional_attention"),
    *("attn_logit_softcapping", "attention_k_eq_v", "enable_moe_block"),
)
"""What a configuration may ask for and no layer here has."""
_NO_ROPE = {"rope_type": "linear", "rope_theta": 1.0, "factor": math.inf}
"""RoPE that turns nothing, for layers without."""
_ENDS = ("", ".weight")
BLOCK = 32
"""The fewest columns of a block in a GGUF file."""
_HEAD = 16  # what widths of recurrent heads are multiples of


@dataclass(frozen=True, slots=True)
class LlamaConfig:
    model_type: str
    kinds: tuple[str, ...]
    """transformers' name of what mixes tokens in each layer."""
    width: int
    heads: tuple[Heads, ...]
    """Those of each layer; none where it does not attend."""
    rotary_share: float
    """The part of a head's numbers that RoPE turns, the first ones."""
    delta_heads: tuple[int, int]
    """Key and value heads of Gated DeltaNet; 0 where no layer has it."""
    delta_widths: tuple[int, int]
    """The widths of these heads."""
    ffn: tuple[int, ...]
    """The width of each layer's FFN."""
    inputs: int
    """The numbers of a further input of each layer, which depends on the token; or
    0."""
    epsilon: float
    is_gelu: bool
    """Whether the FFN's activation is GELU by tanh, and not SiLU."""
    embedding_scale: float
    query_scales: tuple[float, ...]
    """Of queries in each layer, beside attention's 1 / √d."""
    query_growth: tuple[float, float]
    """β and the context c by which query scales grow: 1 + β·ln(1 + ⌊position / c⌋)."""
    residual_scale: float
    """Of what attention and FFN add to the residual state."""
    logits_scale: float
    logits_cap: float
    """c of logits that are c · tanh(logits / c); 0 for none."""
    norms_all_heads: bool
    """Whether norms of queries and keys act on all heads at once."""

    @property
    def layers(self) -> int:
        return len(self.kinds)

    def turned(self, heads: Heads) -> int:
        """Return how many numbers of each head RoPE turns."""
        return int(heads.width * self.rotary_share)

    @property
    def head_dims(self) -> list[int]:
        """The widths of heads, the narrowest first."""
        return sorted({heads.width for heads in self.heads if heads.query})


@dataclass(frozen=True, slots=True)
class DecoderLayer:
    q_rope: int
    """Which of the model's tables of RoPE its queries have."""
    k_rope: int
    """Which one its keys have."""
    scale: float
    """Of the residual state after the layer."""
    attention_norm: Tensor | None
    """float32 [D], where the model has one; times √D, like those below."""
    attention_post_norm: Tensor | None
    """float32 [D], of what attention adds, where the model has one."""
    ffn_norm: Tensor | None
    """float32 [D], where the model has one."""
    ffn_post_norm: Tensor | None
    """float32 [D], of what the FFN adds, where the model has one."""
    recurrent: Recurrent | None
    """What mixes tokens where that is not attention."""
    qkv: BlockLinear
    """[(H + 2·KV)·d, D], or what else is made of the inputs before tokens are mixed."""
    o_proj: BlockLinear
    """[D, H·d], or of as many columns as mixing has results."""
    gate_up: BlockLinear
    """[2·ffn, D]."""
    down: BlockLinear
    """[D, ffn]."""
    bias: Tensor | None
    """float32 [(H + 2·KV)·d], where the model has one for q, k and v."""
    q_norm: Tensor | None
    """float32 [d], or [H·d] of all heads, where the model has one."""
    k_norm: Tensor | None
    """float32 [d], or [KV·d], where the model has one."""
    v_norm: Tensor | None
    """float32 [d], where the model has one."""
    input_norm: Tensor | None
    """float32 [D], of what the further input adds, where there is one."""
    input_gate: BlockLinear | None = None
    """[inputs, D], where there is one."""
    input_proj: BlockLinear | None = None
    """[D, inputs]."""

    @property
    def matrices(self) -> tuple[BlockLinear, ...]:
        return self.qkv, self.o_proj, self.gate_up, self.down

    @property
    def numel(self) -> int:
        """The number of weights in the linear layers."""
        return sum(matrix.rows * matrix.columns for matrix in self.matrices)


@dataclass(frozen=True, slots=True)
class LayerInputs:
    """What makes the further inputs of all layers."""

    table: BlockRows
    """[V, layers · inputs]: of each token."""
    projection: BlockLinear
    """[layers · inputs, D]: of its embedding."""
    norm: Tensor
    """float32 [inputs], of what is projected."""


@dataclass(frozen=True, slots=True)
class LlamaWeights:
    shape: LlamaConfig
    layers: tuple[DecoderLayer, ...]
    norm: Tensor
    """float32 [D]."""
    embedding: BlockRows
    """[V, D]."""
    lm_head: BlockHead
    frequencies: Tensor
    """float32 [tables, R/2]: RoPE's angle per position for each pair, in radians; R is
    the width of the widest head."""
    rope_scales: Tensor
    """float32 [tables, 3]: what each table multiplies by, and its growth, as in
    `LlamaConfig`."""
    inputs: LayerInputs | None

    @property
    def number_format(self) -> str:
        """The format of most of the matrices."""
        matrices = (matrix for layer in self.layers for matrix in layer.matrices)
        counts = Counter(matrix.number_format for matrix in matrices)
        return max(counts, key=lambda name: counts[name])


@dataclass(frozen=True, slots=True)
class LlamaModel:
    """A model for the Llama backend."""

    weights: LlamaWeights
    facts: ModelInfo


def unsupported_reason(config: Mapping[str, Any]) -> str | None:
    """Return why the Llama backend can't run a model, by its config as transformers
    writes it; None where it can."""
    kind = config.get("model_type")
    if kind not in FAMILIES:
        return f"{kind} is not shaped like Llama"
    kinds = {*layer_types(config)}
    if not kinds <= {*_ATTENTION, DELTA, CONVOLUTION} or not kinds & {*_ATTENTION}:
        return "its layers look back in an unusual way"
    if not all(
        _turns_as_usual(rope, FAMILIES[kind]) for rope in rope_of_layers(config)
    ):
        return "it places its tokens in an unusual way"
    known = _activation(config) in ("silu", "gelu_pytorch_tanh")
    if not known or any(config.get(name) for name in _UNKNOWN):
        return "its layers have parts that Llama's layers lack"
    shape = shape_of(config)
    attended = (heads.query * heads.width for heads in shape.heads)
    columns = (shape.width, *shape.ffn, *attended, shape.inputs)
    # of each matrix, rows are cut
    cut = any(count % BLOCK for count in (*columns, _delta_values(shape)))
    if cut or any(width % _HEAD for width in shape.delta_widths):
        return "its matrices are not multiples of 32"
    return None


def _turns_as_usual(rope: Mapping[str, Any], family: Family) -> bool:
    """Return whether RoPE's parameters are those of a table of angles. A part of each
    head is turned only by families that know it, and is not scaled."""
    partly = turned_share(rope) != 1
    right = family.turns_partly and attention_factor(rope) == 1
    return rope.get("rope_type", "default") in SCALINGS and (right or not partly)


def shape_of(config: Mapping[str, Any]) -> LlamaConfig:
    family, width = FAMILIES[config["model_type"]], config["hidden_size"]
    kinds, ropes = layer_types(config), rope_of_layers(config)
    root = math.sqrt(width) if family.scales_embedding else 1.0
    # layers that have their own keys and values, and FFNs of the usual width
    own = len(kinds) - config.get("num_kv_shared_layers", 0)
    wider = 2 if config.get("use_double_wide_mlp") else 1
    ffn = [
        config["intermediate_size"] * (1, wider)[i >= own] for i in range(len(kinds))
    ]
    every = [
        _heads_of(config, index, borrows=index >= own) for index in range(len(kinds))
    ]
    return LlamaConfig(
        model_type=config["model_type"],
        kinds=tuple(kinds),
        width=width,
        heads=tuple(every),
        rotary_share=turned_share(ropes[0]),
        delta_heads=_of_delta(config, "num_{}_heads"),
        delta_widths=_of_delta(config, "{}_head_dim"),
        ffn=tuple(ffn),
        inputs=config.get("hidden_size_per_layer_input") or 0,
        epsilon=config["norm_eps" if "norm_eps" in config else "rms_norm_eps"],
        is_gelu=_activation(config) != "silu",
        embedding_scale=config.get("embedding_multiplier") or root,
        # what is a factor of queries and of keys is its square of their products
        query_scales=tuple(
            _query_scale(config, heads.width or 1) * attention_factor(rope) ** 2
            for heads, rope in zip(every, ropes, strict=True)
        ),
        query_growth=_growth(ropes[0]),
        residual_scale=config.get("residual_multiplier") or 1.0,
        logits_scale=1 / (config.get("logits_scaling") or 1.0),
        logits_cap=config.get("final_logit_softcapping") or 0.0,
        norms_all_heads=family.norms_all_heads,
    )


def _heads_of(config: Mapping[str, Any], index: int, *, borrows: bool) -> Heads:
    kind = layer_types(config)[index]
    if kind not in _ATTENTION:
        return Heads()
    slides = kind == "sliding_attention"
    own = (config.get("per_layer_config") or {}).get(str(index), {})
    known = {**config, **own}
    heads = known["num_attention_heads"]
    return Heads(
        query=heads,
        kv=known.get("num_key_value_heads") or heads,
        width=known.get("head_dim") or known["hidden_size"] // heads,
        gates=heads if FAMILIES[config["model_type"]].has_gates else 0,
        borrows=borrows,
        window=(config.get("sliding_window") if slides else 0) or UNLIMITED,
    )


def _query_scale(config: Mapping[str, Any], width: int) -> float:
    """Return what queries of a width are multiplied by beside attention's 1 / √d."""
    if not FAMILIES[config["model_type"]].scales_scores:
        return math.sqrt(width)
    asked = config.get("query_pre_attn_scalar") or width
    scale = config.get("attention_multiplier") or asked**-0.5
    return 1.0 if scale == width**-0.5 else scale * math.sqrt(width)


def _of_delta(config: Mapping[str, Any], name: str) -> tuple[int, int]:
    key, value = (
        config.get(f"linear_{name.format(each)}", 0) for each in ("key", "value")
    )
    return key, value


def _delta_values(shape: LlamaConfig) -> int:
    """Return how many numbers the value heads of Gated DeltaNet have."""
    return shape.delta_heads[1] * shape.delta_widths[1]


def _activation(config: Mapping[str, Any]) -> str:
    return str(config.get("hidden_activation") or config.get("hidden_act", "silu"))


def _growth(rope: Mapping[str, Any]) -> tuple[float, float]:
    growth = rope.get("llama_4_scaling_beta") or 0.0
    return growth, rope["original_max_position_embeddings"] if growth else 1.0


def layer_types(config: Mapping[str, Any]) -> list[str]:
    """Return transformers' name of each layer's attention."""
    slides = FAMILIES[config["model_type"]].slides or config.get("use_sliding_window")
    kind = "sliding_attention" if slides else "full_attention"
    every = [kind] * config["num_hidden_layers"]
    return list(config.get("layer_types") or every)


def rope_of_layers(config: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the parameters of each layer's RoPE."""
    rope, kinds = config.get("rope_parameters") or {}, layer_types(config)
    turned = config.get("no_rope_layers") or [1] * len(kinds)
    return [
        rope.get(kind, rope) if turns else _NO_ROPE
        for kind, turns in zip(kinds, turned, strict=True)
    ]


def layer_frequencies(config: Mapping[str, Any]) -> Tensor:
    """Return RoPE's angle per position for each pair in each layer, in radians, float32
    [layers, R/2], by a configuration. R is the width of the widest head; narrower ones
    have zeros behind theirs."""
    shape = shape_of(config)
    every = torch.zeros(shape.layers, shape.head_dims[-1] // 2)
    for rope, heads, row in zip(
        rope_of_layers(config), shape.heads, every, strict=True
    ):
        row[: heads.width // 2] = frequencies(rope, heads.width)
    return every


def has_more(shape: LlamaConfig, tensors: Iterable[str], naming: Naming) -> bool:
    """Return whether layers have tensors, by the names of all, that the Llama backend
    does not run."""
    words, known = naming.names, set()
    layers = tuple(words["layer"].format(index) for index in range(shape.layers))
    for index, before in enumerate(layers):
        # also those of matrices, which a layer that borrows may have and not use
        known |= {before + name + end for name in words.values() for end in _ENDS}
        if shape.heads[index].query:
            known |= {*map(bias_of, matrices_of(shape, naming, index)["qkv"])}
    # RoPE's frequencies are made anew.
    own = (name for name in tensors if not name.endswith("rotary_emb.inv_freq"))
    return any(name.startswith(layers) and name not in known for name in own)


def require_shapes(
    shape: LlamaConfig,
    vocabulary: int,
    shapes: Mapping[str, tuple[int, ...]],
    naming: Naming,
) -> None:
    """Check that the files have the layers and tensors that `shape` implies, before
    anything is allocated. `shapes` are those of all tensors, by name.

    Raises:
        ValueError: a size makes no sense, a tensor is missing or has another shape, or
            there are more layers.
    """
    sizes = [shape.layers, shape.width, *shape.ffn, vocabulary]
    layers = zip(shape.kinds, shape.heads, strict=True)
    attends = [heads for kind, heads in layers if kind in _ATTENTION]
    for heads in attends:
        sizes += [heads.query, heads.kv, heads.width]
    if DELTA in shape.kinds:
        sizes += [*shape.delta_heads, *shape.delta_widths]
    whole = all(isinstance(n, int) and n > 0 for n in sizes)
    even = whole and not any(
        heads.query % heads.kv or heads.width % 2 or shape.turned(heads) % 2
        for heads in attends
    )
    if not even or shape.delta_heads[1] % (shape.delta_heads[0] or 1):
        raise ValueError(f"no model has the sizes {sizes}")
    if not 0 < shape.epsilon < 1:
        raise ValueError(f"no model has an epsilon of {shape.epsilon}")
    names = naming.names
    count = layers_in(shapes, names["layer"].removesuffix(".{}."))
    # A GGUF file may have more, which guess further tokens.
    if count < shape.layers or (count > shape.layers and not naming.is_gguf):
        raise ValueError(f"there are {count} layers, and should be {shape.layers}")
    wanted = {names["embedding"]: (vocabulary, shape.width)}
    if names["head"] in shapes:
        wanted[names["head"]] = vocabulary, shape.width
    if shape.inputs:
        wanted[names["inputs"]] = vocabulary, shape.layers * shape.inputs
    for index in range(shape.layers):
        for parts in matrices_of(shape, naming, index).values():
            wanted |= {part.name: (part.rows, part.columns) for part in parts}
    for tensor, size in wanted.items():
        if shapes.get(tensor) != size:
            raise ValueError(f"there is no {tensor} of {size}")


def read_weights(
    shape: LlamaConfig,
    source: BlockMatrices,
    naming: Naming,
    vocabulary: int,
    frequencies: Tensor,
) -> LlamaWeights:
    """Bring the weights of a source into this module's layout. `frequencies` are RoPE's
    angles per position, float32 [layers, R/2], where R is the width of the widest head.

    Raises:
        KeyError: a tensor is missing.
        ValueError: one has another shape.
    """
    names, width = naming.names, shape.width
    rows = embedding = source.rows(names["embedding"], vocabulary, width)
    if names["head"] in source:
        rows = source.rows(names["head"], vocabulary, width)
    # RoPE's tables [tables, R/2 + 3], those of queries first; equal ones are one table
    scaled = [[scale, *shape.query_growth] for scale in shape.query_scales]
    plain = [[1.0, 0.0, 1.0]] * shape.layers
    every = torch.cat([frequencies.repeat(2, 1), torch.tensor(scaled + plain)], 1)
    tables, ropes = torch.unique(every, dim=0, return_inverse=True)
    layers = (
        _read_layer(shape, source, naming, index, each)
        for index, each in enumerate(ropes.view(2, -1).T.tolist())
    )
    return LlamaWeights(
        shape=shape,
        layers=tuple(layers),
        norm=of_shape(source.floats(names["norm"]), width) + naming.norm_offset,
        embedding=embedding,
        lm_head=source.head(rows),
        frequencies=tables[:, :-3],
        rope_scales=tables[:, -3:],
        inputs=_layer_inputs(shape, source, naming, vocabulary),
    )


def _layer_inputs(
    shape: LlamaConfig, source: BlockMatrices, naming: Naming, vocabulary: int
) -> LayerInputs | None:
    if not shape.inputs:
        return None
    names, projection = naming.names, input_projection(shape, naming)
    return LayerInputs(
        table=source.rows(names["inputs"], vocabulary, projection.rows),
        projection=source.linear([projection]),
        norm=of_shape(source.floats(names["projection_norm"]), shape.inputs),
    )


def input_projection(shape: LlamaConfig, naming: Naming) -> MatrixRows:
    """Return where the projection of `LayerInputs` lies."""
    every = shape.layers * shape.inputs
    return MatrixRows(naming.names["input_projection"], every, shape.width)


def order_of(
    heads: int, head_dim: int, rotary_dim: int, *, half_split_rope: bool
) -> Tensor:
    """Return the source's row of each row of q or k, int64 [heads · head_dim]. The
    source has RoPE pairs half of the first `rotary_dim` numbers of a head apart, or
    side by side."""
    order = torch.arange(heads * head_dim).view(heads, head_dim)
    if half_split_rope:
        turned, rest = order[:, :rotary_dim], order[:, rotary_dim:]
        pairs = turned.view(-1, 2, rotary_dim // 2).transpose(1, 2)
        order = torch.cat([pairs.flatten(1), rest], 1)
    return order.flatten()


def value_order(shape: LlamaConfig, naming: Naming, width: int = 1) -> Tensor:
    """Return the source's row of each row of Gated DeltaNet's value heads, where each
    has `width`: int64 [value heads · width]."""
    keys, values = shape.delta_heads
    order = torch.arange(values * width)
    if naming.is_gguf:
        return order
    return order.view(keys, values // keys, width).transpose(0, 1).flatten()


def matrices_of(
    shape: LlamaConfig, naming: Naming, index: int
) -> dict[str, list[MatrixRows]]:
    """Return what each matrix of a layer (the fields of `DecoderLayer`) is made of."""
    names, width, kind = naming.names, shape.width, shape.kinds[index]
    before = names["layer"].format(index)

    def part(
        name: str, rows: int, columns: int, order: Tensor | None = None
    ) -> MatrixRows:
        return MatrixRows(f"{before}{names[name]}.weight", rows, columns, order)

    ffn, further = shape.ffn[index], shape.inputs
    feed = {
        "gate_up": [part(name, ffn, width) for name in ("gate", "up")],
        "down": [part("down", width, ffn)],
    }
    if further:
        feed["input_gate"] = [part("input_gate", further, width)]
        feed["input_proj"] = [part("input_proj", width, further)]
    if kind == CONVOLUTION:
        projected = [part("conv_in", 3 * width, width)]
        return {"qkv": projected, "o_proj": [part("conv_out", width, width)], **feed}
    if kind == DELTA:
        values, channels = _delta_values(shape), _channel_order(shape, naming)
        each = value_order(shape, naming)
        projected = [
            part("delta_qkv", len(channels), width, channels),
            part("delta_gate", values, width, channels[-values:] - channels[-values]),
            part("beta", len(each), width, each),
            part("step", len(each), width, each),
        ]
        return {"qkv": projected, "o_proj": [part("delta_out", width, values)], **feed}
    # rows of q and k are put so that RoPE pairs lie side by side, which the kernels
    # turn by one product of complex numbers
    attends, head = shape.heads[index], shape.heads[index].width
    heads, keys = attends.query * head, attends.kv * head
    q, k = head_orders(shape, naming, index)
    of_keys = [part("k", keys, width, k), part("v", keys, width, torch.arange(keys))]
    if attends.borrows:
        of_keys = []
    if attends.gates:  # behind the query head that each belongs to
        q += q // head * head
        gates = torch.arange(heads) + (torch.arange(heads) // head + 1) * head
        both = (part("q", 2 * heads, width, order) for order in (q, gates))
        projected = [next(both), *of_keys, *both]
    else:
        projected = [part("q", heads, width, q), *of_keys]
    return {"qkv": projected, "o_proj": [part("out", width, heads)], **feed}


def head_orders(
    shape: LlamaConfig, naming: Naming, index: int
) -> tuple[Tensor, Tensor]:
    """Return the source's row of each row of all query heads of a layer, and of all key
    heads."""
    heads, split = shape.heads[index], naming.half_split_rope
    q, k = (
        order_of(count, heads.width, shape.turned(heads), half_split_rope=split)
        for count in (heads.query, heads.kv)
    )
    return q, k


def _channel_order(shape: LlamaConfig, naming: Naming) -> Tensor:
    """Return the source's row of each row of Gated DeltaNet's queries, keys and
    values."""
    before = 2 * shape.delta_heads[0] * shape.delta_widths[0]
    values = value_order(shape, naming, shape.delta_widths[1])
    return torch.cat([torch.arange(before), before + values])


def bias_of(part: MatrixRows) -> str:
    """Return the name of the bias that belongs to a matrix."""
    return part.name.removesuffix("weight") + "bias"


def _bias(source: BlockMatrices, parts: Sequence[MatrixRows]) -> Tensor | None:
    """Return the bias of parts of a matrix, in the order of its rows, if any."""
    if bias_of(parts[0]) not in source:
        return None
    return torch.cat([source.floats(bias_of(part))[part.order] for part in parts])


def _recurrent(
    shape: LlamaConfig, naming: Naming, kind: str, floats: Callable[[str], Tensor]
) -> Recurrent | None:
    """Return what mixes the tokens of a layer where that is not attention; `floats`
    reads its tensors."""
    if kind in _ATTENTION:
        return None
    if kind == CONVOLUTION:
        return Recurrent(floats("convolution").view(shape.width, -1).t().contiguous())
    channels, heads = _channel_order(shape, naming), value_order(shape, naming)
    decay, dt_bias = (
        of_shape(floats(name), len(heads))[heads] for name in ("decay", "dt_bias")
    )
    weights = floats("convolution").view(len(channels), -1)[channels]
    return Recurrent(
        weights.t().contiguous(),
        shape.delta_heads,
        shape.delta_widths,
        is_tiled=naming.is_gguf,
        epsilon=shape.epsilon,
        decay=decay if naming.is_gguf else -decay.exp(),
        dt_bias=dt_bias,
        norm=of_shape(floats("delta_norm"), shape.delta_widths[1]),
    )


def _read_layer(
    shape: LlamaConfig,
    source: BlockMatrices,
    naming: Naming,
    index: int,
    ropes: Sequence[int],
) -> DecoderLayer:
    names, kind, heads = naming.names, shape.kinds[index], shape.heads[index]
    before = names["layer"].format(index)

    def floats(name: str) -> Tensor:
        return source.floats(before + names[name])

    def norm(name: str) -> Tensor | None:
        if name not in names:
            return None
        weights = of_shape(floats(name), shape.width)
        return (weights + naming.norm_offset) * math.sqrt(shape.width)

    def head_norm(name: str) -> Tensor | None:
        if name not in names or before + names[name] not in source or not heads.query:
            return None
        q_order, k_order = head_orders(shape, naming, index)
        order = q_order if name == "q_norm" else k_order
        every = order if shape.norms_all_heads else order[: heads.width]
        return floats(name)[every] + naming.norm_offset

    # 1) matrices, and the biases of q, k and v
    parts = matrices_of(shape, naming, index)
    bias = _bias(source, parts["qkv"])
    # 2) norms, in float32; those of heads are permuted as a head is
    norms_values = FAMILIES[shape.model_type].norms_values and not heads.borrows
    scale = float(floats("scale")) if "scale" in names else 1.0
    return DecoderLayer(
        q_rope=ropes[0],
        k_rope=ropes[1],
        scale=scale,
        attention_norm=norm("attention_norm"),
        attention_post_norm=norm("attention_post_norm"),
        ffn_norm=norm("feed_norm"),
        ffn_post_norm=norm("feed_post_norm"),
        recurrent=_recurrent(shape, naming, kind, floats),
        bias=bias,
        q_norm=head_norm("q_norm"),
        k_norm=None if heads.borrows else head_norm("k_norm"),
        v_norm=torch.ones(heads.width) if norms_values else None,
        input_norm=norm("input_norm"),
        **{name: source.linear(each) for name, each in parts.items()},
    )
