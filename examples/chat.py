"""A chat and a follow-up with the official OpenAI SDK.

python examples/chat.py
"""

from __future__ import annotations

import connection
from openai import OpenAI
from openai.types.chat import ChatCompletionMessageParam

connection.check()
client = OpenAI(base_url=connection.BASE_URL, api_key=connection.API_KEY)

messages: list[ChatCompletionMessageParam] = [
    {"role": "system", "content": "You are a patient teacher."},
    {"role": "user", "content": "What is a monad? One sentence."},
]
answer = client.chat.completions.create(model="sonnet", messages=messages)
print(answer.choices[0].message.content)

messages.append({"role": "assistant", "content": answer.choices[0].message.content})
messages.append({"role": "user", "content": "And for a child?"})
answer = client.chat.completions.create(model="sonnet", messages=messages)
print(answer.choices[0].message.content)

if answer.usage:
    print(f"{answer.usage.prompt_tokens} tokens asked, {answer.usage.completion_tokens} answered")
