"""Models on servers that list the most probable tokens of a position.

`dialects` tells the servers apart; where the log-probabilities lie shows in the answer
itself. Ids are those of the model's own tokenizer.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from lmtui.errors import LmtuiError
from lmtui.models.model_info import ModelInfo
from lmtui.models.remote import checks
from lmtui.models.remote.checks import RequestRefused, checked, require_model
from lmtui.models.remote.dialects import Dialect, DrawSettings, Json

if TYPE_CHECKING:  # its library takes a tenth of a second to import
    from lmtui.models.remote.connection import Connection

_CONTEXT = 2048  # of a server that does not tell it
_ENTRIES = 100_000  # listed tokens of a response with the scores of a text, about
_FEW_ENTRIES = 4_000  # of one that a key waits for
_MOST_BYTES = 1 << 28  # of a body, however much was asked for
_COMPARED, _SAME = 5, 0.05  # tokens of a row; servers batch, which rounds otherwise
_AS_ID = "token_id:"
_ASKED = 128  # tokens of one `logprob_token_ids`, at the most
_PROBED = range(8)


@dataclass(frozen=True, slots=True)
class Row:
    """The most probable tokens of one position, by (-logprob, id)."""

    ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    """Natural logs, of the whole vocabulary, before the sampler."""


@dataclass(frozen=True, slots=True)
class PromptToken:
    logprob: float
    rank: int
    row: Row


@dataclass(frozen=True, slots=True)
class ScoredTokens:
    """Scores of the last tokens of a prompt."""

    tokens: list[PromptToken]
    after: Row | None
    """The row after them, where that comes along."""


@dataclass(frozen=True, slots=True)
class AnswerToken:
    id: int
    logprob: float
    row: Row


@dataclass(frozen=True)
class TopLogprobsModel:
    """A model on a server that lists the most probable tokens of a position.

    Its methods raise an LmtuiError where the server can't be reached, refuses, or sends
    nonsense.
    """

    connection: Connection
    server: Dialect
    name: str
    """As the server calls it."""
    facts: ModelInfo
    rows: int = 1
    """Most tokens that are listed of each position."""
    number_format: str = "unknown"
    """The format of its weights, as the server tells it."""
    answer_name: str | None = None
    """What its answers call the model: the first of several names, or that which a
    build gives to every model."""
    asks_for_tokens: bool = False
    """Whether it has `token_logprobs`. Then it follows grammars, too."""

    @property
    def takes(self) -> frozenset[str]:
        """Names of the sampling settings that it draws with."""
        return self.server.takes | ({"grammar"} if self.asks_for_tokens else set())

    @property
    def dialect(self) -> str:
        return self.server.name

    @property
    def device(self) -> str:
        """What runs it there, as far as that is told: the program."""
        return self.server.name

    def rows_after(self, prompts: Sequence[Sequence[int]]) -> list[Row]:
        """Return the row after each prompt, by one request."""
        choices = self._choices(self._greedy(prompts), self.rows, prompts)
        with checked(self.connection, "its rows"):
            return [self._tokens(choice)[0].row for choice in choices]

    def score(
        self, prompts: Sequence[Sequence[int]], start: int, *, least: int
    ) -> list[ScoredTokens]:
        """Return the scores of each prompt from index `start` (1 or more) on, by one
        request, each with at least so many tokens listed; of long prompts not many
        more."""
        sent = sum(map(len, prompts))
        rows = _score_rows(self.rows, least, sent, sent - start * len(prompts))
        body = self._greedy(prompts)
        body |= {self.server.scores: rows}
        choices = self._choices(body, rows, prompts, positions=sent + len(prompts))
        with checked(self.connection, "its scores"):
            pairs = zip(prompts, choices, strict=True)
            return [self._scored(ids, start, choice, rows) for ids, choice in pairs]

    def token_logprobs(self, ids: Sequence[int], tokens: Sequence[int]) -> list[float]:
        """Return the log-probability of each of some tokens after a prompt, whether
        they are listed or not."""
        values: dict[int, float] = {}
        for start in range(0, len(tokens), _ASKED):
            asked = list(tokens[start : start + _ASKED])
            body = self._greedy([ids]) | {"logprob_token_ids": asked}
            [choice] = self._choices(body, len(asked), [ids])
            with checked(self.connection, "its tokens"):
                (top,) = choice["logprobs"]["top_logprobs"]
                values |= {self._id(name): checks.logprob(top[name]) for name in top}
        with checked(self.connection, "its tokens"):
            return [values[token] for token in tokens]

    def draw(
        self, ids: Sequence[int], settings: DrawSettings
    ) -> Generator[AnswerToken]:
        """Yield the tokens of a continuation; closing the iterator ends it."""
        body = {
            **self._body([ids], settings["max_tokens"]),
            **self.server.sampling(settings, self.facts.context),
            "stream": True,
        }
        most = checks.ENTRY_BYTES * (self.rows + 64)
        read, ended = list(ids), False
        for event in self.connection.events(self.server.path, body, most=16 * most):
            require_model(self.connection, self.answer_name, event)
            with checked(self.connection, "an event"):
                drawn = [
                    token
                    for choice in _choices_of(event)
                    for token in self._tokens(choice, masked=bool(settings["grammar"]))
                ]
                ended = ended or any(map(_is_end, _choices_of(event)))
            for token in drawn:
                yield self._unmasked(read, token) if settings["grammar"] else token
                read.append(token.id)
        if not ended:
            raise self.connection.broke_off()

    def _unmasked(self, ids: Sequence[int], token: AnswerToken) -> AnswerToken:
        """Return a token that a grammar allowed with the numbers of the model."""
        (row,) = self.rows_after([ids])
        if token.id in row.ids:
            value = row.logprobs[row.ids.index(token.id)]
        else:
            (value,) = self.token_logprobs(ids, [token.id])
        return replace(token, logprob=value, row=row)

    # Questions at the opening. Servers pass over fields that they do not know.

    def tells_raw_numbers(self) -> bool:
        """Return whether the log-probabilities of drawn tokens are those before the
        temperature, as with vLLM's default."""
        (row,) = self.rows_after([[0]])
        body = self._body([[0]], 1) | {"temperature": 0.5, "seed": 7}
        [choice] = self._choices(body, self.rows, [[0]])
        with checked(self.connection, "its rows"):
            drawn = self._tokens(choice)[0].row
        pairs = zip(row.logprobs[:_COMPARED], drawn.logprobs[:_COMPARED], strict=True)
        return all(abs(one - other) < _SAME for one, other in pairs)

    def has_token_logprobs(self) -> bool:
        """Return whether the server has vLLM's `logprob_token_ids`, from 0.32 on."""
        ids = [token for token in _PROBED if token < self.facts.vocabulary]
        body = self._greedy([[0]]) | {"logprob_token_ids": ids}
        try:
            [choice] = self._choices(body, len(ids), [[0]])
        except RequestRefused as error:
            if error.status == 400:
                return False
            raise
        with checked(self.connection, "its tokens"):
            (top,) = choice["logprobs"]["top_logprobs"]
            return {self._id(name) for name in top} >= set(ids)

    # What it is asked, and what it says.

    def _body(self, prompts: Sequence[Sequence[int]], length: int) -> Json:
        return {
            "model": self.name,
            "prompt": list(map(list, prompts)),
            self.server.length: length,
            self.server.rows: self.rows,
            **self.server.always,
        }

    def _greedy(self, prompts: Sequence[Sequence[int]]) -> Json:
        return {**self._body(prompts, 1), **self.server.greedy}

    def _choices(
        self,
        body: Json,
        rows: int,
        prompts: Sequence[Sequence[int]],
        *,
        positions: int | None = None,
    ) -> list[Any]:
        """Return the answer to each prompt, with `rows` tokens of each position: by
        default, of one a prompt."""
        positions = positions or len(prompts)
        size = checks.ENTRY_BYTES * (rows + 16) * (positions + 1)
        # llama-server repeats the prompts.
        size += 64 * sum(map(len, prompts))
        answer = self.connection.json(
            self.server.path, body, most=min(_MOST_BYTES, size)
        )
        for part in answer if isinstance(answer, list) else [answer]:
            require_model(self.connection, self.answer_name, part)
        with checked(self.connection, "its answers"):
            choices = _choices_of(answer)
            if len(choices) != len(prompts):
                raise ValueError(f"{len(choices)} answers to {len(prompts)} prompts")
            return choices

    def _tokens(self, choice: Any, *, masked: bool = False) -> list[AnswerToken]:
        """Return the tokens of an answer or of a part of it. `masked` numbers are those
        of a grammar: a token has no row then."""
        if "completion_probabilities" in choice:
            return [
                AnswerToken(
                    checks.token_id(token["id"], self.facts.vocabulary),
                    checks.logprob(token["logprob"]),
                    self._row((e["id"], e["logprob"]) for e in token["top_logprobs"]),
                )
                for token in choice["completion_probabilities"]
            ]
        logprobs = choice.get("logprobs")
        if not logprobs:  # in the event that tells why the answer ended
            return []
        return [
            AnswerToken(
                self._id(name),
                checks.logprob(value),
                Row((), ()) if masked else self._row(self._pairs(top)),
            )
            for name, value, top in zip(
                logprobs["tokens"],
                logprobs["token_logprobs"],
                logprobs["top_logprobs"],
                strict=True,
            )
        ]

    def _scored(
        self, ids: Sequence[int], start: int, choice: Any, rows: int
    ) -> ScoredTokens:
        scores = choice["prompt_logprobs"]
        if len(scores) != len(ids):
            raise ValueError(f"{len(scores)} scores of {len(ids)} tokens")
        tokens = []
        for token, entries in zip(ids[start:], scores[start:], strict=True):
            # The token itself may be one more than were asked for.
            row = self._row(
                (
                    (int(i), scored_token["logprob"])
                    for i, scored_token in entries.items()
                ),
                rows,
            )
            own = entries[str(token)]
            rank = checks.count(own["rank"], self.facts.vocabulary)
            tokens.append(PromptToken(checks.logprob(own["logprob"]), rank, row))
        return ScoredTokens(tokens, self._tokens(choice)[0].row)

    def _pairs(self, top: Mapping[str, Any]) -> Iterable[tuple[int, Any]]:
        return ((self._id(name), value) for name, value in top.items())

    def _id(self, name: str) -> int:
        if not name.startswith(_AS_ID):
            raise ValueError(f"{name[: checks.SHOWN]} is no token's id")
        return checks.token_id(int(name.removeprefix(_AS_ID)), self.facts.vocabulary)

    def _row(self, pairs: Iterable[tuple[int, Any]], count: int | None = None) -> Row:
        """Return the row of (id, logprob) pairs: the first `count`, which have to be
        there."""
        count = self.rows if count is None else count
        size = self.facts.vocabulary
        ranked = sorted(
            (-checks.logprob(value), checks.token_id(i, size)) for i, value in pairs
        )[:count]
        checks.require_distribution([-cost for cost, _ in ranked])
        row = {i: -cost for cost, i in ranked}
        if len(row) < count:
            raise ValueError(f"{len(row)} tokens instead of {count}")
        return Row(tuple(row), tuple(row.values()))


