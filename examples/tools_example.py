"""Claude Code's built-in tools, functions of this program, and both in one request.

python examples/tools_example.py [QUESTION]

Claude may read files here, which a server allows unless configured otherwise (docs/tools.md says
how to allow more, and what that means).
"""

from __future__ import annotations

import json
import sys
import uuid
from typing import Any

import connection
import httpx
from openai import OpenAI
from openai.types.chat import ChatCompletionFunctionToolParam, ChatCompletionMessageParam

INVOICE = "item,euros\nlamp,40\nchair,85\n"
SESSION = f"tools-{uuid.uuid4().hex[:8]}"
READING = {"claude_tools": ["read_file", "search_files"], "session_id": SESSION}
FUNCTIONS: list[ChatCompletionFunctionToolParam] = [
    {
        "type": "function",
        "function": {
            "name": "get_rate",
            "description": "How many of a currency one euro is, now",
            "parameters": {
                "type": "object",
                "properties": {"currency": {"type": "string"}},
                "required": ["currency"],
            },
        },
    }
]

connection.check()
client = OpenAI(base_url=connection.BASE_URL, api_key=connection.API_KEY)


def get_rate(currency: str) -> dict[str, object]:
    return {"currency": currency, "rate": 1.25}


def watch(question: str) -> None:
    """Shows what Claude does while it does it, then its answer."""
    stream = client.chat.completions.create(
        model="sonnet",
        messages=[{"role": "user", "content": question}],
        stream=True,
        extra_body=READING,
    )
    is_work = False
    for chunk in stream:
        for choice in chunk.choices:
            work, text = getattr(choice.delta, "reasoning_content", None), choice.delta.content
            print("\n" if text and is_work else "", work or text or "", sep="", end="", flush=True)
            is_work = bool(work) or (is_work and not text)
    print()


def ask(question: str, extra_body: dict[str, Any] | None = None) -> str:
    """An answer to which functions of this program may contribute."""
    messages: list[ChatCompletionMessageParam] = [{"role": "user", "content": question}]
    for _ in range(5):
        answer = client.chat.completions.create(
            model="sonnet", messages=messages, tools=FUNCTIONS, extra_body=extra_body
        )
        message = answer.choices[0].message
        if not message.tool_calls:
            return message.content or ""
        messages.append(message.to_dict())  # type: ignore[arg-type]  # its own shape, as it came
        for call in message.tool_calls:
            if call.type == "function":
                print(f"-> {call.function.name}({call.function.arguments})")
                result = json.dumps(get_rate(**json.loads(call.function.arguments)))
                messages.append({"role": "tool", "tool_call_id": call.id, "content": result})
    return "It called again and again."


with httpx.Client(
    base_url=connection.BASE_URL,
    headers={"Authorization": f"Bearer {connection.API_KEY}"},
) as server:
    server.post("/sessions", json={"id": SESSION}).raise_for_status()
    server.put(f"/sessions/{SESSION}/files/invoice.csv", content=INVOICE).raise_for_status()

    print("Built-in tools: Claude reads the file that was put into its session.")
    watch(sys.argv[1] if len(sys.argv) > 1 else "What is the sum of invoice.csv?")

    print("\nA function: this program answers.")
    print(ask("How many dollars are 10 euros? Use get_rate."))

    print("\nBoth: Claude reads, then asks this program.")
    print(ask("How many dollars is the sum of invoice.csv? Use get_rate.", READING))

    for file in server.get(f"/sessions/{SESSION}/files").raise_for_status().json()["data"]:
        print(f"\n{file['path']}, {file['bytes']} bytes, is deleted with the session.")
    server.delete(f"/sessions/{SESSION}").raise_for_status()
