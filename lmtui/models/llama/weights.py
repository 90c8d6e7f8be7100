"""Weights of a Llama-shaped model, in the layout that the Llama backend runs.

q, k and v are one matrix, gate and up another; the two numbers of a RoPE pair lie side
by side, as in GGUF files of Llama. Families that differ from Llama in constants are
rows of `FAMILIES`. Runs no model. D is the model's width, H and KV its query and key
heads, d the width of a head.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from lmtui.kernels.gguf_matmul import UNLIMITED
from lmtui.models.config_check import layers_in
from lmtui.models.gguf.families import GgufFamily
from lmtui.models.llama.linear import (
    BlockHead,
    BlockLinear,
    BlockMatrices,
    BlockRows,
    BlockSource,
    MatrixRows,
    of_shape,
)
from lmtui.models.model_info import ModelInfo
from lmtui.models.rope import SCALINGS, attention_factor

_GGUF = {
    "embedding": "token_embd.weight",
    "norm": "output_norm.weight",
    "head": "output.weight",
    "layer": "blk.{}.",
    "q": "attn_q",
    "k": "attn_k",
    "v": "attn_v",
    "out": "attn_output",
    "q_norm": "attn_q_norm.weight",
    "k_norm": "attn_k_norm.weight",
    "gate": "ffn_gate",
    "up": "ffn_up",
    "down": "ffn_down",
}
_GGUF_NORMS = {
    "attention_norm": "attn_norm.weight",
    "attention_post_norm": "post_attention_norm.weight",
    "feed_norm": "ffn_norm.weight",
    "feed_post_norm": "post_ffw_norm.weight",
}
LIBRARY = {
    "embedding": "model.embed_tokens.weight",
    "norm": "model.norm.weight",
    "head": "lm_head.weight",
    "layer": "model.layers.{}.",
    "q": "self_attn.q_proj",
    "k": "self_attn.k_proj",
    "v": "self_attn.v_proj",
    "out": "self_attn.o_proj",
    "q_norm": "self_attn.q_norm.weight",
    "k_norm": "self_attn.k_norm.weight",
    "gate": "mlp.gate_proj",
    "up": "mlp.up_proj",
    "down": "mlp.down_proj",
}

_NO_ROPE = {"rope_type": "linear", "rope_theta": 1.0, "factor": math.inf}
"""RoPE that turns nothing, for layers without."""
_BLOCK = 32  # the fewest columns of a block in a GGUF file

_NORMS_BEFORE = {
    "attention_norm": "input_layernorm.weight",
    "feed_norm": "post_attention_layernorm.weight",
}
_NORMS_AROUND = {
    "attention_norm": "input_layernorm.weight",
    "attention_post_norm": "post_attention_layernorm.weight",
    "feed_norm": "pre_feedforward_layernorm.weight",
    "feed_post_norm": "post_feedforward_layernorm.weight",
}
_NORMS_AFTER = {
    "attention_post_norm": "post_attention_layernorm.weight",
    "feed_post_norm": "post_feedforward_layernorm.weight",
}


@dataclass(frozen=True, slots=True)
class Family:
    """What sets the layers of a family apart from Llama's, beside the numbers of its
    configuration."""

    model_class: str
    """The class of transformers that runs it."""
    norms: Mapping[str, str] = field(default_factory=lambda: _NORMS_BEFORE)
    """The norms that a layer has, and transformers' names of them."""
    norm_offset: float = 0
    """What transformers adds to the weights of norms; GGUF files hold the sum."""
    norms_all_heads: bool = False
    """Whether norms of queries and keys act on all heads at once."""
    scales_embedding: bool = False
    """Whether embeddings are multiplied by √D."""
    slides: bool = False
    """Whether all layers have the window of the configuration."""


FAMILIES = {
    "llama": Family("LlamaForCausalLM"),
    "mistral": Family("MistralForCausalLM", slides=True),
    "qwen2": Family("Qwen2ForCausalLM"),
    "qwen3": Family("Qwen3ForCausalLM"),
    "gemma3_text": Family(
        "Gemma3ForCausalLM",
        _NORMS_AROUND,
        norm_offset=1,
        scales_embedding=True,
    ),
    "granite": Family("GraniteForCausalLM"),
    "ministral3": Family("Ministral3ForCausalLM", slides=True),
    "olmo2": Family("Olmo2ForCausalLM", norms=_NORMS_AFTER, norms_all_heads=True),
    "olmo3": Family("Olmo3ForCausalLM", norms=_NORMS_AFTER, norms_all_heads=True),
    "smollm3": Family("SmolLM3ForCausalLM"),
}
"""The families that run here, by their `model_type`."""


