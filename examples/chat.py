"""Chat, streaming and a follow-up with the official OpenAI SDK.

python examples/chat.py [BASE_URL]
"""

from __future__ import annotations

import os
import sys

from openai import OpenAI
from openai.types.chat import ChatCompletionMessageParam

base_url = sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8000/v1"
client = OpenAI(base_url=base_url, api_key=os.environ.get("API_KEY", "unused"))

messages: list[ChatCompletionMessageParam] = [
    {"role": "system", "content": "You are a patient teacher."},
    {"role": "user", "content": "What is a monad? One sentence."},
]
answer = client.chat.completions.create(model="sonnet", messages=messages)
print(answer.choices[0].message.content)

messages.append({"role": "assistant", "content": answer.choices[0].message.content})
messages.append({"role": "user", "content": "And for a child?"})
for chunk in client.chat.completions.create(model="sonnet", messages=messages, stream=True):
    for choice in chunk.choices:
        print(choice.delta.content or "", end="", flush=True)
print()
