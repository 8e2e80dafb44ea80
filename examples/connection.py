"""Where the server is, and whether it requires a key: what every Python example here begins with.

OPENAI_BASE_URL   default http://localhost:8000/v1
OPENAI_API_KEY    only where the server requires one
"""

from __future__ import annotations

import os
import sys

import httpx

BASE_URL = os.environ.get("OPENAI_BASE_URL", "http://localhost:8000/v1").rstrip("/")
API_KEY = os.environ.get("OPENAI_API_KEY", "unused")  # OpenAI's clients insist on having one


def check() -> None:
    """Ends the program with one sentence where the server does not answer, or wants another key."""
    try:
        answer = httpx.get(f"{BASE_URL}/models", headers={"Authorization": f"Bearer {API_KEY}"})
    except httpx.TransportError:
        sys.exit(f"No server at {BASE_URL}. Start one: python main.py --demo")
    if answer.status_code == httpx.codes.UNAUTHORIZED:
        sys.exit(f"The server at {BASE_URL} requires an API key: set OPENAI_API_KEY.")
    if answer.is_error:
        sys.exit(f"The server at {BASE_URL} answers {answer.status_code}: {answer.text}")
