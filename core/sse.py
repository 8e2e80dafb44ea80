"""Server-sent events: frames as bytes (https://html.spec.whatwg.org/multipage/server-sent-events).
Knows no dialect."""

from __future__ import annotations

DONE = b"data: [DONE]\n\n"
HEARTBEAT = b": keep-alive\n\n"


def data_frame(payload: bytes) -> bytes:
    """One event with this payload, which holds no line break."""
    return b"data: " + payload + b"\n\n"
