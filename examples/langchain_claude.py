"""LangChain's ChatAnthropic: an answer, a stream, a tool. Needs `pip install langchain-anthropic`.

python examples/langchain_claude.py
"""

from __future__ import annotations

import connection
from langchain_anthropic import ChatAnthropic
from langchain_core.messages import HumanMessage, SystemMessage, ToolMessage
from langchain_core.tools import tool
from pydantic import SecretStr

connection.check()
model = ChatAnthropic(
    model="sonnet",
    base_url=connection.BASE_URL.removesuffix("/v1"),
    api_key=SecretStr(connection.API_KEY),
)


@tool
def multiply(a: int, b: int) -> int:
    """The product of two whole numbers."""
    return a * b


for piece in model.stream([SystemMessage("Translate to French."), HumanMessage("Good day")]):
    print(piece.text, end="", flush=True)
print()

with_tool = model.bind_tools([multiply])
question = HumanMessage("What is 6 times 7? Use multiply.")
call = with_tool.invoke([question])
results = [
    ToolMessage(str(multiply.invoke(asked["args"])), tool_call_id=asked["id"])
    for asked in call.tool_calls
]
print(with_tool.invoke([question, call, *results]).text)
