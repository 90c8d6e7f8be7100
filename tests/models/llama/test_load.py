"""Models with few bits: run fast or exactly, with the reason, or refused."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import LlamaForCausalLM

from lmtui import cache_dir
from lmtui.engine.engine import LocalEngine
from lmtui.engine.types import ChatTurn
from lmtui.errors import LmtuiError
from lmtui.kernels import compiler
from lmtui.models import inventory, source, template_renderer
from lmtui.models.load import load
from lmtui.models.loaded_model import LoadedModel
from lmtui.models.progress import Progress
from lmtui.models.source import Quantize
from lmtui.models.tokenizer_json import TokenizersTokenizer, same_as
from tests.models import learned, tiny

pytestmark = pytest.mark.usefixtures("shared_home")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.save_llama(tmp_path_factory.mktemp("llama"))


@pytest.fixture(scope="module")
def q8(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("gguf") / "tiny-q8.gguf"
    return tiny.write_gguf(folder, target, "Q8_0")


@pytest.fixture(scope="module")
def brief(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose weights have 16 bits, and are run as they are."""
    if compiler.compiler_id() is None:
        pytest.skip("there is no C++ compiler")
    return tiny.save_brief(tmp_path_factory.mktemp("brief"), "llama", torch.bfloat16)


def loaded(place: Path, quantize: Quantize = "auto", **more: str) -> LoadedModel:
    return load(str(place), device="cpu", quantize=quantize, **more)  # type: ignore[arg-type]


def logprobs(engine: LocalEngine) -> torch.Tensor:
    """[n, V]"""
    ids = engine.encode(tiny.TEXT).ids
    blocks = engine.backend.all_logits(ids)
    return torch.cat(list(blocks)).double().log_softmax(-1)


def test_quantised_model_agrees_with_the_exact_path(q8: Path) -> None:
    fast, exact = LocalEngine(loaded(q8)), LocalEngine(loaded(q8, "none"))
    one, other = logprobs(fast), logprobs(exact)
    divergence = (other.exp() * (other - one)).sum(-1)
    assert float(divergence.mean()) < 1e-3
    assert (one.argmax(-1) == other.argmax(-1)).float().mean() > 0.9
    for name in ("architecture", "parameters", "vocabulary", "context", "has_template"):
        assert getattr(fast.info, name) == getattr(exact.info, name)
    assert fast.end_ids == exact.end_ids
    talk = [ChatTurn("user", "the fox <|im_end|>"), ChatTurn("assistant", "ça va?")]
    assert fast.prompt(talk) == exact.prompt(talk)
    assert fast.encode(tiny.TEXT, bos="yes") == exact.encode(tiny.TEXT, bos="yes")


