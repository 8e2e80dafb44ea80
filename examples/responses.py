"""The Responses API with the official OpenAI SDK: a follow-up, a stream, work in the background.

python examples/responses.py
"""

from __future__ import annotations

import time

import connection
from openai import OpenAI

connection.check()
client = OpenAI(base_url=connection.BASE_URL, api_key=connection.API_KEY)

first = client.responses.create(
    model="sonnet",
    input="What is a monad? One sentence.",
    instructions="You are a patient teacher.",
)
print(first.output_text)

second = client.responses.create(
    model="sonnet", input="And for a child?", previous_response_id=first.id
)
print(second.output_text)

with client.responses.stream(model="sonnet", input="Write a haiku about rivers.") as stream:
    for event in stream:
        if event.type == "response.output_text.delta":
            print(event.delta, end="", flush=True)
print()

working = client.responses.create(model="sonnet", input="Name three rivers.", background=True)
while working.status in ("queued", "in_progress"):
    time.sleep(0.5)
    working = client.responses.retrieve(working.id)
print(working.status, working.output_text)
