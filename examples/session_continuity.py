"""A conversation that the server remembers: each request holds only what is new.

python examples/session_continuity.py
"""

from __future__ import annotations

import uuid

import connection
import httpx
from openai import OpenAI

connection.check()
client = OpenAI(base_url=connection.BASE_URL, api_key=connection.API_KEY)
session_id = f"example-{uuid.uuid4().hex[:8]}"


def ask(text: str) -> str:
    """Only the new message travels; with its own key a repetition is answered once."""
    answer = client.chat.completions.create(
        model="sonnet",
        messages=[{"role": "user", "content": text}],
        extra_body={"session_id": session_id},
        extra_headers={"Idempotency-Key": uuid.uuid4().hex},
    )
    return answer.choices[0].message.content or ""


print(ask("My name is Ada. Remember it."))
print(ask("What is my name?"))

with httpx.Client(
    base_url=f"{connection.BASE_URL}/sessions/",
    headers={"Authorization": f"Bearer {connection.API_KEY}"},
) as sessions:
    stored = sessions.get(session_id).raise_for_status().json()
    print(f"{stored['message_count']} messages, ${stored['cost_usd']:.4f}")
    for message in stored["messages"]:
        print(f"  {message['role']}: {message['content']}")
    fork = sessions.post(f"{session_id}/fork", json={"at": 2}).raise_for_status().json()
    print(f"a fork after the first answer: {fork['id']}")
    for name in (session_id, fork["id"]):
        sessions.delete(name).raise_for_status()
