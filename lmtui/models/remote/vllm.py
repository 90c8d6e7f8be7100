"""Models of vLLM, and of whatever answers as it does."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from lmtui.models.model_info import ModelInfo
from lmtui.models.remote import dialect as listed
from lmtui.models.remote.dialect import (
    COMMON_SETTINGS,
    AnswerToken,
    DrawRequest,
    ListingModel,
    PromptToken,
    Row,
    ScoredTokens,
    checked,
    require_model,
)
from lmtui.models.remote.refusal import RequestRefused

if TYPE_CHECKING:  # its library takes a tenth of a second to import
    from lmtui.models.remote.connection import Connection

_PATH = "/v1/completions"
_AS_ID = "token_id:"
_COUNTS = 500, 100, 20, 5, 1
# Tokens to ask for, the first that the server allows: 20 without --max-logprobs.
_ASKED = 128  # tokens of one `logprob_token_ids`, at the most
_PROBED = range(8)
_CHOICE = "zq"
_NO_LOGPROBS: Mapping[str, Sequence[Any]] = {
    "tokens": [],
    "token_logprobs": [],
    "top_logprobs": [],
}
_GRAMMARS = {"schema": "json", "regex": "regex", "lark": "grammar", "gbnf": "grammar"}
"""Fields of `structured_outputs` by the kinds of a grammar."""


@dataclass(frozen=True)
class VllmModel(ListingModel):
    dialect = "vllm"
    order = "min_p_first"
    asks_for_tokens: bool = False

    @classmethod
    def open(
        cls, connection: Connection, about: Mapping[str, Any], facts: ModelInfo
    ) -> VllmModel:
        """Return the model that `about`, an entry of `/v1/models`, is about.

        Raises:
            LmtuiError: the server lists no tokens, or sends nonsense.
        """
        with checked(connection, "its models"):
            # A token is drawn by every request: a prompt has one less.
            length = listed.count(about["max_model_len"] - 1, listed.MOST_CONTEXT)
            facts = replace(facts, context=length)
            model = cls(connection, str(about["id"]), facts)
        counts = sorted({min(each, facts.vocabulary) for each in _COUNTS})[::-1]
        for each in counts:
            tried = replace(model, rows=each)
            try:
                answer = tried._ask(tried._next([[0]]), each, 1)
            except RequestRefused as error:
                if error.status != 400 or each == counts[-1]:
                    raise
                continue
            with checked(connection, "its rows"):
                tried._last(answer["choices"][0])
                tried = replace(tried, answer_name=answer.get("model"))
            if not tried._tells_of_tokens():
                return tried
            grammar = {"grammar"} if tried._follows_grammars() else set()
            takes = COMMON_SETTINGS | grammar
            return replace(tried, asks_for_tokens=True, takes=takes)
        raise AssertionError

    # Older versions pass over fields that they do not know.

    def _tells_of_tokens(self) -> bool:
        """Return whether the server has `logprob_token_ids`."""
        asked = [token for token in _PROBED if token < self.facts.vocabulary]
        try:
            return self._told([0], asked).keys() >= set(asked)
        except RequestRefused as error:
            return _lacks_field(error)

    def _follows_grammars(self) -> bool:
        """Return whether the server has `structured_outputs`."""
        body = self._next([[0]]) | {"structured_outputs": {"choice": [_CHOICE]}}
        try:
            answer = self._ask(body, self.rows, 1)
        except RequestRefused as error:
            return _lacks_field(error)
        with checked(self.connection, "its answer"):
            text = str(answer["choices"][0]["text"])
            return bool(text) and _CHOICE.startswith(text)

    def rows_after(self, prompts: Sequence[Sequence[int]]) -> list[Row]:
        """Return the row after each prompt, by one request."""
        body = self._next(prompts)
        answer = self._ask(body, self.rows, len(prompts))
        with checked(self.connection, "its rows"):
            choices = {each["index"]: each for each in answer["choices"]}
            return [self._last(choices[index]) for index in range(len(prompts))]

    def score(
        self, prompts: Sequence[Sequence[int]], start: int, *, least: int
    ) -> list[ScoredTokens]:
        """Return the scores of the last tokens of each prompt, by one request, which
        lists tokens at all positions."""
        sent = sum(map(len, prompts))
        rows = listed.score_rows(self.rows, least, sent, sent - start * len(prompts))
        body = self._next(prompts) | {"prompt_logprobs": rows}
        answer = self._ask(body, rows, sent + len(prompts))
        with checked(self.connection, "its scores"):
            choices = {each["index"]: each for each in answer["choices"]}
            return [
                self._scored(ids[start:], choices[index], rows)
                for index, ids in enumerate(prompts)
            ]

    def token_logprobs(self, ids: Sequence[int], tokens: Sequence[int]) -> list[float]:
        """Return the log-probabilities of some tokens, by a request for each part of
        them."""
        values: dict[int, float] = {}
        for start in range(0, len(tokens), _ASKED):
            values |= self._told(ids, tokens[start : start + _ASKED])
        with checked(self.connection, "its tokens"):
            return [values[token] for token in tokens]

    def _told(self, ids: Sequence[int], tokens: Sequence[int]) -> dict[int, float]:
        body = self._next([ids]) | {"logprob_token_ids": list(tokens)}
        answer = self._ask(body, len(tokens), 1)
        with checked(self.connection, "its tokens"):
            (top,) = answer["choices"][0]["logprobs"]["top_logprobs"]
            return {self._id(i): listed.logprob(value) for i, value in top.items()}

    def draw(self, request: DrawRequest) -> Generator[AnswerToken]:
        body = {
            **self._body(),
            "prompt": list(request.ids),
            "max_tokens": request.max_tokens,
            **request.filters,
            "seed": request.seed,
            "logit_bias": request.openai_bias,
            "stream": True,
        }
        kind, text = request.grammar or ("", "")
        if kind:
            body |= {"structured_outputs": {_GRAMMARS[kind]: text}, "logprobs": 1}
        most = listed.ENTRY_BYTES * (self.rows + 16)
        ids, reason = list(request.ids), None
        for event in self.connection.events(_PATH, body, most=most):
            require_model(self.connection, self.answer_name, event)
            with checked(self.connection, "an event"):
                if not event["choices"]:  # the counts of tokens
                    continue
                [choice] = event["choices"]
                reason = choice.get("finish_reason") or reason
                # None is in the event that tells why the answer ended.
                logprobs = choice.get("logprobs") or _NO_LOGPROBS
                tokens = [self._id(name) for name in logprobs["tokens"]]
                found = [] if kind else self._drawn(tokens, logprobs)
            for token in tokens if kind else ():  # its numbers are the grammar's
                yield self._unmasked(ids, token)
                ids.append(token)
            yield from found
        if reason not in listed.ENDS:
            raise self.connection.broke_off()

    def _unmasked(self, ids: Sequence[int], token: int) -> AnswerToken:
        """Return a token with the numbers of the model, before any grammar."""
        (row,) = self.rows_after([ids])
        if token in row.ids:
            value = row.logprobs[row.ids.index(token)]
        else:
            (value,) = self.token_logprobs(ids, [token])
        return AnswerToken(token, value, row)

    def _body(self) -> dict[str, Any]:
        return {
            "model": self.name,
            "temperature": 0,
            "logprobs": self.rows,
            "return_tokens_as_token_ids": True,
        }

    def _next(self, prompts: Sequence[Sequence[int]]) -> dict[str, Any]:
        return {**self._body(), "prompt": list(map(list, prompts)), "max_tokens": 1}

    def _ask(self, body: dict[str, Any], rows: int, positions: int) -> Any:
        most = listed.body_bytes(rows, positions)
        answer = self.connection.json(_PATH, body, most=most)
        require_model(self.connection, self.answer_name, answer)
        return answer

    def _drawn(self, tokens: Sequence[int], logprobs: Any) -> list[AnswerToken]:
        values = map(listed.logprob, logprobs["token_logprobs"])
        rows = map(self._row, logprobs["top_logprobs"])
        return [AnswerToken(*each) for each in zip(tokens, values, rows, strict=True)]

    def _last(self, choice: Any) -> Row:
        return self._row(choice["logprobs"]["top_logprobs"][0])

    def _row(self, top: Mapping[str, Any]) -> Row:
        pairs = ((self._id(name), value) for name, value in top.items())
        return listed.row(pairs, self.facts, self.rows)

    def _scored(self, ids: Sequence[int], choice: Any, rows: int) -> ScoredTokens:
        found = choice["prompt_logprobs"]
        if len(found) < len(ids):
            raise ValueError(f"{len(found)} scores of {len(ids)} tokens")
        pairs = zip(ids, found[len(found) - len(ids) :], strict=True)
        scores = [self._score(*pair, rows) for pair in pairs]
        return ScoredTokens(scores, self._last(choice))

    def _score(self, token: int, entries: Mapping[str, Any], rows: int) -> PromptToken:
        # The token itself may be one more than were asked for.
        pairs = ((int(i), each["logprob"]) for i, each in entries.items())
        own = entries[str(token)]
        rank = listed.count(own["rank"], self.facts.vocabulary)
        found = listed.row(pairs, self.facts, rows)
        return PromptToken(listed.logprob(own["logprob"]), rank, found)

    def _id(self, name: str) -> int:
        if not name.startswith(_AS_ID):
            raise ValueError(f"{name[: listed.SHOWN]} is no token's id")
        return listed.token_id(int(name.removeprefix(_AS_ID)), self.facts)


def _lacks_field(error: RequestRefused) -> bool:
    """Return False where a request was refused for its fields.

    Raises:
        RequestRefused: it was refused for another reason.
    """
    if error.is_about_fields:
        return False
    raise error
