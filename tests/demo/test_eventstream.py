"""AWS event-stream frames are what AWS's own readers accept."""

import base64
import json

import pytest

from demo import eventstream

# A frame from AWS's own description of the format: no headers, payload {'foo':'bar'}
KNOWN = bytes.fromhex("0000001d00000000fd528c5a7b27666f6f273a27626172277dc3653936")


def test_a_known_frame_is_encoded_and_decoded() -> None:
    assert eventstream.frame(b"", b"{'foo':'bar'}") == KNOWN
    assert [frame.payload for frame in eventstream.decode(KNOWN)] == [b"{'foo':'bar'}"]


def test_a_chunk_holds_the_event_in_base64() -> None:
    data = '{"type":"ping","text":"ä"}'
    (frame,) = eventstream.decode(eventstream.encode("ping", data))
    assert frame.headers == {
        ":event-type": "chunk",
        ":content-type": "application/json",
        ":message-type": "event",
    }
    assert base64.b64decode(json.loads(frame.payload)["bytes"]).decode() == data


def test_frames_follow_each_other() -> None:
    body = eventstream.encode("a", "{}") + eventstream.encode_exception("throttlingException", "x")
    first, second = eventstream.decode(body)
    assert first.headers[":message-type"] == "event"
    assert second.headers[":exception-type"] == "throttlingException"


@pytest.mark.parametrize("place", [2, 9, 15, -1])
def test_a_damaged_frame_is_noticed(place: int) -> None:
    damaged = bytearray(KNOWN)
    damaged[place] ^= 1
    with pytest.raises(ValueError, match=r"checksum|frame"):
        list(eventstream.decode(bytes(damaged)))
