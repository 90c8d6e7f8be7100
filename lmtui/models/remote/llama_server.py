"""Models of llama.cpp's server.

It has no scores of a prompt. A token is scored by making it the only one that can be
drawn: the log-probabilities that come with it are those before the sampler.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from lmtui.models.model_info import ModelInfo
from lmtui.models.remote import dialect as listed
from lmtui.models.remote.dialect import (
    LLAMA_SETTINGS,
    AnswerToken,
    DrawRequest,
    ListingModel,
    PromptToken,
    Row,
    ScoredTokens,
    checked,
    require_model,
)

if TYPE_CHECKING:  # its library takes a tenth of a second to import
    from lmtui.models.remote.connection import Connection

_PATH = "/completion"
_ROWS = 500  # as fast as 1: the server sorts its whole vocabulary in either case
_FORCED = 1e9  # added to a logit, leaves no other token a chance
_RAISED = 60.0  # does so, too, but keeps the differences between several raised ones
_NAMES = {"typical_p": "typ_p"}  # of stages, where they are not ours
_PARAMETERS = 1 << 62


@dataclass(frozen=True)
class LlamaServerModel(ListingModel):
    dialect = "llama-server"
    scores_at_once = False
    takes: frozenset[str] = LLAMA_SETTINGS

    @classmethod
    def open(
        cls,
        connection: Connection,
        about: Mapping[str, Any],
        props: Mapping[str, Any],
        facts: ModelInfo,
    ) -> LlamaServerModel:
        """Return the model that `about`, an entry of `/v1/models`, and `/props` are
        about.

        Raises:
            LmtuiError: it has another vocabulary, or the server sends nonsense.
        """
        with checked(connection, "its models"):
            meta, settings = about["meta"], props["default_generation_settings"]
            size = listed.count(meta["n_vocab"], listed.MOST_VOCABULARY)
            facts = replace(
                facts,
                vocabulary=size,
                context=listed.count(settings["n_ctx"], listed.MOST_CONTEXT),
                parameters=listed.count(meta["n_params"], _PARAMETERS),
            )
            stored = str(meta.get("ftype") or "unknown")[: listed.SHOWN]
            name = str(about["id"])
            model = cls(connection, name, facts, min(_ROWS, size), stored)
            answer = connection.json(_PATH, {**model._body([0]), "n_predict": 1})
            return replace(model, answer_name=answer.get("model"))

    def rows_after(self, prompts: Sequence[Sequence[int]]) -> list[Row]:
        """Return the row after each prompt, by one request for each."""
        return [self._next(ids, {}).row for ids in prompts]

    def score(
        self, prompts: Sequence[Sequence[int]], start: int, *, least: int
    ) -> list[ScoredTokens]:
        """Return the scores of the last tokens of each prompt, by one request for each
        of them."""
        return [
            ScoredTokens(
                [
                    self._score(ids[:index], ids[index])
                    for index in range(start, len(ids))
                ],
                None,
            )
            for ids in prompts
        ]

    def _score(self, before: Sequence[int], token: int) -> PromptToken:
        wanted = {"logit_bias": [[token, _FORCED]]}
        found = self._next(before, wanted)
        if found.id != token:
            raise self.connection.nonsense("it drew another token than it had to")
        return PromptToken(found.logprob, None, found.row)

    def token_logprobs(self, ids: Sequence[int], tokens: Sequence[int]) -> list[float]:
        """Return the log-probabilities of some tokens, by two requests.

        With their logits raised, the distribution that is drawn from is theirs alone.
        It gives their ratios; the score of one of them gives the scale.
        """
        body = {
            **self._body(ids),
            "n_predict": 1,
            "n_probs": len(tokens),
            "post_sampling_probs": True,
            "samplers": [],
            "temperature": 1,
            "logit_bias": [[token, _RAISED] for token in tokens],
        }
        most = listed.ENTRY_BYTES * (len(tokens) + 64) + 64 * len(ids)
        answer = self.connection.json(_PATH, body, most=most)
        require_model(self.connection, self.answer_name, answer)
        with checked(self.connection, "its tokens"):
            [found] = answer["completion_probabilities"]
            shares = {each["id"]: each["prob"] for each in found["top_probs"]}
            logs = {i: math.log(value) for i, value in shares.items() if value > 0}
            best = max(logs, key=lambda token: logs[token])
            if best not in tokens:
                raise ValueError(f"token {best} was not asked for")
        wanted = {"logit_bias": [[best, _FORCED]]}
        scale = self._next(ids, wanted).logprob - logs[best]
        return [min(0.0, logs.get(token, -math.inf) + scale) for token in tokens]

    def draw(self, request: DrawRequest) -> Generator[AnswerToken]:
        body = {
            **self._body(request.ids),
            **self._sampling(request),
            "n_predict": request.max_tokens,
            "stream": True,
        }
        most = listed.ENTRY_BYTES * (self.rows + 64)
        ended = False
        for event in self.connection.events(_PATH, body, most=16 * most):
            require_model(self.connection, self.answer_name, event)
            with checked(self.connection, "an event"):
                # The last event has none; one with a split character may have several.
                rows = event.get("completion_probabilities") or []
                found = [self._token(each) for each in rows]
                ended = bool(event.get("stop"))
            yield from found
        if not ended:
            raise self.connection.broke_off()

    def _sampling(self, request: DrawRequest) -> dict[str, Any]:
        """Return all of the sampler's settings: what is left out has the value that the
        server was started with."""
        return {
            "temperature": request.temperature,
            "top_k": request.top_k,
            "top_p": request.top_p,
            "min_p": request.min_p,
            "typical_p": request.typical_p,
            "top_n_sigma": request.top_n_sigma or -1,  # 0 is on in some versions
            "xtc_probability": request.xtc_probability,
            "xtc_threshold": request.xtc_threshold,
            "repeat_penalty": request.repetition_penalty,
            "presence_penalty": request.presence_penalty,
            "frequency_penalty": request.frequency_penalty,
            "repeat_last_n": request.penalty_window or self.facts.context,
            "dry_multiplier": request.dry_multiplier,
            "dry_base": request.dry_base,
            "dry_allowed_length": request.dry_allowed_length,
            "dry_penalty_last_n": request.dry_window or self.facts.context,
            # It refuses an empty list, and passes over an empty text.
            "dry_sequence_breakers": list(request.dry_breakers) or [""],
            "samplers": [_NAMES.get(each, each) for each in request.sampler_order],
            "dynatemp_range": 0,
            "min_keep": 0,
            "ignore_eos": False,
            "seed": request.seed % (1 << 32),
            "logit_bias": request.llama_bias,
        }

    def _body(self, ids: Sequence[int]) -> dict[str, Any]:
        """Return what every request has; Mirostat would replace the other stages."""
        return {
            "prompt": list(ids),
            "n_probs": self.rows,
            "cache_prompt": True,
            "mirostat": 0,
            "logit_bias": [],
        }

    def _next(self, ids: Sequence[int], more: Mapping[str, Any]) -> AnswerToken:
        body = {**self._body(ids), "n_predict": 1, "samplers": ["top_k"], "top_k": 1}
        most = listed.ENTRY_BYTES * (self.rows + 64) + 64 * len(ids)
        answer = self.connection.json(_PATH, {**body, **more}, most=most)
        require_model(self.connection, self.answer_name, answer)
        with checked(self.connection, "its row"):
            [found] = answer["completion_probabilities"]
            return self._token(found)

    def _token(self, found: Mapping[str, Any]) -> AnswerToken:
        pairs = ((each["id"], each["logprob"]) for each in found["top_logprobs"])
        return AnswerToken(
            listed.token_id(found["id"], self.facts),
            listed.logprob(found["logprob"]),
            listed.row(pairs, self.facts, self.rows),
        )
