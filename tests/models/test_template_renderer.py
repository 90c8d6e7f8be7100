"""Chat templates from elsewhere: whatever they do ends soon, and is an error."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path

import pytest

from lmtui.engine.engine import LocalEngine
from lmtui.engine.sampling_settings import SamplingSettings
from lmtui.engine.types import (
    ChatTurn,
    Prompt,
)
from lmtui.errors import LmtuiError
from lmtui.models import template_renderer
from tests.models import tiny

TALK = [{"role": "user", "content": "Hi"}]
LOOPS = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
GREEDY = SamplingSettings(temperature=0, max_tokens=3)

BROKEN = {
    "{{ 1/0 }}": "ZeroDivisionError",
    "{{ range(10**9) }}": "OverflowError",
    "{{ 2.0**100000 }}": "OverflowError",
    "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}": "RecursionError",
    "{{" + "(" * 5000 + "1" + ")" * 5000 + "}}": "RecursionError",
    "{{ 'a' * 10**12 }}": "memory",
    "{{ 'a' * 2000000000 }}": "memory",
    "{% set n = namespace(s='ab') %}{% for i in range(40) %}"
    "{% set n.s = n.s + n.s %}{% endfor %}": "memory",
    "{{ '%1000000000s' % 'a' }}": "memory",
    "{{ 'a'|center(10**9) }}": "memory",
    "{% for i in range(99999) %}{{ 'a' * 100 }}{% endfor %}": "characters",
    "x" * (2 << 20): "characters",
    LOOPS: "seconds",
    "{{ messages.__class__.__mro__ }}": "asks for what none may",
    "{{ cycler.__init__.__globals__.os.popen('id') }}": "asks for what none may",
    "{% include 'x' %}": "asks for what none may",
    "{% if %}": "damaged",
}


def rendered(template: str) -> str:
    return template_renderer.render(template, TALK, open_ended=True, variables={})


@pytest.mark.parametrize("template", BROKEN, ids=lambda template: template[:30])
def test_failing_or_endless_template_is_an_error(
    template: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Only the loop is meant to run out of time, however slow the machine.
    seconds = 0.5 if template == LOOPS else 60.0
    monkeypatch.setattr(template_renderer, "SECONDS", seconds)
    with pytest.raises(LmtuiError) as caught:
        rendered(template)
    assert caught.value.title == "the model's chat template can't be used"
    assert BROKEN[template] in caught.value.detail
    assert caught.value.hint
    assert rendered("{{ messages[0].content }}!") == "Hi!"


def test_time_without_a_processor_does_not_count(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("lmtui.processes.processor_seconds", lambda pid: 0.0)
    monkeypatch.setattr(template_renderer, "SECONDS", 0.01)
    slow = "{% for a in range(4999) %}{% for b in range(999) %}{% endfor %}{% endfor %}"
    assert rendered(f"{slow}x") == "x"


def test_process_that_stands_still_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    assert rendered("{{ messages[0].content }}!") == "Hi!"
    monkeypatch.setattr("lmtui.processes.processor_seconds", lambda pid: 0.0)
    monkeypatch.setattr(template_renderer, "_PATIENCE", 0.1)
    with pytest.raises(LmtuiError, match=r"no answer within 0\.1 seconds"):
        rendered(LOOPS)
    monkeypatch.undo()
    assert rendered("{{ messages[0].content }}!") == "Hi!"


def test_replaced_render_process_closes_no_foreign_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(template_renderer, "SECONDS", 0.5)
    assert rendered("{{ messages[0].content }}!") == "Hi!"
    with pytest.raises(LmtuiError):
        rendered(LOOPS)
    with ExitStack() as stack:  # these get the numbers that its pipes had
        files = [
            stack.enter_context((tmp_path / str(number)).open("w+"))
            for number in range(9)
        ]
        assert rendered("{{ messages[0].content }}!") == "Hi!"
        assert all(os.fstat(file.fileno()).st_nlink for file in files)
        for file in files:
            file.write("kept")
            file.flush()
    assert {(tmp_path / str(number)).read_text() for number in range(9)} == {"kept"}


def test_template_output_with_a_surrogate_is_refused() -> None:
    with pytest.raises(LmtuiError, match="surrogates"):
        rendered("{{ '\\ud800' }}")


@pytest.fixture
def hanging(tmp_path: Path) -> Path:
    """A model whose template never ends."""
    folder = tiny.save_llama(tmp_path / "hanging")
    (folder / "chat_template.jinja").write_text(f"{LOOPS}<|im_end|> enable_thinking")
    return folder


@pytest.mark.parametrize("quantize", ["none", "int8"])
def test_a_template_is_run_only_for_a_conversation(
    hanging: Path, quantize, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    render = template_renderer.render

    def counted(*given, **more) -> str:
        asked.append(given)
        return render(*given, **more)

    monkeypatch.setattr(template_renderer, "render", counted)
    monkeypatch.setattr(template_renderer, "SECONDS", 0.2)
    engine = LocalEngine.open(str(hanging), device="cpu", quantize=quantize)
    ids = engine.encode("the quick fox").ids
    assert len(list(engine.score(ids))) == len(ids)
    list(engine.generate(Prompt(ids, ""), GREEDY))
    list(engine.document.score_span("the quick fox", 0, 13))
    assert not asked
    with pytest.raises(LmtuiError, match="runs for more than"):
        engine.prompt([ChatTurn("user", "Hi")])
    assert len(list(engine.score(ids))) == len(ids)
