"""What the demo model says to people: recalls, files, arguments, sums, and this server."""

from __future__ import annotations

import json
from typing import Any

import pytest

from demo import conversation, speech
from demo.answer import Answer
from demo.blocks import ToolUse
from demo.directives import Directive
from demo.model import DemoModel

MODEL = DemoModel(speaks=True)
WEATHER = {
    "name": "get_weather",
    "input_schema": {
        "type": "object",
        "properties": {
            "city": {"type": "string"},
            "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]},
            "days": {"type": "integer"},
        },
        "required": ["city", "unit", "days"],
    },
}
ADD = {
    "name": "add",
    "input_schema": {
        "type": "object",
        "properties": {"a": {"type": "number"}, "b": {"type": "number"}},
        "required": ["a", "b"],
    },
}
READ = {"name": "Read", "input_schema": {"type": "object", "properties": {}}}


def answer(*texts: Any, directive: Directive | None = None, **body: Any) -> Answer:
    """To a conversation in which the user speaks first, third and so on."""
    roles = ("user", "assistant")
    messages = [{"role": roles[n % 2], "content": text} for n, text in enumerate(texts)]
    talk = conversation.read({"messages": messages, "max_tokens": 1000, **body}, "claude-demo")
    return MODEL.answer(talk, directive or Directive(), 1)


def said(*texts: Any, **body: Any) -> str:
    [block] = answer(*texts, **body).blocks
    return "".join(block.pieces)


def called(*texts: Any, **body: Any) -> tuple[str, Any]:
    [block] = answer(*texts, **body).blocks
    assert isinstance(block, ToolUse)
    return block.name, json.loads("".join(block.pieces))


@pytest.mark.parametrize(
    ("told", "asked", "answered"),
    [
        ("My name is Ada.", "What is my name?", "Your name is Ada: you told me."),
        ("Hi, I'm Grace!", "Do you remember my name?", "Your name is Grace: you told me."),
        (
            "My lucky number is 4711. Please remember it.",
            "What is my lucky number?",
            "Your lucky number is 4711: you told me.",
        ),
        ("Hello", "What is my name?", "You have not told me your name yet."),
    ],
)
def test_it_recalls_what_it_was_told_in_the_conversation(
    told: str, asked: str, answered: str
) -> None:
    assert said(told, "Noted.", asked) == answered


@pytest.mark.parametrize(
    ("asked", "answered"),
    [
        ("What is 17 + 25?", "17 + 25 is 42."),
        ("add 2.5 and 4", "2.5 + 4 is 6.5."),
        ("3 times 4", "3 * 4 is 12."),
        ("1 / 0", "Nothing can be divided by zero."),
    ],
)
def test_it_adds_numbers(asked: str, answered: str) -> None:
    assert said(asked) == answered


def test_it_takes_arguments_from_the_text() -> None:
    asked = "What is the weather in San Francisco in fahrenheit for the next 3 days?"
    name, arguments = called(asked, tools=[WEATHER])
    assert name == "get_weather"
    assert arguments == {"city": "San Francisco", "unit": "fahrenheit", "days": 3}
    assert called("Please add 19 and 23.", tools=[ADD]) == ("add", {"a": 19, "b": 23})


def test_it_reads_the_file_that_it_is_asked_about_and_quotes_it() -> None:
    asked = "How much is the lamp in data/invoice.csv?"
    assert called(asked, tools=[READ]) == ("Read", {"file_path": "data/invoice.csv"})
    use = {"type": "tool_use", "id": "toolu_1", "name": "Read", "input": {}}
    result = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "lamp,40"}
    assert said(asked, [use], [result], tools=[READ]) == "Read says: lamp,40"
    assert "invoice.csv" in said(asked), "without the tool it cannot"


def test_the_fields_of_a_result_become_a_sentence() -> None:
    use = {"type": "tool_use", "id": "toolu_1", "name": "get_weather", "input": {}}
    result = {"type": "tool_result", "tool_use_id": "toolu_1", "content": '{"sky": "clear"}'}
    assert said("Weather?", [use], [result], tools=[WEATHER]) == "get_weather says: sky clear."


@pytest.mark.parametrize("number", range(len(speech.ABOUT)))
def test_it_speaks_about_this_server(number: int) -> None:
    words, sentences = speech.ABOUT[number]
    assert said(f"Tell me about the {words.split('|')[0]}, please.") == sentences
    assert speech.WHAT_IT_IS in said("Hello!")
    assert speech.WHAT_IT_IS in said("What can this server do?")


def test_it_counts_and_writes_verses() -> None:
    assert said("Count from one to three in words.") == "one, two, three."
    assert said("Write a haiku about rivers.") == speech.HAIKU


def test_what_is_asked_for_by_a_directive_comes_before() -> None:
    talk = answer("What is my name?", directive=Directive(text="exact"))
    assert "".join(talk.blocks[0].pieces) == "exact"
    assert MODEL.paced(Directive(text="exact")).rate == 0
    assert MODEL.paced(Directive()).rate == speech.WORDS_A_SECOND


def test_a_plain_model_does_not_speak() -> None:
    talk = conversation.read(
        {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 9}, "claude-demo"
    )
    [block] = DemoModel().answer(talk, Directive(), 1).blocks
    assert "".join(block.pieces) == 'Demo model: you said "Hello".'
    assert DemoModel().paced(Directive()).rate == 0
