"""Which conversation a request means: pure, without a store or a server."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.conversation import Message, ThinkingBlock, text_block
from sessions.history import reconcile

THINKING: ThinkingBlock = {"type": "thinking", "thinking": "hm", "signature": "c2ln"}


def talk(texts: str) -> tuple[Message, ...]:
    """`a B c`: small letters are the user's, capitals the model's, which thought about them."""
    return tuple(
        Message("assistant", (THINKING, text_block(text)), "claude-sonnet-5")
        if text.isupper()
        else Message("user", (text_block(text),))
        for text in texts.split()
    )


def sent(texts: str) -> tuple[Message, ...]:
    """The same as a client sends it: without thinking and models."""
    return tuple(replace(m, content=m.content[-1:], model=None) for m in talk(texts))


def texts(messages: tuple[Message, ...]) -> str:
    return " ".join(b["text"] for m in messages for b in m.content if b["type"] == "text")


CASES = [
    # stored, asked, meant, kept, rewritten
    ("", "a", "a", 0, False),
    ("a B", "c", "a B c", 2, False),
    ("a B", "a", "a B a", 2, False),  # no history in it: new, whatever it says
    ("a B", "a B c", "a B c", 2, False),
    ("a B c D", "a B c D e", "a B c D e", 4, False),
    ("a B c D", "a B x", "a B x", 2, True),
    ("a B c D", "a B c", "a B c", 2, True),  # the answer is asked for again
    ("a B c D", "a X c", "a X c", 1, True),
    ("a B c D", "x B c", "x B c", 0, True),
    ("a B c D", "c D e", "a B c D e", 4, False),
    ("a B c D", "D e", "a B c D e", 4, False),
    ("", "B c", "B c", 0, False),
    ("a", "b", "a b", 0, False),  # a fork that ends with a question goes on in it
]


@pytest.mark.parametrize(("stored", "asked", "meant", "keep", "rewritten"), CASES)
def test_a_request_means(stored: str, asked: str, meant: str, keep: int, rewritten: bool) -> None:
    history = reconcile(talk(stored), sent(asked))
    assert (texts(history.messages), history.keep) == (meant, keep)
    assert history.rewritten is rewritten
    assert history.messages[:keep] == talk(stored)[:keep]  # with their thinking


letters = st.lists(st.sampled_from("ab"), min_size=1, max_size=6)


@given(stored=letters, new=letters)
def test_a_history_that_is_sent_whole_is_never_doubled_nor_lost(
    stored: list[str], new: list[str]
) -> None:
    before = " ".join(f"{letter} {letter.upper()}" for letter in stored)
    asked = f"{before} {new[0]}"
    history = reconcile(talk(before), sent(asked))
    assert texts(history.messages) == asked
    assert not history.rewritten


@given(stored=letters, asked=letters)
def test_the_client_s_version_is_always_at_the_end(stored: list[str], asked: list[str]) -> None:
    before = " ".join(f"{letter} {letter.upper()}" for letter in stored)
    now = " ".join(f"{letter} {letter.upper()}" for letter in asked) + " z"
    assert texts(reconcile(talk(before), sent(now)).messages).endswith(now)
