"""The free text of a custom tool, out of the pieces of the JSON that the model writes."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dialects.responses.freeform import FreeText

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=80)


def read(pieces: list[str]) -> str:
    reader = FreeText()
    return "".join(map(reader.feed, pieces)) + reader.end()


@given(TEXTS, st.booleans(), st.integers(1, 9))
def test_every_text_comes_out_whatever_the_pieces(text: str, is_ascii: bool, size: int) -> None:
    written = json.dumps({"input": text}, ensure_ascii=is_ascii)
    assert read([written[i : i + size] for i in range(0, len(written), size)]) == text


def test_a_text_streams_while_it_is_written() -> None:
    reader = FreeText()
    pieces = ['{"in', 'put" : "one\\', "ntwo\\u", '00e9"', "}"]
    assert [reader.feed(piece) for piece in pieces] == ["", "one", "\ntwo", "é", ""]


@pytest.mark.parametrize(
    ("written", "text"),
    [
        ("", ""),
        ("{}", ""),
        ('{"other": 1, "input": "x"}', "x"),
        ('{"patch": "x"}', '{"patch": "x"}'),
        ("[1]", "[1]"),
        ('{"inp', '{"inp'),
        ('{"input": "cut of', "cut of"),
        ('{"input": "x", "more": "y"}', "x"),
        ('{"input": "\\ud83d"}', "\ufffd"),
        ('{"input": "\\udc00!"}', "\ufffd!"),
        ('{"input": "\\ud83d\\u0041"}', "\ufffdA"),
        ('{"input": "\\uZZZZ"}', "\ufffd"),
    ],
)
def test_json_of_other_forms(written: str, text: str) -> None:
    assert read([*written]) == text
    assert read([written]) == text


def test_json_of_another_form_costs_no_more_the_longer_it_is() -> None:
    reader = FreeText()
    pieces = ['{"patch": "', *["x" * 20] * 50_000, '"}']
    assert "".join(map(reader.feed, pieces)) == ""
    assert len(reader.end()) > 1_000_000
