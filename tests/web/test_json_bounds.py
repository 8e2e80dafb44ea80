"""What is known of a JSON body before it is parsed."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from web.json_bounds import SLICE_BYTES, odd_number, outline

MANY = 10_000_000

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda each: st.lists(each) | st.dictionaries(st.text(), each),
)


def counted(value: Any) -> int:
    """As `outline` counts: one, and one for each list, object, and member after the first."""
    if isinstance(value, dict):
        return max(1, len(value)) + sum(counted(each) for each in value.values())
    if isinstance(value, list):
        return max(1, len(value)) + sum(counted(each) for each in value)
    return 0


@given(values)
def test_what_stands_in_texts_is_not_counted(value: Any) -> None:
    assert outline(json.dumps(value).encode(), MANY).values == 1 + counted(value)


@given(st.integers(0, 8), st.sampled_from(['"', "\\", ",", "[", "x"]))
def test_a_slice_may_end_anywhere(before: int, character: str) -> None:
    text = "a" * (SLICE_BYTES - 8 + before) + character * 16
    assert outline(json.dumps([text, [1, 2]]).encode(), MANY).values == 1 + 2 + 2


def test_counting_ends_where_there_are_too_many() -> None:
    body = b"[" + b",".join([b"[]"] * 1_000_000) + b"]"
    found = outline(body, 1000)
    assert 1000 < found.values <= 1000 + SLICE_BYTES
    assert outline(body, MANY).values == 2_000_001


@pytest.mark.parametrize(
    ("text", "odd"),
    [
        ("[1e308]", None),
        ("[1e309]", "1e309"),
        ("[-1E+400]", "-1E+400"),
        ("[NaN]", "NaN"),
        ('["NaN", "1e400"]', None),
        (f"[{'9' * 400}]", None),  # a whole number may be of any length
        (f"[{'9' * 400}.0]", "9" * 32),
    ],
)
def test_only_numbers_that_json_has_pass(text: str, odd: str | None) -> None:
    body = text.encode()
    assert odd_number(body) == odd
    assert outline(body, MANY).has_odd_number or odd is None


def test_a_number_at_the_end_of_a_slice_is_seen() -> None:
    for shift in range(12):
        body = b"[" + b" " * (SLICE_BYTES - 8 + shift) + b"1e400]"
        assert outline(body, MANY).has_odd_number
