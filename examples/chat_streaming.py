"""An answer as it is written, and when its first words came.

python examples/chat_streaming.py
"""

from __future__ import annotations

from time import perf_counter

import connection
from openai import OpenAI

connection.check()
client = OpenAI(base_url=connection.BASE_URL, api_key=connection.API_KEY)

started = perf_counter()
first_ms = None
with client.chat.completions.create(
    model="sonnet",
    messages=[{"role": "user", "content": "Write a short poem about rivers."}],
    stream=True,
    stream_options={"include_usage": True},
) as stream:  # leaving the block ends the turn, and what it costs
    for chunk in stream:
        for choice in chunk.choices:
            if choice.delta.content:
                first_ms = first_ms or (perf_counter() - started) * 1000
                print(choice.delta.content, end="", flush=True)
        if chunk.usage:  # the last chunk
            print(f"\n\n{chunk.usage.completion_tokens} tokens, the first after {first_ms:.0f} ms")
