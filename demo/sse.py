"""Server-sent events as Anthropic writes them."""


def encode(event_type: str, data: str) -> bytes:
    """One frame; `data` is a line of JSON."""
    return f"event: {event_type}\ndata: {data}\n\n".encode()
