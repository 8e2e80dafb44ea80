"""A `Turn` becomes the body of `POST /v1/messages`: the one place where such a body is made.

The CLI is given the whole body (`docs/claude-cli.md`, "The whole body"), so what stands here is
what the model receives. What a caller leaves out is stated as the API itself would have it, because
the CLI would fill it in otherwise. Source: https://docs.anthropic.com/en/api/messages.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from core.conversation import JsonObject, Message, SystemPrompt, text_block
from core.transcript import to_api, to_client
from core.turn import Effort, FunctionTool, ToolChoice, Turn
from engine.known_models import ModelCard, plain_id

ANSWER_TOOL = "StructuredOutput"
"""The tool whose input is the answer, where the model or the schema allows no native output."""

ANSWER_TOOL_DESCRIPTION = (
    "Gives the final answer to the user as JSON: call it exactly once, with the whole answer as "
    "its input, in the keys and values that the conversation asks for. Nothing else is shown."
)
JSON_INSTRUCTION = (
    "Respond with exactly one JSON object and nothing else: no Markdown, no code fence, no comment."
)
CONTINUE = "Continue from exactly where your last message ends, without repeating any of it."
DEFAULT_EFFORT: Effort = "high"
"""The API's own default; the CLI would say `medium` for some models."""

ADAPTIVE_THINKING: JsonObject = {"type": "adaptive"}
MAX_THINKING_TOKENS = 31_999
MIN_THINKING_TOKENS = 1_024
THINKING_BLOCKS = frozenset({"thinking", "redacted_thinking"})
CLI_BETAS = (
    "claude-code-20250219",
    "interleaved-thinking-2025-05-14",
    "effort-2025-11-24",
)
"""What the CLI itself asks for with a key; values of the caller's are added to these."""

LOGIN_MESSAGE_MARKS = 2
LOGIN_BETA = "oauth-2025-04-20"
UNKNOWN_MODEL = ModelCard("", "")


def request_body(
    turn: Turn,
    model: ModelCard | None = None,
    without: frozenset[str] = frozenset(),
    *,
    login: bool = False,
    default_effort: Effort = DEFAULT_EFFORT,
) -> JsonObject:
    """Everything but `model` and `stream`, which the CLI writes.

    `model` is what is known of the turn's model, `without` names the parameters that it is known to
    refuse. Under a `login` the system prompt is the CLI's to write (`bound_system`). Where
    `max_tokens` is absent the CLI puts the most that the model can.
    """
    card = model or UNKNOWN_MODEL
    if turn.native is not None:
        body = _as_written(turn, card, default_effort)
    else:
        body = _composed(turn, card, without, default_effort)
    if login:
        body.pop("system", None)
    if turn.native is None and not any("cache_control" in block for block in _blocks(body)):
        _mark_for_caching(body, hour=turn.cache_hour)
    if login:
        _make_room_for_login_marks(body)
    if turn.betas:
        betas = (*CLI_BETAS, *([LOGIN_BETA] if login else []), *turn.betas)
        body["betas"] = list(dict.fromkeys(betas))
    return body


def bound_system(turn: Turn, model: ModelCard | None = None) -> str:
    """The system prompt as one text, for a login's processes, which are bound to it."""
    blocks = system_blocks(turn, model or UNKNOWN_MODEL)
    return "\n\n".join(block["text"] for block in blocks)


def _as_written(turn: Turn, card: ModelCard, default_effort: Effort) -> JsonObject:
    """The client's own fields, unchanged, and what the API takes for those that are missing.
    Outside of a session `messages` and `system` are among them."""
    assert turn.native is not None
    system: Any = turn.system if isinstance(turn.system, str) else list(turn.system or ())
    body: JsonObject = {
        "system": system,
        "messages": _messages(to_api(turn.messages)),
        "tools": [],
        "metadata": {},
        "thinking": _thinking_off(card),
        **turn.native,
    }
    if card.effort_levels and "effort" not in (body.get("output_config") or {}):
        effort = _nearest_effort(default_effort, card)
        body["output_config"] = {**(body.get("output_config") or {}), "effort": effort}
    return body


