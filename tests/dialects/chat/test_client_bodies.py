"""The bodies that clients really send, and what the model receives of them."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from typing import Any

import pytest

from dialects.tool_names import native_id
from tests.support.harness import Gateway, png, said, system_texts

Json = dict[str, Any]

SYSTEM = "You are a helpful assistant."
SCHEMA: Json = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
    "$schema": "http://json-schema.org/draft-07/schema#",
}
FUNCTION: Json = {"name": "get_weather", "description": "The weather", "parameters": SCHEMA}
TOOL: Json = {"type": "function", "function": FUNCTION}
NATIVE_TOOL: Json = {"name": "get_weather", "description": "The weather", "input_schema": SCHEMA}
PDF = base64.b64encode(b"%PDF-1.7 report").decode()
OTHER_ID = native_id("functions.get_weather:0")
MARK: Json = {"cache_control": {"type": "ephemeral"}}


def system(content: Any = SYSTEM, **more: Any) -> Json:
    return {"role": "system", "content": content, **more}


def user(content: Any, **more: Any) -> Json:
    return {"role": "user", "content": content, **more}


def assistant(content: Any, **more: Any) -> Json:
    return {"role": "assistant", "content": content, **more}


def call(call_id: str, arguments: str = '{"city": "Rome"}', **more: Any) -> Json:
    function = {"name": "get_weather", "arguments": arguments}
    return {"id": call_id, "type": "function", "function": function, **more}


def tool(call_id: str, content: Any, **more: Any) -> Json:
    return {"role": "tool", "tool_call_id": call_id, "content": content, **more}


def text(words: str) -> Json:
    return {"type": "text", "text": words}


def used(call_id: str, **arguments: str) -> Json:
    return {
        "type": "tool_use",
        "id": call_id,
        "name": "get_weather",
        "input": arguments or {"city": "Rome"},
    }


def result(call_id: str, *content: Json) -> Json:
    return {"type": "tool_result", "tool_use_id": call_id, "content": list(content)}


@dataclass(frozen=True)
class Client:
    """A body, the messages that it must become, and what the answer reports as ignored."""

    body: Json
    messages: list[tuple[str, list[Json]]]
    system: str | None = SYSTEM
    ignored: str | None = None
    tools: bool = False
    parameters: Json = field(default_factory=dict)


IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": png()}}

CLIENTS = {
    "Cursor: Anthropic's blocks and bare tools": Client(
        {
            "messages": [
                system([text(SYSTEM) | MARK]),
                user([text("<user_query>\nWeather?\n</user_query>") | MARK, IMAGE]),
                assistant(
                    [
                        {"type": "thinking", "thinking": "Hm.", "signature": "c2lnbmVk"},
                        text("I look it up."),
                        used("toolu_01A"),
                    ]
                ),
                user([result("toolu_01A", text("Sunny")) | MARK | {"is_error": False}]),
            ],
            "tools": [NATIVE_TOOL | MARK],
            "tool_choice": {"type": "auto"},
            "user": "google-oauth2|1",
            "stream": True,
            "max_tokens": 4096,
        },
        [
            ("user", [text("<user_query>\nWeather?\n</user_query>"), IMAGE]),
            (
                "assistant",
                [
                    {"type": "thinking", "thinking": "Hm.", "signature": "c2lnbmVk"},
                    text("I look it up."),
                    used("toolu_01A"),
                ],
            ),
            ("user", [result("toolu_01A", text("Sunny"))]),
        ],
        tools=True,
        parameters={"max_tokens": 4096},
    ),
    "Open WebUI: a picture in a chat": Client(
        {
            "stream": True,
            "stream_options": {"include_usage": True},
            "messages": [
                system(),
                user(
                    [
                        text("What is this?"),
                        {
                            "type": "image_url",
                            "image_url": {"url": f"data:image/png;base64,{png()}"},
                        },
                    ]
                ),
                assistant("A square."),
                user("Its colour?"),
            ],
        },
        [
            ("user", [text("What is this?"), IMAGE]),
            ("assistant", [text("A square.")]),
            ("user", [text("Its colour?")]),
        ],
    ),
    "Open WebUI: the title of a chat": Client(
        {
            "messages": [user("### Task:\nGenerate a concise title.\n### Output:\nJSON format")],
            "stream": False,
            "max_completion_tokens": 1000,
        },
        [("user", [text("### Task:\nGenerate a concise title.\n### Output:\nJSON format")])],
        system=None,
        parameters={"max_tokens": 1000},
    ),
    "LibreChat: every slider at its default": Client(
        {
            "temperature": 1,
            "top_p": 1,
            "presence_penalty": 0,
            "frequency_penalty": 0,
            "user": "65f0c0ffee",
            "stream": True,
            "messages": [system(name="instructions"), user("Hi", name="Ada_Lovelace")],
        },
        [("user", [text("Hi")])],
        ignored="messages.name",
        parameters={"temperature": 1, "top_p": None},
    ),
    "n8n: an agent's loop over LangChain.js": Client(
        {
            "temperature": 0.7,
            "top_p": 1,
            "frequency_penalty": 0,
            "presence_penalty": 0,
            "n": 1,
            "stream": False,
            "logprobs": None,
            "response_format": {"type": "text"},
            "tools": [TOOL],
            "messages": [
                system(),
                user([text("Weather in Rome?")]),
                assistant("", tool_calls=[call("call_abc", '{"city":"Rome"}')]),
                tool("call_abc", '[{"response":"Sunny"}]', name="get_weather"),
            ],
        },
        [
            ("user", [text("Weather in Rome?")]),
            ("assistant", [used("call_abc")]),
            ("user", [result("call_abc", text('[{"response":"Sunny"}]'))]),
        ],
        tools=True,
        parameters={"temperature": 0.7},
    ),
    "aider: consecutive roles and a reminder at the end": Client(
        {
            "temperature": 0,
            "stream": True,
            "messages": [
                system([text(SYSTEM) | MARK]),
                user("I switched to a new code base."),
                assistant("Ok."),
                user([text("Here are the files:\n\nmain.py\n```\n\n```") | MARK]),
                assistant("Ok, any changes I propose will be to those files."),
                user("Add a line."),
                system("Reply in diffs."),
            ],
        },
        [
            ("user", [text("I switched to a new code base.")]),
            ("assistant", [text("Ok.")]),
            ("user", [text("Here are the files:\n\nmain.py\n```\n\n```")]),
            ("assistant", [text("Ok, any changes I propose will be to those files.")]),
            ("user", [text("Add a line.")]),
        ],
        system=f"{SYSTEM}\n\nReply in diffs.",
        parameters={"temperature": 0},
    ),
    "LangChain: null beside parallel calls": Client(
        {
            "messages": [
                system(),
                user("Rome and Oslo?"),
                assistant(None, tool_calls=[call("call_1"), call("call_2", '{"city": "Oslo"}')]),
                tool("call_2", "Rain"),
                tool("call_1", [text("Sunny"), text(", warm")]),
                user("And now?"),
            ],
            "tools": [TOOL],
            "parallel_tool_calls": True,
            "stream": None,
        },
        [
            ("user", [text("Rome and Oslo?")]),
            ("assistant", [used("call_1"), used("call_2", city="Oslo")]),
            (
                "user",
                [
                    result("call_2", text("Rain")),
                    result("call_1", text("Sunny"), text(", warm")),
                    text("And now?"),
                ],
            ),
        ],
        tools=True,
    ),
    "Continue: empty texts": Client(
        {
            "max_tokens": 4096,
            "stream": True,
            "tools": [TOOL],
            "parallel_tool_calls": False,
            "messages": [
                system(),
                user([text(""), text("Weather?"), text("\n")]),
                assistant(" ", tool_calls=[call("call_1", "", index=0)]),
                tool("call_1", ""),
                user(""),
            ],
        },
        [
            ("user", [text("Weather?\n")]),
            ("assistant", [used("call_1") | {"input": {}}]),
            ("user", [result("call_1")]),
        ],
        tools=True,
        parameters={"max_tokens": 4096},
    ),
    "Vercel AI SDK: a PDF": Client(
        {
            "stream": True,
            "stream_options": {"include_usage": True},
            "messages": [
                system(),
                user(
                    [
                        text("Summarise"),
                        {
                            "type": "file",
                            "file": {
                                "filename": "part-1.pdf",
                                "file_data": f"data:application/pdf;base64,{PDF}",
                            },
                        },
                    ]
                ),
            ],
        },
        [
            (
                "user",
                [
                    text("Summarise"),
                    {
                        "type": "document",
                        "source": {
                            "type": "base64",
                            "media_type": "application/pdf",
                            "data": PDF,
                        },
                        "title": "part-1.pdf",
                    },
                ],
            )
        ],
    ),
    "a chat page that greets first and keeps a place for the answer": Client(
        {"messages": [assistant("How can I help?"), user("Hi"), assistant("")], "top_k": 40},
        [("user", [text(".")]), ("assistant", [text("How can I help?")]), ("user", [text("Hi")])],
        system=None,
        parameters={"top_k": 40},
    ),
    "a history of other servers: their ids, counted again, and reasoning": Client(
        {
            "tools": [TOOL],
            "messages": [
                system(),
                user("Rome?"),
                assistant(
                    "",
                    tool_calls=[call("functions.get_weather:0")],
                    reasoning_content="The user wants…",
                    reasoning_details=[{"type": "reasoning.text", "text": "x"}],
                ),
                tool("functions.get_weather:0", "Sunny"),
                assistant("Sunny.", refusal=None, annotations=[], audio=None),
                user("Oslo?"),
                assistant(None, tool_calls=[call("functions.get_weather:0", '{"city": "Oslo"}')]),
                tool("functions.get_weather:0", "Rain"),
            ],
            "response_format": {"type": "text", "unknown": 1},
        },
        [
            ("user", [text("Rome?")]),
            ("assistant", [used(OTHER_ID)]),
            ("user", [result(OTHER_ID, text("Sunny"))]),
            ("assistant", [text("Sunny.")]),
            ("user", [text("Oslo?")]),
            ("assistant", [used(f"{OTHER_ID}-2", city="Oslo")]),
            ("user", [result(f"{OTHER_ID}-2", text("Rain"))]),
        ],
        tools=True,
    ),
    "only a system message": Client(
        {"messages": [system("Write a haiku."), user("")]},
        [("user", [text("Write a haiku.")])],
        system=None,
    ),
}


@pytest.mark.parametrize("name", CLIENTS)
async def test_a_client_is_understood(gateway: Gateway, name: str) -> None:
    client = CLIENTS[name]
    body = {"model": "claude-opus-6", **client.body}  # refuses no sampling parameters
    answer = await gateway.http.post("/v1/chat/completions", json=body)
    assert answer.status_code == 200, answer.text
    [request] = gateway.upstream.requests
    assert [said(message) for message in request.messages] == client.messages
    assert "\n\n".join(system_texts(request.body)) == (client.system or "")
    tools = [{k: v for k, v in tool.items() if k != "cache_control"} for tool in request.tools]
    assert tools == ([NATIVE_TOOL] if client.tools else [])
    assert {name: request.body.get(name) for name in client.parameters} == client.parameters
    assert answer.headers.get("x-ignored-parameters") == client.ignored


REFUSED: dict[str, tuple[list[Json], str, str]] = {
    "an empty question": (
        [user("a"), assistant("b"), user(" ")],
        "messages[2].content",
        "invalid_value",
    ),
    "nothing at all": ([user("")], "messages", "invalid_value"),
    "a result of no call": ([user("a"), tool("t9", "x")], "messages", "invalid_tool_results"),
    "a call without a result": (
        [user("a"), assistant(None, tool_calls=[call("t9")]), user("b")],
        "messages",
        "invalid_tool_results",
    ),
    "a call at the end": (
        [user("a"), assistant(None, tool_calls=[call("t9")])],
        "messages",
        "invalid_tool_results",
    ),
    "a doubled result": (
        [user("a"), assistant(None, tool_calls=[call("t9")]), tool("t9", "x"), tool("t9", "y")],
        "messages",
        "invalid_tool_results",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_an_impossible_conversation_is_a_400_that_says_where(
    gateway: Gateway, name: str
) -> None:
    messages, param, code = REFUSED[name]
    body = {"model": "claude-sonnet-5", "messages": messages}
    answer = await gateway.http.post("/v1/chat/completions", json=body)
    error = answer.json()["error"]
    assert (answer.status_code, error["param"], error["code"]) == (400, param, code)
    assert code != "invalid_tool_results" or "t9" in error["message"]
    assert not gateway.upstream.requests
