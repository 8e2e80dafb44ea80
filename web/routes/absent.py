"""Endpoints that clients ask for and Claude has nothing behind: each says so, and what people use
beside it. Embeddings can be passed on."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import Response

from core.conversation import JsonObject
from core.errors import NotFound
from web.dependencies import Embeddings, Principal

router = APIRouter(prefix="/v1", tags=["absent"])

ANY_METHOD = ["GET", "POST", "DELETE"]
ABSENT: dict[str, str] = {
    "audio": "Claude neither hears nor speaks. Use a speech server beside this one, such as "
    "Whisper or OpenAI's.",
    "images": "Claude makes no images. Use an image server beside this one; images in messages are "
    "read.",
    "videos": "Claude makes no videos.",
    "moderations": "Claude has no moderation endpoint. Ask the model to classify the text, or use "
    "OpenAI's, which is free.",
    "batches": "This server runs no batches: send the requests side by side, as many as "
    "MAX_PROCESSES lets run.",
    "files": "This server stores no files: send them in the messages, as base64 or by address.",
    "uploads": "This server stores no files: send them in the messages, as base64 or by address.",
    "fine_tuning": "Claude cannot be fine-tuned here. Put examples into the system prompt.",
    "realtime": "Claude has no realtime voice. Use /v1/chat/completions with `stream`.",
    "vector_stores": "This server stores no vectors. Use a vector database beside it.",
    "assistants": "OpenAI's Assistants are not supported. Use /v1/chat/completions, with a session "
    "where the server is to keep the history (docs/sessions.md).",
    "threads": "OpenAI's Assistants are not supported. Use /v1/chat/completions, with a session "
    "where the server is to keep the history (docs/sessions.md).",
    "messages/batches": "This server runs no message batches: send the requests side by side, as "
    "many as MAX_PROCESSES lets run.",
}


@router.post("/embeddings", summary="Pass a request on to EMBEDDINGS_BASE_URL")
async def create_embeddings(
    body: JsonObject, principal: Principal, embeddings: Embeddings
) -> Response:
    """OpenAI's embeddings, of another server: Claude has none."""
    status, answer = await embeddings.ask(body)
    return Response(answer, status, media_type="application/json")


def _add(path: str, sentence: str) -> None:
    async def absent(principal: Principal) -> None:
        raise NotFound(sentence, code="not_supported")

    for route in (f"/{path}", f"/{path}/{{rest:path}}"):
        router.add_api_route(route, absent, methods=ANY_METHOD, include_in_schema=False)


for _path, _sentence in ABSENT.items():
    _add(_path, _sentence)
