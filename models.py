"""Wire models of OpenAI's chat completions: shapes only, no logic.

Source: https://platform.openai.com/docs/api-reference/chat. Content parts, tools and tool choices
stay plain JSON here, because clients send several shapes of each; the dialect reads them and names
the place of whatever it can't use. Fields that are not listed are kept, to be reported.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from core.conversation import JsonObject

Content = str | list[JsonObject | str] | None


class Lenient(BaseModel):
    """Takes what clients add."""

    model_config = ConfigDict(extra="allow", protected_namespaces=())


class SystemMessage(Lenient):
    role: Literal["system", "developer"]
    content: Content
    name: str | None = None


class UserMessage(Lenient):
    role: Literal["user"]
    content: Content
    name: str | None = None


class FunctionCall(Lenient):
    name: str
    arguments: str | JsonObject | None = None


class MessageToolCall(Lenient):
    id: str
    type: str | None = "function"
    function: FunctionCall


class AssistantMessage(Lenient):
    role: Literal["assistant"]
    content: Content = None
    refusal: str | None = None
    name: str | None = None
    tool_calls: list[MessageToolCall] | None = None
    function_call: FunctionCall | None = None


class ToolMessage(Lenient):
    role: Literal["tool"]
    content: Content
    tool_call_id: str


class FunctionMessage(Lenient):
    role: Literal["function"]
    content: Content
    name: str


ChatMessage = Annotated[
    SystemMessage | UserMessage | AssistantMessage | ToolMessage | FunctionMessage,
    Field(discriminator="role"),
]


class StreamOptions(Lenient):
    include_usage: bool | None = None


ToolActivity = Literal["reasoning", "content", "none"]
Short = Annotated[str, Field(max_length=4096)]
Names = Short | Annotated[list[Short], Field(max_length=100)]


class BuiltinToolFields(Lenient):
    """What a request may say of Claude Code's built-in tools; none of it is OpenAI's. Names are a
    list, or comma separated. As headers: `BuiltinToolHeaders`."""

    enable_tools: bool | None = None
    claude_tools: Names | None = None
    disallowed_tools: Names | None = None
    max_turns: int | None = Field(None, ge=1)
    max_budget_usd: float | None = Field(None, gt=0, allow_inf_nan=False)
    permission_mode: str | None = None
    cwd: Short | None = None
    mcp_servers: Names | None = None
    tool_activity: ToolActivity | None = None


class BuiltinToolHeaders(BaseModel):
    """The same, where a client cannot change its body, which wins."""

    x_claude_enable_tools: bool | None = None
    x_claude_tools: Short | None = None
    x_claude_allowed_tools: Short | None = Field(None, description="Another name of X-Claude-Tools")
    x_claude_disallowed_tools: Short | None = None
    x_claude_max_turns: int | None = Field(None, ge=1)
    x_claude_max_budget_usd: float | None = Field(None, gt=0, allow_inf_nan=False)
    x_claude_permission_mode: str | None = None
    x_claude_cwd: Short | None = None
    x_claude_mcp_servers: Short | None = None
    x_claude_tool_activity: ToolActivity | None = None


class TurnHeaders(BuiltinToolHeaders):
    """All request headers of this server's own that a turn of any dialect may have."""

    x_session_id: str | None = None
    x_session_context: Literal["trim"] | None = None
    idempotency_key: str | None = Field(None, max_length=255)


