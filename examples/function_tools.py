"""The model calls functions of this program, which sends back what they return.

python examples/function_tools.py
"""

from __future__ import annotations

import json

import connection
from openai import OpenAI
from openai.types.chat import ChatCompletionFunctionToolParam, ChatCompletionMessageParam

TOOLS: list[ChatCompletionFunctionToolParam] = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": "The weather of a city, now",
            "parameters": {
                "type": "object",
                "properties": {"city": {"type": "string"}},
                "required": ["city"],
            },
        },
    }
]


def get_weather(city: str) -> dict[str, object]:
    return {"city": city, "sky": "cloudy", "celsius": 17}


FUNCTIONS = {"get_weather": get_weather}

connection.check()
client = OpenAI(base_url=connection.BASE_URL, api_key=connection.API_KEY)
messages: list[ChatCompletionMessageParam] = [
    {"role": "user", "content": "Do I need a coat in Rome today? Ask get_weather."}
]

for _ in range(5):  # rounds: a model may call again after it saw a result
    answer = client.chat.completions.create(model="sonnet", messages=messages, tools=TOOLS)
    message = answer.choices[0].message
    if not message.tool_calls:
        print(message.content)
        break
    messages.append(message.to_dict())  # type: ignore[arg-type]  # its own shape, as it came
    for call in message.tool_calls:
        if call.type == "function":
            print(f"-> {call.function.name}({call.function.arguments})")
            result = FUNCTIONS[call.function.name](**json.loads(call.function.arguments))
            messages.append(
                {"role": "tool", "tool_call_id": call.id, "content": json.dumps(result)}
            )