def _composed(
    turn: Turn, card: ModelCard, without: frozenset[str], default_effort: Effort
) -> JsonObject:
    if "thinking" in without:  # neither on nor off can be asked for
        card = card if turn.thinking else replace(card, thinking_off=False)
        turn = replace(turn, thinking=False)
    body: JsonObject = {
        "system": system_blocks(turn, card),
        "messages": _messages(conversation(turn, card)),
        "tools": _tools(turn),
        "metadata": {"user_id": user_id(turn)},
        "thinking": _thinking(turn, card),
        **_sampling(turn),
    }
    if choice := _tool_choice(turn, card, body["tools"]):
        body["tool_choice"] = choice
    if output := _output_config(turn, card, without, default_effort):
        body["output_config"] = output
    for name in without - {"effort", "output_config", "tools", "thinking", "tool_choice"}:
        body.pop(name, None)
    return body


def conversation(turn: Turn, card: ModelCard = UNKNOWN_MODEL) -> tuple[Message, ...]:
    """The messages as the API takes them. Uses of built-in tools are left out where the turn has
    none: what was said about them stays. What another model thought is not this one's to read."""
    messages: Sequence[Message] = turn.messages
    if not (turn.tools or turn.server_tools or turn.builtin_tools or _answers_by_tool(turn)):
        messages = to_client(turn.messages)
    names = {turn.model, plain_id(turn.model), card.id}
    unfolded = to_api([_without_others_thinking(message, names) for message in messages])
    return _ending(unfolded, takes_prefill=card.prefill and not turn.thinking)


def _ending(messages: tuple[Message, ...], *, takes_prefill: bool) -> tuple[Message, ...]:
    """An answer at the end is one to go on with. The API takes no white space behind it, and most
    models have to be asked."""
    if not messages or messages[-1].role == "user":
        return messages
    if not takes_prefill:
        return (*messages, Message("user", (text_block(CONTINUE),)))
    *blocks, last = messages[-1].content
    if last["type"] == "text":
        last = {**last, "text": last["text"].rstrip()}
    return (*messages[:-1], replace(messages[-1], content=(*blocks, last)))


def _without_others_thinking(message: Message, names: Container[str]) -> Message:
    if message.model is None or message.model in names or plain_id(message.model) in names:
        return message
    kept = (block for block in message.content if block["type"] not in THINKING_BLOCKS)
    return replace(message, content=tuple(kept))


def _messages(messages: Iterable[Message]) -> list[JsonObject]:
    return [
        {"role": message.role, "content": [dict(block) for block in message.content]}
        for message in messages
    ]


def system_blocks(turn: Turn, card: ModelCard) -> list[JsonObject]:
    """The caller's system prompt, and behind it the instruction to call a tool where the model may
    not be forced to."""
    blocks = [dict(block) for block in _system(turn.system)]
    if needs_instruction(turn, card):
        blocks.append(dict(text_block(_instruction(turn))))
    if turn.json_object:
        blocks.append(dict(text_block(JSON_INSTRUCTION)))
    return blocks


def _system(system: SystemPrompt) -> Iterator[Any]:
    if isinstance(system, str):
        if system:  # the API takes no empty block
            yield text_block(system)
    else:
        yield from system or ()


def user_id(turn: Turn) -> str:
    """Names the end user to the API for its abuse detection, without saying who it is."""
    text = f"{turn.principal}\0{turn.user or ''}"
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def _tool(tool: FunctionTool) -> JsonObject:
    definition: JsonObject = {"name": tool.name}
    if tool.description:
        definition["description"] = tool.description
    definition["input_schema"] = tool.input_schema
    if tool.strict:
        definition["strict"] = True
    if tool.cache_control is not None:
        definition["cache_control"] = tool.cache_control
    return definition


