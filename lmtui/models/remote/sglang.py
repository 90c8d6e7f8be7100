"""Models of SGLang."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from lmtui.models.model_info import ModelInfo
from lmtui.models.remote import dialect as listed
from lmtui.models.remote.dialect import (
    AnswerToken,
    DrawRequest,
    ListingModel,
    PromptToken,
    Row,
    ScoredTokens,
    checked,
)

if TYPE_CHECKING:  # its library takes a tenth of a second to import
    from lmtui.models.remote.connection import Connection

_PATH = "/generate"
_ROWS = 500


@dataclass(frozen=True)
class SglangModel(ListingModel):
    dialect = "sglang"

    @classmethod
    def open(
        cls, connection: Connection, about: Mapping[str, Any], facts: ModelInfo
    ) -> SglangModel:
        """Return the model that `about`, an entry of `/v1/models`, is about.

        Raises:
            LmtuiError: the server sends nonsense.
        """
        with checked(connection, "its models"):
            length = listed.count(about["max_model_len"], listed.MOST_CONTEXT)
            name = str(about["id"])
        facts = replace(facts, context=length)
        return cls(connection, name, facts, min(_ROWS, facts.vocabulary))

    def rows_after(self, prompts: Sequence[Sequence[int]]) -> list[Row]:
        """Return the row after each prompt, by one request."""
        body = self._body(list(map(list, prompts)), -1)
        answers = self._ask(body, self.rows, len(prompts))
        with checked(self.connection, "its rows"):
            if len(answers) != len(prompts):
                raise ValueError(f"{len(answers)} answers to {len(prompts)} prompts")
            return [self._last(answer["meta_info"]) for answer in answers]

    def score(
        self, prompts: Sequence[Sequence[int]], start: int, *, least: int
    ) -> list[ScoredTokens]:
        """Return the scores of the last tokens of each prompt, by one request."""
        # The first token that is asked for has no score.
        body = self._body(list(map(list, prompts)), start - 1)
        sent = sum(len(ids) - start + 2 for ids in prompts)
        rows = listed.score_rows(self.rows, least, sent, sent)
        body["top_logprobs_num"] = rows
        answers = self._ask(body, rows, sent)
        with checked(self.connection, "its scores"):
            pairs = zip(prompts, answers, strict=True)
            return [self._scored(ids, start, each["meta_info"]) for ids, each in pairs]

    def token_logprobs(self, ids: Sequence[int], tokens: Sequence[int]) -> list[float]:
        """Return the log-probabilities of some tokens, by one request."""
        body = self._body([list(ids)], -1)
        body |= {"top_logprobs_num": 0, "token_ids_logprob": list(tokens)}
        [answer] = self._ask(body, len(tokens), 1)
        with checked(self.connection, "its tokens"):
            entries = answer["meta_info"]["output_token_ids_logprobs"][0]
            values = {entry[1]: listed.logprob(entry[0]) for entry in entries}
            return [values[token] for token in tokens]

    def draw(self, request: DrawRequest) -> Generator[AnswerToken]:
        body = self._body(list(request.ids), -1)
        body["stream"] = True
        body["sampling_params"] = {
            "max_new_tokens": request.max_tokens,
            **request.filters,
            "sampling_seed": request.seed,
            "logit_bias": request.openai_bias,
        }
        most = listed.body_bytes(self.rows, request.max_tokens)
        seen, reason = 0, None
        for event in self.connection.events(_PATH, body, most=most):
            with checked(self.connection, "an event"):
                meta = event["meta_info"]
                own, tops = meta["output_token_logprobs"], meta["output_top_logprobs"]
                # Each event has all tokens so far, or with a switch only the new ones.
                total = listed.count(meta["completion_tokens"], listed.MOST_CONTEXT)
                skip = seen if len(own) == total else 0
                new = zip(own[skip:], tops[skip:], strict=True)
                found = [self._token(*each) for each in new]
                seen = total
                reason = (meta.get("finish_reason") or {}).get("type")
            yield from found
        if reason not in listed.ENDS:
            raise self.connection.broke_off()

    def _body(self, ids: Any, start: int) -> dict[str, Any]:
        return {
            "input_ids": ids,
            "return_logprob": True,
            "logprob_start_len": start,
            "top_logprobs_num": self.rows,
        }

    def _ask(self, body: dict[str, Any], rows: int, positions: int) -> Any:
        body["sampling_params"] = {"max_new_tokens": 1, "temperature": 0}
        most = listed.body_bytes(rows, positions)
        return self.connection.json(_PATH, body, most=most)

    def _last(self, meta: Any) -> Row:
        return self._row(meta["output_top_logprobs"][0])

    def _row(self, top: Any) -> Row:
        pairs = ((entry[1], entry[0]) for entry in top)
        return listed.row(pairs, self.facts, self.rows)

    def _token(self, own: Any, top: Any) -> AnswerToken:
        token = listed.token_id(own[1], self.facts)
        return AnswerToken(token, listed.logprob(own[0]), self._row(top))

    def _scored(self, ids: Sequence[int], start: int, meta: Any) -> ScoredTokens:
        size = len(ids) - start
        own, tops = meta["input_token_logprobs"], meta["input_top_logprobs"]
        if not len(own) == len(tops) >= size:
            raise ValueError(f"{len(own)} scores of {size} tokens")
        skip = len(own) - size
        given = zip(ids[start:], own[skip:], tops[skip:], strict=True)
        scores = [self._score(*each) for each in given]
        after = meta["output_top_logprobs"][0]
        return ScoredTokens(
            scores, None if len(after) < self.rows else self._row(after)
        )

    def _score(self, token: int, own: Any, top: Any) -> PromptToken:
        if own[1] != token:
            raise ValueError(f"a score of token {own[1]} instead of {token}")
        pairs = ((entry[1], entry[0]) for entry in top)
        row = listed.row(pairs, self.facts, len(top))
        return PromptToken(listed.logprob(own[0]), None, row)
