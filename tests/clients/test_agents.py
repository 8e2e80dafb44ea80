"""`openai-agents`, unchanged: it speaks the Responses API by default."""

from __future__ import annotations

from typing import Any

import pytest
from agents import Agent, Runner, SQLiteSession, function_tool, set_tracing_disabled
from agents.models.openai_responses import OpenAIResponsesModel
from pydantic import BaseModel

from tests.support.harness import Gateway
from tests.support.responses_cases import MODEL
from tests.support.responses_wire import received

set_tracing_disabled(True)


@function_tool
def get_weather(city: str) -> str:
    """The weather of a city."""
    return f"sunny in {city}"


class City(BaseModel):
    city: str


@pytest.fixture
async def model(gateway: Gateway) -> OpenAIResponsesModel:
    return OpenAIResponsesModel(MODEL, gateway.client)


def texts(gateway: Gateway, number: int = -1) -> list[tuple[str, Any]]:
    return [tuple(said) for said in received(gateway.upstream)[number]["messages"]]


async def test_an_agent_uses_its_tool(gateway: Gateway, model: OpenAIResponsesModel) -> None:
    agent = Agent(name="Helper", instructions="Be brief.", tools=[get_weather], model=model)
    asked = '!demo call=get_weather args={"city":"Rome"} text=Sunny.'
    done = await Runner.run(agent, asked)
    assert done.final_output == "Sunny."
    _, results = texts(gateway)[-1]
    assert results[0]["content"] == [{"type": "text", "text": "sunny in Rome"}]


async def test_an_agent_hands_over_to_another(
    gateway: Gateway, model: OpenAIResponsesModel
) -> None:
    poet = Agent(name="Poet", instructions="You write poems.", model=model)
    first = Agent(name="Helper", instructions="You help.", handoffs=[poet], model=model)
    done = await Runner.run(first, "!demo call=transfer_to_poet text=Roses.")
    assert (done.last_agent.name, done.final_output) == ("Poet", "Roses.")
    assert received(gateway.upstream)[-1]["system"][-1] == "You write poems."


async def test_an_agent_streams_and_answers_with_an_object(
    gateway: Gateway, model: OpenAIResponsesModel
) -> None:
    agent = Agent(name="Helper", output_type=City, model=model)
    running = Runner.run_streamed(agent, '!demo json={"city":"Rome"}')
    kinds = [event.type async for event in running.stream_events()]
    assert "raw_response_event" in kinds
    assert running.final_output == City(city="Rome")


async def test_an_agent_remembers_in_a_session(
    gateway: Gateway, model: OpenAIResponsesModel
) -> None:
    agent = Agent(name="Helper", model=model)
    session = SQLiteSession("conversation")
    await Runner.run(agent, "one", session=session)
    await Runner.run(agent, "two", session=session)
    assert [role for role, _ in texts(gateway)] == ["user", "assistant", "user"]


async def test_an_agent_goes_on_from_a_response(
    gateway: Gateway, model: OpenAIResponsesModel
) -> None:
    agent = Agent(name="Helper", model=model)
    first = await Runner.run(agent, "one")
    await Runner.run(agent, "two", previous_response_id=first.last_response_id)
    assert [role for role, _ in texts(gateway)] == ["user", "assistant", "user"]
