"""What lies between two attentions, compiled: the same, and never in the way."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch

from lmtui import processes
from lmtui.engine.backends.llama_cpu import backend, compile
from lmtui.engine.backends.llama_cpu.backend import LlamaCpuBackend
from lmtui.engine.backends.llama_cpu.compile import CompiledKernels
from lmtui.engine.backends.llama_cpu.fused_block import BlockShape, FusedBlock
from lmtui.engine.prefix_cache import PrefixCache
from lmtui.kernels import build, cpu_features
from lmtui.models.llama.int4 import LoraWeights
from lmtui.models.llama.linear import Linear
from lmtui.models.llama.weights import LlamaWeights
from tests.engine.backends.llama_cpu import lean

IDS = [3 + (7 * i * i + i) % 290 for i in range(90)]
CROSSED = build.FUSED_BLOCK if build.supports_fused_block() else compile.PACKAGE
IDLE = backend._COMMAND
# What the program runs only while the processor is idle, run beside other tests.
AT_ONCE = (
    sys.executable,
    "-c",
    "import sys; from lmtui.engine.backends.llama_cpu.compile_worker import main\n"
    "main(*sys.argv[1:])",
)
needs_compiler = pytest.mark.skipif(
    build.compiler_id() is None, reason="there is no C++ compiler"
)


def uncompiled(plan: BlockShape) -> CompiledKernels:
    """What a compiler is given, run as it is."""
    return CompiledKernels(lambda inputs: FusedBlock(plan)(*inputs))


def with_beside(weights: LlamaWeights) -> LlamaWeights:
    """With something added to the products of two matrices of each layer."""

    def added(matrix: Linear) -> Linear:
        first = torch.randn(4, matrix.columns) / 30
        second = torch.randn(matrix.rows, 4) / 30
        return matrix.with_lora(LoraWeights(first, second))

    layers = tuple(
        replace(layer, qkv=added(layer.qkv), down=added(layer.down))
        for layer in weights.layers
    )
    return replace(weights, layers=layers)


def following(forward: LlamaCpuBackend, text: list[int]) -> torch.Tensor:
    """Logprobs after each of the last tokens of a text, read one by one. [n, V]"""
    cache = PrefixCache(forward)
    cache.read(text[:60])
    rows = torch.cat([cache.extend([token]) for token in text[60:]])
    return rows.log_softmax(-1)


def apart(one: torch.Tensor, other: torch.Tensor) -> float:
    """Mean KL divergence in nats."""
    return float((one.exp() * (one - other)).sum(-1).mean())


@pytest.mark.parametrize("beside", [False, True])
@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("kind", lean.KINDS)
def test_fused_block_agrees_with_unfused_layers(
    kind: str, bits: int, beside: bool
) -> None:
    weights = lean.packed(kind, bits).decoder.weights
    if beside:
        weights = with_beside(weights)
    forward = LlamaCpuBackend(weights)
    wanted = following(forward, IDS)
    plan = plan_of(forward)
    forward.decoder.use(uncompiled(plan), plan)
    assert 0 < apart(wanted, following(forward, IDS)) < 2e-4
    forward.decoder.use(None, plan)
    assert torch.equal(following(forward, IDS), wanted)


def test_compiled_kernels_run_only_their_shape_and_few_tokens() -> None:
    weights = lean.packed("llama", 4).decoder.weights
    wide = lean.packed("llama", 8).decoder.weights.layers[2]
    forward = LlamaCpuBackend(replace(weights, layers=(*weights.layers[:2], wide)))
    plan = BlockShape.of(weights.shape, *weights.layers[:2])
    calls = []

    def run(inputs: list[torch.Tensor]) -> tuple[torch.Tensor, ...]:
        calls.append(len(inputs[0]))
        return FusedBlock(plan)(*inputs)  # type: ignore[no-any-return]

    wanted = following(forward, IDS)
    forward.decoder.use(CompiledKernels(run), plan)
    assert apart(wanted, following(forward, IDS)) < 2e-4
    assert calls == [1] * (len(IDS) - 60)  # not the sixty, nor the second crossing


def test_block_shape_survives_json_and_has_its_own_folder() -> None:
    plans = [plan_of(lean.packed(kind)) for kind in lean.KINDS]
    plans.append(
        plan_of(LlamaCpuBackend(with_beside(lean.packed("llama", 4).decoder.weights)))
    )
    for plan in plans:
        assert BlockShape.read(json.loads(json.dumps(asdict(plan)))) == plan
    folders = {compile.folder_of(plan) for plan in plans}
    assert len(folders) == len(set(plans))


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LMTUI_HOME", str(tmp_path))
    monkeypatch.setattr(backend, "_COMMAND", AT_ONCE)
    return tmp_path


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The cache after a first answer, when the compiler is done."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LMTUI_HOME", str(home))
        patch.setattr(backend, "_COMMAND", AT_ONCE)
        forward = fresh(lasting=True)
        assert answer(forward) == answer(fresh())
        process = forward.compiler.process
        assert process is not None
        assert process.wait(timeout=200) == 0
        assert build.failures(str(build.compiler_id())) == {}
        wanted = following(forward, IDS)  # what is done waits for the next answer
        answer(forward)
        assert forward.decoder.compiled is not None
        assert 0 < apart(wanted, following(forward, IDS)) < 2e-4
    return home


@needs_compiler
def test_stored_fused_block_is_used_by_the_next_program(made: Path, home: Path) -> None:
    shutil.copytree(made, home, dirs_exist_ok=True)
    wanted = following(fresh(), IDS)
    assert fresh().decoder.compiled is not None
    shutil.rmtree(build.root())
    assert fresh().decoder.compiled is None
    assert 0 < apart(wanted, following(fresh(), IDS)) < 2e-4


@needs_compiler
def test_compiled_few_tokens_together_equal_one_by_one(made: Path, home: Path) -> None:
    shutil.copytree(made, home, dirs_exist_ok=True)
    forward = fresh()
    wanted = following(forward, IDS)
    cache = PrefixCache(forward)
    cache.read(IDS[:60])
    rows = [cache.extend(IDS[at : at + 5]) for at in range(60, 90, 5)]
    assert torch.equal(torch.cat(rows).log_softmax(-1), wanted)


@needs_compiler
@pytest.mark.skipif(
    not build.supports_fused_block(), reason="there is but one way here"
)
def test_processor_without_fused_block_gets_the_exported_package(home: Path) -> None:
    code = "import sys; from lmtui.kernels import build\n"
    code += "build.supports_fused_block = lambda: 0\n"
    code += "from lmtui.engine.backends.llama_cpu.compile_worker import main\n"
    code += "main(*sys.argv[1:])"
    said = json.dumps(asdict(plan_of(fresh())))
    subprocess.run([sys.executable, "-c", code, said, "compiler"], check=True)
    assert build.failures("compiler") == {}
    folder = compile.folder_of(plan_of(fresh()))
    assert (folder / compile.PACKAGE).is_file()
    assert not (folder / build.FUSED_BLOCK).exists()
    forward = fresh()
    assert forward.decoder.compiled is not None
    wanted = following(forward, IDS)
    cache = PrefixCache(forward)
    cache.read(IDS[:60])
    rows = [cache.extend(IDS[at : at + 5]) for at in range(60, 90, 5)]
    assert torch.equal(torch.cat(rows).log_softmax(-1), wanted)
    shutil.rmtree(build.root())
    assert 0 < apart(wanted, following(fresh(), IDS)) < 2e-4


@needs_compiler
@pytest.mark.parametrize("beside", [False, True])
@pytest.mark.parametrize("attends", [False, True])
@pytest.mark.parametrize("dtype", lean.UNROUNDED[1:])
@pytest.mark.parametrize("kind", ["llama", "qwen3"])
def test_weights_of_16_bits_give_the_same_logits_in_any_split(
    kind: str, dtype: torch.dtype, attends: bool, beside: bool
) -> None:
    rounds = dtype is torch.bfloat16
    weights = lean.brief(kind, dtype, rounds=rounds).decoder.weights
    if beside:
        weights = with_beside(weights)
    if attends:
        share = weights.shape.heads // weights.shape.kv_heads
        folder = build.compiled_for(weights.shape.head_dim, share)
        weights = replace(weights, kernels=folder)
    forward = LlamaCpuBackend(weights)
    assert (forward.decoder.compiled is not None) == attends
    wanted = following(forward, IDS)
    for step in (2, 3, 5, 7):
        cache = PrefixCache(forward)
        cache.read(IDS[:60])
        parts = [IDS[at : at + step] for at in range(60, 90, step)]
        rows = torch.cat([cache.extend(part) for part in parts])
        assert torch.equal(rows.log_softmax(-1), wanted)
    if not beside:
        naive = lean.naive(kind, IDS)[60:]
        assert abs(apart(naive, wanted)) < 2e-4


@needs_compiler
@pytest.mark.parametrize("file", [CROSSED, build.ATTENTION])
@pytest.mark.parametrize("harm", ["cut short", "overwritten", "of another", "foreign"])
def test_damaged_compiled_file_is_not_used(
    harm: str, file: str, made: Path, home: Path
) -> None:
    shutil.copytree(made, home, dirs_exist_ok=True)
    # Not of a fresh one, which would open it: a program opens a file only once.
    plan = plan_of(lean.packed("llama", 4))
    folder = compile.folder_of(plan)
    package = folder / file
    if harm == "cut short":
        replaced(package, package.read_bytes()[:-1000])
    elif harm == "overwritten":
        replaced(package, b"x" * package.stat().st_size)
    elif harm == "foreign":
        note = folder / "lmtui.json"
        note.write_text(note.read_text().replace(torch.__version__, "1.0"))
    else:  # the same shapes, another arithmetic
        plan = replace(plan, epsilon=0.5)
        folder.rename(compile.folder_of(plan))
        with pytest.raises(ValueError, match="differs from the reference"):
            compile.opened(plan)
        assert not compile.is_stored(plan)
        return
    forward = fresh()
    assert forward.decoder.compiled is None
    assert answer(forward) == answer(fresh())
    assert not compile.is_stored(plan)


@needs_compiler
def test_files_compiled_by_another_processor_are_left_alone(
    made: Path, home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    shutil.copytree(made, home, dirs_exist_ok=True)
    plan = plan_of(lean.packed("llama", 4))
    folder = compile.folder_of(plan)
    monkeypatch.setattr(cpu_features, "instructions", lambda: "others")
    assert fresh().decoder.compiled is None
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    (scratch / CROSSED).write_bytes(b"another one")
    compile.store(plan, scratch)
    assert folder.is_dir() and compile.folder_of(plan).is_dir()
    monkeypatch.undo()
    monkeypatch.setenv("LMTUI_HOME", str(home))
    assert fresh().decoder.compiled is not None


def test_missing_compiler_starts_no_compilation(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CXX", "/nowhere/c++")
    forward = fresh(lasting=True)
    answer(forward)
    assert forward.compiler.process is None


def test_failed_compilation_is_noted_for_that_compiler_only(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = home / "c++"
    broken.write_text("#!/bin/sh\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("CXX", str(broken))
    forward = fresh(lasting=True)
    answer(forward)
    process = forward.compiler.process
    assert process is not None
    process.wait(timeout=200)
    assert answer(forward) == answer(fresh())
    assert forward.decoder.compiled is None
    ((note, why),) = build.failures(str(build.compiler_id())).items()
    assert why
    assert note.parent == build.root()
    assert set(build.root().iterdir()) == {note}
    again = fresh(lasting=True)
    answer(again)
    assert again.compiler.process is None
    assert build.failure(compile.folder_of(plan_of(forward)), "another") is None


def test_unwritable_cache_leaves_answers_unchanged(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build.root().parent.mkdir(parents=True)
    build.root().write_text("not a folder")
    forward = fresh(lasting=True)
    answer(forward)
    process = forward.compiler.process
    if process is not None:
        process.wait(timeout=200)
    assert answer(forward) == answer(fresh())
    assert forward.decoder.compiled is None


def test_compile_worker_ends_with_its_parent(home: Path) -> None:
    said = json.dumps(asdict(plan_of(fresh())))
    with open(home / "words", "wb") as words:
        command = [*IDLE, said, "compiler"]
        process = processes.begin(command, words, beneath=True)
    assert process.stdin is not None
    process.stdin.close()
    assert process.wait(timeout=60) < 0
    assert not compile.is_stored(plan_of(fresh()))


def replaced(file: Path, content: bytes) -> None:
    """Another file of that name: this one may be in use."""
    file.unlink()
    file.write_bytes(content)


def fresh(*, lasting: bool = False) -> LlamaCpuBackend:
    """A model as a new program opens it."""
    return LlamaCpuBackend(
        lean.packed("llama", 4).decoder.weights, long_running=lasting
    )


def plan_of(forward: LlamaCpuBackend) -> BlockShape:
    plan = forward.decoder.plan()
    assert plan is not None
    return plan


def answer(forward: LlamaCpuBackend) -> list[int]:
    """Some tokens, each the most probable one."""

    def tokens() -> Iterator[int]:
        cache = PrefixCache(forward)
        cache.read(IDS)
        for _ in range(5):
            assert cache.logits is not None
            yield int(cache.logits.argmax())
            cache.extend([int(cache.logits.argmax())])

    return list(forward.around_generation(tokens()))
