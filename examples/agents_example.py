"""The OpenAI Agents SDK: an agent with a function, and one that it hands over to.

pip install openai-agents
python examples/agents_example.py
"""

from __future__ import annotations

import asyncio

import connection
from agents import Agent, Runner, function_tool, set_default_openai_client, set_tracing_disabled
from openai import AsyncOpenAI


@function_tool
def get_temperature(city: str) -> str:
    """The present temperature of a city in degrees Celsius."""
    return f"17 in {city}"


async def main() -> None:
    set_tracing_disabled(True)
    client = AsyncOpenAI(base_url=connection.BASE_URL, api_key=connection.API_KEY)
    set_default_openai_client(client)
    poet = Agent(name="Poet", instructions="You answer with a haiku.", model="sonnet")
    guide = Agent(
        name="Guide",
        instructions="You help travellers; what asks for a poem you hand over to the poet.",
        tools=[get_temperature],
        handoffs=[poet],
        model="sonnet",
    )
    done = await Runner.run(guide, "How warm is it in Rome? Use get_temperature.")
    print(f"{done.last_agent.name}: {done.final_output}")


connection.check()
asyncio.run(main())
