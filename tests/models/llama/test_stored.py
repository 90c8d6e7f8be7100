"""GGUF files whose blocks are used as they lie there."""

from __future__ import annotations

from pathlib import Path
from threading import Event
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from lmtui import cache_dir
from lmtui.cancellation import cancelled_when
from lmtui.engine.backends.llama_cpu.backend import LlamaCpuBackend
from lmtui.engine.backends.llama_cpu.fused_block import FusedLayer
from lmtui.engine.engine import LocalEngine
from lmtui.engine.token_tree import Tree
from lmtui.errors import Cancelled, LmtuiError
from lmtui.kernels import build, compiler, cpu_features, gguf_formats, gguf_matmul
from lmtui.models import memory
from lmtui.models.llama.linear import FEW, BlockLinear
from lmtui.models.llama.load import why_no_blocks
from lmtui.models.load import load
from lmtui.models.loaded_model import LoadedModel
from lmtui.models.progress import Progress
from tests.models import tiny

pytestmark = [
    pytest.mark.skipif(
        compiler.compiler_id() is None, reason="there is no C++ compiler"
    ),
    pytest.mark.usefixtures("shared_home"),
]
FORMATS = [name for name in gguf_formats.FORMATS if name not in gguf_formats.DTYPES]
IDS = [(7 * i) % 300 for i in range(60)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.save_llama(tmp_path_factory.mktemp("blocks"))


@pytest.fixture(scope="module")
def q4(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_gguf(folder, tmp_path_factory.mktemp("q4") / "it.gguf", "Q4_1")


@pytest.fixture(scope="module")
def q8(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_gguf(folder, tmp_path_factory.mktemp("q8") / "it.gguf", "Q8_0")


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with matrices as wide as the blocks of 256 weights."""
    return tiny.save_llama(tmp_path_factory.mktemp("wide"), width=256)


def loaded(file: Path, quantize: Any = "auto") -> LoadedModel:
    return load(str(file), device="cpu", quantize=quantize)


def logprobs(model: LoadedModel, ids: list[int] = IDS) -> list[float]:
    tokens = LocalEngine(model).score(ids)
    return [token.logprob for token in tokens if token.logprob is not None]


@torch.inference_mode()
def exact(file: Path) -> list[float]:
    """The logprobs by transformers, which unpacks the weights to float32."""
    model = AutoModelForCausalLM.from_pretrained(
        file.parent, gguf_file=file.name, dtype=torch.float32
    )
    rows = model(torch.tensor([IDS])).logits[0, :-1].double().log_softmax(-1)
    found: list[float] = rows.gather(1, torch.tensor(IDS[1:])[:, None])[:, 0].tolist()
    return found


@pytest.mark.parametrize("kind", FORMATS)
def test_blocks_are_used_as_they_are(
    kind: str, folder: Path, wide: Path, tmp_path: Path
) -> None:
    source = wide if gguf_formats.FORMATS[kind].weights > 32 else folder
    file = tiny.write_gguf(source, tmp_path / "it.gguf", kind)
    model = loaded(file)
    layers = model.model.weights.layers
    assert all(isinstance(m, BlockLinear) for layer in layers for m in layer.matrices)
    assert model.number_format == kind
    wanted = exact(file)
    few = IDS[:8]  # multiplied in float32; keys and values are float16
    assert logprobs(model, few) == pytest.approx(wanted[:7], abs=5e-3)
    # A tile of weights for many inputs is bfloat16.
    assert logprobs(model) == pytest.approx(wanted, abs=0.5)
    assert not list(cache_dir.root("packed").glob("*-auto"))


@torch.inference_mode()
def test_fused_layers_give_the_states_of_single_operations(
    q4: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = LlamaCpuBackend(loaded(q4).model.weights)
    decoder = backend.decoder
    assert decoder._layers_kernel is not None
    for tokens in (1, 3, 9, 40):
        found = backend.hidden_states(IDS[:tokens], keep=tokens)
        with monkeypatch.context() as patch:
            patch.setattr(decoder, "_layers_kernel", None)
            patch.setattr(FusedLayer, "takes", lambda layer, tokens: False)
            wanted = backend.hidden_states(IDS[:tokens], keep=tokens)
        near = 1e-3 if tokens <= FEW else 0.1  # more are rounded to bfloat16
        torch.testing.assert_close(found, wanted, atol=near, rtol=1e-3)


@torch.inference_mode()
def test_all_layers_in_one_call_are_the_layers_one_by_one(q4: Path) -> None:
    """For one row, several that continue another, and a tree of tokens. Inputs of
    products are rounded, which makes differences of the last bit larger."""
    backend = LlamaCpuBackend(loaded(q4).model.weights)
    decoder, whole = backend.decoder, backend.decoder._layers_kernel
    tree = Tree.of([[5, 6], [5, 7], [8]])

    def found() -> list[torch.Tensor]:
        cache = backend.new_cache()
        backend.logits(IDS[:30], cache)
        rows = cache.fork(3)
        steps = [backend.next_logits([4, 5, 6], rows) for _ in range(3)]
        return [
            *steps,
            backend.hidden_states_tree(tree, cache),
            backend.hidden_states(IDS[30:37], cache, keep=7),
            backend.logits(IDS[37:38], cache),
        ]

    together = found()
    decoder._layers_kernel = None
    for one, other in zip(together, found(), strict=True):
        torch.testing.assert_close(one, other, atol=1e-3, rtol=1e-3)
    decoder._layers_kernel = whole


@pytest.mark.parametrize("quantize", ["auto", "none"])
@pytest.mark.parametrize("count", [1, 40])
def test_token_that_the_model_lacks_is_an_error(
    quantize: str, count: int, q4: Path
) -> None:
    """A tokenizer may know more tokens than the model, and a text contain them."""
    engine = LocalEngine(loaded(q4, quantize))
    ids = [1] * count + [engine.info.vocabulary]
    with pytest.raises(LmtuiError, match="tokenizer is not that of the model"):
        engine.backend.logits(ids)
    assert engine.score(IDS[:5])


@torch.inference_mode()
def test_large_model_is_asked_whether_to_stop_between_its_layers(
    q4: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = LlamaCpuBackend(loaded(q4).model.weights)
    wanted = backend.logits(IDS[:5])
    monkeypatch.setattr(gguf_matmul, "_UNSTOPPED", 1)
    asked: list[None] = []

    def stops() -> bool:
        asked.append(None)
        return len(asked) == 2

    cache = backend.new_cache()
    with pytest.raises(Cancelled), cancelled_when(stops):
        backend.logits(IDS[:5], cache)
    assert len(asked) == 2
    assert cache.length == 0
    assert torch.equal(backend.logits(IDS[:5], cache), wanted)


@torch.inference_mode()
def test_threads_change_no_bit_of_the_logits(q8: Path) -> None:
    weights = loaded(q8).model.weights
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            backend = LlamaCpuBackend(weights)
            cache = backend.new_cache()
            parts = [IDS[:30], IDS[30:34], *([token] for token in IDS[34:50])]
            found.append(torch.cat([backend.logits(part, cache) for part in parts]))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(*found)


def test_adapter_is_added_to_few_and_many_inputs(q8: Path) -> None:
    layer = loaded(q8).model.weights.layers[0].qkv
    first, second = torch.randn(3, layer.columns), torch.randn(layer.rows, 3)
    for count in (2, 30):
        inputs = torch.randn(count, layer.columns)
        added = layer.with_lora(first, second).times(inputs) - layer.times(inputs)
        wanted = inputs @ first.t() @ second.t()
        torch.testing.assert_close(added, wanted, atol=0.2, rtol=0.01)


def test_second_opening_makes_nothing_anew(q4: Path) -> None:
    told: list[str] = []
    first = load(str(q4), device="cpu", quantize="auto")
    again = load(
        str(q4),
        device="cpu",
        quantize="auto",
        on_progress=lambda each: told.append(each.what),
    )
    assert not any("preparing" in words for words in told)
    assert logprobs(first) == logprobs(again)


def test_user_is_told_while_kernels_are_compiled(
    q8: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told, library_for = Event(), build.library_for

    def slow(head_dim: int) -> Path:
        assert told.wait(30)
        return library_for(head_dim)

    def tell(progress: Progress) -> None:
        if progress.what.startswith("compiling"):
            told.set()

    monkeypatch.setattr(build, "library_for", slow)
    load(str(q8), device="cpu", quantize="auto", on_progress=tell)
    assert told.is_set()


def test_files_run_exactly_where_blocks_are_slow(
    q8: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cpu_features, "instruction_class", lambda: "")
    found = loaded(q8)
    assert (found.precision, found.number_format) == ("exact", "float32")
    assert found.why == why_no_blocks()


@pytest.mark.parametrize(
    ("parameters", "file", "have", "hint"),
    [
        (8_000_000_000, 8_500_000_000, 5_500_000_000, "in Q4_K_M (about 4.9 GB)"),
        (8_000_000_000, 4_900_000_000, 4_500_000_000, "Use a smaller model"),
    ],
)
def test_file_too_large_for_the_memory_is_refused_with_one_that_fits(
    parameters: int, file: int, have: int, hint: str
) -> None:
    with pytest.raises(LmtuiError) as refused:
        memory.require_mapped(parameters, file, have)
    assert refused.value.hint is not None and hint in refused.value.hint
    memory.require_mapped(parameters, file, file + 300_000_000)