def answers_by_tool(turn: Turn) -> bool:
    """Whether the answer is to come as the input of `ANSWER_TOOL`. Not where a function must be
    called: then there is no other answer."""
    return _answers_by_tool(turn) and not (turn.tools and _is_forced(turn.tool_choice))


def _answers_by_tool(turn: Turn) -> bool:
    return turn.output_schema is not None and not turn.native_output


def _is_forced(choice: ToolChoice) -> bool:
    return choice.type in ("any", "tool")


def _tools(turn: Turn) -> list[JsonObject]:
    """The turn's tools. Where it has none any more and speaks of uses, their names: the API takes
    no use of a tool without any definition."""
    tools = [*map(_tool, turn.tools), *_answer_tool(turn), *map(dict, turn.server_tools)]
    if tools or turn.builtin_tools is not None:
        return tools
    blocks = (block for message in to_client(turn.messages) for block in message.content)
    names = dict.fromkeys(block["name"] for block in blocks if block["type"] == "tool_use")
    return [_tool(FunctionTool(name, "", {"type": "object"})) for name in names]


def _answer_tool(turn: Turn) -> list[JsonObject]:
    if not answers_by_tool(turn):
        return []
    return [_tool(FunctionTool(ANSWER_TOOL, ANSWER_TOOL_DESCRIPTION, turn.output_schema or {}))]


def _wanted_choice(turn: Turn) -> ToolChoice:
    """What the caller asks for, with the tool of a structured answer among the choices."""
    choice = turn.tool_choice
    if not answers_by_tool(turn):
        return choice
    if turn.tools and choice.type == "auto":
        return ToolChoice("any", parallel=choice.parallel)
    return ToolChoice("tool", ANSWER_TOOL, parallel=False)


def needs_instruction(turn: Turn, card: ModelCard) -> bool:
    """The API refuses to force a call while the model thinks, which some models always do."""
    return _is_forced(_wanted_choice(turn)) and (turn.thinking or not card.thinking_off)


def _instruction(turn: Turn) -> str:
    choice = _wanted_choice(turn)
    if choice.name == ANSWER_TOOL:
        return f"Give your whole answer by calling the tool `{ANSWER_TOOL}` once."
    if choice.name is not None:
        return f"Respond by calling the tool `{choice.name}`. Do not answer with text."
    names = ", ".join(f"`{tool.name}`" for tool in turn.tools)
    if answers_by_tool(turn):
        return f"Call one of the tools {names}, or give your whole answer with `{ANSWER_TOOL}`."
    return f"Respond by calling at least one of the tools {names}. Do not answer with text."


def _tool_choice(turn: Turn, card: ModelCard, tools: Sequence[JsonObject]) -> JsonObject | None:
    choice = _wanted_choice(turn)
    if not turn.tools and not answers_by_tool(turn):
        return {"type": "none"} if tools and not turn.server_tools else None
    if needs_instruction(turn, card):
        choice = ToolChoice("auto", parallel=choice.parallel and choice.type != "tool")
    if choice == ToolChoice():
        return None
    body: JsonObject = {"type": choice.type}
    if choice.name is not None:
        body["name"] = choice.name
    if not choice.parallel and choice.type != "none":
        body["disable_parallel_tool_use"] = True
    return body


def _thinking(turn: Turn, card: ModelCard) -> JsonObject:
    if not turn.thinking:
        return _thinking_off(card)
    if card.adaptive_thinking:
        shown_so = {"display": "summarized"} if turn.show_thinking else {}
        return {**ADAPTIVE_THINKING, **shown_so}
    budget = turn.thinking_tokens or MAX_THINKING_TOKENS
    if turn.sampling.max_tokens is not None:  # the budget is part of the limit
        budget = min(budget, turn.sampling.max_tokens - 1)
    if budget < MIN_THINKING_TOKENS:
        return _thinking_off(card)
    return {"type": "enabled", "budget_tokens": budget}


