"""OpenAI's Responses API, as `dialects.base.Dialect` has it: `DIALECT`."""

from __future__ import annotations

from collections.abc import Iterator

from core.conversation import JsonObject
from core.errors import GatewayError
from dialects.base import Context, ImageUrl
from dialects.responses.renderer import ResponsesRenderer
from dialects.responses.request import ResponsesCall, parse
from dialects.responses.wire import ResponsesRequest

__all__ = ["DIALECT", "ResponsesCall", "ResponsesDialect", "ResponsesRenderer", "ResponsesRequest"]


class ResponsesDialect:
    """Requests, answers and errors of `/v1/responses`."""

    name = "responses"

    def images(self, request: ResponsesRequest) -> list[ImageUrl]:
        return [*_images(request)]

    def parse(self, request: ResponsesRequest, context: Context) -> ResponsesCall:
        return parse(request, context)

    def renderer(self, call: ResponsesCall) -> ResponsesRenderer:
        return ResponsesRenderer(call)

    def error(self, error: GatewayError) -> JsonObject:
        return error.body()


DIALECT = ResponsesDialect()


def _images(request: ResponsesRequest) -> Iterator[ImageUrl]:
    """The images of messages and of tool outputs that are not data URLs."""
    items = request.input if isinstance(request.input, list) else []
    for index, item in enumerate(items):
        for name in ("content", "output"):
            parts = item.get(name)
            for number, part in enumerate(parts if isinstance(parts, list) else ()):
                where = f"input[{index}].{name}[{number}].image_url"
                if isinstance(part, dict) and part.get("type") == "input_image":
                    url = part.get("image_url")
                    if isinstance(url, str) and not url.lower().startswith("data:"):
                        yield ImageUrl(where, url, part, "image_url")