def test_without_a_compiler_models_run_exactly_and_rounding_is_refused(
    q8: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    found = loaded(q8)
    assert (found.precision, found.number_format) == ("exact", "float32")
    assert found.why == "there is no C++ compiler no-such-compiler"
    for place in (q8, folder):
        with pytest.raises(LmtuiError, match="can't be used in int8") as caught:
            loaded(place, "int8")
        assert "no C++ compiler" in caught.value.detail
        assert "--quantize" in caught.value.hint
        assert "install a C++ compiler" in caught.value.hint


@pytest.mark.parametrize(
    ("kind", "more", "why"),
    [
        ("F32", {}, "not quantised"),
        ("Q8_0", {"dtype": "float32"}, "float32"),
        ("Q8_0", {"dtype": "bfloat16"}, "bfloat16"),
    ],
)
def test_why_names_the_reason_for_running_exactly(
    folder: Path, tmp_path: Path, kind: str, more: dict[str, str], why: str
) -> None:
    place = tiny.write_gguf(folder, tmp_path / "x.gguf", kind)
    found = loaded(place, **more)
    assert not found.is_llama
    assert why in found.why
    assert why in LocalEngine(found).info.why


def test_int4_with_float32_is_refused(folder: Path) -> None:
    with pytest.raises(LmtuiError, match="can't be used in int4") as caught:
        loaded(folder, "int4", dtype="float32")
    assert "--quantize" in caught.value.hint


def test_models_of_other_shapes_run_exactly_and_are_not_rounded(
    folder: Path, tmp_path: Path
) -> None:
    other = Path(shutil.copytree(folder, tmp_path / "other"))
    config = other / "config.json"
    about = json.loads(config.read_text()) | {"hidden_act": "gelu"}
    config.write_text(json.dumps(about))
    found = loaded(other)
    assert (found.precision, found.number_format) == ("exact", "float32")
    with pytest.raises(LmtuiError, match="can't be used in int4") as caught:
        loaded(other, "int4")
    assert "parts that Llama's layers lack" in caught.value.detail


def test_model_with_an_unsupported_bias_is_not_rounded(tmp_path: Path) -> None:
    config = tiny.llama_config()
    config.attention_bias = True  # for what comes out of the attention, too
    model = LlamaForCausalLM(config)
    torch.nn.init.normal_(model.model.layers[1].self_attn.o_proj.bias)
    model.save_pretrained(tmp_path)
    tiny.tokenizer().save_pretrained(tmp_path)
    assert loaded(tmp_path).precision == "exact"
    with pytest.raises(LmtuiError, match="can't be used in int8") as caught:
        loaded(tmp_path, "int8")
    assert "parts that Llama's layers lack" in caught.value.detail


def test_an_adapter_on_another_shape_runs_exactly(
    folder: Path, lora: Path, tmp_path: Path
) -> None:
    other = Path(shutil.copytree(folder, tmp_path / "other"))
    config = other / "config.json"
    about = json.loads(config.read_text()) | {"hidden_act": "gelu"}
    config.write_text(json.dumps(about))
    with pytest.raises(LmtuiError, match="can't be used in int8"):
        with_lora(other, lora, "int8")
    found = with_lora(other, lora, "auto")
    assert (found.precision, found.adapter) == ("exact", "lora")


@pytest.mark.parametrize("trouble", ["full", "no folder"])
def test_unwritable_cache_costs_speed_and_one_warning(
    q8: Path,
    home: Path,
    small_disk: Callable[[int], Path],
    monkeypatch: pytest.MonkeyPatch,
    trouble: str,
) -> None:
    wanted = logprobs(LocalEngine(loaded(q8, "none")))
    if trouble == "no folder":
        (place := home.with_name("elsewhere")).write_text("")
    else:
        fill(place := small_disk(4096 * 40))
    monkeypatch.setenv("LMTUI_HOME", str(place))
    seen: list[Progress] = []
    found = load(str(q8), device="cpu", quantize="auto", on_progress=seen.append)
    assert (found.is_llama, found.precision) == (False, "exact")
    assert "can't be" in found.why
    assert torch.equal(logprobs(LocalEngine(found)), wanted)
    (warning,) = [progress for progress in seen if progress.warning]
    assert ("the disk is full" in warning.what) == (trouble != "no folder")
    assert not list(cache_dir.root("packed").glob("*"))


def fill(place: Path) -> None:
    """Write into a folder until its disk takes no more."""
    with suppress(OSError), (place / "filler").open("wb", buffering=0) as file:
        while file.write(bytes(4096)):
            pass


@pytest.mark.parametrize("kind", ["q8", "brief"])
def test_the_next_start_needs_no_transformers(
    kind: str, request: pytest.FixtureRequest
) -> None:
    q8 = request.getfixturevalue(kind)
    loaded(q8)
    unwanted = {"transformers", "accelerate"} | ({"gguf"} if kind == "brief" else set())
    code = (
        "import sys\n"
        "from lmtui.engine.engine import LocalEngine\n"
        "from lmtui.engine.sampling_settings import SamplingSettings\n"
        "from lmtui.engine.types import ChatTurn\n"
        f"engine = LocalEngine.open({str(q8)!r}, device='cpu', quantize='auto')\n"
        "prompt = engine.prompt([ChatTurn('user', 'the fox')])\n"
        "list(engine.generate(prompt, SamplingSettings(max_tokens=5)))\n"
        "list(engine.document.score_span('the quick fox', 0, 13))\n"
        "engine.document.predict_at('the qui', 7)\n"
        "assert engine.info.precision == 'fast'\n"
        f"unwanted = {unwanted!r}\n"
        "sys.exit(' '.join(unwanted & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert done.stderr.strip() == ""


def test_light_tokenizer_equals_the_library_tokenizer(tmp_path: Path) -> None:
    library = tiny.tokenizer()
    library.save_pretrained(tmp_path)
    light = TokenizersTokenizer(tmp_path)
    assert same_as(library, light)
    assert light.get_vocab() == library.get_vocab()
    assert light.chat_template == library.chat_template
    specials = {i: t.content for i, t in library.added_tokens_decoder.items()}
    assert {i: t.content for i, t in light.added_tokens_decoder.items()} == specials
    read = library(tiny.TEXT, return_offsets_mapping=True, add_special_tokens=False)
    own = light(tiny.TEXT, add_special_tokens=False)
    assert own.input_ids == read.input_ids
    assert own.offset_mapping == [tuple(span) for span in read.offset_mapping]
    for token in range(len(light.get_vocab())):
        spelled = library.convert_ids_to_tokens(token)
        assert light.convert_ids_to_tokens(token) == spelled
    (tmp_path / "chat_template.jinja").write_text("another")
    assert not same_as(library, TokenizersTokenizer(tmp_path))


TEMPLATES = (
    "{% for m in messages %}{% if loop.index > 2 %}{% break %}{% endif %}"
    "{{ bos_token }}{{ m.role }}{{ m | tojson }}{% endfor %}",
    "{%- set ns = namespace(seen=false) -%}\n{% for m in messages %}\n"
    "    {% generation %}{{ m['content'] }}{% endgeneration %}\n{% endfor %}\n"
    "{% if add_generation_prompt %}{{ eos_token }}{% endif %}",
    "{{ raise_exception('only two') }}",
    "{% if tools %}a{% elif documents is none %}{{ strftime_now('%Y') }}{% endif %}",
    "{% set ns = namespace(_x=1) %}",
    "{{ messages.__class__.__mro__ }}",
    "{% nonsense %}",
)


@pytest.mark.parametrize("template", TEMPLATES)
def test_templates_write_what_the_library_writes(template: str) -> None:
    library = tiny.tokenizer()
    talk = [{"role": "user", "content": "ä <b>"}, {"role": "assistant", "content": "x"}]
    try:
        wanted = library.apply_chat_template(
            talk, tokenize=False, add_generation_prompt=True, chat_template=template
        )
    except Exception:
        with pytest.raises(LmtuiError):
            written(template, talk, library.special_tokens_map)
    else:
        assert written(template, talk, library.special_tokens_map) == wanted


def written(
    template: str, talk: list[dict[str, str]], variables: dict[str, str]
) -> str:
    return template_renderer.render(
        template, talk, open_ended=True, variables=variables
    )


# Adapters.


@pytest.fixture(scope="module")
def lora(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return learned.save_lora(tmp_path_factory.mktemp("lora") / "lora", folder)


def with_lora(place: Path, lora: Path, quantize: Quantize, **more: str) -> LoadedModel:
    return load(str(place), adapter=str(lora), device="cpu", quantize=quantize, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("q8", {}),
        ("q8", {"target_modules": ["q_proj", "down_proj"]}),
        ("brief", {"target_modules": ["k_proj", "up_proj"], "use_rslora": True}),
    ],
)
def test_adapter_beside_the_weights_agrees_with_exact(
    options: dict[str, object],
    kind: str,
    folder: Path,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    q8 = request.getfixturevalue(kind)
    place = learned.save_lora(tmp_path / "lora", folder, size=0.1, **options)
    fast = with_lora(q8, place, "auto")
    exact = with_lora(q8, place, "none")
    assert (fast.precision, exact.precision) == ("fast", "exact")
    assert fast.adapter == exact.adapter == "lora"
    one, other = logprobs(LocalEngine(fast)), logprobs(LocalEngine(exact))
    alone = logprobs(LocalEngine(loaded(q8)))
    assert float((other.exp() * (other - one)).sum(-1).mean()) < 2e-3
    assert float((other.exp() * (other - alone)).sum(-1).mean()) > 0.02


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"rank_pattern": {"q_proj": 2}}, "one by one"),
        ({"target_modules": ["q_proj", "lm_head"]}, "lm_head"),
    ],
)
def test_an_unusual_adapter_runs_exactly(
    options: dict[str, object], why: str, folder: Path, q8: Path, tmp_path: Path
) -> None:
    place = learned.save_lora(tmp_path / "lora", folder, **options)
    found = with_lora(q8, place, "auto")
    assert (found.precision, found.adapter) == ("exact", "lora")
    assert why in found.why
    wanted = logprobs(LocalEngine(with_lora(q8, place, "none")))
    assert torch.equal(logprobs(LocalEngine(found)), wanted)
    with pytest.raises(LmtuiError, match="can't be used in int8"):
        with_lora(q8, place, "int8")