@dataclass(frozen=True, slots=True)
class Naming:
    """The names of a source's tensors, and how it has the weights of norms and the two
    numbers of a RoPE pair."""

    names: Mapping[str, str]
    """By this module's words for them; of norms, those that a layer has."""
    half_split_rope: bool
    """Whether RoPE's pairs are half a head apart, and not side by side."""
    norm_offset: float
    """What must be added to the weights of norms."""

    @classmethod
    def gguf(cls, family: GgufFamily) -> Naming:
        """Return the naming of a GGUF file of a family."""
        own = FAMILIES[family.model_type].norms
        norms = {name: _GGUF_NORMS[name] for name in own}
        return cls({**_GGUF, **norms}, not family.interleaved, 0)

    @classmethod
    def transformers(cls, kind: str) -> Naming:
        """Return the naming of a model in the format of transformers."""
        family = FAMILIES[kind]
        return cls({**LIBRARY, **family.norms}, True, family.norm_offset)


@dataclass(frozen=True, slots=True)
class LlamaConfig:
    layers: int
    width: int
    heads: int
    kv_heads: int
    head_dim: int
    ffn: int
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
    norms_all_heads: bool
    """Whether norms of queries and keys act on all heads at once."""
    windows: tuple[int, ...]
    """The positions that a token sees in each layer, its own included."""


@dataclass(frozen=True, slots=True)
class DecoderLayer:
    window: int
    """The positions that a token sees, its own included."""
    q_rope: int
    """Which of the model's tables of RoPE its queries have."""
    k_rope: int
    """Which one its keys have."""
    attention_norm: Tensor | None
    """float32 [D], where the model has one; times √D, like those below."""
    attention_post_norm: Tensor | None
    """float32 [D], of what attention adds, where the model has one."""
    ffn_norm: Tensor | None
    """float32 [D], where the model has one."""
    ffn_post_norm: Tensor | None
    """float32 [D], of what the FFN adds, where the model has one."""
    qkv: BlockLinear
    """[(H + 2·KV)·d, D]."""
    o_proj: BlockLinear
    """[D, H·d]."""
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

    @property
    def matrices(self) -> tuple[BlockLinear, ...]:
        return self.qkv, self.o_proj, self.gate_up, self.down

    @property
    def numel(self) -> int:
        """The number of weights in the linear layers."""
        return sum(matrix.rows * matrix.columns for matrix in self.matrices)


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
    """float32 [tables, d/2]: RoPE's angle per position for each pair, in radians."""
    rope_scales: Tensor
    """float32 [tables, 3]: what each table multiplies by, and its growth, as in
    `LlamaConfig`."""

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
    if not {*layer_types(config)} <= {"full_attention", "sliding_attention"}:
        return "its layers look back in an unusual way"
    for rope in rope_of_layers(config):
        if (
            rope.get("rope_type", "default") not in SCALINGS
            or rope.get("partial_rotary_factor", 1) != 1
        ):
            return "it places its tokens in an unusual way"
    parts = "mlp_bias", "use_bidirectional_attention"
    caps = "attn_logit_softcapping", "final_logit_softcapping"
    known = _activation(config) in ("silu", "gelu_pytorch_tanh")
    if not known or any(config.get(name) for name in (*parts, *caps)):
        return "its layers have parts that Llama's layers lack"
    shape = shape_of(config)
    columns = (shape.width, shape.ffn, shape.heads * shape.head_dim)
    if any(count % _BLOCK for count in columns):  # of each matrix, rows are cut
        return "its matrices are not multiples of 32"
    return None


def shape_of(config: Mapping[str, Any]) -> LlamaConfig:
    heads, width = config["num_attention_heads"], config["hidden_size"]
    family = FAMILIES[config["model_type"]]
    head_dim = config.get("head_dim") or width // heads
    asked = config.get("query_pre_attn_scalar") or head_dim
    scale = config.get("attention_multiplier") or asked**-0.5
    of_queries = 1.0 if scale == head_dim**-0.5 else scale * math.sqrt(head_dim)
    ropes = rope_of_layers(config)
    root = math.sqrt(width) if family.scales_embedding else 1.0
    slides = {"sliding_attention": config.get("sliding_window") or UNLIMITED}
    return LlamaConfig(
        layers=config["num_hidden_layers"],
        width=width,
        heads=heads,
        kv_heads=config.get("num_key_value_heads") or heads,
        head_dim=head_dim,
        ffn=config["intermediate_size"],
        epsilon=config["rms_norm_eps"],
        is_gelu=_activation(config) != "silu",
        embedding_scale=config.get("embedding_multiplier") or root,
        # what is a factor of queries and of keys is its square of their products
        query_scales=tuple(of_queries * attention_factor(each) ** 2 for each in ropes),
        query_growth=_growth(ropes[0]),
        residual_scale=config.get("residual_multiplier") or 1.0,
        logits_scale=1 / (config.get("logits_scaling") or 1.0),
        norms_all_heads=family.norms_all_heads,
        windows=tuple(slides.get(kind, UNLIMITED) for kind in layer_types(config)),
    )


def _activation(config: Mapping[str, Any]) -> str | None:
    return config.get("hidden_activation") or config.get("hidden_act")


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


