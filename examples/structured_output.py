"""An answer as an object of a given shape: a Pydantic class in, an instance of it out.

python examples/structured_output.py
"""

from __future__ import annotations

import connection
from openai import OpenAI
from pydantic import BaseModel


class Meeting(BaseModel):
    title: str
    day: str
    people: list[str]


connection.check()
client = OpenAI(base_url=connection.BASE_URL, api_key=connection.API_KEY)

answer = client.chat.completions.parse(
    model="sonnet",
    messages=[{"role": "user", "content": "Ada and Grace talk about compilers on Friday."}],
    response_format=Meeting,
)
meeting = answer.choices[0].message.parsed
if meeting is None:
    raise SystemExit(f"Refused: {answer.choices[0].message.refusal}")
print(repr(meeting))
