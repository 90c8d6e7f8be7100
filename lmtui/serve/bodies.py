"""Bodies of requests, checked field by field.

Names and meanings are those of OpenAI's API, and of vLLM's where OpenAI has none. What
a field would do and this server can't is refused, not ignored. Ranges of sampling
settings are checked where these are made.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import from_json

from lmtui.engine.sampling_settings import SamplingSettings
from lmtui.engine.types import (
    ChatTurn,
    Role,
)
from lmtui.errors import LmtuiError
from lmtui.serve.grammars import GrammarBody
from lmtui.serve.sampling_fields import Id, SamplingFields, with_own_names
from lmtui.serve.shapes import shortened

Count = Annotated[int, Field(ge=0)]
Prompts = str | list[Id] | list[str] | list[list[Id]]

_IGNORED = (
    "metadata",
    "service_tier",
    "store",
    "user",
    "safety_identifier",
    "prompt_cache_key",
    "cache_prompt",
    "keep_alive",
    "request_id",
    "verbosity",
    "mirostat_tau",
    "mirostat_eta",
    "dynatemp_exponent",
    "adaptive_decay",
    "smoothing_curve",
)
"""Fields that change nothing about an answer; some do where another is switched on,
which is refused."""
_ONLY: Mapping[str, tuple[Any, ...]] = {
    "best_of": (1,),
    "suffix": ("",),
    "parallel_tool_calls": (True, False),
    "tool_choice": ("none", "auto"),
    "tools": ([],),  # any, where the tool_choice is none
    "use_beam_search": (False,),
    "include_stop_str_in_output": (False,),
    "detokenize": (True,),
    "modalities": (["text"],),
    # Thinking stands in the text, as much of it as the model likes.
    "include_reasoning": (True,),
    "reasoning_effort": ("medium",),
    "reasoning_format": ("none", "auto"),
    "id_slot": (-1,),
    "return_progress": (False,),
    "timings_per_token": (False,),
    # Control tokens that a model writes, which is rare, stand in its text.
    "skip_special_tokens": (True, False),
    "spaces_between_special_tokens": (True, False),
    "n_probs": (0,),
    "priority": (0,),
    "mirostat": (0,),
    "dynatemp_range": (0,),
    "smoothing_factor": (0,),
    "min_keep": (0,),
    "top_a": (0,),
    "tfs": (1,),
    "tfs_z": (1,),
    "length_penalty": (1,),
}
"""Known fields that are not supported, and their values that ask for nothing."""

_FORMS = {
    "prompt": "give a text, ids, or a list of texts or of ids",
    "content": "give a text, or parts of the type text",
    "stop": "give a text, or a list of texts",
    "samplers": "give a list of their names, or llama.cpp's letters in a text",
    "dry_sequence_breakers": "give a list of texts",
    "logit_bias": "give a number from -100 to 100, or false for a ban, for each id",
}
"""What the fields take that have several forms."""

Body = TypeVar("Body", bound="RequestBody")


class RequestBody(BaseModel, strict=True, extra="forbid", allow_inf_nan=False):
    """A JSON object; `null` is as if the field were not there."""

    model: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _without_neutral_fields(cls, body: Any) -> Any:
        if not isinstance(body, dict):
            return body
        given = {name: value for name, value in body.items() if value is not None}
        for name in _IGNORED:
            given.pop(name, None)
        if given.get("tool_choice") == "none":
            given.pop("tools", None)
        for name, neutral in _ONLY.items():
            if name in given and given.pop(name) not in neutral:
                other = ', except with "tool_choice": "none"' if name == "tools" else ""
                raise ValueError(f"{name} is not supported{other}")
        return with_own_names(given)


def read_body(kind: type[Body], data: bytes) -> Body:
    try:
        if b"NaN" in data or b"Infinity" in data:  # also in a text, where they may be
            from_json(data, allow_inf_nan=False)
        return kind.model_validate_json(data or b"{}")
    except ValidationError as error:
        raise _refusal(error) from None
    except ValueError as error:
        raise LmtuiError("the body is not JSON", str(error)) from None


def _refusal(error: ValidationError) -> LmtuiError:
    first = error.errors(include_url=False, include_input=False)[0]
    if first["type"] == "value_error":
        return LmtuiError(str(first["ctx"]["error"]))
    if first["type"] == "json_invalid":
        return LmtuiError("the body is not JSON", first["msg"])
    path, wrong = "", first["msg"]
    for part in first["loc"]:
        if isinstance(part, int):
            path += f"[{part}]"
            continue
        path += f".{part}" if path else part
        if part in _FORMS:  # the rest is about one of its forms
            wrong = _FORMS[part]
            break
    path = shortened(path) or "the body"
    if first["type"] == "extra_forbidden":
        return LmtuiError(f"{path} is not a field of this request")
    return LmtuiError(f"{path} can't be used", wrong)


class StreamOptions(BaseModel, strict=True, extra="forbid"):
    include_usage: bool = False
    continuous_usage_stats: Literal[False] = False
    include_obfuscation: bool = False


class GenerationBody(SamplingFields, GrammarBody, RequestBody):
    """Fields that completions and chat completions share."""

    n: Annotated[int, Field(ge=1)] = 1
    max_tokens: Count | None = None
    min_tokens: Count = 0
    stop: str | list[str] = Field(default_factory=list)
    stop_token_ids: list[Id] = Field(default_factory=list)
    ignore_eos: bool = False
    num_ctx: Count = 0
    prompt_logprobs: int | None = None
    return_entropies: bool = False
    return_token_ids: bool = False
    return_tokens_as_token_ids: bool = False
    stream: bool = False
    stream_options: StreamOptions = StreamOptions()

    @property
    def stop_texts(self) -> tuple[str, ...]:
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop)

    def settings(self, default: SamplingSettings) -> SamplingSettings:
        settings, follows = super().settings(default), self.follows
        if follows is not None:
            settings = replace(settings, grammar=follows.setting)
        # 0 generates nothing
        return replace(settings, max_tokens=self.max_tokens or settings.max_tokens)


class CompletionBody(GenerationBody):
    """Body of `POST /v1/completions`."""

    prompt: Prompts
    max_tokens: Count | None = 16
    logprobs: int | None = None
    echo: bool = False
    add_special_tokens: bool = True

    def prompts(self) -> list[str] | list[list[int]]:
        """Return the prompts, one or more, as texts or as ids."""
        if isinstance(self.prompt, str):
            return [self.prompt]
        if self.prompt and isinstance(self.prompt[0], int):
            return [self.prompt]
        return self.prompt  # type: ignore[return-value]


class DrawBody(GenerationBody):
    """Body of `POST /draw`, which no other server has."""

    prompt: Annotated[list[Id], Field(min_length=1)]
    max_tokens: Annotated[int, Field(ge=1)]
    n: Literal[1] = 1
    drawn: Annotated[int, Field(ge=0, le=1 << 20)] = 0


class TextPart(BaseModel, strict=True, extra="forbid"):
    """Part of a message; text is the only kind."""

    type: Literal["text"]
    text: str


class CalledFunction(BaseModel, strict=True, extra="ignore"):
    """The function of a call, and its arguments as JSON."""

    name: str
    arguments: str = ""


class ToolCall(BaseModel, strict=True, extra="ignore"):
    """Call of a tool that an assistant has made elsewhere."""

    function: CalledFunction


class MessageBody(BaseModel, strict=True, extra="ignore"):
    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[TextPart] | None = None
    tool_calls: list[ToolCall] | None = None

    @model_validator(mode="after")
    def _has_content(self) -> MessageBody:
        if self.content is None and self.role != "assistant":
            raise ValueError(f"a message of the role {self.role} needs a content")
        return self

    @property
    def text(self) -> str:
        """Its text, and the calls as JSON behind it."""
        content = self.content or ""
        if not isinstance(content, str):
            content = "".join(part.text for part in content)
        calls = (each.function.model_dump() for each in self.tool_calls or ())
        lines = [json.dumps(call, ensure_ascii=False) for call in calls]
        return "\n".join([content, *lines] if content else lines)

    @property
    def turn(self) -> ChatTurn:
        """The turn that the model reads: what a tool answered is said by the user."""
        roles: Mapping[str, Role] = {"developer": "system", "tool": "user"}
        return ChatTurn(roles.get(self.role, self.role), self.text)  # type: ignore[arg-type]


class TemplateOptions(BaseModel, strict=True, extra="forbid"):
    enable_thinking: bool | None = None


class ConversationBody(RequestBody):
    messages: Annotated[list[MessageBody], Field(min_length=1)]
    add_generation_prompt: bool = True
    continue_final_message: bool = False
    chat_template_kwargs: TemplateOptions = TemplateOptions()
    think: bool | None = None

    @model_validator(mode="after")
    def _continues_or_begins(self) -> ConversationBody:
        if not self.continue_final_message:
            if not self.add_generation_prompt:
                raise ValueError(
                    "add_generation_prompt false is only supported together with "
                    "continue_final_message"
                )
            return self
        given = "add_generation_prompt" in self.model_fields_set
        if given and self.add_generation_prompt:
            raise ValueError(
                "add_generation_prompt and continue_final_message exclude each other"
            )
        if self.messages[-1].role != "assistant":
            raise ValueError(
                "continue_final_message needs a last message of the assistant"
            )
        return self


class ChatBody(GenerationBody, ConversationBody):
    """Body of `POST /v1/chat/completions`."""

    max_completion_tokens: Count | None = None
    logprobs: bool = False
    top_logprobs: int = 0

    @model_validator(mode="after")
    def _either_limit(self) -> ChatBody:
        if self.max_completion_tokens is not None:
            self.max_tokens = self.max_completion_tokens
        return self


class TokenizeBody(RequestBody):
    """Body of `POST /tokenize` for a text."""

    prompt: str
    add_special_tokens: bool = True
    return_token_strs: bool = False


class TokenizeChatBody(ConversationBody):
    """Body of `POST /tokenize` for a conversation."""

    return_token_strs: bool = False
    add_special_tokens: bool = False


class DetokenizeBody(RequestBody):
    """Body of `POST /detokenize`."""

    tokens: list[Id]


class LogitsBody(RequestBody):
    """Body of `POST /logits`, which no other server has."""

    prompts: Annotated[list[Annotated[list[Id], Field(min_length=1)]],
                       Field(min_length=1)]  # fmt: skip
    last_tokens: Annotated[int, Field(ge=1)] = 1


class ExtraText(BaseModel, strict=True, extra="ignore"):
    filename: str = ""
    text: str


class InfillBody(SamplingFields, RequestBody):
    """Body of `POST /infill`, which is llama.cpp's."""

    # Settings of that server's own scheduling change nothing here.
    model_config = ConfigDict(strict=True, extra="ignore", allow_inf_nan=False)

    input_prefix: str
    input_suffix: str
    input_extra: list[ExtraText] = Field(default_factory=list)
    prompt: str = ""
    n_predict: int = -1
    stop: list[str] = Field(default_factory=list)
    t_max_predict_ms: int = 0
    stream: bool = False
    response_fields: list[str] = Field(default_factory=list)

    @model_validator(mode="after")
    def _without_infill_stage(self) -> InfillBody:
        # An order with llama.cpp's own stage for gaps is one for its sampler alone:
        # editors send it always, and without that stage it would draw otherwise.
        if isinstance(self.samplers, list) and "infill" in self.samplers:
            self.samplers = None
        return self
