"""`/infill`, as an editor's plug-in asks."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from lmtui.engine.document.types import ContextFile
from lmtui.engine.types import Capabilities
from tests.fake_writing import FakeWriter
from tests.serve.serving import serving

REQUEST: dict[str, Any] = {
    "input_prefix": "def f(x):\n",
    "input_suffix": "\n\nprint(f(1))\n",
    "prompt": "    return",
    "input_extra": [{"filename": "g.py", "text": "def g(x): ...", "time": 1}],
    "n_predict": 32,
    "n_indent": 4,
    "samplers": ["top_k", "top_p", "infill"],
    "t_max_prompt_ms": 500,
    "t_max_predict_ms": 0,
    "cache_prompt": True,
    "stream": False,
}


class FakeCoder(FakeWriter):
    """A model for programs."""

    capabilities = replace(Capabilities(), infill=True)


def test_gap_is_filled() -> None:
    engine = FakeCoder([" x + 1", " x + 2"])
    with serving(engine) as served:
        body = served.ask("/infill", REQUEST).json
        again = served.ask("/infill", REQUEST).json
    assert body["content"] == " x + 1"
    assert body["stop"] is True
    assert body["stop_type"] == "eos"
    assert body["truncated"] is False
    assert body["tokens_predicted"] == len(body["tokens"]) > 0
    assert body["timings"]["predicted_n"] == body["tokens_predicted"]
    assert again["content"] == " x + 1"
    text = REQUEST["input_prefix"] + REQUEST["prompt"] + REQUEST["input_suffix"]
    cursor = len(REQUEST["input_prefix"] + REQUEST["prompt"])
    assert ("go_on", (text, cursor)) in engine.calls
    read = [given for verb, given in engine.calls if verb == "read_with"]
    assert read == [((ContextFile("g.py", "def g(x): ..."),), "")]


def test_only_the_fields_asked_for_are_sent() -> None:
    fields = ["content", "timings/predicted_n", "nothing/at_all"]
    with serving(FakeCoder([" x"])) as served:
        body = served.ask("/infill", REQUEST | {"response_fields": fields}).json
    assert set(body) == set(fields)
    assert body["nothing/at_all"] is None


def test_gap_ends_at_a_stop_text() -> None:
    with serving(FakeCoder([" x\n\ny"])) as served:
        body = served.ask("/infill", REQUEST | {"stop": ["\n\n"]}).json
    assert body["content"] == " x"
    assert (body["stop_type"], body["stopping_word"]) == ("word", "\n\n")


def test_streamed_pieces_join_to_the_content() -> None:
    with serving(FakeCoder([" x + 1"])) as served:
        events = served.ask("/infill", REQUEST | {"stream": True}).data.decode()
    assert events.count("data: ") > 2
    assert '"stop": true' in events


def test_text_is_only_read_where_nothing_is_to_be_written() -> None:
    with serving(FakeCoder([" x"])) as served:
        body = served.ask("/infill", REQUEST | {"n_predict": 0}).json
    assert (body["content"], body["tokens"]) == ("", [])


@pytest.mark.parametrize("missing", ["input_prefix", "input_suffix"])
def test_request_without_a_side_is_refused(missing: str) -> None:
    body = {name: value for name, value in REQUEST.items() if name != missing}
    with serving(FakeCoder()) as served:
        reply = served.ask("/infill", body)
    assert (reply.status, missing in reply.message) == (400, True)


def test_model_that_does_not_fill_in_says_so() -> None:
    with serving(FakeWriter()) as served:
        reply = served.ask("/infill", REQUEST)
    assert reply.status == 400
    assert "reads only what is before the cursor" in reply.message
