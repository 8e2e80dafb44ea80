"""LangChain's ChatAnthropic, unchanged."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from langchain_anthropic import ChatAnthropic
from langchain_core.messages import HumanMessage, SystemMessage, ToolMessage
from langchain_core.tools import tool
from pydantic import BaseModel, SecretStr

from tests.support.harness import Gateway, png

MODEL = "claude-sonnet-5"


@tool
def get_weather(city: str) -> str:
    """The weather in a city."""
    return f"Sunny in {city}"


@pytest.fixture
def chat(gateway: Gateway) -> Callable[..., ChatAnthropic]:
    def make(**options: Any) -> ChatAnthropic:
        return ChatAnthropic(
            model=MODEL,
            base_url=gateway.url,
            api_key=SecretStr("unused"),
            max_retries=0,
            **options,
        )

    return make


async def test_a_conversation(chat: Callable[..., ChatAnthropic], gateway: Gateway) -> None:
    answer = await chat().ainvoke([SystemMessage("Be brief."), HumanMessage("hi")])
    assert answer.text == 'Demo model: you said "hi".'
    assert answer.usage_metadata is not None
    assert answer.usage_metadata["output_tokens"] > 0
    assert answer.response_metadata["stop_reason"] == "end_turn"
    assert gateway.upstream.requests[-1].system == "Be brief."


async def test_a_stream_says_the_same(chat: Callable[..., ChatAnthropic]) -> None:
    pieces = [piece async for piece in chat().astream("!demo tokens=5")]
    assert len(pieces) > 4
    assert "".join(piece.text for piece in pieces) == "word1 word2 word3 word4 word5"


async def test_a_tool_is_called_and_answered(
    chat: Callable[..., ChatAnthropic], gateway: Gateway
) -> None:
    bound = chat().bind_tools([get_weather])
    asked = HumanMessage('!demo call=get_weather args={"city":"Rome"}')
    called = await bound.ainvoke([asked])
    [call] = called.tool_calls
    assert (call["name"], call["args"]) == ("get_weather", {"city": "Rome"})
    result = ToolMessage(get_weather.invoke(call["args"]), tool_call_id=call["id"])
    answer = await bound.ainvoke([asked, called, result])
    assert "Sunny in Rome" in answer.text
    assert gateway.upstream.requests[-1].messages[-1]["content"][0]["type"] == "tool_result"


class City(BaseModel):
    """A city."""

    city: str


async def test_an_answer_is_an_object(chat: Callable[..., ChatAnthropic]) -> None:
    structured = chat().with_structured_output(City, method="json_schema")
    assert await structured.ainvoke('!demo json={"city":"Rome"}') == City(city="Rome")


async def test_an_image_reaches_the_model(
    chat: Callable[..., ChatAnthropic], gateway: Gateway
) -> None:
    image = {"type": "image", "base64": png(4), "mime_type": "image/png"}
    content: Any = [{"type": "text", "text": "What is this?"}, image]
    await chat().ainvoke([HumanMessage(content)])
    _, block = gateway.upstream.requests[-1].messages[0]["content"]
    assert block["source"] == {"type": "base64", "media_type": "image/png", "data": png(4)}
