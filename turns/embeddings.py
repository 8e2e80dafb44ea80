"""Embeddings, which Claude has none of, passed on to a server of the operator's choice."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from core.conversation import JsonObject
from core.errors import NotFound, UpstreamError

if TYPE_CHECKING:  # half of a command's start
    import httpx

SECONDS = 60.0
MAX_ANSWER_BYTES = 64 * 1024 * 1024
NONE = (
    "Claude has no embedding models. Ask an embeddings server beside this one, such as Voyage AI, "
    "OpenAI or Ollama, or have this one pass requests on to it: EMBEDDINGS_BASE_URL."
)


class Embeddings:
    """Asks `POST {base_url}/embeddings`, with a key of its own: no caller's key or header goes
    there. The caller closes it."""

    def __init__(
        self,
        base_url: str | None,
        api_key: str | None = None,
        *,
        max_bytes: int = MAX_ANSWER_BYTES,
    ) -> None:
        self._max_bytes = max_bytes
        self._base_url = base_url
        self._api_key = api_key
        self._client_made = False

    @cached_property
    def _client(self) -> httpx.AsyncClient:
        import httpx

        self._client_made = True
        key = {"authorization": f"Bearer {self._api_key}"} if self._api_key else {}
        return httpx.AsyncClient(headers=key, timeout=SECONDS, trust_env=False)

    async def aclose(self) -> None:
        if self._client_made:
            await self._client.aclose()

    async def ask(self, body: JsonObject) -> tuple[int, bytes]:
        """The status and the JSON that came back, an error's too. Raises NotFound where there is no
        such server, and UpstreamError where it gave no JSON."""
        if self._base_url is None:
            raise NotFound(NONE, code="embeddings_not_available")
        import httpx

        url = f"{self._base_url.rstrip('/')}/embeddings"
        try:
            async with self._client.stream("POST", url, json=body) as answer:
                return answer.status_code, await self._read(answer)
        except httpx.HTTPError as error:
            kind = type(error).__name__
            raise UpstreamError(f"The embeddings server could not be asked: {kind}.") from error

    async def _read(self, answer: httpx.Response) -> bytes:
        if not answer.headers.get("content-type", "").startswith("application/json"):
            raise UpstreamError(
                f"The embeddings server answered {answer.status_code} without JSON."
            )
        pieces, size = [], 0
        async for piece in answer.aiter_bytes():
            size += len(piece)
            if size > self._max_bytes:
                raise UpstreamError("The embeddings server's answer is too large.")
            pieces.append(piece)
        return b"".join(pieces)