def _thinking_off(card: ModelCard) -> JsonObject:
    """The API's default, stated: else the CLI would ask for thinking."""
    return {"type": "disabled"} if card.thinking_off else dict(ADAPTIVE_THINKING)


def native_stops(stops: Iterable[str]) -> list[str]:
    """Those that the API takes: it refuses white space alone."""
    return [stop for stop in stops if stop.strip()]


def emulated_stops(stops: Iterable[str], without: frozenset[str]) -> list[str]:
    """The others; all of them where the model takes no stop sequences."""
    sent = [] if "stop_sequences" in without else native_stops(stops)
    return [stop for stop in stops if stop not in sent]


def _sampling(turn: Turn) -> JsonObject:
    sampling = turn.sampling
    body: JsonObject = {
        "max_tokens": sampling.max_tokens,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "top_k": sampling.top_k,
        "stop_sequences": native_stops(sampling.stop) or None,
    }
    return {name: value for name, value in body.items() if value is not None}


def _output_config(
    turn: Turn, card: ModelCard, without: frozenset[str], default_effort: Effort
) -> JsonObject:
    body: JsonObject = {}
    effort = turn.effort or (_nearest_effort(default_effort, card) if card.effort_levels else None)
    if effort is not None and "effort" not in without:
        body["effort"] = effort
    if turn.output_schema is not None and turn.native_output:
        body["format"] = {"type": "json_schema", "schema": turn.output_schema}
    return body


def _nearest_effort(effort: Effort, card: ModelCard) -> str:
    return effort if effort in card.effort_levels else DEFAULT_EFFORT


def _mark_for_caching(body: JsonObject, *, hour: bool) -> None:
    """Marks the ends of the tools, the system prompt and the last two user messages, as the CLI
    would. Where the caller has set marks of its own, none is added."""
    mark = {"type": "ephemeral", "ttl": "1h"} if hour else {"type": "ephemeral"}
    for blocks in _ends(body):
        block = next((block for block in reversed(blocks) if _is_markable(block)), None)
        if block is not None:
            block["cache_control"] = mark


def _make_room_for_login_marks(body: JsonObject) -> None:
    """Under a login the CLI marks its own system prompt, twice and for an hour: the API takes four
    marks, none of them for longer than one before it. What is cached there includes the tools."""
    body["tools"] = [
        {key: value for key, value in tool.items() if key != "cache_control"}
        for tool in body["tools"]
    ]
    if sum("cache_control" in block for block in _of_messages(body)) > LOGIN_MESSAGE_MARKS:
        body["messages"] = copy.deepcopy(body["messages"])  # they may be the caller's own
        marked = [block for block in _of_messages(body) if "cache_control" in block]
        for block in marked[:-LOGIN_MESSAGE_MARKS]:
            del block["cache_control"]


def _blocks(body: JsonObject) -> Iterator[JsonObject]:
    yield from (*body["tools"], *body.get("system", ()), *_of_messages(body))


def _of_messages(body: JsonObject) -> Iterator[JsonObject]:
    """The blocks of all messages, those inside of tool results too."""
    for message in body["messages"]:
        for block in message["content"] if isinstance(message["content"], list) else ():
            yield block
            inner = block.get("content")
            if isinstance(inner, list):
                yield from inner


def _ends(body: JsonObject) -> Iterator[list[JsonObject]]:
    asked = [message for message in body["messages"] if message["role"] == "user"]
    yield from (
        body["tools"],
        body.get("system", []),
        *(message["content"] for message in asked[-2:]),
    )


def _is_markable(block: JsonObject) -> bool:
    is_empty = block.get("type") == "text" and not block["text"]
    return block.get("type") not in THINKING_BLOCKS and not is_empty
