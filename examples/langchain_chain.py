"""LangChain: a prompt, a model with a tool, and a stream. Needs `pip install langchain-openai`.

python examples/langchain_chain.py
"""

from __future__ import annotations

import connection
from langchain_core.messages import HumanMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from pydantic import SecretStr

connection.check()
model = ChatOpenAI(
    model="sonnet", base_url=connection.BASE_URL, api_key=SecretStr(connection.API_KEY)
)


@tool
def multiply(a: int, b: int) -> int:
    """The product of two whole numbers."""
    return a * b


prompt = ChatPromptTemplate.from_messages(
    [("system", "Translate to {language}."), ("human", "{text}")]
)
for piece in (prompt | model | StrOutputParser()).stream(
    {"language": "French", "text": "Good day"}
):
    print(piece, end="", flush=True)
print()

question = HumanMessage("What is 6 times 7? Use multiply.")
call = model.bind_tools([multiply]).invoke([question])
results = [multiply.invoke(asked) for asked in call.tool_calls]
print(model.bind_tools([multiply]).invoke([question, call, *results]).content)
