"""`/metrics` and `/version`: what watches a server."""

from __future__ import annotations

import json
import re
from threading import Thread

from lmtui import __version__
from tests.fake_writing import FakeWriter
from tests.serve.serving import WAIT, Served, serving

LINE = re.compile(r"(?:# (?:HELP|TYPE) .*|[a-z_:]+\{[a-z_]+=\".*\"\} \d+)")


def values(served: Served) -> dict[str, int]:
    """The values by their names, and reasons where they have some."""
    reply = served.ask("/metrics")
    assert reply.headers["content-type"].startswith("text/plain; version=0.0.4")
    lines = reply.data.decode().splitlines()
    assert all(map(LINE.fullmatch, lines))
    found = {}
    for line in lines:
        if not line.startswith("#"):
            labels, _, value = line.rpartition(" ")
            name = re.sub(r'model_name="[^"]*",?', "", labels).removesuffix("{}")
            found[name.removeprefix("vllm:")] = int(value)
    return found


def test_version_is_that_of_the_program() -> None:
    with serving(FakeWriter()) as served:
        assert served.ask("/version").json == {"version": __version__}


def test_tokens_and_ends_are_counted() -> None:
    with serving(FakeWriter([" on the mat."] * 3)) as served:
        before = values(served)
        assert set(before.values()) == {0}
        usages = [
            served.complete(prompt="xyz", max_tokens=2).json["usage"],
            served.chat("Hi").json["usage"],
        ]
        stream = {"stream": True, "stream_options": {"include_usage": True}}
        events = served.complete(prompt="xyz", **stream).events
        usages.append(events[-1]["usage"])
        after = values(served)
    assert after["prompt_tokens_total"] == sum(u["prompt_tokens"] for u in usages)
    made = sum(u["completion_tokens"] for u in usages)
    assert after["generation_tokens_total"] == made
    assert after['request_success_total{finished_reason="length"}'] == 1
    assert after['request_success_total{finished_reason="stop"}'] == 2
    assert after["num_requests_running"] == after["num_requests_waiting"] == 0


def test_requests_of_now_are_counted() -> None:
    engine = FakeWriter([["a"] * 50_000, "b", "b"], context=1 << 20)
    with serving(engine) as served:
        with served.connected() as first:
            body = {"prompt": "x", "max_tokens": 50_000, "stream": True}
            first.request("POST", "/v1/completions", json.dumps(body))
            assert first.getresponse().status == 200  # it is not read further
            others = [
                Thread(target=served.complete, kwargs={"prompt": "x"}) for _ in range(2)
            ]
            for other in others:
                other.start()
            while (now := values(served))["num_requests_waiting"] < 2:
                pass
            assert now["num_requests_running"] == 1
        for other in others:
            other.join(WAIT)
        while values(served)["num_requests_running"]:
            pass
        assert values(served)["num_requests_waiting"] == 0
