"""Wire models of OpenAI's Responses API: shapes only, no logic.

Sources: https://platform.openai.com/docs/api-reference/responses and https://www.openresponses.org.
Items, tools and choices stay plain JSON, because clients send several shapes of each; the dialect
reads them and names the place of whatever it cannot use. Fields that are not listed are kept, to be
reported.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from core.conversation import JsonObject
from models import BuiltinToolFields, Lenient

Label = Annotated[str, Field(max_length=64)]
LabelText = Annotated[str, Field(max_length=512)]
Metadata = Annotated[dict[Label, LabelText], Field(max_length=16)]
Status = Literal["queued", "in_progress", "completed", "incomplete", "failed", "cancelled"]


class ReasoningOptions(Lenient):
    effort: str | None = None
    summary: str | None = None
    generate_summary: str | None = None


class TextOptions(Lenient):
    format: JsonObject | None = None
    verbosity: str | None = None


class ConversationReference(Lenient):
    id: str


class ResponsesRequest(BuiltinToolFields):
    """The body of `POST /v1/responses`."""

    model: str = ""
    input: str | list[JsonObject] | None = None
    instructions: str | None = None
    stream: bool | None = None
    stream_options: JsonObject | None = None
    tools: list[JsonObject] | None = None
    tool_choice: str | JsonObject | None = None
    parallel_tool_calls: bool | None = None
    max_tool_calls: int | None = Field(None, ge=1)
    max_output_tokens: int | None = Field(None, ge=1)
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, ge=0, le=1)
    top_logprobs: int | None = Field(None, ge=0, le=20)
    presence_penalty: float | None = Field(None, ge=-2, le=2)
    frequency_penalty: float | None = Field(None, ge=-2, le=2)
    reasoning: ReasoningOptions | None = None
    text: TextOptions | None = None
    include: list[str] | None = None
    truncation: Literal["auto", "disabled"] | None = None
    previous_response_id: str | None = None
    conversation: str | ConversationReference | None = None
    context_management: list[JsonObject] | None = None
    store: bool | None = None
    background: bool | None = None
    metadata: Metadata | None = None
    user: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    prompt_cache_retention: str | None = None
    prompt_cache_options: JsonObject | None = None
    service_tier: str | None = None
    prompt: JsonObject | None = None
    moderation: JsonObject | None = None
    client_metadata: JsonObject | None = None
    session_id: str | None = None


class InputTokensDetails(BaseModel):
    cached_tokens: int
    cache_write_tokens: int


class OutputTokensDetails(BaseModel):
    reasoning_tokens: int


class ResponseUsage(BaseModel):
    """`input_tokens` holds the cached ones; `cost_usd` is what Claude Code reports, if it did."""

    input_tokens: int
    input_tokens_details: InputTokensDetails
    output_tokens: int
    output_tokens_details: OutputTokensDetails
    total_tokens: int
    cost_usd: float | None = None


class IncompleteDetails(BaseModel):
    reason: Literal["max_output_tokens", "content_filter"]


class ResponseError(BaseModel):
    code: str
    message: str


class ResponseBody(BaseModel):
    """A response, complete or not: `output` holds messages, calls and reasoning in their order."""

    id: str
    object: Literal["response"] = "response"
    created_at: int
    completed_at: int | None
    status: Status
    background: bool
    error: ResponseError | None
    incomplete_details: IncompleteDetails | None
    instructions: str | None
    max_output_tokens: int | None
    max_tool_calls: int | None
    model: str
    output: list[JsonObject]
    parallel_tool_calls: bool
    previous_response_id: str | None
    conversation: ConversationReference | None
    prompt_cache_key: str | None
    reasoning: JsonObject
    safety_identifier: str | None
    service_tier: str
    store: bool
    temperature: float
    top_p: float
    top_logprobs: int
    presence_penalty: float
    frequency_penalty: float
    text: JsonObject
    tool_choice: Any
    tools: list[JsonObject]
    truncation: str
    usage: ResponseUsage | None
    user: str | None
    metadata: dict[str, str]


class ResponseDeleted(BaseModel):
    id: str
    object: Literal["response"] = "response"
    deleted: Literal[True] = True


class CompactedResponse(BaseModel):
    """The items that take the place of a longer conversation in the next request's input."""

    id: str
    object: Literal["response.compaction"] = "response.compaction"
    created_at: int
    output: list[JsonObject]
    usage: ResponseUsage


class TokenCount(BaseModel):
    object: Literal["response.input_tokens"] = "response.input_tokens"
    input_tokens: int


class ConversationItem(Lenient):
    id: str
    type: str


class ItemList(BaseModel):
    """`first_id` and `last_id` are empty where there is no item."""

    object: Literal["list"] = "list"
    data: list[ConversationItem]
    first_id: str
    last_id: str
    has_more: bool


class CreateConversation(Lenient):
    metadata: Metadata | None = None
    items: list[JsonObject] | None = None


class UpdateConversation(Lenient):
    metadata: Metadata


class NewItems(Lenient):
    items: list[JsonObject]


class ConversationBody(BaseModel):
    id: str
    object: Literal["conversation"] = "conversation"
    created_at: int
    metadata: dict[str, str]


class ConversationDeleted(BaseModel):
    id: str
    object: Literal["conversation.deleted"] = "conversation.deleted"
    deleted: Literal[True] = True


class ResponseEvent(Lenient):
    """One event of a stream: each has its number, and what else belongs to its type."""

    type: str
    sequence_number: int
