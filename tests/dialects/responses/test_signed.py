"""Signed thinking travels through a client that keeps its own history."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import InvalidRequest
from core.events import ChoiceEvent
from dialects.base import Context
from dialects.responses import DIALECT, ResponsesRequest, signed
from dialects.responses.signed import SignedThinking
from tests.support.responses_cases import CASES, MODEL, body, renderer

BLOCK = {"type": "thinking", "thinking": "Hm, wörld", "signature": "c2ln"}
USER = {"role": "user", "content": "hi"}
BASE64 = st.binary(max_size=200).map(base64.urlsafe_b64encode).map(bytes.decode)
ENCODED = signed.encode(SignedThinking(MODEL, BLOCK))


def test_a_block_comes_back_as_it_was() -> None:
    assert signed.decode(ENCODED, "x") == SignedThinking(MODEL, BLOCK)
    redacted: dict[str, Any] = {"type": "redacted_thinking", "data": "EroC"}
    again = signed.decode(signed.encode(SignedThinking(MODEL, redacted)), "x")
    assert again.block == redacted


def test_a_clients_history_holds_the_signed_block_of_the_answer() -> None:
    [case] = [case for case in CASES if case.name == "thinking_encrypted"]
    items = [USER, *body(case)["output"], USER]
    turn = DIALECT.parse(ResponsesRequest(input=items), Context(MODEL)).turn
    answer = turn.messages[1]
    assert answer.model == MODEL
    assert answer.content == (
        {"type": "thinking", "thinking": "Hm, so.", "signature": "c2lnbmF0dXJl"},
        {"type": "text", "text": "so"},
    )


@given(st.integers(0, len(ENCODED) - 1), st.sampled_from("Aa0-_.=é"))
def test_a_changed_character_is_a_clear_400(place: int, character: str) -> None:
    changed = ENCODED[:place] + character + ENCODED[place + 1 :]
    if changed == ENCODED:
        return
    with pytest.raises(InvalidRequest) as caught:
        signed.decode(changed, "input[0].encrypted_content")
    assert caught.value.code == "invalid_encrypted_content"
    assert caught.value.param == "input[0].encrypted_content"


@given(st.text(max_size=200) | BASE64)
def test_anything_else_is_a_clear_400(text: str) -> None:
    for given_text in (text, signed.PREFIX + text):
        with pytest.raises(InvalidRequest, match="not written by this server"):
            signed.decode(given_text, "x")


@pytest.mark.parametrize(
    "payload",
    [
        b"not json",
        b"[" * 100_000,
        b'{"model":"m","block":{"type":"text","text":"x"}}',
        b'{"model":"m","block":{"type":"thinking","thinking":"x"}}',
        b'{"model":"m","block":{"type":"thinking","thinking":3,"signature":"x"}}',
        b'{"model":"m","block":{"type":"redacted_thinking","data":"x","extra":1}}',
        b'{"model":3,"block":{"type":"redacted_thinking","data":"x"}}',
        b"\xff",
    ],
)
def test_a_right_check_sum_over_another_shape_is_a_clear_400(payload: bytes) -> None:
    check = hashlib.blake2b(payload, digest_size=signed.CHECK_BYTES).digest()
    with pytest.raises(InvalidRequest):
        signed.decode(signed.PREFIX + base64.urlsafe_b64encode(check + payload).decode(), "x")


def test_a_summary_alone_is_left_out() -> None:
    reasoning = {
        "type": "reasoning",
        "id": "rs_1",
        "summary": [{"type": "summary_text", "text": "Hm"}],
    }
    items = [USER, reasoning, USER]
    turn = DIALECT.parse(ResponsesRequest(input=items), Context(MODEL)).turn
    assert [message.role for message in turn.messages] == ["user"]


def test_what_is_stored_is_replayable_though_it_is_not_shown() -> None:
    [case] = [case for case in CASES if case.name == "thinking_hidden"]
    rendering = renderer(case, stream=False)
    for event in case.all_events:
        rendering.feed(ChoiceEvent(0, event))
    assert "encrypted_content" not in rendering.response()["output"][0]
    kept = rendering.replayable()[0]["encrypted_content"]
    assert signed.decode(kept, "x").block["thinking"] == "Hm, so."