@pytest.mark.parametrize("damage", ["shape", "layer", "nan", "half"])
def test_an_adapter_that_does_not_fit_is_refused(
    damage: str, lora: Path, q8: Path, tmp_path: Path
) -> None:
    place = Path(shutil.copytree(lora, tmp_path / "lora"))
    file = place / "adapter_model.safetensors"
    tensors = load_file(file)
    name = next(key for key in tensors if "layers.0.mlp.down_proj.lora_A" in key)
    match damage:
        case "shape":
            tensors[name] = tensors[name][:, :-1].contiguous()
        case "layer":
            tensors[name.replace("layers.0", "layers.9")] = tensors.pop(name)
        case "nan":
            tensors[name][0, 0] = torch.nan
        case _:
            del tensors[name]
    save_file(tensors, file)
    with pytest.raises(LmtuiError, match="adapter"):
        with_lora(q8, place, "auto")


# What is kept can be seen and taken away.


def test_kept_copies_are_listed_and_removed(folder: Path, q8: Path, home: Path) -> None:
    kept = loaded(folder, "int8").folder, loaded(q8).folder
    items = {item.path: item for item in inventory.inventory()}
    assert [items[place].kind for place in kept] == ["packed", "packed"]
    assert items[kept[0]].name == str(folder)
    (own,) = inventory.items_of(source.resolve(str(folder)))
    assert own.path == kept[0]
    (of_file,) = inventory.items_of(source.resolve(str(q8)))
    for item in (own, of_file):
        inventory.remove(item)
        assert not item.path.exists()
    assert list(inventory.inventory()) == []
    assert folder.is_dir()
    with pytest.raises(LmtuiError, match="your own folders"):
        inventory.items_of(source.resolve(str(folder)))