class ChatRequest(BuiltinToolFields):
    """The body of `POST /v1/chat/completions`."""

    model: str = ""
    messages: list[ChatMessage] = Field(min_length=1)
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: int | None = Field(None, ge=1)
    max_completion_tokens: int | None = Field(None, ge=1)
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, ge=0, le=1)
    stop: str | list[str] | None = None
    n: int | None = Field(None, ge=1, le=10)
    tools: list[JsonObject] | None = None
    tool_choice: str | JsonObject | None = None
    parallel_tool_calls: bool | None = None
    functions: list[JsonObject] | None = None
    function_call: str | JsonObject | None = None
    response_format: JsonObject | None = None
    reasoning_effort: str | None = None
    reasoning: Any = None
    thinking: Any = None
    verbosity: str | None = None
    seed: int | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    logit_bias: dict[str, float] | None = None
    presence_penalty: float | None = Field(None, ge=-2, le=2)
    frequency_penalty: float | None = Field(None, ge=-2, le=2)
    modalities: list[str] | None = None
    audio: JsonObject | None = None
    prediction: JsonObject | None = None
    user: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    prompt_cache_retention: Any = None
    top_k: Any = None
    metadata: JsonObject | None = None
    store: bool | None = None
    service_tier: str | None = None
    web_search_options: JsonObject | None = None
    session_id: str | None = None
    context: Literal["trim"] | None = None


class PromptTokensDetails(BaseModel):
    cached_tokens: int
    audio_tokens: int = 0


class CompletionTokensDetails(BaseModel):
    reasoning_tokens: int
    audio_tokens: int = 0
    accepted_prediction_tokens: int = 0
    rejected_prediction_tokens: int = 0


class CompletionUsage(BaseModel):
    """`prompt_tokens` holds the cached ones; `cost_usd` is what Claude Code reports, if it did."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptTokensDetails
    completion_tokens_details: CompletionTokensDetails
    cost_usd: float | None = None


class AnswerFunction(BaseModel):
    name: str
    arguments: str


class AnswerToolCall(BaseModel):
    id: str
    type: Literal["function"] = "function"
    function: AnswerFunction


class ClaudeActivity(BaseModel):
    """One use of a built-in tool or of an MCP server's. Long texts in `input` and
    `result` are cut; `result_chars` counts the whole."""

    id: str
    name: str
    friendly_name: str
    input: JsonObject
    status: Literal["started", "finished", "failed"]
    result: str | None = None
    result_chars: int | None = None


AnswerStop = Literal["max_turns", "max_budget"]
"""Why `length` was reached, where it is not the answer's own."""


class AnswerMessage(BaseModel):
    role: Literal["assistant"] = "assistant"
    content: str | None
    refusal: str | None = None
    reasoning_content: str | None = None
    tool_calls: list[AnswerToolCall] | None = None
    function_call: AnswerFunction | None = None
    claude_activity: list[ClaudeActivity] | None = None


FinishReason = Literal["stop", "length", "tool_calls", "content_filter", "function_call"]


class Choice(BaseModel):
    index: int
    message: AnswerMessage
    logprobs: None = None
    finish_reason: FinishReason
    claude_stop_reason: AnswerStop | None = None


class ChatCompletion(BaseModel):
    """The answer of `POST /v1/chat/completions` without `stream`."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: list[Choice]
    usage: CompletionUsage
    system_fingerprint: str | None = None


class DeltaFunction(BaseModel):
    name: str | None = None
    arguments: str


class DeltaToolCall(BaseModel):
    """A piece of a call: `id`, `type` and the name are in its first one."""

    index: int
    id: str | None = None
    type: Literal["function"] | None = None
    function: DeltaFunction


class Delta(BaseModel):
    role: Literal["assistant"] | None = None
    content: str | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    tool_calls: list[DeltaToolCall] | None = None
    function_call: DeltaFunction | None = None
    claude_activity: ClaudeActivity | None = None


class ChunkChoice(BaseModel):
    index: int
    delta: Delta
    logprobs: None = None
    finish_reason: FinishReason | None
    claude_stop_reason: AnswerStop | None = None


class ChatCompletionChunk(BaseModel):
    """One event of the answer with `stream`; the last one with `include_usage` has no choices."""

    id: str
    object: Literal["chat.completion.chunk"] = "chat.completion.chunk"
    created: int
    model: str
    choices: list[ChunkChoice]
    usage: CompletionUsage | None = None
    system_fingerprint: str | None = None


class ErrorDetail(BaseModel):
    message: str
    type: str
    param: str | None
    code: str | None


class ErrorBody(BaseModel):
    """Every error of this server."""

    error: ErrorDetail