def _choices_of(answer: Any) -> list[Any]:
    """Return the answers to all prompts, in the order of these."""
    if isinstance(answer, list):  # of llama-server, to several
        return sorted(answer, key=lambda choice: choice["index"])
    if "choices" in answer:
        return sorted(answer["choices"], key=lambda choice: choice.get("index", 0))
    return [answer]


def _is_end(choice: Any) -> bool:
    reason = choice.get("finish_reason")
    return choice.get("stop") is True or reason in checks.ENDS


def _score_rows(rows: int, least: int, sent: int, wanted: int) -> int:
    """Return how many tokens a server should list for each of `sent` positions, of
    which `wanted` are wanted: up to `rows`, but not so many that it takes long."""
    most = _ENTRIES if 2 * wanted > sent else _FEW_ENTRIES
    return max(1, least, min(rows, most // max(1, sent)))


def open_top_logprobs(
    connection: Connection,
    server: Dialect,
    about: Mapping[str, Any],
    facts: ModelInfo,
) -> TopLogprobsModel:
    """Return the model that `about`, an entry of `/v1/models`, is about. `facts` are
    what its tokenizer tells."""
    number_format = "unknown"
    with checked(connection, "its models"):
        name = str(about["id"])
        if server.props:
            meta, props = about["meta"], connection.json(server.props)
            number_format = str(meta.get("ftype") or "unknown")[: checks.SHOWN]
            length = props["default_generation_settings"]["n_ctx"]
            facts = replace(
                facts,
                vocabulary=checks.count(meta["n_vocab"], checks.MOST_VOCABULARY),
                parameters=checks.count(meta["n_params"], checks.MOST_PARAMETERS),
            )
        else:
            # A token is drawn by every request: a prompt has one less.
            length = (about.get("max_model_len") or _CONTEXT + 1) - 1
        facts = replace(facts, context=checks.count(length, checks.MOST_CONTEXT))
    model = TopLogprobsModel(
        connection, server, name, facts, number_format=number_format
    )
    model = _with_rows(model)
    if not (server.raw_numbers or model.tells_raw_numbers()):
        raise LmtuiError(
            "the server's probabilities can't be used",
            f"{connection.address.host} tells them after the temperature",
            "Start vLLM with --logprobs-mode raw_logprobs.",
        )
    asks = server.token_logprobs and model.has_token_logprobs()
    return replace(model, asks_for_tokens=asks)


def _with_rows(model: TopLogprobsModel) -> TopLogprobsModel:
    """Return the model with as many tokens a row as the server allows, and what it
    calls itself in answers."""
    size = model.facts.vocabulary
    counts = sorted({min(number, size) for number in model.server.counts})[::-1]
    for count in counts:
        candidate = replace(model, rows=count)
        most = checks.ENTRY_BYTES * (count + 80)
        try:
            answer = model.connection.json(
                model.server.path, candidate._greedy([[0]]), most=most
            )
        except RequestRefused as error:
            if error.status != 400 or count == counts[-1]:
                raise
            continue
        with checked(model.connection, "its rows"):
            [choice] = _choices_of(answer)
            if told := choice.get("completion_probabilities"):
                listed = len(told[0]["top_logprobs"])
            elif told := choice.get("logprobs"):
                listed = len(told["top_logprobs"][0])
            else:
                break
            return replace(
                candidate, rows=min(count, listed), answer_name=answer.get("model")
            )
    raise LmtuiError(
        "the server lists no tokens",
        f"{model.connection.address.host} has no log-probabilities of completions",
        "Use it for conversations: --dialect openai.",
    )