def has_more(shape: LlamaConfig, source: BlockSource, naming: Naming) -> bool:
    """Return whether a source has biases that the Llama backend does not run."""
    places = (naming.names["layer"].format(index) for index in range(shape.layers))
    return any(
        f"{place}{naming.names[name]}.bias" in source
        for place in places
        for name in ("out", "gate", "up", "down")
    )


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
    heads, keys, head = shape.heads, shape.kv_heads, shape.head_dim
    sizes = (shape.layers, shape.width, heads, keys, head, shape.ffn, vocabulary)
    whole = all(isinstance(n, int) and n > 0 for n in sizes)
    if not whole or heads % keys or head % 2 or not 0 < shape.epsilon < 1:
        raise ValueError(f"no model has the sizes {sizes}")
    names = naming.names
    count = layers_in(shapes, names["layer"].removesuffix(".{}."))
    if count != shape.layers:
        raise ValueError(f"there are {count} layers, and should be {shape.layers}")
    wanted = {names["embedding"]: (vocabulary, shape.width)}
    if names["head"] in shapes:
        wanted[names["head"]] = vocabulary, shape.width
    for index in range(shape.layers):
        before = names["layer"].format(index)
        for name, rows, columns in (
            ("q", heads * head, shape.width),
            ("k", keys * head, shape.width),
            ("v", keys * head, shape.width),
            ("out", shape.width, heads * head),
            ("gate", shape.ffn, shape.width),
            ("up", shape.ffn, shape.width),
            ("down", shape.width, shape.ffn),
        ):
            wanted[f"{before}{names[name]}.weight"] = rows, columns
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
    angles per position, float32 [layers, d/2].

    Raises:
        KeyError: a tensor is missing.
        ValueError: one has another shape.
    """
    names, width = naming.names, shape.width
    rows = embedding = source.rows(names["embedding"], vocabulary, width)
    if names["head"] in source:
        rows = source.rows(names["head"], vocabulary, width)
    # RoPE's tables [tables, d/2 + 3], those of queries first; equal ones are one table
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
    )


def order_of(heads: int, head_dim: int, *, half_split_rope: bool) -> Tensor:
    """Return the source's row of each row of q or k, int64 [heads · head_dim]. The
    source has RoPE pairs half a head apart, or side by side."""
    order = torch.arange(heads * head_dim).view(heads, head_dim)
    if half_split_rope:
        order = order.view(-1, 2, head_dim // 2).transpose(1, 2)
    return order.flatten()


def _qkv_bias(
    source: BlockMatrices, names: Sequence[str], of_q: Tensor, of_k: Tensor
) -> Tensor | None:
    """Return the bias of q, k and v, those of q and k in an order of rows, if any."""
    if names[0] not in source:
        return None
    q, k, v = map(source.floats, names)
    return torch.cat([q[of_q], k[of_k], v])


def _read_layer(
    shape: LlamaConfig,
    source: BlockMatrices,
    naming: Naming,
    index: int,
    ropes: Sequence[int],
) -> DecoderLayer:
    names, width, head_dim = naming.names, shape.width, shape.head_dim
    heads, keys = shape.heads * head_dim, shape.kv_heads * head_dim
    before = names["layer"].format(index)

    def floats(name: str) -> Tensor:
        return source.floats(before + name)

    def order(heads: int) -> Tensor:
        return order_of(heads, head_dim, half_split_rope=naming.half_split_rope)

    def part(
        name: str, rows: int, columns: int, order: Tensor | None = None
    ) -> MatrixRows:
        return MatrixRows(f"{before}{names[name]}.weight", rows, columns, order)

    def norm(name: str) -> Tensor | None:
        if name not in names:
            return None
        weights = of_shape(floats(names[name]), width)
        return (weights + naming.norm_offset) * math.sqrt(width)

    def head_norm(name: str, heads: int) -> Tensor | None:
        if f"{before}{names[name]}" not in source:
            return None
        every = order(heads if shape.norms_all_heads else 1)
        return floats(names[name])[every] + naming.norm_offset

    # 1) matrices; rows of q and k are put so that RoPE pairs lie side by side, which
    # the kernels turn by one product of complex numbers
    q = part("q", heads, width, order(shape.heads))
    k = part("k", keys, width, order(shape.kv_heads))
    v = part("v", keys, width)
    gate_up = [part(name, shape.ffn, width) for name in ("gate", "up")]
    # 2) biases of q, k and v, in the same order [(H + 2·KV)·d]
    biases = [f"{before}{names[name]}.bias" for name in "qkv"]
    bias = _qkv_bias(source, biases, order(shape.heads), order(shape.kv_heads))
    # 3) norms, in float32; those of heads are permuted as a head is
    return DecoderLayer(
        window=shape.windows[index],
        q_rope=ropes[0],
        k_rope=ropes[1],
        attention_norm=norm("attention_norm"),
        attention_post_norm=norm("attention_post_norm"),
        ffn_norm=norm("feed_norm"),
        ffn_post_norm=norm("feed_post_norm"),
        qkv=source.linear([q, k, v]),
        o_proj=source.linear([part("out", width, heads)]),
        gate_up=source.linear(gate_up),
        down=source.linear([part("down", width, shape.ffn)]),
        bias=bias,
        q_norm=head_norm("q_norm", shape.heads),
        k_norm=head_norm("k_norm", shape.kv_heads),
    )
