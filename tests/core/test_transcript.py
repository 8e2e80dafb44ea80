"""One conversation as the API knows it, as a client does, and whether two are the same."""

from __future__ import annotations

from core.conversation import Block, Message, text_block
from core.transcript import comparable, to_api, to_client

ASKED = Message("user", (text_block("Go"),))
USE: Block = {"type": "tool_use", "id": "u1", "name": "Read", "input": {}}
RESULT: Block = {"type": "tool_result", "tool_use_id": "u1", "content": [text_block("x")]}
WORKED = Message("assistant", (text_block("a"), USE, RESULT, text_block("b")), "m")


def call(id: str) -> Block:
    return {"type": "tool_use", "id": id, "name": "f", "input": {"b": 1, "a": 2}}


def test_the_api_gets_results_as_the_users() -> None:
    assert to_api([ASKED, WORKED]) == (
        ASKED,
        Message("assistant", (text_block("a"), USE), "m"),
        Message("user", (RESULT,)),
        Message("assistant", (text_block("b"),), "m"),
    )


def test_a_client_knows_only_the_texts() -> None:
    assert to_client([ASKED, WORKED]) == (ASKED, Message("assistant", (text_block("a\n\nb"),), "m"))


def test_an_answer_is_the_same_however_a_client_shows_it() -> None:
    thought: Block = {"type": "thinking", "thinking": "Hm.", "signature": "s"}
    ours = Message(
        "assistant", (thought, text_block("Hi "), text_block("you"), call("1"), call("2"))
    )
    theirs = Message("assistant", (text_block(" Hi you\n"), call("2"), call("1")), "m")
    assert comparable(ours) == comparable(theirs)
    assert comparable(WORKED) == comparable(Message("assistant", (text_block("a\n\nb"),)))


def test_white_space_of_the_users_counts() -> None:
    assert comparable(ASKED) != comparable(Message("user", (text_block("Go "),)))
