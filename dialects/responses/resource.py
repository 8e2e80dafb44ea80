"""The response as a JSON object: what was asked, with every key, and what has come of it so far.

Source: https://platform.openai.com/docs/api-reference/responses/object; Open Responses wants every
key there, and numbers where OpenAI allows null.
"""

from __future__ import annotations

from core.conversation import JsonObject
from core.errors import (
    ContextTooLong,
    GatewayError,
    InvalidRequest,
    RateLimited,
)
from core.events import StopReason, Usage
from dialects.responses.wire import ResponsesRequest

INCOMPLETE: dict[StopReason, str] = {
    "max_tokens": "max_output_tokens",
    "max_turns": "max_output_tokens",
    "max_budget": "max_output_tokens",
    "refusal": "content_filter",
}
"""Why an answer is not whole; with all other reasons it is."""

NEW: JsonObject = {
    "status": "in_progress",
    "completed_at": None,
    "error": None,
    "incomplete_details": None,
    "output": [],
    "usage": None,
}


def asked(request: ResponsesRequest, *, stored: bool = False) -> JsonObject:
    """What a response repeats of its request. `stored`: whether it can be asked for again."""
    return {
        "background": request.background is True,
        "conversation": _conversation(request),
        "frequency_penalty": request.frequency_penalty or 0.0,
        "instructions": request.instructions,
        "max_output_tokens": request.max_output_tokens,
        "max_tool_calls": request.max_tool_calls,
        "metadata": dict(request.metadata or {}),
        "parallel_tool_calls": request.parallel_tool_calls is not False,
        "presence_penalty": request.presence_penalty or 0.0,
        "previous_response_id": request.previous_response_id,
        "prompt_cache_key": request.prompt_cache_key,
        "reasoning": _reasoning(request),
        "safety_identifier": request.safety_identifier,
        "service_tier": "default",
        "store": stored,
        "temperature": 1.0 if request.temperature is None else request.temperature,
        "text": _text(request),
        "tool_choice": "auto" if request.tool_choice is None else request.tool_choice,
        "tools": [_tool(tool) for tool in request.tools or ()],
        "top_logprobs": 0,
        "top_p": 1.0 if request.top_p is None else request.top_p,
        "truncation": request.truncation or "disabled",
        "user": request.user,
    }


def _conversation(request: ResponsesRequest) -> JsonObject | None:
    given = request.conversation
    if given is None:
        return None
    return {"id": given if isinstance(given, str) else given.id}


def _reasoning(request: ResponsesRequest) -> JsonObject:
    options = request.reasoning
    if options is None:
        return {"effort": None, "summary": None}
    return {"effort": options.effort, "summary": options.summary or options.generate_summary}


def _text(request: ResponsesRequest) -> JsonObject:
    options = request.text
    form = (options.format if options else None) or {"type": "text"}
    if form.get("type") == "json_schema":
        form = {"description": None, "strict": False, **form}
        form["strict"] = form["strict"] is True
    return {"format": form, "verbosity": (options and options.verbosity) or "medium"}


def _tool(tool: JsonObject) -> JsonObject:
    if tool.get("type", "function") != "function":
        return tool
    return {"type": "function", "description": None, "parameters": None, "strict": False, **tool}


def usage(total: Usage, cost_usd: float | None) -> JsonObject:
    """In tokens; the input holds the cached ones, as OpenAI counts."""
    counted: JsonObject = {
        "input_tokens": total.prompt_tokens,
        "input_tokens_details": {
            "cached_tokens": total.cache_read_tokens,
            "cache_write_tokens": total.cache_write_tokens,
        },
        "output_tokens": total.output_tokens,
        "output_tokens_details": {"reasoning_tokens": total.reasoning_tokens},
        "total_tokens": total.prompt_tokens + total.output_tokens,
    }
    return counted if cost_usd is None else {**counted, "cost_usd": cost_usd}


def outcome(reason: StopReason) -> JsonObject:
    """The status of an answer that came to its end."""
    if (cut := INCOMPLETE.get(reason)) is not None:
        return {"status": "incomplete", "incomplete_details": {"reason": cut}}
    return {"status": "completed", "incomplete_details": None}


def failure(error: GatewayError) -> JsonObject:
    """`{"code", "message"}`; the codes are those that OpenAI's clients know."""
    if isinstance(error, RateLimited):
        code = "rate_limit_exceeded"
    elif isinstance(error, InvalidRequest | ContextTooLong):
        code = "invalid_prompt"
    else:
        code = "server_error"
    return {"code": code, "message": error.message}
