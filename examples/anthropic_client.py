"""Anthropic's own client: a message, a stream, and a function of yours. `pip install anthropic`.

python examples/anthropic_client.py
"""

from __future__ import annotations

import connection
from anthropic import Anthropic, beta_tool

connection.check()
client = Anthropic(
    base_url=connection.BASE_URL.removesuffix("/v1"), api_key=connection.API_KEY, max_retries=2
)

message = client.messages.create(
    model="sonnet",
    max_tokens=500,
    system="You are a patient teacher.",
    messages=[{"role": "user", "content": "Why is the sky blue?"}],
)
print("".join(block.text for block in message.content if block.type == "text"))
print(f"{message.usage.input_tokens} tokens read, {message.usage.output_tokens} written")

with client.messages.stream(
    model="sonnet",
    max_tokens=500,
    messages=[{"role": "user", "content": "Write a short poem about rivers."}],
) as stream:
    for text in stream.text_stream:
        print(text, end="", flush=True)
print()


@beta_tool
def multiply(a: int, b: int) -> str:
    """The product of two whole numbers."""
    return str(a * b)


answer = client.beta.messages.tool_runner(
    model="sonnet",
    max_tokens=500,
    tools=[multiply],
    messages=[{"role": "user", "content": "What is 6 times 7? Use multiply."}],
    thread=False,  # the whole conversation each time: only Anthropic's own API keeps threads
).until_done()
print("".join(block.text for block in answer.content if block.type == "text"))
